/*
 * caller.c - whether the signal that a waiting caller got means that he gives up.
 *
 * The kernel tells of each signal that waits for a caller, of Ctrl-Z and a change of the window's size
 * too, and hands on whatever is answered. No program expects EINTR from a plain file: there only signals
 * that end the program, or that it catches in order to be ended by them, end its wait. Where it waits for
 * something to happen, as at a pipe, each signal that it catches does. What waits for a thread stands in
 * its /proc/TID/status; a signal that ends a process waits as SIGKILL there.
 */
#include "mount_priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_BYTES 8192U

static uint64_t bit(int signal)
{
    return UINT64_C(1) << (signal - 1);
}

/* Whether the status could be read; text is STATUS_BYTES long. */
static bool read_status(pid_t tid, char *text)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, STATUS_BYTES - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The set of signals behind a name, "\nSigPnd:". */
static uint64_t mask(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

bool amber_caller_gives_up(pid_t tid, bool like_pipe)
{
    uint64_t ending =
        bit(SIGKILL) | bit(SIGINT) | bit(SIGTERM) | bit(SIGHUP) | bit(SIGQUIT) | bit(SIGABRT);
    char text[STATUS_BYTES];
    if (tid <= 0 || !read_status(tid, text))
        return true; /* gone, or out of sight */
    uint64_t waiting = mask(text, "\nSigPnd:") | mask(text, "\nShdPnd:");
    if (like_pipe)
        ending |= mask(text, "\nSigCgt:");
    return (waiting & ending & ~mask(text, "\nSigBlk:") & ~mask(text, "\nSigIgn:")) != 0;
}
