/* To be loaded before the C library: fsync of what is in the folder KC_HSM_TEST_FOLDER, or of that folder, fails as the file `disk` there says:
 * "SKIP TIMES". After SKIP calls the next TIMES fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long calls;

static int fails(int fd)
{
    char link[64], name[4096], path[4096];
    long skip, times;
    const char *folder = getenv("KC_HSM_TEST_FOLDER");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = readlink(link, name, sizeof name - 2);
    if (!folder || length < 0)
        return 0;
    strcpy(name + length, "/");
    if (!strstr(name, folder))
        return 0;
    snprintf(path, sizeof path, "%s/disk", folder);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    int read = fscanf(file, "%ld %ld", &skip, &times);
    fclose(file);
    calls++;
    return read == 2 && calls > skip && calls <= skip + times;
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (fails(fd)) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
