/*
 * closer.c - what /proc tells about a process that writes or closes a file of ours.
 *
 * The thread waits for our answer, so it is there. One that can't be looked at counts as dead: a
 * restore that must be repeated is better than one of half a file.
 *
 * source  proc_pid_status(5), proc_pid_stat(5), proc_pid_io(5)
 */
#include "closer_priv.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PF_EXITING 0x4UL /* source  linux/sched.h */

pid_t amber_process_of(pid_t tid)
{
    char path[64], line[128];
    pid_t pid = tid;
    if (tid <= 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return tid;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "Tgid: %d", &pid) == 1)
            break;
    fclose(f);
    return pid;
}

/* What isn't allowed to be seen of another process's status reads as 0, but /proc/PID/io can't be
 * read at all then. source  proc_pid_io(5), proc_pid_stat(5): both PTRACE_MODE_READ_FSCREDS */
static bool may_see_exit_code(pid_t tid)
{
    char path[64], text[8];
    snprintf(path, sizeof(path), "/proc/%d/io", (int)tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t len = fread(text, 1, sizeof(text), f);
    fclose(f);
    return len > 0;
}

enum closer amber_closer_state(pid_t tid)
{
    char path[64], text[2048];
    unsigned long flags;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return CLOSER_DIED;
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[len] = '\0';
    char *end = strrchr(text, ')'); /* the command's name may hold anything */
    if (!end || sscanf(end, ") %*c %*d %*d %*d %*d %*d %lu", &flags) != 1)
        return CLOSER_DIED;
    if (!(flags & PF_EXITING))
        return CLOSER_LIVES;
    /* The last field is the exit code as wait(2) gives it; the kernel sets it before it closes. */
    char *last = strrchr(end, ' ');
    return last && atoi(last) == 0 && may_see_exit_code(tid) ? CLOSER_EXITED : CLOSER_DIED;
}
