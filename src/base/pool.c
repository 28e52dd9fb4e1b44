/*
 * pool.c - worker threads over one queue.
 *
 * Tasks are embedded in their callers' structs and linked into a FIFO list, so that submitting
 * allocates nothing and can't fail. The lock guards the list, the counts and `ending`; it isn't
 * held while a task runs. Signals are blocked in the workers: they belong to the main thread.
 */
#include "amber/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "amber/mem.h"

#define POLITE_NICE 10
#define IOPRIO_WHO_PROCESS 1            /* linux/ioprio.h isn't everywhere */
#define IOPRIO_BEST_EFFORT_LAST (2 << 13 | 7) /* class 2, the last of its levels */

struct amber_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a task was queued, or the pool ends */
    struct amber_task *first;
    struct amber_task **last_next; /* where the next task is linked */
    unsigned n_queued, n_running;
    bool ending;
    bool polite;
    unsigned n_threads;
    pthread_t threads[];
};

/* Take the oldest task; NULL when the pool ends and nothing is queued. Called with the lock. */
static struct amber_task *take_task(struct amber_pool *pool)
{
    while (!pool->first && !pool->ending)
        pthread_cond_wait(&pool->wake, &pool->lock);

    struct amber_task *task = pool->first;
    if (!task)
        return NULL;
    pool->first = task->next;
    if (!pool->first)
        pool->last_next = &pool->first;
    pool->n_queued--;
    return task;
}

/* Of this thread alone, which Linux allows for both; where it is refused the thread is just a normal
 * one. */
static void lower_priority(void)
{
    long tid = syscall(SYS_gettid);

    (void)setpriority(PRIO_PROCESS, (id_t)tid, POLITE_NICE);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, IOPRIO_BEST_EFFORT_LAST);
}

static void *work(void *arg)
{
    struct amber_pool *pool = arg;
    struct amber_task *task;

    if (pool->polite)
        lower_priority();
    pthread_mutex_lock(&pool->lock);
    while ((task = take_task(pool))) {
        pool->n_running++;
        pthread_mutex_unlock(&pool->lock);
        task->run(task);
        pthread_mutex_lock(&pool->lock);
        pool->n_running--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Start the threads; pool->n_threads counts those that run. */
static int start_threads(struct amber_pool *pool, unsigned n)
{
    sigset_t all, before;
    int errnum = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->n_threads < n && errnum == 0) {
        errnum = pthread_create(&pool->threads[pool->n_threads], NULL, work, pool);
        if (errnum == 0)
            pool->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errnum;
}

static enum amber_rc pool_new(unsigned n_threads, bool polite, struct amber_pool **out,
                              struct amber_err *err)
{
    struct amber_pool *pool;

    if (n_threads == 0)
        return amber_fail(err, AMBER_E_INVALID, "a worker pool needs at least one thread");
    enum amber_rc rc =
        amber_calloc(1, sizeof(*pool) + n_threads * sizeof(pool->threads[0]), &pool, err);
    if (rc)
        return rc;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->last_next = &pool->first;
    pool->polite = polite;

    int errnum = start_threads(pool, n_threads);
    if (errnum) {
        unsigned made = pool->n_threads;
        amber_pool_free(pool);
        amber_fail_errno(err, errnum, "can't start worker thread %u of %u", made + 1, n_threads);
        err->code = AMBER_E_IO; /* EAGAIN here is the limit of threads, not "try again" */
        return err->code;
    }
    *out = pool;
    return AMBER_OK;
}

enum amber_rc amber_pool_new(unsigned n_threads, struct amber_pool **out, struct amber_err *err)
{
    return pool_new(n_threads, false, out, err);
}

enum amber_rc amber_pool_new_polite(unsigned n_threads, struct amber_pool **out,
                                    struct amber_err *err)
{
    return pool_new(n_threads, true, out, err);
}

void amber_pool_free(struct amber_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void amber_pool_submit(struct amber_pool *pool, struct amber_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->last_next = task;
    pool->last_next = &task->next;
    pool->n_queued++;
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

unsigned amber_pool_threads(const struct amber_pool *pool)
{
    return pool->n_threads;
}

unsigned amber_pool_load(struct amber_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    unsigned load = pool->n_queued + pool->n_running;
    pthread_mutex_unlock(&pool->lock);
    return load;
}

unsigned amber_cpu_count(void)
{
    /* The affinity mask, not the machine: containers and taskset lower it. Machines with more
     * processors than a cpu_set_t holds refuse the call; there, the machine's count is close. */
    cpu_set_t set;
    long n;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = CPU_COUNT(&set);
    else
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}
