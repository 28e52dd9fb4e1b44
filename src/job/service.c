/*
 * service.c - the daemon's tasks: queue, schedule, two runners, lifecycle.
 *
 * A task is idle, queued or running; it is queued at most once. Times are UTC microseconds.
 */
#include <stdio.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "amber/count.h"
#include "amber/log.h"
#include "service_priv.h"

#define RETRY_FIRST_US INT64_C(60000000)
#define RETRY_MAX_US INT64_C(3600000000)

/* ---- tasks ---- */

struct task *amber_service_task(struct amber_service *s, const char *name)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        if (strcmp(s->tasks[i]->name, name) == 0)
            return s->tasks[i];
    return NULL;
}

static enum amber_rc task_add(struct amber_service *s, const char *name, enum task_kind kind,
                              struct task **out, struct amber_err *err)
{
    enum amber_rc rc = amber_grow(&s->tasks, &s->tasks_cap, s->n_tasks + 1, sizeof(*s->tasks), err);
    if (rc)
        return rc;
    struct task *t;
    rc = amber_calloc(1, sizeof(*t), &t, err);
    if (!rc && (rc = amber_strdup(name, &t->name, err)))
        free(t);
    if (rc)
        return rc;
    t->kind = kind;
    t->cancel.fd = -1;
    t->next_run_us = INT64_MAX;
    amber_progress_init(&t->progress);
    s->tasks[s->n_tasks++] = t;
    *out = t;
    return AMBER_OK;
}

static void task_free(struct task *t)
{
    amber_progress_clear(&t->progress);
    amber_cancel_clear(&t->cancel);
    free(t->name);
    free(t);
}

static void plan_next(struct amber_service *s, struct task *t, int64_t now_us)
{
    bool scheduled = t->job && t->job->enabled && s->enabled && !s->read_only;
    t->next_run_us = scheduled ? amber_cron_next(&t->job->cron, now_us) : INT64_MAX;
}

/* Take over a set of jobs: tasks keep their history by name. Mutex held. */
static enum amber_rc take_jobs(struct amber_service *s, struct amber_jobs *jobs,
                               struct amber_err *err)
{
    enum amber_rc rc =
        amber_grow(&s->job_sets, &s->job_sets_cap, s->n_job_sets + 1, sizeof(*s->job_sets), err);
    for (size_t i = 0; !rc && i < jobs->n; i++) {
        struct task *t = amber_service_task(s, jobs->jobs[i].name);
        if (!t)
            rc = task_add(s, jobs->jobs[i].name, TASK_ARCHIVE, &t, err);
    }
    if (rc)
        return rc;
    int64_t now = amber_now_us();
    for (size_t i = 0; i < s->n_tasks; i++) {
        s->tasks[i]->job = amber_jobs_find(jobs, s->tasks[i]->name);
        plan_next(s, s->tasks[i], now);
    }
    s->job_sets[s->n_job_sets++] = jobs;
    return AMBER_OK;
}

/* ---- queue ---- */

static struct runner *runner_of(struct amber_service *s, const struct task *t)
{
    return t->kind == TASK_ARCHIVE ? &s->archive_runner : &s->side_runner;
}

enum amber_rc amber_service_queue(struct amber_service *s, const char *name, const char *argument,
                                  const char *by, struct amber_err *err)
{
    struct work *w;
    enum amber_rc rc = amber_calloc(1, sizeof(*w), &w, err);
    if (rc)
        return rc;
    if (argument && (rc = amber_strdup(argument, &w->argument, err))) {
        free(w);
        return rc;
    }
    pthread_mutex_lock(&s->mutex);
    struct task *t = amber_service_task(s, name);
    if (!t || (t->kind == TASK_ARCHIVE && !t->job))
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "there is no job \"%s\"", name);
    else if (t->kind == TASK_ARCHIVE && (t->queued || t->running))
        rc = amber_fail(err, AMBER_E_BUSY, "job %s is %s already", name,
                        t->running ? "running" : "queued");
    if (rc == AMBER_OK) {
        struct runner *r = runner_of(s, t);
        t->queued = true;
        t->retry_us = 0;
        w->task = t;
        *r->tail = w;
        r->tail = &w->next;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->mutex);
    if (rc) {
        free(w->argument);
        free(w);
    } else {
        amber_info("%s %s: queued by %s", t->kind == TASK_ARCHIVE ? "job" : "task", name, by);
    }
    return rc;
}

/* ---- runners ---- */

static void wake_waiters(struct task *t)
{
    for (struct waiter *w = t->waiters; w; w = w->next) {
        uint64_t one = 1;
        (void)!write(w->event_fd, &one, sizeof(one));
    }
    t->waiters = NULL;
}

/* A failure that may pass is tried again, later each time, unless the schedule comes first. */
static void plan_retry(struct task *t, enum amber_rc rc)
{
    bool passing = amber_rc_retryable(rc) || rc == AMBER_E_IO || rc == AMBER_E_DB;
    t->failures = rc ? t->failures + 1 : 0;
    t->retry_us = 0;
    if (!passing || !t->job)
        return;
    int64_t wait = RETRY_FIRST_US;
    for (unsigned i = 1; i < t->failures && wait < RETRY_MAX_US; i++)
        wait *= 2;
    t->retry_us = amber_now_us() + (wait < RETRY_MAX_US ? wait : RETRY_MAX_US);
}

static enum amber_rc run_archive(struct amber_service *s, struct task *t,
                                 const struct amber_job *job, struct amber_archive_result *out,
                                 struct amber_err *err)
{
    struct amber_archive_options opt = {
        .cancel = &t->cancel,
        .progress = &t->progress,
        .committed = amber_service_refresh_after_commit,
        .arg = s,
    };
    return amber_archive_job(s->ctx, job, &opt, out, err);
}

static void log_end(const struct task *t, const struct amber_job_result *r, enum amber_rc rc)
{
    const char *what = t->kind == TASK_ARCHIVE ? "job" : "task";
    if (rc)
        amber_log(rc == AMBER_E_CANCELED ? AMBER_LOG_WARN : AMBER_LOG_ERROR, "%s %s: %s: %s", what,
                  t->name, r->state, r->error);
    else if (t->kind != TASK_ARCHIVE)
        amber_info("task %s: ok", t->name);
    else
        amber_info("job %s: ok: %s in %s, %s stayed", t->name, AMBER_COUNT(r->rows, "row"),
                   AMBER_COUNT(r->archives, "archive"), AMBER_COUNT(r->rows_stayed, "row"));
}

static void run_work(struct amber_service *s, struct work *w)
{
    struct task *t = w->task;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_job_result result;
    int64_t started_us = amber_now_us();
    struct amber_archive_result detail = {0};
    char text[sizeof(t->text)] = "";

    pthread_mutex_lock(&s->mutex);
    const struct amber_job *job = t->job;
    amber_cancel_clear(&t->cancel);
    enum amber_rc rc = amber_cancel_init(&t->cancel, &err);
    t->queued = false;
    t->running = true;
    pthread_mutex_lock(&t->progress.mutex);
    t->progress.rows = t->progress.raw_bytes = 0;
    t->progress.unit_rows_done = t->progress.unit_rows_total = 0;
    t->progress.period[0] = t->progress.table[0] = '\0';
    t->progress.started_us = started_us;
    pthread_mutex_unlock(&t->progress.mutex);
    if (amber_cancel_is_set(&s->stop))
        amber_cancel_set(&t->cancel);
    pthread_mutex_unlock(&s->mutex);

    if (!rc && t->kind == TASK_ARCHIVE && job)
        rc = run_archive(s, t, job, &detail, &err);
    else if (!rc && t->kind == TASK_VERIFY)
        rc = amber_service_verify(s, t, w->argument, text, sizeof(text), &err);
    else if (!rc && t->kind == TASK_RESTORE)
        rc = amber_service_restore(s, t, w->argument, text, sizeof(text), &err);

    amber_archive_job_result(&detail, started_us, rc, &err, &result);
    log_end(t, &result, rc);

    pthread_mutex_lock(&s->mutex);
    t->running = false;
    t->last = result;
    t->detail = detail;
    memcpy(t->text, text, sizeof(text));
    if (t->kind == TASK_ARCHIVE)
        plan_retry(t, rc);
    if (!t->queued)
        wake_waiters(t);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static void *runner_main(void *arg)
{
    struct runner *r = arg;
    struct amber_service *s = r->service;
    pthread_mutex_lock(&s->mutex);
    while (!amber_cancel_is_set(&s->stop)) {
        struct work *w = r->head;
        if (!w) {
            pthread_cond_wait(&s->changed, &s->mutex);
            continue;
        }
        r->head = w->next;
        if (!r->head)
            r->tail = &r->head;
        pthread_mutex_unlock(&s->mutex);
        run_work(s, w);
        free(w->argument);
        free(w);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- scheduler ---- */

/* The earliest moment at which something is due; queues what is due now. */
static int64_t queue_due(struct amber_service *s, int64_t now_us)
{
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < s->n_tasks; i++) {
        struct task *t = s->tasks[i];
        int64_t due = t->next_run_us;
        if (t->retry_us && t->retry_us < due)
            due = t->retry_us;
        if (due > now_us) {
            earliest = due < earliest ? due : earliest;
            continue;
        }
        const char *by = t->retry_us && t->retry_us <= now_us ? "retry after a failure" : "schedule";
        plan_next(s, t, now_us);
        t->retry_us = 0;
        earliest = t->next_run_us < earliest ? t->next_run_us : earliest;
        if (t->queued || t->running)
            continue; /* the last run still goes on */
        char name[64];
        snprintf(name, sizeof(name), "%s", t->name);
        pthread_mutex_unlock(&s->mutex);
        struct amber_err err = AMBER_ERR_INIT;
        if (amber_service_queue(s, name, NULL, by, &err))
            amber_warn("%s", err.text);
        pthread_mutex_lock(&s->mutex);
    }
    return earliest;
}

static void *scheduler_main(void *arg)
{
    struct amber_service *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (!amber_cancel_is_set(&s->stop)) {
        int64_t due = queue_due(s, amber_now_us());
        if (amber_cancel_is_set(&s->stop))
            break;
        /* At most a minute, so that a clock that was set is noticed. */
        int64_t limit = amber_now_us() + 60000000;
        int64_t until = due < limit ? due : limit;
        struct timespec ts = {.tv_sec = until / 1000000, .tv_nsec = (until % 1000000) * 1000};
        pthread_cond_timedwait(&s->changed, &s->mutex, &ts);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- lifecycle ---- */

static void jobs_free(struct amber_jobs *jobs)
{
    amber_jobs_clear(jobs);
    free(jobs);
}

enum amber_rc amber_service_new(const struct amber_service_config *cfg, struct amber_tree *tree,
                                struct amber_service **out, struct amber_err *err)
{
    struct amber_service *s;
    enum amber_rc rc = amber_calloc(1, sizeof(*s), &s, err);
    if (rc) {
        jobs_free(cfg->jobs);
        return rc;
    }
    s->ctx = cfg->ctx;
    s->read_only = cfg->read_only;
    s->enabled = cfg->enabled;
    s->tree = tree;
    s->started_us = amber_now_us();
    s->stop.fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    struct runner *runners[] = {&s->archive_runner, &s->side_runner};
    for (size_t i = 0; i < amber_countof(runners); i++) {
        runners[i]->service = s;
        runners[i]->tail = &runners[i]->head;
    }
    for (unsigned i = 1; i < amber_copies_count(s->ctx->store); i++)
        s->replicas[s->n_replicas++] = (struct replica){
            .service = s, .copy = i, .name = amber_copies_name(s->ctx->store, i)};
    struct task *t;
    if ((rc = amber_cancel_init(&s->stop, err)) ||
        (rc = amber_strdup(cfg->store_type, &s->store_type, err)) ||
        (rc = amber_strdup(cfg->store_path, &s->store_path, err)) ||
        (rc = amber_strdup(cfg->mountpoint, &s->mountpoint, err)) ||
        (rc = take_jobs(s, cfg->jobs, err)) ||
        (rc = task_add(s, "verify", TASK_VERIFY, &t, err)) ||
        (rc = task_add(s, "restore", TASK_RESTORE, &t, err)) || (rc = amber_service_first_tree(s, err))) {
        if (!s->n_job_sets)
            jobs_free(cfg->jobs);
        amber_service_free(s);
        return rc;
    }
    *out = s;
    return AMBER_OK;
}

static enum amber_rc start_thread(pthread_t *thread, bool *started, void *(*main)(void *), void *arg,
                                  struct amber_err *err)
{
    int e = pthread_create(thread, NULL, main, arg);
    *started = e == 0;
    return e ? amber_fail_errno(err, e, "can't start a thread") : AMBER_OK;
}

enum amber_rc amber_service_start(struct amber_service *s, struct amber_mount *mount,
                                  struct amber_err *err)
{
    s->mount = mount;
    enum amber_rc rc =
        start_thread(&s->watcher, &s->watcher_started, amber_service_watch_main, s, err);
    if (!rc)
        rc = start_thread(&s->side_runner.thread, &s->side_runner.started, runner_main,
                          &s->side_runner, err);
    if (!rc && !s->read_only)
        rc = start_thread(&s->archive_runner.thread, &s->archive_runner.started, runner_main,
                          &s->archive_runner, err);
    if (!rc && !s->read_only)
        rc = start_thread(&s->scheduler, &s->scheduler_started, scheduler_main, s, err);
    for (size_t i = 0; !rc && !s->read_only && i < s->n_replicas; i++)
        rc = start_thread(&s->replicas[i].thread, &s->replicas[i].started,
                          amber_service_replica_main, &s->replicas[i], err);
    if (rc)
        amber_service_stop(s);
    return rc;
}

void amber_service_stop(struct amber_service *s)
{
    if (!s)
        return;
    amber_cancel_set(&s->stop);
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->n_tasks; i++) {
        if (s->tasks[i]->running)
            amber_cancel_set(&s->tasks[i]->cancel);
        wake_waiters(s->tasks[i]);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    const struct {
        pthread_t *thread;
        bool *started;
    } threads[] = {
        {&s->scheduler, &s->scheduler_started},
        {&s->archive_runner.thread, &s->archive_runner.started},
        {&s->side_runner.thread, &s->side_runner.started},
        {&s->watcher, &s->watcher_started},
    };
    for (size_t i = 0; i < amber_countof(threads); i++) {
        if (*threads[i].started)
            pthread_join(*threads[i].thread, NULL);
        *threads[i].started = false;
    }
    for (size_t i = 0; i < s->n_replicas; i++) {
        if (s->replicas[i].started)
            pthread_join(s->replicas[i].thread, NULL);
        s->replicas[i].started = false;
    }
}

void amber_service_free(struct amber_service *s)
{
    if (!s)
        return;
    struct runner *runners[] = {&s->archive_runner, &s->side_runner};
    for (size_t i = 0; i < amber_countof(runners); i++) {
        for (struct work *w = runners[i]->head, *next; w; w = next) {
            next = w->next;
            free(w->argument);
            free(w);
        }
    }
    for (size_t i = 0; i < s->n_tasks; i++)
        task_free(s->tasks[i]);
    for (size_t i = 0; i < s->n_job_sets; i++)
        jobs_free(s->job_sets[i]);
    free(s->tasks);
    free(s->job_sets);
    free(s->pins);
    amber_marker_view_free(s->markers);
    amber_elsewhere_clear(&s->listed);
    amber_folders_clear(&s->folders);
    free(s->store_type);
    free(s->store_path);
    free(s->mountpoint);
    amber_cancel_clear(&s->stop);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

void amber_service_reload(struct amber_service *s, struct amber_jobs *jobs)
{
    struct amber_err err = AMBER_ERR_INIT;
    pthread_mutex_lock(&s->mutex);
    enum amber_rc rc = take_jobs(s, jobs, &err);
    size_t n = jobs->n;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    if (rc) {
        amber_error("the jobs file was not taken over: %s", err.text);
        jobs_free(jobs);
    } else {
        amber_info("the jobs file was read anew: %s", AMBER_COUNT(n, "job"));
    }
}
