/*
 * cmd_archive.c - `amberfs archive JOB [--dry-run]`: a run of a job in this process, or in the
 * daemon whose mount covers the store.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/archiver.h"
#include "amber/calendar.h"
#include "app.h"

/* ---- progress on a terminal ---- */

struct ticker {
    struct amber_progress *progress;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool stop, running;
};

static void print_progress(const struct amber_progress *p)
{
    char bytes[32];
    double seconds = (double)(amber_now_us() - p->started_us) / 1e6;
    amber_human_bytes(p->raw_bytes, bytes);
    fprintf(stderr, "\r\033[K%-9s %s  %s", amber_phase_name(p->phase), p->period, p->table);
    fprintf(stderr, "  %s", AMBER_COUNT(p->rows, "row"));
    if (seconds > 0.5)
        fprintf(stderr, "  %.1f MB/s", (double)p->raw_bytes / 1e6 / seconds);
    if (p->phase == AMBER_PHASE_EXPORT && p->unit_rows_total && p->unit_rows_done) {
        double done = (double)p->unit_rows_done / (double)p->unit_rows_total;
        double left = seconds > 0 ? seconds / done - seconds : 0;
        if (done <= 1)
            fprintf(stderr, "  %.0f %%, %.0f s left", done * 100, left);
    }
    fflush(stderr);
}

static void *ticker_main(void *arg)
{
    struct ticker *t = arg;
    pthread_mutex_lock(&t->mutex);
    while (!t->stop) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec += 200000000;
        ts.tv_sec += ts.tv_nsec / 1000000000;
        ts.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&t->ended, &t->mutex, &ts);
        struct amber_progress p;
        amber_progress_get(t->progress, &p);
        if (!t->stop)
            print_progress(&p);
    }
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

static void ticker_start(struct ticker *t, struct amber_progress *progress, bool wanted)
{
    *t = (struct ticker){.progress = progress};
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->ended, NULL);
    t->running = wanted && pthread_create(&t->thread, NULL, ticker_main, t) == 0;
}

static void ticker_stop(struct ticker *t)
{
    pthread_mutex_lock(&t->mutex);
    t->stop = true;
    pthread_cond_signal(&t->ended);
    pthread_mutex_unlock(&t->mutex);
    if (t->running) {
        pthread_join(t->thread, NULL);
        fprintf(stderr, "\r\033[K");
    }
    pthread_cond_destroy(&t->ended);
    pthread_mutex_destroy(&t->mutex);
}

/* ---- dry run ---- */

static enum amber_rc print_plan(void *arg, const struct amber_plan_line *line, struct amber_err *err)
{
    (void)err;
    size_t *n = arg;
    char first[AMBER_DATE_MAX], last[AMBER_DATE_MAX], rows[32], bytes[32];
    amber_date_format(line->first_day, first);
    amber_date_format(line->last_day, last);
    amber_human_count(line->rows, rows);
    amber_human_bytes(line->bytes, bytes);
    if (!(*n)++)
        printf("%-36s %-24s %14s %12s  %s\n", "table", "period", "rows", "about", "folder");
    printf("%-36s %s - %s %15s %12s  %s\n", line->table, first, last, rows, bytes, line->folder);
    return AMBER_OK;
}

static void print_stayed(const struct amber_archive_result *r)
{
    if (r->stayed_referenced)
        printf("%s stayed, referenced by remaining rows (%s)\n",
               AMBER_COUNT(r->stayed_referenced, "row"), r->stayed_why);
    if (r->stayed_too_large)
        printf("%s stayed, too large for COPY\n", AMBER_COUNT(r->stayed_too_large, "row"));
    if (r->timeless)
        printf("%s without a finite time, which never move\n", AMBER_COUNT(r->timeless, "row"));
}

static void print_result(const struct amber_archive_result *r, bool dry, double seconds)
{
    char raw[32], stored[32];
    amber_human_bytes(r->raw_bytes, raw);
    amber_human_bytes(r->stored_bytes, stored);
    if (dry && !r->rows)
        printf("nothing is due\n");
    else if (dry)
        printf("%s, about %s, would move into %s; nothing was changed\n",
               AMBER_COUNT(r->rows, "row"), raw, AMBER_COUNT(r->archives, "archive"));
    else if (!r->rows)
        printf("nothing was due\n");
    else
        printf("%s moved into %s in %.1f s: %s of JSON in %s\n", AMBER_COUNT(r->rows, "row"),
               AMBER_COUNT(r->archives, "archive"), seconds, raw, stored);
    if (r->dropped_partitions)
        printf("%s detached and dropped\n", AMBER_COUNT(r->dropped_partitions, "partition"));
    print_stayed(r);
}

/* ---- the command ---- */

static int run(struct app *app, const struct amber_job *job)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_progress progress;
    struct amber_archive_result result;
    struct ticker ticker;
    size_t plan_lines = 0;
    bool dry = app->opt->dry_run;
    amber_progress_init(&progress);
    progress.started_us = amber_now_us();
    struct amber_archive_options opt = {
        .cancel = amber_app_cancel(),
        .progress = &progress,
        .plan = dry ? print_plan : NULL,
        .arg = &plan_lines,
    };
    ticker_start(&ticker, &progress, isatty(STDERR_FILENO) && !dry && !app->opt->quiet);
    enum amber_rc rc = amber_archive_job(&app->ctx, job, &opt, &result, &err);
    ticker_stop(&ticker);
    if (!rc || result.rows)
        print_result(&result, dry, (double)(amber_now_us() - progress.started_us) / 1e6);
    amber_progress_clear(&progress);
    return rc ? amber_app_fail(&err) : 0;
}

int amber_cmd_archive(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    const char *name = app->opt->args[0];
    AMBER_AUTO_FREE char *mounted = amber_app_mounted(app);
    struct amber_jobs *jobs = NULL;
    if (mounted && !app->opt->dry_run)
        return amber_daemon_run(mounted, "trigger", name, name);
    if (amber_app_jobs(app, &jobs, &err))
        return amber_app_fail(&err);
    const struct amber_job *job = amber_jobs_find(jobs, name);
    int status = 1;
    if (!job) {
        fprintf(stderr, "amberfs: there is no job \"%s\"; there are:%s", name,
                jobs->n ? "" : " none");
        for (size_t i = 0; i < jobs->n; i++)
            fprintf(stderr, "%s %s", i ? "," : "", jobs->jobs[i].name);
        fputc('\n', stderr);
    } else if (app->opt->dry_run) {
        /* Needs the database only; the store isn't touched. */
        app->ctx.conninfo = app->cfg.database_url;
        status = run(app, job);
    } else if (amber_app_check_folder(app, &err) || amber_app_open(app, false, true, -1, &err)) {
        status = amber_app_fail(&err);
    } else {
        status = run(app, job);
    }
    amber_jobs_clear(jobs);
    free(jobs);
    return status;
}
