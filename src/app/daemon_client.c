/*
 * daemon_client.c - asking a running daemon through its mount, when that covers the store.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "app.h"

static enum amber_rc open_in_mount(const char *mountpoint, const char *file, int flags, int *out_fd,
                                   struct amber_err *err)
{
    AMBER_AUTO_FREE char *path = NULL;
    enum amber_rc rc = amber_asprintf(&path, err, "%s/%s", mountpoint, file);
    if (rc)
        return rc;
    *out_fd = open(path, flags | O_CLOEXEC);
    return *out_fd < 0 ? amber_fail_errno(err, errno, "%s", path) : AMBER_OK;
}

enum amber_rc amber_daemon_write(const char *mountpoint, const char *file, const char *line,
                                 struct amber_err *err)
{
    AMBER_AUTO_FREE char *name = NULL;
    AMBER_AUTO_FREE char *text = NULL;
    int fd = -1;
    enum amber_rc rc = amber_asprintf(&name, err, ".control/%s", file);
    if (!rc)
        rc = amber_asprintf(&text, err, "%s\n", line);
    if (!rc)
        rc = open_in_mount(mountpoint, name, O_WRONLY, &fd, err);
    if (rc)
        return rc;
    ssize_t n = write(fd, text, strlen(text));
    int e = errno;
    close(fd);
    if (n >= 0)
        return AMBER_OK;
    if (e == ENOENT)
        return amber_fail(err, AMBER_E_NOT_FOUND, "the daemon at %s doesn't know \"%s\"",
                          mountpoint, line);
    if (e == EBUSY)
        return amber_fail(err, AMBER_E_BUSY, "%s is running already", line);
    return amber_fail_errno(err, e, "%s (the reason is in %s/.control/log)", line, mountpoint);
}

enum amber_rc amber_daemon_read(const char *mountpoint, const char *file, struct amber_buf *out,
                                struct amber_err *err)
{
    int fd = -1;
    enum amber_rc rc = open_in_mount(mountpoint, file, O_RDONLY, &fd, err);
    while (!rc) {
        rc = amber_buf_reserve(out, 65536, err);
        if (rc)
            break;
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0)
            rc = amber_fail_errno(err, errno, "%s/%s", mountpoint, file);
        if (n <= 0)
            break;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

int amber_daemon_run(const char *mountpoint, const char *control, const char *line,
                     const char *task)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(1U << 20);
    AMBER_AUTO_FREE char *wait = NULL;
    if (amber_daemon_write(mountpoint, control, line, &err) ||
        amber_asprintf(&wait, &err, ".control/wait/%s", task) ||
        amber_daemon_read(mountpoint, wait, &text, &err))
        return amber_app_fail(&err);
    fputs(text.data ? text.data : "", stdout);
    return text.data && strstr(text.data, "\nstate: ok\n") ? 0 : 1;
}
