/*
 * recover.h - what a crash, a lost COMMIT or a database set back leaves behind, and its settling.
 *
 * Law: an object is removed only if our own committed fence turned its run from running to aborted,
 * on a primary whose catalog owns the store, and no commit marker of the run exists, and the run is
 * older than ARCHIVAL_ORPHAN_DAYS, or this very process knows that it never sent the COMMIT; and an
 * archive only if it is known to be the run's, by a manifest or attachment of the run beside it or
 * by its own header: a name that the catalog reserves doesn't keep strangers from using it.
 */
#ifndef AMBER_RECOVER_H
#define AMBER_RECOVER_H

#include "amber/context.h"

struct amber_recovery {
    uint64_t aborted;        /* runs that were left running and are now fenced off */
    uint64_t markers_made;   /* commit markers that were missing */
    uint64_t orphans_hidden; /* objects of aborted runs still kept */
    uint64_t orphans_removed;
    uint64_t unknown_runs;   /* committed runs that this catalog doesn't know */
    char unknown_tables[512]; /* the tables they concern */
};

/*
 * Settle what is left of earlier runs of a job (NULL: all jobs). A run of a process that is alive
 * holds the job's advisory lock and is left alone.
 * errors  NET, DB, IO; a store that can't remove only counts its orphans
 */
enum amber_rc amber_recover(const struct amber_context *ctx, struct amber_pg *pg,
                            const struct amber_store_identity *id, const char *job,
                            struct amber_recovery *out, struct amber_err *err) AMBER_MUST_CHECK;

/* Remove the objects of a run that was aborted by our own fence and never sent COMMIT, and free
 * its names. Best effort: what can't be removed stays hidden, its name taken. */
void amber_discard_run(const struct amber_context *ctx, struct amber_pg *pg, const char *run_id);

/* Write the marker of a committed run from the catalog. */
enum amber_rc amber_marker_write(const struct amber_context *ctx, struct amber_pg *pg,
                                 const char *store_id, const char *run_id, const char *job,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Each committed run in the store that the catalog doesn't know as committed (after a failover or a
 * restore of the database to an earlier point).
 */
struct amber_unknown_run {
    const struct amber_marker *marker;
    const struct amber_manifest *manifests; /* marker->n_entries of them */
};
enum amber_rc amber_unknown_runs(const struct amber_context *ctx, struct amber_pg *pg,
                                 const char *store_id,
                                 enum amber_rc (*each)(void *arg,
                                                       const struct amber_unknown_run *run,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_reconcile {
    AMBER_RECONCILE_ADOPT,     /* its rows aren't in the table: the catalog takes the archives in */
    AMBER_RECONCILE_SUPERSEDE, /* its rows are back in the table: the archives are hidden, not removed */
};
enum amber_rc amber_reconcile_run(const struct amber_context *ctx, struct amber_pg *pg,
                                  const char *store_id, const struct amber_unknown_run *run,
                                  enum amber_reconcile how, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
