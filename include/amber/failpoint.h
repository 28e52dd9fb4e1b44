/*
 * failpoint.h - named steps at which a test makes this process die, stop or fail.
 *
 * AMBER_FAILPOINT=NAME[:N][=ACTION] in the environment, N-th pass (default 1) of the named step,
 * ACTION kill (default; SIGKILL to ourselves), stop (SIGSTOP), error (the step returns IO), pause:
 * write "NAME\n" into the FIFO that AMBER_FAILPOINT_FIFO names, then read a byte from the FIFO of
 * that name and ".go", so that a test waits for the step and sets the time of what follows.
 * Costs one comparison of a pointer with NULL when the variable isn't set. The names stand in
 * docs/architecture.md, one for each step of the protocol.
 */
#ifndef AMBER_FAILPOINT_H
#define AMBER_FAILPOINT_H

#include "amber/err.h"

/* errors  IO "failpoint NAME" if the action is error; INVALID if AMBER_FAILPOINT can't be
 * understood or its FIFOs not opened; else OK. */
enum amber_rc amber_failpoint(const char *name, struct amber_err *err) AMBER_MUST_CHECK;

/* For unit tests: wish for NAME[:N][=ACTION] from here on, whatever the environment says; NULL for
 * nothing. thread: while no other thread passes a step. */
void amber_failpoint_set(const char *spec);

#endif
