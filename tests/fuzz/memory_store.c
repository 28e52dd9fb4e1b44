/*
 * memory_store.c - a read-only store whose objects are bytes in memory.
 */
#include "fuzz.h"

struct memory_store {
    struct amber_store base;
    const struct memory_object *objects;
    size_t n;
};

struct open_object {
    struct amber_object base;
    const struct memory_object *of;
};

static const struct memory_object *find(struct amber_store *st, const char *key)
{
    struct memory_store *m = (struct memory_store *)st;

    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->objects[i].key, key) == 0)
            return &m->objects[i];
    return NULL;
}

static enum amber_rc memory_stat(struct amber_store *st, const char *key,
                                 struct amber_object_info *out, struct amber_err *err)
{
    const struct memory_object *o = find(st, key);

    if (!o)
        return amber_fail(err, AMBER_E_NOT_FOUND, "%s: there is no such object", key);
    *out = (struct amber_object_info){.size = o->len, .version = "1"};
    return AMBER_OK;
}

static enum amber_rc memory_open(struct amber_store *st, const char *key, int flags,
                                 struct amber_object **out, struct amber_object_info *out_info,
                                 struct amber_err *err)
{
    struct open_object *o;
    struct amber_object_info info;
    enum amber_rc rc = memory_stat(st, key, &info, err);

    (void)flags;
    if (!rc)
        rc = amber_calloc(1, sizeof(*o), &o, err);
    if (rc)
        return rc;
    o->base.store = st;
    o->of = find(st, key);
    *out = &o->base;
    if (out_info)
        *out_info = info;
    return AMBER_OK;
}

static enum amber_rc memory_read_at(struct amber_object *base, uint64_t off, void *buf, size_t len,
                                    struct amber_err *err)
{
    const struct memory_object *o = ((struct open_object *)base)->of;

    if (off > o->len || len > o->len - off)
        return amber_fail(err, AMBER_E_CORRUPT, "%s: ends before", o->key);
    memcpy(buf, (const char *)o->data + off, len);
    return AMBER_OK;
}

static void memory_close(struct amber_object *base)
{
    free(base);
}

static enum amber_rc memory_list(struct amber_store *st, const char *prefix,
                                 enum amber_rc (*each)(void *arg, const char *key,
                                                       const struct amber_object_info *info,
                                                       struct amber_err *err),
                                 void *arg, struct amber_err *err)
{
    struct memory_store *m = (struct memory_store *)st;
    size_t len = strlen(prefix);
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < m->n; i++) {
        const struct amber_object_info info = {.size = m->objects[i].len, .version = "1"};
        const char *key = m->objects[i].key;
        if (len == 0 || (strncmp(key, prefix, len) == 0 && key[len] == '/'))
            rc = each(arg, key, &info, err);
    }
    return rc;
}

static void memory_free(struct amber_store *st)
{
    free(st);
}

static const struct amber_store_ops memory_ops = {
    .traits = {.scheme = "memory", .best_read_bytes = 1U << 20, .prefetch_depth = 1},
    .open = memory_open,
    .read_at = memory_read_at,
    .close = memory_close,
    .stat = memory_stat,
    .list = memory_list,
    .free = memory_free,
};

struct amber_store *memory_store(const struct memory_object *objects, size_t n)
{
    struct memory_store *m = calloc(1, sizeof(*m));

    check(m != NULL);
    m->base.ops = &memory_ops;
    m->objects = objects;
    m->n = n;
    return &m->base;
}
