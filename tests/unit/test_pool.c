/*
 * test_pool.c - every task runs once, in order, on threads without signals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <cmocka.h>

#include "amber/mem.h"
#include "amber/pool.h"

static struct amber_pool *new_pool(unsigned n)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pool *pool = NULL;

    if (amber_pool_new(n, &pool, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    return pool;
}

struct counted {
    struct amber_task task;
    atomic_uint *total;
};

static void count(struct amber_task *task)
{
    struct counted *c = (struct counted *)task;

    atomic_fetch_add(c->total, 1);
    free(c); /* a task may free itself */
}

static void free_runs_everything_queued(void **state)
{
    struct amber_pool *pool = new_pool(3);
    struct amber_err err = AMBER_ERR_INIT;
    atomic_uint total = 0;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        struct counted *c = NULL;
        assert_int_equal(amber_calloc(1, sizeof(*c), &c, &err), AMBER_OK);
        c->task.run = count;
        c->total = &total;
        amber_pool_submit(pool, &c->task);
    }
    amber_pool_free(pool);
    assert_int_equal(atomic_load(&total), 5000);
}

struct ordered {
    struct amber_task task;
    unsigned id;
    unsigned *log, *n;
};

static void note(struct amber_task *task)
{
    struct ordered *o = (struct ordered *)task;

    o->log[(*o->n)++] = o->id; /* one thread: no lock needed */
}

static void one_thread_runs_tasks_in_order(void **state)
{
    enum { N = 100 };
    struct amber_pool *pool = new_pool(1);
    struct ordered tasks[N];
    unsigned log[N], n = 0;

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        tasks[i] = (struct ordered){.task = {.run = note}, .id = i, .log = log, .n = &n};
        amber_pool_submit(pool, &tasks[i].task);
    }
    amber_pool_free(pool);
    assert_int_equal(n, N);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(log[i], i);
}

struct gated {
    struct amber_task task;
    sem_t *started, *gate;
};

static void wait_gate(struct amber_task *task)
{
    struct gated *g = (struct gated *)task;

    sem_post(g->started);
    sem_wait(g->gate);
}

static void load_counts_queued_and_running(void **state)
{
    struct amber_pool *pool = new_pool(2);
    struct gated tasks[5];
    sem_t started, gate;

    (void)state;
    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    assert_int_equal(amber_pool_threads(pool), 2);
    assert_int_equal(amber_pool_load(pool), 0);
    for (int i = 0; i < 5; i++) {
        tasks[i] = (struct gated){.task = {.run = wait_gate}, .started = &started, .gate = &gate};
        amber_pool_submit(pool, &tasks[i].task);
    }
    sem_wait(&started); /* both threads are busy at once, so two tasks run in parallel */
    sem_wait(&started);
    assert_int_equal(amber_pool_load(pool), 5);
    for (int i = 0; i < 5; i++)
        sem_post(&gate);
    amber_pool_free(pool);
    sem_destroy(&started);
    sem_destroy(&gate);
}

struct masked {
    struct amber_task task;
    int blocked;
};

static void look_at_mask(struct amber_task *task)
{
    sigset_t now;

    pthread_sigmask(SIG_SETMASK, NULL, &now);
    ((struct masked *)task)->blocked = sigismember(&now, SIGTERM) && sigismember(&now, SIGHUP);
}

static void workers_leave_signals_to_main(void **state)
{
    struct amber_pool *pool = new_pool(1);
    struct masked m = {.task = {.run = look_at_mask}};
    sigset_t now;

    (void)state;
    amber_pool_submit(pool, &m.task);
    amber_pool_free(pool);
    assert_true(m.blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    assert_false(sigismember(&now, SIGTERM));
}

static void new_without_threads_is_invalid(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pool *pool = NULL;

    (void)state;
    assert_int_equal(amber_pool_new(0, &pool, &err), AMBER_E_INVALID);
    assert_null(pool);
    amber_pool_free(NULL);
}

static void cpu_count_is_at_least_one(void **state)
{
    (void)state;
    assert_true(amber_cpu_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_runs_everything_queued),
        cmocka_unit_test(one_thread_runs_tasks_in_order),
        cmocka_unit_test(load_counts_queued_and_running),
        cmocka_unit_test(workers_leave_signals_to_main),
        cmocka_unit_test(new_without_threads_is_invalid),
        cmocka_unit_test(cpu_count_is_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
