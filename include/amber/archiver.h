/*
 * archiver.h - one run of a job: the protocol that moves rows into archives.
 *
 * A run is a series of units (one period of the family each), every one in a transaction of its
 * own; a unit that conflicts is rolled back and tried anew without touching the others. The steps
 * and what a crash at each of them leaves behind stand in docs/architecture.md, "Moving rows".
 */
#ifndef AMBER_ARCHIVER_H
#define AMBER_ARCHIVER_H

#include <pthread.h>

#include "amber/catalog.h"
#include "amber/context.h"
#include "amber/jobdef.h"

enum amber_phase {
    AMBER_PHASE_IDLE,
    AMBER_PHASE_PREFLIGHT,
    AMBER_PHASE_EXPORT,
    AMBER_PHASE_VERIFY,
    AMBER_PHASE_DELETE,
    AMBER_PHASE_COMMIT,
    AMBER_PHASE_VACUUM,
    AMBER_PHASE_COUNT
};
const char *amber_phase_name(enum amber_phase p);

/* What a run is doing, readable at any time by others. */
struct amber_progress {
    pthread_mutex_t mutex; /* guards all below */
    enum amber_phase phase;
    char period[2 * AMBER_DATE_MAX + 8]; /* "2024-01-01 to 2024-03-31", "" before the first unit */
    char table[160];
    uint64_t unit_rows_total; /* root rows that the unit moves */
    uint64_t unit_rows_done;  /* rows exported, of the root */
    uint64_t rows, raw_bytes; /* whole run so far, all tables */
    bool leaves_time;         /* others are at work: it takes rows a part of the time only */
    int64_t started_us;
};
void amber_progress_init(struct amber_progress *p);
void amber_progress_clear(struct amber_progress *p);
void amber_progress_get(struct amber_progress *p, struct amber_progress *out_copy);

struct amber_archive_result {
    uint64_t units, archives, rows, raw_bytes, stored_bytes;
    uint64_t stayed_referenced, stayed_too_large, timeless;
    uint64_t dropped_partitions;
    char stayed_why[512];
    int64_t phase_us[AMBER_PHASE_COUNT]; /* time spent in each, retried attempts included */
};

/* A dry run reports what would move, one call a table and period. */
struct amber_plan_line {
    const char *table;  /* schema.name */
    const char *folder; /* archive folder */
    int64_t first_day, last_day;
    uint64_t rows, bytes;
};

struct amber_archive_options {
    const struct amber_cancel *cancel; /* may be NULL */
    struct amber_progress *progress;   /* may be NULL */
    /* Called after each unit's commit, so that a mount shows its archives at once. May be NULL. */
    void (*committed)(void *arg, const char *run_id);
    /* Not NULL: a dry run; nothing is changed. */
    enum amber_rc (*plan)(void *arg, const struct amber_plan_line *line, struct amber_err *err);
    void *arg;
};

/* What the catalog keeps of a run that ended now with rc. */
void amber_archive_job_result(const struct amber_archive_result *r, int64_t started_us,
                              enum amber_rc rc, const struct amber_err *err,
                              struct amber_job_result *out);

/*
 * Run a job once, and keep its result in the catalog (not of a dry run).
 * shape   out: what was moved, also when a later unit failed
 * errors  BUSY it runs somewhere else; INVALID preflight (all findings); DENIED the store isn't
 *         this database's, or a table needs reconciling; CANCELED; IO, NET, DB, CORRUPT
 */
enum amber_rc amber_archive_job(const struct amber_context *ctx, const struct amber_job *job,
                                const struct amber_archive_options *opt,
                                struct amber_archive_result *out, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
