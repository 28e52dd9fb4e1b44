/*
 * small_file.c - reading a configuration file: a regular file, a pipe, whatever opens.
 *
 * Read in pieces until the end, so that a file that grows or has no size can't outrun the ceiling.
 */
#include "small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PIECE_BYTES 16384U

static void close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

enum amber_rc amber_small_file_read(const char *path, struct amber_buf *out, struct amber_err *err)
{
    int fd AMBER_CLEANUP(close_p) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return amber_fail_errno(err, errno, "can't open %s", path);
    char piece[PIECE_BYTES];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return amber_fail_errno(err, errno, "can't read %s", path);
        if (n == 0)
            return AMBER_OK;
        enum amber_rc rc = amber_buf_append(out, piece, (size_t)n, err);
        if (rc == AMBER_E_LIMIT)
            return amber_fail(err, rc, "%s is larger than %zu bytes: is it the right file?", path,
                              out->max);
        if (rc)
            return rc;
    }
}
