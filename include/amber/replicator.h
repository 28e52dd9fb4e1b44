/*
 * replicator.h - a store's replicas: what a unit needs before its COMMIT, what is copied after it,
 * and one step of the queue.
 *
 *   sync   copied and read back before the unit's rows are deleted; the marker right after COMMIT
 *   async  queued in the unit's transaction, copied by whoever takes it off the queue
 *
 * A sync replica's runs are queued too, so that whatever a crash leaves undone is done by the queue.
 */
#ifndef AMBER_REPLICATOR_H
#define AMBER_REPLICATOR_H

#include "amber/catalog_replicas.h"
#include "amber/context.h"

/* Seconds for which the queue leaves a sync replica's run to the process that committed it. */
#define AMBER_REPLICA_SYNC_GRACE_S 5

/* An archive of a unit to every sync replica, from the primary, read back. errors as of
 * amber_replicate_archive, with the replica's name */
enum amber_rc amber_replicate_sync(const struct amber_context *ctx, const char *store_id,
                                   const char *manifest_key, const struct amber_sha256 *digest,
                                   const struct amber_cancel *cancel,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* Queue the run for every replica, in the current transaction. */
enum amber_rc amber_replicas_queue(const struct amber_context *ctx, struct amber_pg *pg,
                                   const struct amber_run *run,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* After COMMIT and marker: the marker to the sync replicas. Best effort: what fails is in the queue. */
void amber_replicas_settle(const struct amber_context *ctx, struct amber_pg *pg,
                           const char *store_id, const char *run_id);

struct amber_replica_step {
    bool found;      /* a run was taken off the queue */
    enum amber_rc rc; /* what came of copying it */
    char error[1024];
};
/*
 * Take one run off a replica's queue, copy it, and record what came of it.
 * now: also one that waits for its next try
 * errors  of the database, or CANCELED (then the run is as before); a failed copy is in out
 */
enum amber_rc amber_replicate_next(const struct amber_context *ctx, struct amber_pg *pg,
                                   const char *store_id, unsigned copy, bool now,
                                   const struct amber_cancel *cancel,
                                   struct amber_replica_step *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;

#endif
