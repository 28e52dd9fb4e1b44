/*
 * store_s3_ahead.c - ranges fetched ahead of those who read an object in order.
 *
 *        next          end
 *   ------|-------------|------->   a lane: what was read | spans, fetched or on their way | not
 * yet
 *         <-- window -->
 *
 * A read that goes on where an earlier one ended makes a lane; the window begins at WINDOW_FIRST
 * and doubles each time that half of it was used, up to WINDOW_MAX. Spans have at most SPAN_MAX
 * bytes and come in parallel; a reader waits for the bytes it wants only, not for its span. Reads
 * come a little out of order, since several threads decode: a lane takes what lies within NEAR of
 * it. Random reads make no lane's window, so that they cost exactly what they ask for.
 *
 * Memory: AHEAD_MAX for all objects of a store; past it, reads are exact ones.
 */
#include <stdio.h>
#include <time.h>

#include "amber/calendar.h"

#include "store_s3_read_priv.h"

#define WINDOW_FIRST ((size_t)1 << 20)
#define WINDOW_MAX ((size_t)32 << 20)
#define SPAN_MAX ((size_t)8 << 20)
#define AHEAD_MAX ((size_t)96 << 20)
#define NEAR ((uint64_t)1 << 20)
#define LATE ((uint64_t)4 << 20) /* behind next, from where on nobody comes any more */

static struct s3_store *store_of(const struct s3_object *o)
{
    return amber_s3(o->base.store);
}

/* ---- spans ---- */

/* Give up a reference. Called with the lock. */
static void span_unref(struct span *s)
{
    if (--s->refs > 0)
        return;
    __atomic_sub_fetch(&store_of(s->object)->ahead_bytes, s->len, __ATOMIC_RELAXED);
    free(s->data);
    free(s);
}

static void run_span(struct amber_task *task)
{
    struct span *s = (struct span *)task;
    struct s3_object *o = s->object;
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_range r = {
        .buf = s->data, .len = s->len, .span = s, .stop = &s->stop, .off = s->off, .object = o};

    enum amber_rc rc = __atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)
                           ? amber_fail(&err, AMBER_E_CANCELED, "canceled")
                           : amber_s3_get_range(&r, &err);
    pthread_mutex_lock(&o->lock);
    s->ended = true;
    if (rc)
        s->fault = err;
    pthread_cond_broadcast(&o->progress);
    span_unref(s);
    pthread_mutex_unlock(&o->lock);
    amber_s3_object_unref(o);
}

void amber_s3_span_progress(struct span *s, size_t done)
{
    struct s3_object *o = s->object;

    pthread_mutex_lock(&o->lock);
    s->done = done;
    if (done >= s->wanted) {
        s->wanted = SIZE_MAX; /* who waits for more says so again */
        pthread_cond_broadcast(&o->progress);
    }
    pthread_mutex_unlock(&o->lock);
}

/* Ask for len bytes at off, if there is room. Called with the lock. */
static struct span *span_start(struct s3_object *o, uint64_t off, size_t len)
{
    struct s3_store *st = store_of(o);
    struct span *s = NULL;

    if (__atomic_add_fetch(&st->ahead_bytes, len, __ATOMIC_RELAXED) <= AHEAD_MAX)
        s = calloc(1, sizeof(*s));
    if (s)
        s->data = malloc(len);
    if (!s || !s->data) {
        __atomic_sub_fetch(&st->ahead_bytes, len, __ATOMIC_RELAXED);
        free(s);
        return NULL;
    }
    s->object = o;
    s->off = off;
    s->len = len;
    s->refs = 2;
    s->wanted = SIZE_MAX;
    s->task.run = run_span;
    o->refs++;
    amber_pool_submit(st->pool, &s->task);
    return s;
}

/* Take the lane's first span off. Called with the lock. */
static void drop_first(struct lane *l)
{
    struct span *s = l->spans;

    l->spans = s->next;
    __atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
    span_unref(s);
}

/* ---- lanes ---- */

static void lane_reset(struct s3_object *o, struct lane *l)
{
    bool running = l->spans != NULL;

    while (l->spans)
        drop_first(l);
    *l = (struct lane){0};
    if (running)
        amber_http_wake(store_of(o)->http);
}

static bool lane_fits(const struct lane *l, uint64_t off)
{
    uint64_t from = l->spans ? l->spans->off : l->next;

    return l->used && off >= from && off <= l->next + NEAR;
}

/* The lane that a read at off goes on, or NULL: then the oldest becomes its own. */
static struct lane *lane_of(struct s3_object *o, uint64_t off, size_t len)
{
    struct lane *oldest = &o->lanes[0];

    for (size_t i = 0; i < LANES; i++) {
        struct lane *l = &o->lanes[i];
        if (lane_fits(l, off)) {
            l->last_use = ++o->clock;
            return l;
        }
        if (l->last_use < oldest->last_use)
            oldest = l;
    }
    lane_reset(o, oldest);
    oldest->used = true;
    oldest->next = off + len;
    oldest->last_use = ++o->clock;
    return NULL;
}

/* Note a read, and ask for more once half of the window was used. */
static void lane_advance(struct s3_object *o, struct lane *l, uint64_t off, size_t len)
{
    struct span **tail = &l->spans;

    /* From where the lane was, for what lies between is asked for by another thread. */
    if (!l->spans && l->end <= off)
        l->end = l->next < off ? l->next : off;
    if (off + len > l->next)
        l->next = off + len;
    while (l->spans && l->spans->off + l->spans->len + LATE <= l->next)
        drop_first(l);
    if (l->end >= o->size || (l->end > l->next && l->end - l->next > l->window / 2))
        return;
    l->window = l->window == 0 ? WINDOW_FIRST : l->window * 2;
    if (l->window > WINDOW_MAX)
        l->window = WINDOW_MAX;
    uint64_t want = o->size - l->next < l->window ? o->size : l->next + l->window;
    while (*tail)
        tail = &(*tail)->next;
    while (l->end < want) {
        size_t n = want - l->end < SPAN_MAX ? (size_t)(want - l->end) : SPAN_MAX;
        *tail = span_start(o, l->end, n);
        if (!*tail) {
            /* No room: the reads go on, each by itself, and a later one tries again. */
            l->window /= 2;
            break;
        }
        l->end += n;
        tail = &(*tail)->next;
    }
}

/* Wait until the span has its first upto bytes, or won't get them. Called with the lock. */
static enum amber_rc wait_for(struct s3_object *o, struct span *s, size_t upto,
                              struct amber_err *err)
{
    struct s3_store *st = store_of(o);
    struct s3_tries t;

    amber_s3_tries_init(&t, st, upto);
    struct timespec at = {.tv_sec = (time_t)(t.deadline_us / 1000000),
                          .tv_nsec = (long)(t.deadline_us % 1000000) * 1000};
    int late = 0;
    while (s->done < upto && !s->ended && late == 0) {
        if (upto < s->wanted)
            s->wanted = upto;
        late = pthread_cond_timedwait(&o->progress, &o->lock, &at);
    }
    if (s->done >= upto)
        return AMBER_OK;
    if (!s->ended)
        return amber_fail(err, AMBER_E_TIMEOUT, "%s/%s: the server doesn't deliver within %u s",
                          st->name, o->key, st->timeout_s);
    *err = s->fault;
    return err->code;
}

/* Copy what one span has of the range. *out_len 0: no span has its first byte. */
static enum amber_rc copy_from(struct s3_object *o, struct lane *l, uint64_t off, char *buf,
                               size_t len, size_t *out_len, struct amber_err *err)
{
    struct span *first = l->spans, *s = first;

    *out_len = 0;
    while (s && off >= s->off + s->len)
        s = s->next;
    if (!s || off < s->off)
        return AMBER_OK;
    size_t skip = (size_t)(off - s->off), n = s->len - skip < len ? s->len - skip : len;
    /* What failed before this read came is news of then: whoever reads now asks by himself. */
    if (s->ended && s->done < skip + n) {
        lane_reset(o, l);
        return AMBER_OK;
    }
    s->refs++;
    enum amber_rc rc = wait_for(o, s, skip + n, err);
    if (!rc) {
        pthread_mutex_unlock(&o->lock);
        memcpy(buf, s->data + skip, n);
        pthread_mutex_lock(&o->lock);
        s->used += n;
        *out_len = n;
    } else if (rc == AMBER_E_CANCELED) {
        rc = AMBER_OK; /* the lane was given to another reader meanwhile */
    } else if (l->spans == first) {
        lane_reset(o, l); /* the next read begins anew */
    }
    span_unref(s);
    return rc;
}

enum amber_rc amber_s3_ahead(struct s3_object *o, uint64_t off, char *buf, size_t len,
                             size_t *out_len, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    size_t n;

    *out_len = 0;
    pthread_mutex_lock(&o->lock);
    struct lane *l = lane_of(o, off, len);
    if (l)
        lane_advance(o, l, off, len);
    for (; !rc && l && *out_len < len; *out_len += n) {
        rc = copy_from(o, l, off + *out_len, buf + *out_len, len - *out_len, &n, err);
        if (n == 0)
            break;
        /* Whoever reads in order is through with it. */
        while (l->spans && l->spans->used >= l->spans->len)
            drop_first(l);
    }
    pthread_mutex_unlock(&o->lock);
    return rc;
}

void amber_s3_ahead_end(struct s3_object *o)
{
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < LANES; i++)
        lane_reset(o, &o->lanes[i]);
    pthread_mutex_unlock(&o->lock);
}
