/*
 * fault_io.c - a preloaded library: the n-th file operation below a folder fails, or the process
 * waits there.
 *
 *   LD_PRELOAD=fault_io.so FAULT_IO=OPERATION:N:HOW[,...] FAULT_IO_DIR=FOLDER
 *   [FAULT_IO_LOG=FILE] [FAULT_IO_GATE=FILE]
 *
 *   OPERATION  write, fsync (fdatasync too), rename, link, mkdir, unlink, read; send: to a socket
 *   HOW        EIO, ENOSPC; "+" behind it: this and all later ones; SHORT: the write takes half of
 *              the bytes, N 0: every write does; PAUSE: before the operation, as a step of
 *              include/amber/failpoint.h pauses (AMBER_FAILPOINT_FIFO)
 *
 * The log gets a byte for each failure, so that a sweep over N knows when it has passed the last
 * one. Only files below FOLDER count: what the program prints is left alone. With a gate, failures
 * are counted while that FILE exists, pauses while FILE.pause does.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum how { PASS, FAIL, SHORT };

#define WISHES_MAX 4

static atomic_uint seen[WISHES_MAX];

static bool is_below(int fd)
{
    const char *dir = getenv("FAULT_IO_DIR");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    return dir && n > 0 && strncmp(path, dir, strlen(dir)) == 0;
}

static bool gate_is_shut(bool pause)
{
    const char *gate = getenv("FAULT_IO_GATE");
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s%s", gate ? gate : "", pause ? ".pause" : "");
    return gate && access(path, F_OK) != 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(void)
{
    const char *log = getenv("FAULT_IO_LOG");
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    (void)!REAL(write)(fd, "x", 1);
    close(fd);
}

static void pause_here(void)
{
    const char *fifo = getenv("AMBER_FAILPOINT_FIFO");
    char go[PATH_MAX], byte;
    snprintf(go, sizeof(go), "%s.go", fifo ? fifo : "");
    int out = fifo ? open(fifo, O_WRONLY | O_CLOEXEC) : -1;
    int in = open(go, O_RDONLY | O_CLOEXEC);
    if (out >= 0 && in >= 0 && REAL(write)(out, "operation\n", 10) == 10)
        (void)!read(in, &byte, 1);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
}

/* One wish, N:HOW, for this operation; errno is set for FAIL. */
static enum how fulfil(const char *wish, atomic_uint *count)
{
    char *how;
    unsigned long nth = strtoul(wish, &how, 10);
    bool pauses = strncmp(how, ":PAUSE", 6) == 0;
    if (gate_is_shut(pauses))
        return PASS;
    unsigned n = atomic_fetch_add(count, 1) + 1;
    bool on = how[strcspn(how, "+,")] == '+';
    if (nth != 0 && (on ? n < nth : n != nth))
        return PASS;
    if (pauses) {
        pause_here();
        return PASS;
    }
    note();
    if (strncmp(how, ":SHORT", 6) == 0)
        return SHORT;
    errno = strncmp(how, ":ENOSPC", 7) == 0 ? ENOSPC : EIO;
    return FAIL;
}

/* What becomes of this operation. */
static enum how decide(const char *operation, int fd)
{
    const char *wish = getenv("FAULT_IO");
    size_t len = strlen(operation);
    enum how how = PASS;
    for (size_t i = 0; wish && i < WISHES_MAX && how == PASS; i++) {
        if (strncmp(wish, operation, len) == 0 && wish[len] == ':' &&
            (strcmp(operation, "send") == 0 || is_below(fd)))
            how = fulfil(wish + len + 1, &seen[i]);
        wish = strchr(wish, ',');
        wish = wish ? wish + 1 : NULL;
    }
    return how;
}

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

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    return decide("send", fd) == FAIL ? -1 : REAL(send)(fd, data, len, flags);
}
