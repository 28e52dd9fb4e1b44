/*
 * copies.c - a store that keeps several copies of each object.
 *
 * Reads go to the first copy that can answer. A listing is the union of what the copies that can be
 * reached have, so that what is missing in one is still found: keys are kept for it while it runs,
 * about 100 bytes an object. Lock order: the set's mutex guards health and counts only and is never
 * held over a copy's operation.
 */
#include "amber/copies.h"

#include <pthread.h>
#include <search.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/log.h"

#define AWAY_US INT64_C(30000000) /* a copy that couldn't be reached is tried last for so long */

struct copy {
    struct amber_store *store; /* owned */
    char name[AMBER_REPLICA_NAME_MAX];
    bool sync;
    int64_t away_until_us; /* guarded; monotonic, 0: it answers */
    uint64_t reads, failures; /* guarded */
};

struct amber_copies {
    struct amber_store base;
    struct amber_store_ops ops; /* a copy, since the traits are the primary's */
    unsigned n;
    struct copy copies[AMBER_COPIES_MAX];
    pthread_mutex_t mutex;
};

/* --- the copies one by one ---------------------------------------------------------------- */

unsigned amber_copies_count(const struct amber_store *st)
{
    return st->copies ? st->copies->n : 1;
}

struct amber_store *amber_copies_store(struct amber_store *st, unsigned copy)
{
    return st->copies ? st->copies->copies[copy].store : st;
}

const char *amber_copies_name(const struct amber_store *st, unsigned copy)
{
    return st->copies ? st->copies->copies[copy].name : "primary";
}

bool amber_copies_sync(const struct amber_store *st, unsigned copy)
{
    return st->copies && st->copies->copies[copy].sync;
}

void amber_copies_stats(const struct amber_store *st, unsigned copy, struct amber_copy_stats *out)
{
    struct amber_copies *set = st->copies;

    *out = (struct amber_copy_stats){0};
    if (!set)
        return;
    pthread_mutex_lock(&set->mutex);
    out->reads = set->copies[copy].reads;
    out->failures = set->copies[copy].failures;
    out->away = set->copies[copy].away_until_us > 0;
    pthread_mutex_unlock(&set->mutex);
}

/* The copies in the order in which they are worth trying. */
static void choose_order(struct amber_copies *set, unsigned order[AMBER_COPIES_MAX])
{
    int64_t now = amber_mono_us();
    unsigned n = 0;

    pthread_mutex_lock(&set->mutex);
    for (unsigned i = 0; i < set->n; i++)
        if (set->copies[i].away_until_us <= now)
            order[n++] = i;
    for (unsigned i = 0; i < set->n; i++)
        if (set->copies[i].away_until_us > now)
            order[n++] = i;
    pthread_mutex_unlock(&set->mutex);
}

static bool unreachable(enum amber_rc rc)
{
    return rc == AMBER_E_NET || rc == AMBER_E_TIMEOUT || rc == AMBER_E_DENIED;
}

/* Whether a copy answers, said when it goes away or comes back. */
static void note(struct amber_copies *set, unsigned i, enum amber_rc rc, const char *text)
{
    struct copy *c = &set->copies[i];
    bool went = false, came = false;

    pthread_mutex_lock(&set->mutex);
    if (unreachable(rc)) {
        went = c->away_until_us == 0;
        c->away_until_us = amber_mono_us() + AWAY_US;
    } else {
        came = c->away_until_us > 0;
        c->away_until_us = 0;
    }
    if (!rc && i > 0)
        c->reads++;
    pthread_mutex_unlock(&set->mutex);
    if (went)
        amber_warn("storage copy %s can't be reached, reads go to the others: %s", c->name, text);
    else if (came)
        amber_info("storage copy %s answers again", c->name);
}

/* Count the copies that failed. What no copy has is missing in none of them. */
static void count_failures(struct amber_copies *set, const enum amber_rc *tried, bool found)
{
    pthread_mutex_lock(&set->mutex);
    for (unsigned i = 0; i < set->n; i++)
        set->copies[i].failures += tried[i] && (found || tried[i] != AMBER_E_NOT_FOUND);
    pthread_mutex_unlock(&set->mutex);
}

enum amber_rc amber_copies_try(struct amber_store *st,
                               enum amber_rc (*try)(void *arg, unsigned copy,
                                                    struct amber_store *store,
                                                    struct amber_err *err),
                               void *arg, struct amber_err *err)
{
    struct amber_copies *set = st->copies;
    enum amber_rc tried[AMBER_COPIES_MAX] = {AMBER_OK};
    unsigned order[AMBER_COPIES_MAX];
    enum amber_rc rc = AMBER_OK;
    bool found = false, ended = false;

    if (!set)
        return try(arg, 0, st, err);
    choose_order(set, order);
    for (unsigned k = 0; !found && !ended && k < set->n; k++) {
        struct amber_err one = AMBER_ERR_INIT;
        unsigned i = order[k];
        tried[i] = try(arg, i, set->copies[i].store, &one);
        found = tried[i] == AMBER_OK;
        ended = tried[i] == AMBER_E_NOMEM || tried[i] == AMBER_E_CANCELED;
        if (!ended)
            note(set, i, tried[i], one.text);
        if (!found && (k == 0 || i == 0 || ended)) {
            *err = one;
            rc = tried[i];
        }
    }
    count_failures(set, tried, found);
    return found ? AMBER_OK : rc;
}

/* --- the set as one store ----------------------------------------------------------------- */

static struct amber_copies *set_of(struct amber_store *st)
{
    return (struct amber_copies *)st;
}

struct opening {
    const char *key;
    int flags;
    struct amber_object *object;
    struct amber_object_info info;
};

static enum amber_rc try_open(void *arg, unsigned copy, struct amber_store *store,
                              struct amber_err *err)
{
    struct opening *o = arg;

    (void)copy;
    return amber_object_open(store, o->key, o->flags, &o->object, &o->info, err);
}

/* The object is the copy's own: reading it, and closing, goes to that copy's driver. */
static enum amber_rc copies_open(struct amber_store *st, const char *key, int flags,
                                 struct amber_object **out, struct amber_object_info *out_info,
                                 struct amber_err *err)
{
    struct opening o = {.key = key, .flags = flags};
    enum amber_rc rc = amber_copies_try(st, try_open, &o, err);

    if (rc)
        return rc;
    *out = o.object;
    *out_info = o.info;
    return AMBER_OK;
}

static enum amber_rc try_stat(void *arg, unsigned copy, struct amber_store *store,
                              struct amber_err *err)
{
    struct opening *o = arg;

    (void)copy;
    return amber_store_stat(store, o->key, &o->info, err);
}

static enum amber_rc copies_stat(struct amber_store *st, const char *key,
                                 struct amber_object_info *out, struct amber_err *err)
{
    struct opening o = {.key = key};
    enum amber_rc rc = amber_copies_try(st, try_stat, &o, err);

    if (!rc)
        *out = o.info;
    return rc;
}

struct listing {
    enum amber_rc (*each)(void *arg, const char *key, const struct amber_object_info *info,
                          struct amber_err *err);
    void *arg;
    void *seen; /* tsearch tree of the keys that were given to each */
    bool each_failed;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(a, b);
}

static enum amber_rc list_new(void *arg, const char *key, const struct amber_object_info *info,
                              struct amber_err *err)
{
    struct listing *l = arg;
    char *own = strdup(key);
    char **node = own ? tsearch(own, &l->seen, by_key) : NULL;

    if (!node) {
        free(own);
        l->each_failed = true;
        return amber_fail_nomem(err, "a listing", strlen(key));
    }
    if (*node != own) {
        free(own);
        return AMBER_OK;
    }
    enum amber_rc rc = l->each(l->arg, key, info, err);
    l->each_failed = rc != AMBER_OK;
    return rc;
}

static enum amber_rc copies_list(struct amber_store *st, const char *prefix,
                                 enum amber_rc (*each)(void *arg, const char *key,
                                                       const struct amber_object_info *info,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err)
{
    struct amber_copies *set = set_of(st);
    struct listing l = {.each = each, .arg = arg};
    unsigned order[AMBER_COPIES_MAX];
    enum amber_rc rc = AMBER_OK;
    bool listed = false;

    choose_order(set, order);
    for (unsigned k = 0; !l.each_failed && k < set->n; k++) {
        struct amber_err one = AMBER_ERR_INIT;
        enum amber_rc rc_one =
            amber_store_list(set->copies[order[k]].store, prefix, list_new, &l, &one);
        if (!l.each_failed)
            note(set, order[k], rc_one, one.text);
        listed = listed || !rc_one;
        if (l.each_failed || (rc_one && !rc)) {
            *err = one;
            rc = rc_one;
        }
    }
    tdestroy(l.seen, free);
    return listed && !l.each_failed ? AMBER_OK : rc;
}

static enum amber_rc copies_put_open(struct amber_store *st, const char *key,
                                     struct amber_put **out, struct amber_err *err)
{
    return amber_put_open(set_of(st)->copies[0].store, key, out, err);
}

/* From all copies: an object that only a replica had is gone too. */
static enum amber_rc copies_remove(struct amber_store *st, const char *key, struct amber_err *err)
{
    struct amber_copies *set = set_of(st);
    struct amber_err one = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_E_NOT_FOUND;

    for (unsigned i = 0; i < set->n; i++) {
        enum amber_rc rc_one = amber_store_remove(set->copies[i].store, key, &one);
        if (rc_one && rc_one != AMBER_E_NOT_FOUND) {
            *err = one;
            return rc_one;
        }
        if (!rc_one)
            rc = AMBER_OK;
        else if (i == 0)
            *err = one;
    }
    return rc;
}

static void copies_interrupt(struct amber_store *base)
{
    struct amber_copies *set = base->copies;

    for (unsigned i = 0; i < set->n; i++)
        amber_store_interrupt(set->copies[i].store);
}

static enum amber_rc copies_clean_puts(struct amber_store *base,
                                       bool (*is_dead)(void *arg, const char *key), void *arg,
                                       unsigned *out_n, struct amber_err *err)
{
    struct amber_copies *set = base->copies;
    enum amber_rc rc = AMBER_OK;

    for (unsigned i = 0; !rc && i < set->n; i++) {
        unsigned n = 0;
        rc = amber_store_clean_puts(set->copies[i].store, is_dead, arg, &n, err);
        *out_n += n;
    }
    return rc;
}

static void copies_free(struct amber_store *st)
{
    struct amber_copies *set = set_of(st);

    for (unsigned i = 0; i < set->n; i++)
        amber_store_free(set->copies[i].store);
    pthread_mutex_destroy(&set->mutex);
    free(set);
}

enum amber_rc amber_copies_new(const struct amber_copy_config *copies, size_t n,
                               struct amber_store **out, struct amber_err *err)
{
    struct amber_copies *set;
    enum amber_rc rc = amber_calloc(1, sizeof(*set), &set, err);

    if (rc)
        return rc;
    /* Objects and puts are the copies' own: their drivers read, write and close them. */
    set->ops = (struct amber_store_ops){
        .traits = *amber_store_traits(copies[0].store),
        .open = copies_open,
        .stat = copies_stat,
        .list = copies_list,
        .put_open = copies_put_open,
        .remove = copies_remove,
        .interrupt = copies_interrupt,
        .clean_puts = copies_clean_puts,
        .free = copies_free,
    };
    set->base.ops = &set->ops;
    set->base.copies = set;
    set->n = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        set->copies[i].store = copies[i].store;
        set->copies[i].sync = copies[i].sync;
        snprintf(set->copies[i].name, sizeof(set->copies[i].name), "%s", copies[i].name);
    }
    pthread_mutex_init(&set->mutex, NULL);
    *out = &set->base;
    return AMBER_OK;
}
