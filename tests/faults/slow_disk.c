/* Makes writing slow in a process that is started with LD_PRELOAD: each call that puts something on a disk waits
   SLOW_DISK_US microseconds before. Pipes, sockets and terminals stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void wait_a_while(void) {
    const char *told = getenv("SLOW_DISK_US");
    if (told) usleep((useconds_t)atoi(told));
}

static void wait_if_file(int fd) {
    struct stat about;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) wait_a_while();
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) { wait_if_file(fd); return REAL(write)(fd, data, size); }
ssize_t writev(int fd, const struct iovec *parts, int num) { wait_if_file(fd); return REAL(writev)(fd, parts, num); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    wait_if_file(fd);
    return REAL(pwrite64)(fd, data, size, at);
}
int fsync(int fd) { wait_if_file(fd); return REAL(fsync)(fd); }
int rename(const char *from, const char *to) { wait_a_while(); return REAL(rename)(from, to); }
int link(const char *from, const char *to) { wait_a_while(); return REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int how) {
    wait_a_while();
    return REAL(linkat)(a, from, b, to, how);
}
