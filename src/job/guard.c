/*
 * guard.c - the thread that looks for sessions that wait for a unit, and for those that just work.
 *
 * The lock guards everything below it. The connection is the thread's own; if it can't be had the run
 * goes on unwatched, which is said once.
 */
#include "guard_priv.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/log.h"

#define LOOK_MS 250
#define BUSY_US INT64_C(2000000) /* since somebody was seen at work */
#define WAITERS_MAX 32

struct seen {
    int pid;
    int64_t since_us;
};

struct amber_guard {
    const struct amber_context *ctx;
    const struct amber_cancel *parent;
    struct amber_cancel cancel; /* what the run heeds */
    struct amber_cancel stop;
    pthread_t thread;
    /* the thread's own: */
    struct amber_pg *pg;
    struct seen seen[WAITERS_MAX];
    size_t n_seen;
    int64_t busy_until_us;
    bool warned;
    atomic_bool busy;
    pthread_mutex_t lock;
    bool watching;
    int pid;            /* of the unit's backend */
    char gave_way[160]; /* "": it didn't */
};

/* Who waited before and still does keeps his time. Returns the first who has waited too long. */
static const struct amber_waiter *note_waiters(struct amber_guard *g,
                                               const struct amber_waiter *now, size_t n)
{
    const struct amber_waiter *late = NULL;
    struct seen next[WAITERS_MAX];
    int64_t us = amber_mono_us();

    for (size_t i = 0; i < n; i++) {
        next[i] = (struct seen){.pid = now[i].pid, .since_us = us};
        for (size_t k = 0; k < g->n_seen; k++)
            if (g->seen[k].pid == now[i].pid)
                next[i].since_us = g->seen[k].since_us;
        if (!late && us - next[i].since_us >= AMBER_GUARD_PATIENCE_US)
            late = &now[i];
    }
    memcpy(g->seen, next, n * sizeof(*next));
    g->n_seen = n;
    return late;
}

static enum amber_rc look_for_waiters(struct amber_guard *g, int pid, char *late, size_t late_len,
                                      struct amber_err *err)
{
    struct amber_waiter waiters[WAITERS_MAX];
    size_t n = 0;
    enum amber_rc rc = amber_unit_waiters(g->pg, pid, waiters, WAITERS_MAX, &n, err);

    if (rc)
        return rc;
    const struct amber_waiter *w = note_waiters(g, waiters, n);
    if (w)
        snprintf(late, late_len, "%s", w->what);
    return AMBER_OK;
}

/* Of a polite run. */
static enum amber_rc look_for_work(struct amber_guard *g, struct amber_err *err)
{
    bool others = false;
    enum amber_rc rc = AMBER_OK;

    if (g->ctx->export_connections <= 1)
        rc = amber_unit_others(g->pg, &others, err);
    if (others)
        g->busy_until_us = amber_mono_us() + BUSY_US;
    return rc;
}

/* One look; pid 0: nobody waits for a unit. No lock is held while the server is asked. */
static enum amber_rc look(struct amber_guard *g, int pid, char *late, size_t late_len,
                          struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (g->pg && !amber_pg_alive(g->pg))
        amber_pg_close(amber_steal(&g->pg));
    if (!g->pg)
        rc = amber_context_connect(g->ctx, "watch", &g->stop, &g->pg, err);
    if (!rc)
        rc = look_for_work(g, err);
    return rc || !pid ? rc : look_for_waiters(g, pid, late, late_len, err);
}

static void look_once(struct amber_guard *g)
{
    struct amber_err err = AMBER_ERR_INIT;
    char late[sizeof(g->gave_way)] = "";

    pthread_mutex_lock(&g->lock);
    int pid = g->watching && !g->gave_way[0] ? g->pid : 0;
    pthread_mutex_unlock(&g->lock);
    if (!pid)
        g->n_seen = 0;
    if (look(g, pid, late, sizeof(late), &err) && !g->warned && !amber_cancel_is_set(&g->stop)) {
        g->warned = true;
        amber_warn("nobody looks for sessions that wait for this run's locks, or work beside it: %s",
                   err.text);
    }
    atomic_store(&g->busy, amber_mono_us() < g->busy_until_us); /* where nobody could look, too */
    pthread_mutex_lock(&g->lock);
    if (g->watching && late[0]) {
        memcpy(g->gave_way, late, sizeof(late));
        amber_cancel_set(&g->cancel);
    }
    pthread_mutex_unlock(&g->lock);
}

static void *guard_main(void *arg)
{
    struct amber_guard *g = arg;
    bool passed = false;

    while (!amber_cancel_is_set(&g->stop)) {
        if (!passed && amber_cancel_is_set(g->parent)) {
            pthread_mutex_lock(&g->lock);
            amber_cancel_set(&g->cancel);
            pthread_mutex_unlock(&g->lock);
            passed = true;
        }
        struct pollfd p[2] = {
            {.fd = g->stop.fd, .events = POLLIN},
            {.fd = g->parent && !passed ? g->parent->fd : -1, .events = POLLIN},
        };
        if (poll(p, 2, LOOK_MS) == 0)
            look_once(g);
    }
    return NULL;
}

static enum amber_rc start(struct amber_guard *g, struct amber_err *err)
{
    sigset_t every, before;

    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int errnum = pthread_create(&g->thread, NULL, guard_main, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!errnum)
        return AMBER_OK;
    amber_fail_errno(err, errnum, "can't start the thread that looks for waiting sessions");
    err->code = AMBER_E_IO;
    return err->code;
}

static void guard_clear(struct amber_guard *g)
{
    amber_pg_close(g->pg);
    amber_cancel_clear(&g->cancel);
    amber_cancel_clear(&g->stop);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

enum amber_rc amber_guard_new(const struct amber_context *ctx, const struct amber_cancel *parent,
                              struct amber_guard **out, struct amber_err *err)
{
    struct amber_guard *g = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*g), &g, err);

    if (rc)
        return rc;
    *g = (struct amber_guard){.ctx = ctx, .parent = parent, .cancel.fd = -1, .stop.fd = -1};
    pthread_mutex_init(&g->lock, NULL);
    rc = amber_cancel_init(&g->cancel, err);
    if (!rc)
        rc = amber_cancel_init(&g->stop, err);
    if (!rc)
        rc = start(g, err);
    if (rc) {
        guard_clear(g);
        return rc;
    }
    *out = g;
    return AMBER_OK;
}

void amber_guard_free(struct amber_guard *g)
{
    if (!g)
        return;
    amber_cancel_set(&g->stop);
    pthread_join(g->thread, NULL);
    guard_clear(g);
}

const struct amber_cancel *amber_guard_cancel(const struct amber_guard *g)
{
    return &g->cancel;
}

void amber_guard_watch(struct amber_guard *g, int pid)
{
    pthread_mutex_lock(&g->lock);
    g->pid = pid;
    g->watching = true;
    pthread_mutex_unlock(&g->lock);
}

void amber_guard_rest(struct amber_guard *g)
{
    pthread_mutex_lock(&g->lock);
    g->watching = false;
    pthread_mutex_unlock(&g->lock);
}

bool amber_guard_gave_way(struct amber_guard *g, char *out_what, size_t len)
{
    pthread_mutex_lock(&g->lock);
    bool gave = g->gave_way[0] != '\0';
    if (gave) {
        snprintf(out_what, len, "%s", g->gave_way);
        g->gave_way[0] = '\0';
        if (!amber_cancel_is_set(g->parent))
            amber_cancel_reset(&g->cancel);
    }
    pthread_mutex_unlock(&g->lock);
    return gave;
}

bool amber_guard_busy(const struct amber_guard *g)
{
    return atomic_load(&g->busy);
}
