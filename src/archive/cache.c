/*
 * cache.c - verified blocks in memory, within a budget.
 *
 * Entries go with their buffers from use to use: new memory means page faults, which cost a good
 * part of what decoding does. Entries that are used, or loading, can't be taken away; when all
 * are, a block that somebody asked for is loaded past the budget, a block ahead is not. Blocks
 * ahead take half of the budget at most, so that many readers don't push out each other's.
 * Lock order: the cache's lock is the only one; the log is written without it.
 */
#include "cache_priv.h"

#include "amber/log.h"

#define ENTRY_MIN 4096U                 /* bytes of the smallest buffer */
#define COLD_KEEP (16U * 1024U * 1024U) /* bytes from which on cold buffers are used again first   \
                                         */

/* Quarter steps between powers of two: blocks of about one size fit into each other's buffers. */
static size_t buffer_size(size_t len)
{
    size_t step = ENTRY_MIN;

    while (step * 8 <= len)
        step *= 2;
    return (len + step - 1) / step * step + (len == 0 ? step : 0);
}

enum amber_rc amber_cache_new(size_t bytes, struct amber_pool *pool, struct amber_cache **out,
                              struct amber_err *err)
{
    struct amber_cache *c;
    enum amber_rc rc = amber_calloc(1, sizeof(*c), &c, err);

    if (rc)
        return rc;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->idle, NULL);
    c->pool = pool;
    c->budget = bytes;
    c->lru.prev = c->lru.next = &c->lru;
    *out = c;
    return AMBER_OK;
}

void amber_cache_use_disk(struct amber_cache *c, struct amber_disk_cache *disk)
{
    c->disk = disk;
}

struct amber_disk_cache *amber_cache_disk(const struct amber_cache *c)
{
    return c->disk;
}

static void entry_free(struct cache_entry *e)
{
    pthread_cond_destroy(&e->done);
    free(e->data);
    free(e);
}

/* Free a list of entries that left the cache; called without the lock. */
static void free_all(struct cache_entry *e)
{
    while (e) {
        struct cache_entry *next = e->next;
        entry_free(e);
        e = next;
    }
}

void amber_cache_free(struct amber_cache *c)
{
    if (!c)
        return;
    free_all(c->free);
    while (c->scratch) {
        struct block_scratch *next = c->scratch->next;
        amber_block_scratch_free(c->scratch);
        c->scratch = next;
    }
    pthread_cond_destroy(&c->idle);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void amber_cache_stats(struct amber_cache *c, struct amber_cache_stats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = (struct amber_cache_stats){
        .hits = c->hits,
        .misses = c->misses,
        .evictions = c->evictions,
        .failures = c->failures,
        .bytes = c->bytes,
        .blocks_decoded = c->loads,
    };
    pthread_mutex_unlock(&c->lock);
}

static void lru_remove(struct cache_entry *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
}

static void lru_insert(struct amber_cache *c, struct cache_entry *e)
{
    struct cache_entry *before = e->cold ? c->lru.prev : &c->lru;

    e->prev = before;
    e->next = before->next;
    before->next->prev = e;
    before->next = e;
}

/* Somebody used the entry, or nobody will. */
static void end_ahead(struct amber_cache *c, struct cache_entry *e)
{
    if (e->ahead)
        c->ahead_bytes -= e->cap;
    e->ahead = false;
}

/* An entry that nobody references and no list holds becomes a free buffer. */
static void retire(struct amber_cache *c, struct cache_entry *e)
{
    end_ahead(c, e);
    if (e->slot)
        *e->slot = NULL;
    e->slot = NULL;
    e->next = c->free;
    c->free = e;
}

static bool evict_coldest(struct amber_cache *c)
{
    struct cache_entry *e = c->lru.prev;

    if (e == &c->lru)
        return false;
    lru_remove(e);
    retire(c, e);
    c->evictions++;
    return true;
}

/* Move one free buffer to the caller's list of what is to be freed. */
static bool shed_free(struct amber_cache *c, struct cache_entry **dead)
{
    struct cache_entry *e = c->free;

    if (!e)
        return false;
    c->free = e->next;
    c->bytes -= e->cap;
    e->next = *dead;
    *dead = e;
    return true;
}

/* A free buffer for cap bytes that isn't much too large. */
static struct cache_entry *take_free(struct amber_cache *c, size_t cap)
{
    for (struct cache_entry **p = &c->free; *p; p = &(*p)->next) {
        struct cache_entry *e = *p;
        if (e->cap >= cap && e->cap / 2 <= cap) {
            *p = e->next;
            return e;
        }
    }
    return NULL;
}

static struct cache_entry *entry_new(struct amber_cache *c, size_t cap)
{
    struct cache_entry *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->data = malloc(cap);
    if (!e->data) {
        free(e);
        return NULL;
    }
    pthread_cond_init(&e->done, NULL);
    e->cache = c;
    e->cap = cap;
    c->bytes += cap;
    return e;
}

/*
 * What a sequential reader is through with makes room before new memory is touched: its buffer is
 * still in the processor's cache, and the kernel keeps the pages that it was read to.
 */
static bool evict_cold(struct amber_cache *c)
{
    return c->bytes >= COLD_KEEP && c->lru.prev->cold && evict_coldest(c);
}

/*
 * An entry with room for len bytes: a free buffer; new memory within the budget; else the coldest
 * entries go until one of both is possible. NULL: no memory, or (not must) no room.
 */
static struct cache_entry *take_entry(struct amber_cache *c, size_t len, bool must,
                                      struct cache_entry **dead)
{
    size_t cap = buffer_size(len);

    if (!c->free)
        evict_cold(c);
    for (;;) {
        struct cache_entry *e = take_free(c, cap);
        if (e)
            return e;
        if (c->bytes + cap <= c->budget)
            return entry_new(c, cap);
        if (!shed_free(c, dead) && !evict_coldest(c))
            return must ? entry_new(c, cap) : NULL;
    }
}

static void start_loading(struct cache_entry *e, struct cache_entry **slot,
                          const struct cache_load *l)
{
    e->slot = slot;
    *slot = e;
    e->state = ENTRY_LOADING;
    e->refs = 1;
    e->cold = e->logged = false;
    e->len = l->len;
}

/* Give up a reference. Called with the lock; what is to be freed is put before *dead. */
static void unref(struct amber_cache *c, struct cache_entry *e, struct cache_entry **dead)
{
    if (--e->refs > 0)
        return;
    if (e->state == ENTRY_READY)
        lru_insert(c, e);
    else
        retire(c, e);
    while (c->bytes > c->budget && (shed_free(c, dead) || evict_coldest(c)))
        ;
}

/* Load e, whose only sure reference is the caller's. Called with the lock, which is given up
 * meanwhile. */
static void fill(struct amber_cache *c, struct cache_entry *e, const struct cache_load *l)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct block_scratch *s = c->scratch;
    enum amber_rc rc = AMBER_OK;

    if (s)
        c->scratch = s->next;
    pthread_mutex_unlock(&c->lock);
    if (!s)
        rc = amber_block_scratch_new(&s, &err);
    if (!rc)
        rc = amber_reader_load(l, s, e->data, &err);
    pthread_mutex_lock(&c->lock);
    if (s) {
        s->next = c->scratch;
        c->scratch = s;
    }
    if (rc) {
        /* The next one who wants it tries again. */
        *e->slot = NULL;
        e->slot = NULL;
        e->err = err;
        e->state = ENTRY_FAILED;
        c->failures++;
    } else {
        e->state = ENTRY_READY;
        c->loads++;
    }
    pthread_cond_broadcast(&e->done);
}

/* Join an entry that is there: READY, or LOADING by somebody else. Called with the lock. */
static void join(struct amber_cache *c, struct cache_entry *e)
{
    if (e->state == ENTRY_READY && e->refs == 0)
        lru_remove(e);
    e->refs++;
    e->cold = false;
    end_ahead(c, e);
    c->hits++;
    while (e->state == ENTRY_LOADING)
        pthread_cond_wait(&e->done, &c->lock);
}

enum amber_rc amber_cache_acquire(struct amber_cache *c, struct cache_entry **slot,
                                  const struct cache_load *l, struct cache_entry **out,
                                  struct amber_err *err)
{
    struct cache_entry *dead = NULL;
    bool log = false;

    pthread_mutex_lock(&c->lock);
    struct cache_entry *e = *slot;
    if (e) {
        join(c, e);
    } else {
        c->misses++;
        e = take_entry(c, l->len, true, &dead);
        if (!e) {
            pthread_mutex_unlock(&c->lock);
            free_all(dead);
            return amber_fail_nomem(err, "a block", l->len);
        }
        start_loading(e, slot, l);
        fill(c, e, l);
    }
    enum amber_rc rc = AMBER_OK;
    if (e->state == ENTRY_FAILED) {
        *err = e->err;
        rc = err->code;
        log = !e->logged;
        e->logged = true;
        unref(c, e, &dead);
    }
    pthread_mutex_unlock(&c->lock);
    free_all(dead);
    if (log)
        amber_error("%s", err->text);
    if (!rc)
        *out = e;
    return rc;
}

void amber_cache_release(struct cache_entry *e)
{
    struct amber_cache *c = e->cache;
    struct cache_entry *dead = NULL;

    pthread_mutex_lock(&c->lock);
    unref(c, e, &dead);
    pthread_mutex_unlock(&c->lock);
    free_all(dead);
}

bool amber_cache_ahead(struct amber_cache *c, struct cache_entry **slot, const struct cache_load *l)
{
    struct cache_entry *e = NULL, *dead = NULL;

    pthread_mutex_lock(&c->lock);
    bool there = *slot != NULL;
    if (!there && c->ahead_bytes + buffer_size(l->len) <= c->budget / 2)
        e = take_entry(c, l->len, false, &dead);
    if (e) {
        start_loading(e, slot, l);
        e->ahead = true;
        c->ahead_bytes += e->cap;
        fill(c, e, l);
        unref(c, e, &dead);
    }
    pthread_mutex_unlock(&c->lock);
    free_all(dead);
    return there || e;
}

void amber_cache_cool(struct amber_cache *c, struct cache_entry *const *slot)
{
    struct cache_entry *e = *slot;

    if (!e || e->state != ENTRY_READY)
        return;
    e->cold = true;
    if (e->refs == 0) {
        lru_remove(e);
        lru_insert(c, e);
    }
}

void amber_cache_unwant(struct amber_cache *c, struct cache_entry *const *slot)
{
    if (!*slot || !(*slot)->ahead)
        return;
    end_ahead(c, *slot);
    amber_cache_cool(c, slot);
}

void amber_cache_drop(struct amber_cache *c, struct cache_entry **slots, size_t n)
{
    struct cache_entry *dead = NULL;

    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < n; i++) {
        struct cache_entry *e = slots[i];
        if (e) {
            lru_remove(e);
            retire(c, e);
        }
    }
    while (c->bytes > c->budget && shed_free(c, &dead))
        ;
    pthread_mutex_unlock(&c->lock);
    free_all(dead);
}
