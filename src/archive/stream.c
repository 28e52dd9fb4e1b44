/*
 * stream.c - one consumer of a reader, with blocks decoded ahead of it while it goes on in order.
 *
 *   cur            the newest block asked for
 *   (cur, next)    asked of the pool, loading or loaded
 *   cur + window   how far ahead is wanted: doubles with each block in order up to WINDOW_MAX,
 *                  bounded by the cache's budget; 0 after a seek
 *
 * A task runs ahead until the window is full and is started again once half of it was used, so
 * that it decodes several blocks a wake-up. On a few cores one such task is faster than more: the
 * others are needed to copy. A consumer that has caught up, and would wait idle for the task, loads
 * one block further on meanwhile. A block that nobody has started is loaded by who needs it, so
 * nobody ever waits for a task in the queue. All members are guarded by the cache's lock.
 */
#include "reader_priv.h"

#include <inttypes.h>

#define WINDOW_MAX 12U /* blocks */
#define TASKS_MAX 4U
#define LATE_MAX 2U /* blocks that a piece of the kernel's parallel readahead may come late */
#define NO_BLOCK SIZE_MAX

struct stream_task {
    struct amber_task task; /* first: run() gets its address */
    struct amber_stream *stream;
    bool busy;
};

struct amber_stream {
    struct amber_reader *reader;
    unsigned refs; /* the owner's and one for each busy task */
    bool closed;
    size_t cur, next;
    size_t window, window_max;
    unsigned n_tasks; /* that may be busy at once */
    struct stream_task tasks[TASKS_MAX];
};

static void run_ahead(struct amber_task *task);

/* Blocks ahead that a half of the budget holds, and decoders that leave cores for the copying. */
static void set_limits(struct amber_stream *s)
{
    const struct amber_reader *r = s->reader;
    size_t n = r->end_data - r->first_data;
    size_t typical = n > 0 ? (size_t)(r->part.raw_bytes / n) + 1 : 1;
    unsigned threads = amber_pool_threads(r->cache->pool);

    s->window_max = r->cache->budget / 2 / typical;
    if (s->window_max > WINDOW_MAX)
        s->window_max = WINDOW_MAX;
    s->n_tasks = threads <= 3 ? 1 : threads / 2;
    if (s->n_tasks > TASKS_MAX)
        s->n_tasks = TASKS_MAX;
}

enum amber_rc amber_stream_open(struct amber_reader *r, struct amber_stream **out,
                                struct amber_err *err)
{
    struct amber_stream *s;
    enum amber_rc rc = amber_calloc(1, sizeof(*s), &s, err);

    if (rc)
        return rc;
    s->reader = r;
    s->refs = 1;
    s->cur = NO_BLOCK;
    set_limits(s);
    for (size_t i = 0; i < TASKS_MAX; i++) {
        s->tasks[i].task.run = run_ahead;
        s->tasks[i].stream = s;
    }
    pthread_mutex_lock(&r->cache->lock);
    r->n_streams++;
    pthread_mutex_unlock(&r->cache->lock);
    *out = s;
    return AMBER_OK;
}

/* Give up a reference and the lock. The reader may be gone when this returns. */
static void unref_unlock(struct amber_stream *s)
{
    struct amber_reader *r = s->reader;
    struct amber_cache *c = r->cache;
    bool last = --s->refs == 0;

    if (last && --r->n_streams == 0)
        pthread_cond_broadcast(&c->idle);
    pthread_mutex_unlock(&c->lock);
    if (last)
        free(s);
}

/* Blocks that were loaded ahead and won't be used give way to others. Called with the lock. */
static void forget_ahead(struct amber_stream *s)
{
    for (size_t i = s->cur + 1; s->cur != NO_BLOCK && i < s->next; i++)
        amber_cache_unwant(s->reader->cache, &s->reader->slots[i]);
}

void amber_stream_close(struct amber_stream *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->reader->cache->lock);
    s->closed = true;
    forget_ahead(s);
    unref_unlock(s);
}

/* The block behind the last one wanted. Called with the lock. */
static size_t wanted_end(const struct amber_stream *s)
{
    size_t left = s->reader->end_data - s->cur - 1;

    return s->cur + 1 + (s->window < left ? s->window : left);
}

static void run_ahead(struct amber_task *task)
{
    struct stream_task *t = (struct stream_task *)task;
    struct amber_stream *s = t->stream;
    struct amber_reader *r = s->reader;
    bool room = true;

    pthread_mutex_lock(&r->cache->lock);
    while (room && !s->closed && s->next < wanted_end(s)) {
        size_t i = s->next++;
        pthread_mutex_unlock(&r->cache->lock);
        struct cache_load l = amber_reader_load_of(r, i);
        room = amber_cache_ahead(r->cache, &r->slots[i], &l);
        pthread_mutex_lock(&r->cache->lock);
        if (!room && s->next == i + 1)
            s->next = i;
    }
    t->busy = false;
    unref_unlock(s);
}

/* Note that block b is wanted. Called with the lock. */
static void move_to(struct amber_stream *s, size_t b)
{
    bool first = s->cur == NO_BLOCK;

    if (!first && (b == s->cur || (b < s->cur && s->cur - b <= LATE_MAX)))
        return;
    if (!first && b > s->cur && b - s->cur <= (s->window > 1 ? s->window : 1)) {
        /* What lies two blocks back won't be asked for again by this consumer, but by others that
         * come behind it. */
        bool alone = s->reader->n_streams == 1;
        for (size_t i = s->cur > LATE_MAX ? s->cur - LATE_MAX : 0; alone && i + LATE_MAX <= b; i++)
            amber_cache_cool(s->reader->cache, &s->reader->slots[i]);
        s->window = s->window > 0 ? s->window * 2 : 2;
        s->cur = b;
        if (s->next <= b)
            s->next = b + 1;
    } else {
        forget_ahead(s);
        /* Whoever starts at the start most likely wants all of it. */
        s->window = first && b == s->reader->first_data ? 1 : 0;
        s->cur = b;
        s->next = b + 1;
    }
    if (s->window > s->window_max)
        s->window = s->window_max;
}

/* Take an idle task if enough is wanted to be worth a wake-up. Called with the lock. */
static struct stream_task *task_to_start(struct amber_stream *s)
{
    size_t end = wanted_end(s);

    if (s->next >= end || (end < s->reader->end_data && (end - s->next) * 2 < s->window))
        return NULL;
    for (unsigned i = 0; i < s->n_tasks; i++) {
        if (!s->tasks[i].busy) {
            s->tasks[i].busy = true;
            s->refs++;
            return &s->tasks[i];
        }
    }
    return NULL;
}

/* While another thread still loads block b, load one more rather than wait idle: this is the
 * core that copying leaves over. */
static void help_ahead(struct amber_stream *s, size_t b)
{
    struct amber_reader *r = s->reader;
    size_t i = NO_BLOCK;

    pthread_mutex_lock(&r->cache->lock);
    struct cache_entry *e = r->slots[b];
    if (e && e->state == ENTRY_LOADING && s->next < wanted_end(s))
        i = s->next++;
    pthread_mutex_unlock(&r->cache->lock);
    if (i == NO_BLOCK)
        return;
    struct cache_load l = amber_reader_load_of(r, i);
    amber_cache_ahead(r->cache, &r->slots[i], &l);
}

enum amber_rc amber_stream_pin(struct amber_stream *s, uint64_t off, struct amber_pin *out,
                               struct amber_err *err)
{
    struct amber_reader *r = s->reader;
    struct cache_entry *e;

    if (off >= r->part.raw_bytes)
        return amber_fail(err, AMBER_E_INVALID,
                          "%s: offset %" PRIu64 " is behind its end at %" PRIu64, r->part.key, off,
                          r->part.raw_bytes);
    size_t b = amber_block_at_raw(&r->part, off);
    pthread_mutex_lock(&r->cache->lock);
    move_to(s, b);
    struct stream_task *t = task_to_start(s);
    pthread_mutex_unlock(&r->cache->lock);
    if (t)
        amber_pool_submit(r->cache->pool, &t->task);
    help_ahead(s, b);

    struct cache_load l = amber_reader_load_of(r, b);
    enum amber_rc rc = amber_cache_acquire(r->cache, &r->slots[b], &l, &e, err);
    if (!rc)
        *out = (struct amber_pin){
            .data = e->data, .len = e->len, .raw_off = r->part.blocks[b].raw_off, .entry = e};
    return rc;
}

bool amber_stream_ready(struct amber_stream *s, uint64_t off, size_t len)
{
    struct amber_reader *r = s->reader;
    uint64_t end = len < r->part.raw_bytes - off ? off + len : r->part.raw_bytes;
    bool ready = true;

    pthread_mutex_lock(&r->cache->lock);
    for (size_t b = amber_block_at_raw(&r->part, off);
         ready && b < r->part.n_blocks && r->part.blocks[b].raw_off < end; b++)
        ready = r->part.blocks[b].raw_len == 0 ||
                (r->slots[b] && r->slots[b]->state == ENTRY_READY);
    pthread_mutex_unlock(&r->cache->lock);
    return ready;
}
