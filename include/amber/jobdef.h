/*
 * jobdef.h - what jobs there are: the jobs file (JSON), the built-in jobs in the same form.
 *
 * source  docs/jobs.md describes the form; docs/jobs.json is the built-in jobs, part of the binary
 */
#ifndef AMBER_JOBDEF_H
#define AMBER_JOBDEF_H

#include "amber/calendar.h"
#include "amber/cron.h"
#include "amber/mem.h"

struct amber_job_table {
    char *schema, *name; /* owned */
    int parent;          /* index in the job's tables, -1 for the root, which is index 0 */
    char **fk_columns;   /* owned; NULL: the only foreign key */
    size_t n_fk_columns;
    char *folder;  /* owned; archive folder in the tree */
    char *pattern; /* owned; name pattern, "flow_logs_{start}_to_{end}" */
};
struct amber_job {
    char *name;                     /* owned; letters, digits, '-', '_', at most 63 */
    struct amber_job_table *tables; /* owned; parents before children */
    size_t n_tables;
    char *time_column;                    /* owned; of the root */
    char *zone;                           /* owned; NULL UTC */
    char *where;                          /* owned; NULL none */
    int retention_days, retention_months; /* one of them may be non-zero */
    enum amber_period period;
    char *cron_text; /* owned */
    struct amber_cron cron;
    bool enabled;
    bool run_missed;        /* run once at start if a run was missed while the daemon was down */
    bool drop_partitions;   /* default true */
    uint64_t max_unit_rows; /* cap of root rows a unit; default 5,000,000 */
    unsigned max_unit_s;    /* units that took longer make the next ones smaller; default 600 */
};
struct amber_jobs {
    struct amber_job *jobs; /* owned */
    size_t n;
};

#define AMBER_JOB_MEMORY_CLEANUP "memory-cleanup"

/* Ceilings of a jobs file. */
#define AMBER_JOBS_FILE_MAX (1024U * 1024U) /* bytes */
#define AMBER_JOBS_MAX 1000
#define AMBER_JOB_TABLES_MAX 100

/* What a job gets for what it doesn't say; from the configuration. */
struct amber_job_defaults {
    int retention_days;
    enum amber_period period;
    const char *cron;
    bool memory_cleanup_enabled; /* MEMORY_CLEANUP_*: for the job named AMBER_JOB_MEMORY_CLEANUP */
    const char *memory_cleanup_cron;
};

/*
 * Parse and validate a whole jobs file.
 * shape   out is set only if nothing is wrong
 * owner   text and d are read only during the call; findings is appended to
 * errors  INVALID: every finding with its JSON path ("jobs[1].tables[0].name: ..."), one a line in
 *         findings (and the first in err): unknown members, wrong types, unknown parents, duplicate
 *         names, patterns, cron, two tables that would share folder and pattern; text that is no
 *         JSON with line and column; LIMIT larger than AMBER_JOBS_FILE_MAX; NOMEM
 */
enum amber_rc amber_jobs_parse(const char *text, size_t len, const struct amber_job_defaults *d,
                               struct amber_jobs *out, struct amber_buf *findings,
                               struct amber_err *err) AMBER_MUST_CHECK;
/* The built-in jobs: the text of docs/jobs.json. */
const char *amber_jobs_builtin(size_t *out_len);
void amber_jobs_clear(struct amber_jobs *j);
/* NULL if there is none of that name. */
const struct amber_job *amber_jobs_find(const struct amber_jobs *j, const char *name);

#endif
