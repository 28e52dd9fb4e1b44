/*
 * call.c - work that may block: on threads of its own, with its request parked meanwhile.
 *
 * A parked request is answered by whoever takes it back first (amber_parked_end, under m->mutex):
 * the thread that did the work, or the event thread because the caller gives up. libfuse's callback
 * for a signal runs under the request's own lock; it only sets a flag and wakes the event thread,
 * and takes no lock of ours, so that a request can be taken back under m->mutex. It comes once for a
 * request: whether a further signal ends the wait, the event thread has to look for.
 */
#include "mount_priv.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define CALL_STACK_BYTES (2048U * 1024U) /* address space; touched pages only count */

void amber_event_wake(struct amber_mount *m)
{
    uint64_t one = 1;
    ssize_t n = write(m->event_fd, &one, sizeof(one)); /* full: it is awake already */
    (void)n;
}

int amber_thread_start(pthread_t *out, bool detached, void *(*run)(void *arg), void *arg)
{
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, CALL_STACK_BYTES);
    if (detached)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(out, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return e;
}

struct call {
    struct amber_mount *m;
    void (*run)(void *arg);
    void *arg;
};

static void call_ended(struct amber_mount *m)
{
    pthread_mutex_lock(&m->mutex);
    if (--m->n_calls == 0)
        pthread_cond_broadcast(&m->idle);
    pthread_mutex_unlock(&m->mutex);
}

static void *call_main(void *arg)
{
    struct call c = *(struct call *)arg;
    free(arg);
    c.run(c.arg);
    call_ended(c.m);
    return NULL;
}

bool amber_call_start(struct amber_mount *m, void (*run)(void *arg), void *arg)
{
    pthread_mutex_lock(&m->mutex);
    bool room = !m->stopping && m->n_calls < CALLS_MAX;
    if (room)
        m->n_calls++;
    pthread_mutex_unlock(&m->mutex);
    if (!room)
        return false;
    pthread_t thread;
    struct call *c = malloc(sizeof(*c));
    if (c)
        *c = (struct call){.m = m, .run = run, .arg = arg};
    if (c && amber_thread_start(&thread, true, call_main, c) == 0)
        return true;
    free(c);
    call_ended(m);
    return false;
}

static void note_signal(fuse_req_t req, void *data)
{
    struct parked *p = data;
    (void)req;
    atomic_store(&p->signaled, true);
    amber_event_wake(p->m);
}

void amber_park(struct amber_mount *m, struct parked *p, fuse_req_t req, bool like_pipe,
                void (*on_interrupt)(struct parked *p))
{
    p->m = m;
    p->req = req;
    p->told = false;
    p->interrupted = false;
    p->like_pipe = like_pipe;
    p->on_interrupt = on_interrupt;
    atomic_store(&p->signaled, false);
    p->prev = NULL;
    p->next = m->parked;
    if (p->next)
        p->next->prev = p;
    m->parked = p;
    fuse_req_interrupt_func(req, note_signal, p); /* may call it at once */
}

fuse_req_t amber_parked_end(struct parked *p)
{
    fuse_req_t req = p->req;
    if (!req)
        return NULL;
    fuse_req_interrupt_func(req, NULL, NULL); /* waits for a callback that is running */
    if (p->prev)
        p->prev->next = p->next;
    else
        p->m->parked = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->req = NULL;
    return req;
}

bool amber_parked_interrupts(struct amber_mount *m, bool all)
{
    bool look_again = false;
    for (struct parked *p = m->parked, *next; p; p = next) {
        next = p->next; /* on_interrupt may end p, and p only */
        if (p->told)
            continue;
        bool signaled = atomic_load(&p->signaled);
        p->interrupted = signaled && amber_caller_gives_up(fuse_req_ctx(p->req)->pid, p->like_pipe);
        look_again = look_again || (signaled && !p->interrupted);
        if (!all && !p->interrupted)
            continue;
        p->told = true;
        p->on_interrupt(p);
    }
    return look_again;
}

/* ---- work that waits for the store ---- */

bool amber_store_is_remote(const struct amber_mount *m)
{
    return amber_store_traits(m->cfg.store)->remote;
}

static void answer_interrupted(struct parked *p)
{
    if (!p->interrupted)
        return; /* the mount ends: work that is under way is finished */
    fuse_req_t req = amber_parked_end(p);
    if (req)
        fuse_reply_err(req, EINTR);
}

static void store_call_run(void *arg)
{
    struct store_call *c = arg;
    struct amber_mount *m = c->parked.m;
    c->work(c);
    pthread_mutex_lock(&m->mutex);
    fuse_req_t req = amber_parked_end(&c->parked);
    pthread_mutex_unlock(&m->mutex);
    c->answer(c, req);
}

void amber_store_call(struct amber_mount *m, struct store_call *c, fuse_req_t req)
{
    if (amber_store_is_remote(m)) {
        amber_store_call_slow(m, c, req);
        return;
    }
    c->work(c);
    c->answer(c, req);
}

void amber_store_call_slow(struct amber_mount *m, struct store_call *c, fuse_req_t req)
{
    pthread_mutex_lock(&m->mutex);
    amber_park(m, &c->parked, req, false, answer_interrupted);
    pthread_mutex_unlock(&m->mutex);
    /* Too many at once: those behind this one wait with it. */
    if (!amber_call_start(m, store_call_run, c))
        store_call_run(c);
}
