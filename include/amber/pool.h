/*
 * pool.h - the worker pool: a fixed number of threads that run short tasks in FIFO order.
 *
 * Used for compressing and decoding blocks. A task never blocks on another task of the same pool.
 */
#ifndef AMBER_POOL_H
#define AMBER_POOL_H

#include "amber/err.h"

struct amber_pool;

/* One unit of work, embedded in the caller's struct; the caller's until run() was called. */
struct amber_task {
    void (*run)(struct amber_task *task); /* may free the struct that holds task */
    struct amber_task *next;              /* the pool's */
};

/* errors  INVALID n_threads 0; NOMEM; IO if a thread can't be made (those made are ended). */
enum amber_rc amber_pool_new(unsigned n_threads, struct amber_pool **out, struct amber_err *err)
    AMBER_MUST_CHECK;
/* The same with threads that let others go first: lower priority for processor and disk. */
enum amber_rc amber_pool_new_polite(unsigned n_threads, struct amber_pool **out,
                                    struct amber_err *err) AMBER_MUST_CHECK;
/* Run what is queued, then end the threads. NULL allowed. */
void amber_pool_free(struct amber_pool *pool);
/* Queue a task; never fails, never blocks. thread any. */
void amber_pool_submit(struct amber_pool *pool, struct amber_task *task);
unsigned amber_pool_threads(const struct amber_pool *pool);
/* Queued plus running tasks: how busy the pool is. */
unsigned amber_pool_load(struct amber_pool *pool);

/* Number of processors that this process may use. */
unsigned amber_cpu_count(void);

#endif
