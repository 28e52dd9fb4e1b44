/*
 * closer_priv.h - who writes a file, and how whoever closes it is doing.
 */
#ifndef AMBER_CLOSER_PRIV_H
#define AMBER_CLOSER_PRIV_H

#include <sys/types.h>

/* The process of a thread, the thread itself if /proc doesn't tell. 0 for one outside our PID
 * namespace. */
pid_t amber_process_of(pid_t tid);

/* How the process that sends a flush is doing. */
enum closer {
    CLOSER_LIVES,
    CLOSER_EXITED, /* it is exiting with status 0: a program that leaves closing to exit */
    CLOSER_DIED,   /* killed, or exiting with another status */
};

/* For a thread whose request isn't answered yet. */
enum closer amber_closer_state(pid_t tid);

#endif
