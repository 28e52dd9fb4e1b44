/*
 * fault_io.c - a preloaded library whose n-th file operation below a folder fails.
 *
 *   LD_PRELOAD=fault_io.so FAULT_IO=OPERATION:N:HOW FAULT_IO_DIR=FOLDER FAULT_IO_LOG=FILE
 *
 *   OPERATION  write, fsync (fdatasync too), rename, link, mkdir, unlink, read
 *   HOW        EIO, ENOSPC; "+" behind it: this and all later ones; SHORT: the write takes half of
 *              the bytes, N 0: every write does
 *
 * FILE gets a byte for each failure, so that a sweep over N knows when it has passed the last one.
 * Only files below FOLDER count: what the program prints or sends is left alone.
 */
/* Both names of pread are defined here: the headers must not make one of the other. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum how { PASS, FAIL, SHORT };

static atomic_uint seen;

static bool is_below(int fd)
{
    const char *dir = getenv("FAULT_IO_DIR");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    return dir && n > 0 && strncmp(path, dir, strlen(dir)) == 0;
}

static void note(void)
{
    const char *log = getenv("FAULT_IO_LOG");
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    ssize_t (*real_write)(int, const void *, size_t) =
        (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (fd < 0)
        return;
    (void)!real_write(fd, "x", 1);
    close(fd);
}

/* What becomes of this operation; errno is set for FAIL. */
static enum how decide(const char *operation, int fd)
{
    const char *spec = getenv("FAULT_IO");
    size_t len = strlen(operation);
    if (!spec || strncmp(spec, operation, len) != 0 || spec[len] != ':' || !is_below(fd))
        return PASS;
    char *how;
    unsigned long nth = strtoul(spec + len + 1, &how, 10);
    unsigned n = atomic_fetch_add(&seen, 1) + 1;
    bool on = strchr(how, '+') != NULL;
    if (nth != 0 && (on ? n < nth : n != nth))
        return PASS;
    note();
    if (strcmp(how, ":SHORT") == 0)
        return SHORT;
    errno = strncmp(how, ":ENOSPC", 7) == 0 ? ENOSPC : EIO;
    return FAIL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t len)
{
    enum how how = decide("write", fd);
    return how == FAIL ? -1 : REAL(write)(fd, data, how == SHORT && len > 1 ? len / 2 : len);
}

int fsync(int fd)
{
    return decide("fsync", fd) == FAIL ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return decide("fsync", fd) == FAIL ? -1 : REAL(fdatasync)(fd);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return decide("rename", to_dir) == FAIL ? -1
                                            : REAL(renameat2)(from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    return decide("link", to_dir) == FAIL ? -1 : REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    return decide("mkdir", dir) == FAIL ? -1 : REAL(mkdirat)(dir, path, mode);
}

int unlinkat(int dir, const char *path, int flags)
{
    return decide("unlink", dir) == FAIL ? -1 : REAL(unlinkat)(dir, path, flags);
}

ssize_t pread(int fd, void *data, size_t len, off_t off)
{
    return decide("read", fd) == FAIL ? -1 : REAL(pread)(fd, data, len, off);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t off)
{
    return decide("read", fd) == FAIL ? -1 : REAL(pread64)(fd, data, len, off);
}
