/*
 * fuzz_jobs.c - libFuzzer target for jobs files.
 *
 * What is refused has findings and a text; what is taken keeps the header's promises: parents come
 * before their children, schedules can fire, folders stay inside the store.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/jobs.
 */
#include "amber/jobdef.h"
#include "fuzz.h"

static void check_job(const struct amber_jobs *jobs, const struct amber_job *j)
{
    check(amber_jobs_find(jobs, j->name) == j);
    check(j->n_tables > 0 && j->time_column && j->cron_text);
    check(j->retention_days == 0 || j->retention_months == 0);
    check(amber_cron_next(&j->cron, 0) < INT64_MAX);
    check(j->max_unit_rows > 0 && j->max_unit_s > 0);
    for (size_t i = 0; i < j->n_tables; i++) {
        const struct amber_job_table *t = &j->tables[i];
        check(i == 0 ? t->parent == -1 : t->parent >= 0 && (size_t)t->parent < i);
        check(t->schema && t->name && t->folder && t->pattern);
        check(*t->folder != '/' && *t->folder != '.' && !strstr(t->folder, "/."));
        for (size_t k = 0; k < t->n_fk_columns; k++)
            check(t->fk_columns[k] && *t->fk_columns[k]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct amber_job_defaults defaults = {
        .retention_days = 90,
        .period = AMBER_PERIOD_QUARTER,
        .cron = "0 2 1 * *",
        .memory_cleanup_enabled = true,
        .memory_cleanup_cron = "0 2 * * *",
    };
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf findings AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = {0};

    enum amber_rc rc =
        amber_jobs_parse((const char *)data, size, &defaults, &jobs, &findings, &err);
    if (rc) {
        check(rc == err.code && err.text[0] && !jobs.jobs);
        check(rc != AMBER_E_INVALID || findings.len > 0);
        return 0;
    }
    check(findings.len == 0);
    for (size_t i = 0; i < jobs.n; i++)
        check_job(&jobs, &jobs.jobs[i]);
    return 0;
}
