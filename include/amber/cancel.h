/*
 * cancel.h - a request to stop, seen by everything that works for one job or restore.
 *
 * A flag plus a descriptor that becomes readable when it is set, so that a wait for a socket can end
 * too. It stays set until whoever made it resets it.
 * thread  set and test from any thread; set is async-signal-safe.
 */
#ifndef AMBER_CANCEL_H
#define AMBER_CANCEL_H

#include "amber/err.h"

struct amber_cancel {
    int flag; /* accessed atomically */
    int fd;   /* eventfd; -1 before init */
};

enum amber_rc amber_cancel_init(struct amber_cancel *c, struct amber_err *err) AMBER_MUST_CHECK;
void amber_cancel_clear(struct amber_cancel *c);
void amber_cancel_set(struct amber_cancel *c);
/* Clear again what was set. thread while nobody else heeds or sets it. */
void amber_cancel_reset(struct amber_cancel *c);
bool amber_cancel_is_set(const struct amber_cancel *c); /* c may be NULL: false */
/* CANCELED if set, else OK. */
enum amber_rc amber_cancel_check(const struct amber_cancel *c, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
