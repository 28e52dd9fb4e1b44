/*
 * privileges.h - from root to ARCHIVAL_USER, and what nobody else may look at.
 *
 * Root is needed for one thing only: mounting with allow_other, where /etc/fuse.conf doesn't grant
 * that to users. So a process started as root with ARCHIVAL_USER works as that user from its first
 * step on, takes root's effective id back to mount, and then gives it up for good:
 *
 *   assume   real, effective uid: the user's; saved: root   groups: the user's
 *   raise    effective uid: root (the mount belongs to the real uid, who may unmount it)
 *   drop     all uids: the user's; nothing leads back
 */
#ifndef AMBER_PRIVILEGES_H
#define AMBER_PRIVILEGES_H

#include "amber/err.h"

/* This process's memory holds passwords and rows: no core dump, and no tracing by other processes
 * of its user (PR_SET_DUMPABLE). */
void amber_privileges_seal(void);

/*
 * Work as this user from now on. user NULL: whoever we are. Before any thread is made.
 * errors  INVALID no such user, or root itself; DENIED we are neither root nor that user; IO
 */
enum amber_rc amber_privileges_assume(const char *user, struct amber_err *err) AMBER_MUST_CHECK;
/* Root's effective id, where assume has left the way back; else nothing happens. */
void amber_privileges_raise(void);
/* Give up the way back, in all threads. errors IO: then the process must end */
enum amber_rc amber_privileges_drop(struct amber_err *err) AMBER_MUST_CHECK;

#endif
