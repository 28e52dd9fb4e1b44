/*
 * ordered.c - items worked on in parallel, finished in order.
 *
 * Whoever finishes work on the oldest item commits it and all that are ready behind it; the
 * others leave theirs in the list and go on. So the order costs no thread and nobody waits for
 * it. The lock is not held while an item is worked on or committed.
 */
#include "ordered_priv.h"

static void run(struct amber_task *task);

void amber_ordered_init(struct ordered *o, struct amber_pool *pool, size_t bytes_max,
                        enum amber_rc (*work)(struct ordered_item *, struct amber_err *),
                        enum amber_rc (*commit)(struct ordered_item *, struct amber_err *))
{
    *o = (struct ordered){.pool = pool,
                          .bytes_max = bytes_max,
                          .work = work,
                          .commit = commit,
                          .err = AMBER_ERR_INIT};
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->moved, NULL);
    o->last_next = &o->first;
}

void amber_ordered_clear(struct ordered *o)
{
    pthread_cond_destroy(&o->moved);
    pthread_mutex_destroy(&o->lock);
}

void amber_ordered_give(struct ordered *o, struct ordered_item *item)
{
    item->task.run = run;
    item->owner = o;
    pthread_mutex_lock(&o->lock);
    item->next = o->free;
    o->free = item;
    pthread_mutex_unlock(&o->lock);
}

enum amber_rc amber_ordered_take(struct ordered *o, size_t bytes, struct ordered_item **out,
                                 struct amber_err *err)
{
    pthread_mutex_lock(&o->lock);
    while (!o->err.code && (!o->free || (o->first && o->bytes + bytes > o->bytes_max)))
        pthread_cond_wait(&o->moved, &o->lock);
    enum amber_rc rc = o->err.code;
    if (rc) {
        *err = o->err;
    } else {
        *out = o->free;
        o->free = o->free->next;
        (*out)->bytes = bytes;
    }
    pthread_mutex_unlock(&o->lock);
    return rc;
}

void amber_ordered_submit(struct ordered *o, struct ordered_item *item)
{
    item->next = NULL;
    item->worked = false;
    pthread_mutex_lock(&o->lock);
    *o->last_next = item;
    o->last_next = &item->next;
    o->bytes += item->bytes;
    pthread_mutex_unlock(&o->lock);
    amber_pool_submit(o->pool, &item->task);
}

void amber_ordered_fail(struct ordered *o, const struct amber_err *err)
{
    pthread_mutex_lock(&o->lock);
    if (!o->err.code)
        o->err = *err;
    pthread_mutex_unlock(&o->lock);
}

/* Run work or commit without the lock, unless something failed before. Called with the lock. */
static void step(struct ordered *o, struct ordered_item *item,
                 enum amber_rc (*fn)(struct ordered_item *, struct amber_err *))
{
    struct amber_err err = AMBER_ERR_INIT;

    if (o->err.code)
        return;
    pthread_mutex_unlock(&o->lock);
    enum amber_rc rc = fn(item, &err);
    pthread_mutex_lock(&o->lock);
    if (rc && !o->err.code)
        o->err = err;
}

/* Finish the oldest items as long as they are ready. Called with the lock. */
static void commit_ready(struct ordered *o)
{
    o->committing = true;
    while (o->first && o->first->worked) {
        struct ordered_item *item = o->first;
        step(o, item, o->commit);
        o->first = item->next;
        if (!o->first)
            o->last_next = &o->first;
        o->bytes -= item->bytes;
        item->next = o->free;
        o->free = item;
        pthread_cond_signal(&o->moved);
    }
    o->committing = false;
}

static void run(struct amber_task *task)
{
    struct ordered_item *item = (struct ordered_item *)task;
    struct ordered *o = item->owner;

    pthread_mutex_lock(&o->lock);
    step(o, item, o->work);
    item->worked = true;
    if (!o->committing)
        commit_ready(o);
    pthread_mutex_unlock(&o->lock);
}

void amber_ordered_drain(struct ordered *o)
{
    pthread_mutex_lock(&o->lock);
    while (o->first)
        pthread_cond_wait(&o->moved, &o->lock);
    pthread_mutex_unlock(&o->lock);
}

enum amber_rc amber_ordered_wait(struct ordered *o, struct amber_err *err)
{
    amber_ordered_drain(o);
    pthread_mutex_lock(&o->lock);
    enum amber_rc rc = o->err.code;
    if (rc)
        *err = o->err;
    pthread_mutex_unlock(&o->lock);
    return rc;
}
