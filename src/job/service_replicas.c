/*
 * service_replicas.c - the daemon's part in filling the replicas: one thread each, so that a slow
 * one doesn't hold up the others.
 *
 * A thread takes runs off its replica's queue until none is due, then waits for a commit (of this
 * daemon, or one that the watcher hears of), at most half a minute. While the replica or the
 * database can't be reached it tries again later each time. What it found stands in memory for
 * .status and .metrics.
 */
#include <stdio.h>
#include <string.h>

#include "amber/calendar.h"
#include "amber/count.h"
#include "amber/log.h"
#include "service_priv.h"

#define IDLE_US INT64_C(30000000)
#define AGAIN_FIRST_US INT64_C(1000000)
#define AGAIN_MAX_US INT64_C(300000000)

/* Wait until something may be due; false: the service ends. */
static bool wait_for_work(struct replica *r, uint64_t *seen, int64_t wait_us)
{
    struct amber_service *s = r->service;
    int64_t until = amber_now_us() + wait_us;
    struct timespec ts = {.tv_sec = until / 1000000, .tv_nsec = (until % 1000000) * 1000};
    bool timed_out = false;
    pthread_mutex_lock(&s->mutex);
    while (!timed_out && *seen == s->commits_seen && !amber_cancel_is_set(&s->stop))
        timed_out = pthread_cond_timedwait(&s->changed, &s->mutex, &ts) != 0;
    *seen = s->commits_seen;
    pthread_mutex_unlock(&s->mutex);
    return !amber_cancel_is_set(&s->stop);
}

static void set_copying(struct replica *r, bool copying)
{
    pthread_mutex_lock(&r->service->mutex);
    r->copying = copying;
    pthread_mutex_unlock(&r->service->mutex);
}

/* What is to be shown; a failure is logged when it is another one than the last. */
static void set_result(struct replica *r, const struct amber_replica_lag *lag, const char *error)
{
    pthread_mutex_lock(&r->service->mutex);
    bool news = error[0] && strcmp(r->error, error) != 0;
    bool well_again = !error[0] && r->error[0];
    snprintf(r->error, sizeof(r->error), "%s", error);
    if (lag)
        r->lag = *lag;
    r->known = r->known || lag;
    pthread_mutex_unlock(&r->service->mutex);
    if (news)
        amber_warn("replica %s is behind and is tried again: %s", r->name, error);
    else if (well_again)
        amber_info("replica %s: archives are copied again", r->name);
}

static enum amber_rc read_lag(struct replica *r, struct amber_pg *pg, struct amber_err *err)
{
    struct amber_replica_lag lag;
    enum amber_rc rc = amber_catalog_replica_lag(pg, r->store_id, r->name, &lag, err);
    if (!rc)
        set_result(r, &lag, lag.error);
    return rc;
}

/* Take runs until none is due. A failed one ends it: what keeps one from being copied most likely
 * keeps the next. */
static enum amber_rc drain(struct replica *r, struct amber_pg *pg, bool *out_failed,
                           struct amber_err *err)
{
    struct amber_service *s = r->service;
    struct amber_replica_step step = {.found = true};
    uint64_t n;
    enum amber_rc rc = amber_catalog_replica_catch_up(pg, r->store_id, r->name, &n, err);
    if (!rc && n)
        amber_info("replica %s: %s queued that it doesn't have yet", r->name,
                   AMBER_COUNT(n, "run"));
    if (!rc)
        rc = read_lag(r, pg, err);
    *out_failed = false;
    while (!rc && step.found && !*out_failed) {
        set_copying(r, true);
        rc = amber_replicate_next(s->ctx, pg, r->store_id, r->copy, false, &s->stop, &step, err);
        set_copying(r, false);
        *out_failed = !rc && step.found && step.rc;
        if (!rc && step.found)
            rc = read_lag(r, pg, err);
    }
    return rc;
}

/* Whether the watcher has found out which store this is: then the replica's thread knows it too. */
static bool store_known(struct replica *r)
{
    struct amber_service *s = r->service;
    pthread_mutex_lock(&s->mutex);
    bool known = s->id.store_id[0] != '\0' && s->database_up;
    if (known)
        memcpy(r->store_id, s->id.store_id, sizeof(r->store_id));
    pthread_mutex_unlock(&s->mutex);
    return known;
}

/* One round, with a connection that is kept while it works. Whether all went well. */
static bool work(struct replica *r, struct amber_pg **pg)
{
    struct amber_service *s = r->service;
    struct amber_err err = AMBER_ERR_INIT;
    bool failed = false;
    enum amber_rc rc = AMBER_OK;
    if (!*pg)
        rc = amber_context_connect(s->ctx, "replicate", &s->stop, pg, &err);
    if (!rc)
        rc = drain(r, *pg, &failed, &err);
    if (!rc)
        return !failed;
    if (rc != AMBER_E_CANCELED)
        set_result(r, NULL, err.text);
    amber_pg_close(amber_steal(pg));
    return false;
}

void *amber_service_replica_main(void *arg)
{
    struct replica *r = arg;
    struct amber_pg *pg = NULL;
    uint64_t seen = 0;
    int64_t again_us = AGAIN_FIRST_US, wait_us;
    do {
        if (!store_known(r)) {
            wait_us = AGAIN_FIRST_US;
        } else if (work(r, &pg)) {
            wait_us = IDLE_US;
            again_us = AGAIN_FIRST_US;
        } else {
            wait_us = again_us;
            again_us = again_us * 2 < AGAIN_MAX_US ? again_us * 2 : AGAIN_MAX_US;
        }
    } while (wait_for_work(r, &seen, wait_us));
    amber_pg_close(pg);
    return NULL;
}

void amber_service_commit_seen(struct amber_service *s)
{
    pthread_mutex_lock(&s->mutex);
    s->commits_seen++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}
