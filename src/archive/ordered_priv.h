/*
 * ordered_priv.h - a bounded number of items worked on in parallel, finished in order.
 *
 *   take (waits for a free item and room) -> submit -> work, on the pool, any order
 *                                                   -> commit, one at a time, in submission order
 *
 * The first error is kept; from then on nothing more is worked on or committed, and take and wait
 * report it. One thread takes and submits.
 */
#ifndef AMBER_ORDERED_PRIV_H
#define AMBER_ORDERED_PRIV_H

#include <pthread.h>

#include "amber/pool.h"

struct ordered;

/* Embedded as first member of what is worked on. */
struct ordered_item {
    struct amber_task task; /* first: the pool gives its address back */
    struct ordered *owner;
    struct ordered_item *next; /* in submission order, or of the free list */
    size_t bytes;              /* counted while it is under way */
    bool worked;
};

struct ordered {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t moved; /* an item was finished */
    struct amber_pool *pool;
    enum amber_rc (*work)(struct ordered_item *item, struct amber_err *err);
    enum amber_rc (*commit)(struct ordered_item *item, struct amber_err *err);
    struct ordered_item *free;
    struct ordered_item *first, **last_next; /* under way */
    size_t bytes, bytes_max;
    bool committing;      /* a thread is at it */
    struct amber_err err; /* the first failure */
};

void amber_ordered_init(struct ordered *o, struct amber_pool *pool, size_t bytes_max,
                        enum amber_rc (*work)(struct ordered_item *, struct amber_err *),
                        enum amber_rc (*commit)(struct ordered_item *, struct amber_err *));
/* Nothing is under way. The items are the caller's. */
void amber_ordered_clear(struct ordered *o);
/* Add an item to the free ones (before the first take, or one taken that isn't needed). */
void amber_ordered_give(struct ordered *o, struct ordered_item *item);
/* Wait for a free item, and until bytes more fit or nothing else is under way. */
enum amber_rc amber_ordered_take(struct ordered *o, size_t bytes, struct ordered_item **out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
void amber_ordered_submit(struct ordered *o, struct ordered_item *item);
/* Record a failure from outside. */
void amber_ordered_fail(struct ordered *o, const struct amber_err *err);
/* Wait until nothing is under way. */
void amber_ordered_drain(struct ordered *o);
/* The same, and give the first error. */
enum amber_rc amber_ordered_wait(struct ordered *o, struct amber_err *err) AMBER_MUST_CHECK;

#endif
