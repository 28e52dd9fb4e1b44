/*
 * catalog_replicas.h - the queue of runs that are to be copied to a store's replicas.
 *
 * One row for each run and replica, inserted in the transaction that commits the run and kept when
 * it is done: so it is known what each replica has. Whoever copies a run holds its row's lock until
 * the copy is whole, so that no two processes copy one at once; a process that dies lets go.
 */
#ifndef AMBER_CATALOG_REPLICAS_H
#define AMBER_CATALOG_REPLICAS_H

#include "amber/catalog.h"

/* Queue the run for a replica, in the current transaction. delay_s: not to be taken before that. */
enum amber_rc amber_catalog_replica_queue(struct amber_pg *pg, const struct amber_run *run,
                                          const char *replica, int delay_s,
                                          struct amber_err *err) AMBER_MUST_CHECK;
/* Queue every committed run that was never queued for this replica: it is new, or was not configured
 * where the run was committed. *out_n: how many. */
enum amber_rc amber_catalog_replica_catch_up(struct amber_pg *pg, const char *store_id,
                                             const char *replica, uint64_t *out_n,
                                             struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Take the oldest run that is due: a transaction is open then, holding its row, until done or failed
 * is called, or rolled back. now: also one that waits for its next try.
 * shape   *out_found false: none is due, no transaction is open
 */
enum amber_rc amber_catalog_replica_take(struct amber_pg *pg, const char *store_id,
                                         const char *replica, bool now,
                                         char out_run_id[AMBER_UUID_LEN], bool *out_found,
                                         struct amber_err *err) AMBER_MUST_CHECK;
/* The run that was taken is copied; commits. */
enum amber_rc amber_catalog_replica_done(struct amber_pg *pg, const char *store_id,
                                         const char *replica, const char *run_id,
                                         struct amber_err *err) AMBER_MUST_CHECK;
/* It couldn't be copied: tried again later, each time later up to ten minutes; commits. */
enum amber_rc amber_catalog_replica_failed(struct amber_pg *pg, const char *store_id,
                                           const char *replica, const char *run_id,
                                           const char *why, struct amber_err *err) AMBER_MUST_CHECK;
/* The process that committed the run has copied it itself. A row that is held is left to its holder.
 * Autocommit. */
enum amber_rc amber_catalog_replica_settle(struct amber_pg *pg, const char *store_id,
                                           const char *replica, const char *run_id,
                                           struct amber_err *err) AMBER_MUST_CHECK;

struct amber_replica_lag {
    uint64_t runs, archives, bytes; /* that the replica doesn't have yet; stored bytes */
    int64_t oldest_us;              /* since when; 0: it has all */
    int64_t copied_us;              /* when a run was copied last; 0: never */
    char error[512];                /* of the newest failed try among them; "" */
};
enum amber_rc amber_catalog_replica_lag(struct amber_pg *pg, const char *store_id,
                                        const char *replica, struct amber_replica_lag *out,
                                        struct amber_err *err) AMBER_MUST_CHECK;

#endif
