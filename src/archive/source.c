/*
 * source.c - a part's stored object in all its copies, and the verified blocks in it.
 *
 * A copy's object is opened when it is first needed; each copy is complained of once.
 */
#include "source_priv.h"

#include <inttypes.h>
#include <pthread.h>

#include "amber/log.h"
#include "block_priv.h"

struct block_source {
    struct amber_store *store;
    const struct amber_part *part;
    int flags;
    struct amber_disk_cache *disk; /* NULL: none */
    pthread_mutex_t lock;
    struct source_copy {
        struct amber_object *object; /* owned; guarded until set, then constant */
        bool warned;                 /* guarded */
    } copies[AMBER_COPIES_MAX];
};

void amber_copy_warn(const struct amber_store *set, unsigned copy, const struct amber_err *err)
{
    if (amber_copies_count(set) > 1 && (err->code == AMBER_E_CORRUPT || err->code == AMBER_E_IO ||
                                        err->code == AMBER_E_NOT_FOUND))
        amber_warn("storage copy %s is passed over: %s", amber_copies_name(set, copy), err->text);
}

static void warn_once(struct block_source *s, unsigned copy, const struct amber_err *err)
{
    pthread_mutex_lock(&s->lock);
    bool first = !s->copies[copy].warned;
    s->copies[copy].warned = true;
    pthread_mutex_unlock(&s->lock);
    if (first)
        amber_copy_warn(s->store, copy, err);
}

static enum amber_rc open_checked(const struct block_source *s, struct amber_store *store,
                                  struct amber_object **out, struct amber_err *err)
{
    const struct amber_part *p = s->part;
    struct amber_object_info info;
    struct amber_object *o;
    enum amber_rc rc = amber_object_open(store, p->key, s->flags, &o, &info, err);

    if (rc)
        return rc;
    if (info.size != p->stored_bytes) {
        amber_object_close(o);
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: %" PRIu64 " bytes are stored, its %s says %" PRIu64
                          ": it was cut off or replaced, restore it from a copy",
                          p->key, info.size, p->foreign ? "index" : "manifest", p->stored_bytes);
    }
    *out = o;
    return AMBER_OK;
}

/* The copy's object, opened if it isn't yet. */
static enum amber_rc object_of(struct block_source *s, unsigned copy, struct amber_store *store,
                               struct amber_object **out, struct amber_err *err)
{
    struct source_copy *c = &s->copies[copy];
    struct amber_object *opened = NULL;
    enum amber_rc rc = AMBER_OK;

    pthread_mutex_lock(&s->lock);
    *out = c->object;
    pthread_mutex_unlock(&s->lock);
    if (*out)
        return AMBER_OK;
    rc = open_checked(s, store, &opened, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&s->lock);
    if (!c->object)
        c->object = amber_steal(&opened);
    *out = c->object;
    pthread_mutex_unlock(&s->lock);
    amber_object_close(opened);
    return AMBER_OK;
}

static enum amber_rc try_open(void *arg, unsigned copy, struct amber_store *store,
                              struct amber_err *err)
{
    struct block_source *s = arg;
    struct amber_object *o;
    enum amber_rc rc = object_of(s, copy, store, &o, err);

    if (rc)
        warn_once(s, copy, err);
    return rc;
}

enum amber_rc amber_source_open(struct amber_store *store, const struct amber_part *part, int flags,
                                struct amber_disk_cache *disk, struct block_source **out,
                                struct amber_err *err)
{
    struct block_source *s;
    enum amber_rc rc = amber_calloc(1, sizeof(*s), &s, err);

    if (rc)
        return rc;
    s->store = store;
    s->part = part;
    s->flags = flags;
    if (amber_store_traits(store)->remote && !(flags & AMBER_OPEN_MEDIUM))
        s->disk = disk;
    pthread_mutex_init(&s->lock, NULL);
    rc = amber_copies_try(store, try_open, s, err);
    if (rc) {
        amber_source_close(s);
        return rc;
    }
    *out = s;
    return AMBER_OK;
}

void amber_source_close(struct block_source *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < amber_countof(s->copies); i++)
        amber_object_close(s->copies[i].object);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct fetching {
    struct block_source *source;
    size_t block;
    void *buf;
};

static enum amber_rc try_fetch(void *arg, unsigned copy, struct amber_store *store,
                               struct amber_err *err)
{
    const struct fetching *f = arg;
    struct block_source *s = f->source;
    struct amber_object *o;
    enum amber_rc rc = object_of(s, copy, store, &o, err);

    if (!rc)
        rc = amber_block_fetch(o, s->part, f->block, f->buf, err);
    if (rc)
        warn_once(s, copy, err);
    return rc;
}

enum amber_rc amber_source_fetch(struct block_source *s, size_t i, void *buf, struct amber_err *err)
{
    const struct amber_block *b = &s->part->blocks[i];
    struct fetching f = {.source = s, .block = i, .buf = buf};

    if (amber_disk_cache_get(s->disk, &b->sha256, buf, b->stored_len))
        return AMBER_OK;
    enum amber_rc rc = amber_copies_try(s->store, try_fetch, &f, err);
    if (!rc)
        amber_disk_cache_put(s->disk, &b->sha256, buf, b->stored_len);
    return rc;
}
