/*
 * copies.h - a store that keeps several copies of each object: the primary and its replicas.
 *
 * To whom it doesn't matter it is one store: what is opened, read, stated or listed comes from the
 * first copy that can, what is put goes to the primary (replicas are filled by amber_replicate_run,
 * replicate.h), what is removed goes from all. A store can't judge bytes: whoever has a digest to
 * compare tries the copies one by one, with amber_copies_try.
 *
 * A copy that can't be reached (NET, TIMEOUT, DENIED) is tried last for a while, so that each read
 * doesn't wait for it again; that is logged once, and once when it is back.
 * thread  any number
 */
#ifndef AMBER_COPIES_H
#define AMBER_COPIES_H

#include "amber/store.h"

#define AMBER_COPIES_MAX 8          /* the primary and its replicas */
#define AMBER_REPLICA_NAME_MAX 33   /* 32 bytes and NUL */

struct amber_copy_config {
    const char *name; /* of a replica, for messages and the catalog; "primary" for the first */
    bool sync;        /* a unit is committed only when this copy has it too */
    struct amber_store *store; /* goes over to the set, unless making it fails */
};
/* The first copy is the primary. n: 2 to AMBER_COPIES_MAX. errors NOMEM */
enum amber_rc amber_copies_new(const struct amber_copy_config *copies, size_t n,
                               struct amber_store **out, struct amber_err *err) AMBER_MUST_CHECK;

/* How many copies st keeps; 1 of a store that isn't such a set. */
unsigned amber_copies_count(const struct amber_store *st);
/* The store of one copy, borrowed; 0 is the primary, which is st itself if it isn't a set. Only
 * this one is written to, proven and verified: never a copy that happens to have the object. */
struct amber_store *amber_copies_store(struct amber_store *st, unsigned copy);
const char *amber_copies_name(const struct amber_store *st, unsigned copy);
bool amber_copies_sync(const struct amber_store *st, unsigned copy);

/*
 * Call try for one copy after the other, those that can be reached first, until one succeeds.
 * errors  what try said of the primary, or else of the first copy tried. NOMEM and CANCELED end it
 *         at once
 */
enum amber_rc amber_copies_try(struct amber_store *st,
                               enum amber_rc (*try)(void *arg, unsigned copy,
                                                    struct amber_store *store,
                                                    struct amber_err *err),
                               void *arg, struct amber_err *err) AMBER_MUST_CHECK;

struct amber_copy_stats {
    uint64_t reads;    /* of a replica: answered by it because the copies before it couldn't */
    uint64_t failures; /* tries that failed: unreachable, missing, damaged */
    bool away;         /* it couldn't be reached lately */
};
void amber_copies_stats(const struct amber_store *st, unsigned copy, struct amber_copy_stats *out);

#endif
