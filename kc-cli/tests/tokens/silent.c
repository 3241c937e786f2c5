/* A module that is not loaded before the file ANSWER is there; after ten seconds without it, it leaves the file GIVEN_UP. */
#include <stdio.h>
#include <unistd.h>

__attribute__((constructor)) static void wait_for_answer(void)
{
    for (int tenth = 0; tenth < 100; tenth++) {
        if (access(ANSWER, F_OK) == 0)
            return;
        usleep(100000);
    }
    FILE *file = fopen(GIVEN_UP, "w");
    if (file)
        fclose(file);
}
