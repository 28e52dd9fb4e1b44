/*
 * guard_priv.h - a unit gives way to those who wait for its locks, and knows whether others work.
 *
 * A thread beside the run. It passes the run's own cancel flag on to the one that the run's
 * connections heed, and while it is armed sets that flag as well when a session has waited for a lock
 * of the unit for longer than AMBER_GUARD_PATIENCE_US.
 */
#ifndef AMBER_GUARD_PRIV_H
#define AMBER_GUARD_PRIV_H

#include "amber/context.h"
#include "amber/unit.h"

#define AMBER_GUARD_PATIENCE_US INT64_C(1000000)

struct amber_guard;

/*
 * owner   ctx and parent are borrowed until free; parent may be NULL
 * errors  IO no thread or descriptor; NOMEM
 */
enum amber_rc amber_guard_new(const struct amber_context *ctx, const struct amber_cancel *parent,
                              struct amber_guard **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_guard_free(struct amber_guard *g); /* NULL allowed */
/* The flag that the run heeds; the guard's. */
const struct amber_cancel *amber_guard_cancel(const struct amber_guard *g);
/* Watch for those who wait for this backend, until amber_guard_rest. */
void amber_guard_watch(struct amber_guard *g, int pid);
/* Stop watching; afterwards the guard itself sets the flag no more. */
void amber_guard_rest(struct amber_guard *g);
/* Whether another program's session worked in the database within the last two seconds; always false
 * where the run isn't polite. thread any */
bool amber_guard_busy(const struct amber_guard *g);
/* Whether the flag was set for somebody who waited, and what for; the flag is clear again then,
 * unless parent is set. thread while nobody else heeds the flag, and the guard rests. */
bool amber_guard_gave_way(struct amber_guard *g, char *out_what, size_t len);

#endif
