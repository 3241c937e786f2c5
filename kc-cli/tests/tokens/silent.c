/* A module that does not answer before the file ANSWER is there, and then that it cannot; after a minute without it, it leaves the
 * file GIVEN_UP. */
#include <stdio.h>
#include <unistd.h>

unsigned long C_GetFunctionList(void *list)
{
    for (int tenth = 0; tenth < 600; tenth++) {
        if (access(ANSWER, F_OK) == 0)
            return 5; /* CKR_GENERAL_ERROR */
        usleep(100000);
    }
    FILE *file = fopen(GIVEN_UP, "w");
    if (file)
        fclose(file);
    return 5;
}
