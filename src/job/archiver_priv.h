/*
 * archiver_priv.h - a run of a job, shared by archiver.c (the run) and attempt.c (one attempt at
 * one unit).
 */
#ifndef AMBER_ARCHIVER_PRIV_H
#define AMBER_ARCHIVER_PRIV_H

#include "amber/archiver.h"
#include "amber/family.h"
#include "amber/unit.h"
#include "guard_priv.h"
#include "pace_priv.h"

/* One run of a job. */
struct archiver {
    const struct amber_context *ctx;
    const struct amber_job *job;
    const struct amber_archive_options *opt;
    struct amber_archive_result *result;
    struct amber_pg *pg, *ctl;
    struct amber_pg **helpers; /* owned; connections that help to export, NULL where none is open */
    size_t n_helpers;
    struct amber_guard *guard;   /* NULL in a dry run */
    const struct amber_cancel *cancel; /* what the run heeds: the guard's, or opt->cancel */
    struct amber_pool *pool;     /* for blocks */
    struct amber_pool *own_pool; /* owned; NULL: pool is the context's */
    struct amber_pace pace;
    struct amber_share share;
    bool leaves_time, said_so; /* others are at work; that was logged in this run */
    uint64_t unit_rows;          /* root rows of the last attempt */
    struct amber_store_identity id;
    struct amber_family family;
    struct amber_day_range *pins;
    size_t n_pins, pins_cap;
    int64_t cutoff_day;
    int64_t started_us;
    enum amber_phase phase;
    int64_t phase_since_us; /* amber_mono_us */
    int64_t rest_us;        /* waited for the sake of others, throttle.c */
    uint64_t max_rows; /* cap of root rows for the next unit */
    bool in_doubt;     /* a COMMIT's outcome isn't known: recovery settles it, no retry does */
};

/* For what is no loss if a failover forgets it, on a connection of its own: it isn't held back by a
 * synchronous standby that is away, so that a cancel or a stop doesn't wait for one. */
#define AMBER_LOCAL_COMMIT "SET synchronous_commit = local"

/* progress.c: what others are told of the run */
/* A phase begins; the time since the last call goes to the phase before. */
void amber_archiver_phase(struct archiver *a, enum amber_phase phase);
void amber_archiver_tell_unit(struct archiver *a, int64_t first_day, int64_t last_day, uint64_t rows);
void amber_archiver_tell_table(struct archiver *a, const struct amber_table *table);
/* So many more rows; raw_bytes: of this unit so far. root: they are the root table's. */
void amber_archiver_tell_rows(struct archiver *a, uint64_t rows, uint64_t raw_bytes, bool root);
void amber_archiver_tell_leaves_time(struct archiver *a, bool leaves_time);

/* Whether the run was stopped and the server didn't even answer that: it isn't asked again, so that
 * the daemon ends in time; the next start settles what is left. */
bool amber_archiver_deaf(const struct archiver *a);
/* throttle.c */
/* A row is about to go on: no more of them a second than the user wants. errors CANCELED */
enum amber_rc amber_archiver_keep_pace(struct archiver *a, struct amber_err *err) AMBER_MUST_CHECK;
/* struct amber_unit_config's breathe of a polite run, with the archiver: a part of the time only,
 * while others are at work. errors CANCELED */
enum amber_rc amber_archiver_breathe(void *archiver, struct amber_err *err) AMBER_MUST_CHECK;
/* Add what stayed in this unit to the result. */
void amber_archiver_count_stayed(struct archiver *a, const struct amber_unit *unit);
/*
 * Steps 1 to 7 for one unit, once.
 * shape   out_to_us: where the next unit starts, the range may have been capped
 * errors  any; the unit is rolled back and undone. amber_pg_unit_retryable(err) tells whether it is
 *         worth another attempt; LIMIT: try again with cfg->check_sizes
 */
enum amber_rc amber_attempt_unit(struct archiver *a, const struct amber_unit_config *cfg,
                                 int64_t *out_to_us, struct amber_err *err) AMBER_MUST_CHECK;

#endif
