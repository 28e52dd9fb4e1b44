/*
 * store.c - the drivers and the checks that all of them share.
 *
 * A driver never sees an invalid key, a read past the size that open gave, a read of 0 bytes, or a
 * write of 0 bytes. Whole small objects are read and written here, once for all drivers.
 */
#include "amber/store.h"

#include "store_priv.h"

static const struct driver {
    const char *type;
    enum amber_rc (*open)(const struct amber_store_config *cfg, struct amber_store **out,
                          struct amber_err *err);
} drivers[] = {
    {"local", amber_store_local_open},
    {"s3", amber_store_s3_open},
};

enum amber_rc amber_store_open(const struct amber_store_config *cfg, struct amber_store **out,
                               struct amber_err *err)
{
    for (size_t i = 0; i < amber_countof(drivers); i++) {
        if (strcmp(drivers[i].type, cfg->type) == 0)
            return drivers[i].open(cfg, out, err);
    }
    return amber_fail(err, AMBER_E_INVALID,
                      "ARCHIVAL_STORAGE_TYPE=%s is not known; use local or s3", cfg->type);
}

void amber_store_free(struct amber_store *st)
{
    if (st)
        st->ops->free(st);
}

const struct amber_store_traits *amber_store_traits(const struct amber_store *st)
{
    return &st->ops->traits;
}

void amber_store_interrupt(struct amber_store *st)
{
    if (st->ops->interrupt)
        st->ops->interrupt(st);
}

enum amber_rc amber_store_clean_puts(struct amber_store *st,
                                     bool (*is_dead)(void *arg, const char *key), void *arg,
                                     unsigned *out_n, struct amber_err *err)
{
    *out_n = 0;
    return st->ops->clean_puts ? st->ops->clean_puts(st, is_dead, arg, out_n, err) : AMBER_OK;
}

static bool is_component(const char *s, size_t len)
{
    return len > 0 && len <= 255 && !(len == 1 && s[0] == '.') &&
           !(len == 2 && s[0] == '.' && s[1] == '.');
}

enum amber_rc amber_key_check(const char *key, struct amber_err *err)
{
    size_t len = strlen(key), tmp_len = strlen(STORE_TMP_DIR);
    const char *s = key;

    if (len == 0 || len > AMBER_KEY_MAX)
        return amber_fail(err, AMBER_E_INVALID,
                          "an object's key has %zu bytes; it needs 1 to %d: \"%.60s\"", len,
                          AMBER_KEY_MAX, key);
    for (;;) {
        size_t n = strcspn(s, "/");
        if (!is_component(s, n))
            return amber_fail(err, AMBER_E_INVALID,
                              "\"%s\" is no object's key: each part between slashes has 1 to 255 "
                              "bytes and is neither \".\" nor \"..\"",
                              key);
        if (s[n] == '\0')
            break;
        s += n + 1;
    }
    if (strncmp(key, STORE_TMP_DIR, tmp_len) == 0 && (key[tmp_len] == '\0' || key[tmp_len] == '/'))
        return amber_fail(err, AMBER_E_INVALID,
                          "\"%s\" is no object's key: " STORE_TMP_DIR " holds unfinished files",
                          key);
    return AMBER_OK;
}

enum amber_rc amber_object_open(struct amber_store *st, const char *key, int flags,
                                struct amber_object **out, struct amber_object_info *out_info,
                                struct amber_err *err)
{
    struct amber_object_info info = {0};
    struct amber_object *o = NULL;
    enum amber_rc rc = amber_key_check(key, err);

    if (!rc)
        rc = st->ops->open(st, key, flags, &o, &info, err);
    if (rc)
        return rc;
    o->size = info.size;
    *out = o;
    if (out_info)
        *out_info = info;
    return AMBER_OK;
}

enum amber_rc amber_object_read(struct amber_object *o, uint64_t off, void *buf, size_t len,
                                struct amber_err *err)
{
    if (off > o->size || len > o->size - off)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%zu bytes at offset %llu were asked for and the object has %llu: it was "
                          "cut, or its manifest belongs to another one",
                          len, (unsigned long long)off, (unsigned long long)o->size);
    return len ? o->store->ops->read_at(o, off, buf, len, err) : AMBER_OK;
}

void amber_object_close(struct amber_object *o)
{
    if (o)
        o->store->ops->close(o);
}

enum amber_rc amber_store_stat(struct amber_store *st, const char *key,
                               struct amber_object_info *out, struct amber_err *err)
{
    struct amber_object_info info = {0};
    enum amber_rc rc = amber_key_check(key, err);

    if (!rc)
        rc = st->ops->stat(st, key, &info, err);
    if (!rc)
        *out = info;
    return rc;
}

enum amber_rc amber_store_list(struct amber_store *st, const char *prefix,
                               enum amber_rc (*each)(void *arg, const char *key,
                                                     const struct amber_object_info *info,
                                                     struct amber_err *err),
                               void *arg, struct amber_err *err)
{
    enum amber_rc rc = *prefix ? amber_key_check(prefix, err) : AMBER_OK;

    return rc ? rc : st->ops->list(st, prefix, each, arg, err);
}

enum amber_rc amber_store_folders(struct amber_store *st,
                                  enum amber_rc (*each)(void *arg, const char *folder,
                                                        struct amber_err *err),
                                  void *arg, struct amber_err *err)
{
    return st->ops->folders ? st->ops->folders(st, each, arg, err)
                            : amber_fail(err, AMBER_E_UNSUPPORTED, "this store has no folders");
}

uint64_t amber_store_folder_mark(struct amber_store *st, const char *folder)
{
    return st->ops->folder_mark ? st->ops->folder_mark(st, folder) : 0;
}

enum amber_rc amber_put_open(struct amber_store *st, const char *key, struct amber_put **out,
                             struct amber_err *err)
{
    enum amber_rc rc = amber_key_check(key, err);

    return rc ? rc : st->ops->put_open(st, key, out, err);
}

enum amber_rc amber_put_replace(struct amber_store *st, const char *key, struct amber_put **out,
                                struct amber_err *err)
{
    enum amber_rc rc = amber_put_open(st, key, out, err);

    if (!rc)
        (*out)->replace = true;
    return rc;
}

enum amber_rc amber_put_write(struct amber_put *p, const void *data, size_t len,
                              struct amber_err *err)
{
    return len ? p->store->ops->put_write(p, data, len, err) : AMBER_OK;
}

enum amber_rc amber_put_commit(struct amber_put *p, struct amber_object_info *out_info,
                               struct amber_err *err)
{
    struct amber_object_info info = {0};
    enum amber_rc rc = p->store->ops->put_commit(p, &info, err);

    if (!rc && out_info)
        *out_info = info;
    return rc;
}

void amber_put_abort(struct amber_put *p)
{
    if (p)
        p->store->ops->put_abort(p);
}

/* Append the whole object to out; out's length changes only when all bytes were read. */
static enum amber_rc get_whole(struct amber_object *o, const char *key, struct amber_buf *out,
                               struct amber_err *err)
{
    size_t size = o->size < SIZE_MAX ? (size_t)o->size : SIZE_MAX;
    enum amber_rc rc = amber_buf_reserve(out, size, err);

    if (rc)
        return amber_wrap(err, "%s", key);
    rc = amber_object_read(o, 0, out->data + out->len, size, err);
    if (!rc)
        out->len += size;
    out->data[out->len] = '\0';
    return rc;
}

enum amber_rc amber_store_get(struct amber_store *st, const char *key, struct amber_buf *out,
                              struct amber_err *err)
{
    struct amber_object *o = NULL;
    enum amber_rc rc = amber_object_open(st, key, AMBER_OPEN_CACHED, &o, NULL, err);

    if (rc)
        return rc;
    rc = get_whole(o, key, out, err);
    amber_object_close(o);
    return rc;
}

enum amber_rc amber_store_put(struct amber_store *st, const char *key, const void *data, size_t len,
                              struct amber_err *err)
{
    struct amber_put *p = NULL;
    enum amber_rc rc = amber_put_open(st, key, &p, err);

    if (rc)
        return rc;
    rc = amber_put_write(p, data, len, err);
    if (rc) {
        amber_put_abort(p);
        return rc;
    }
    return amber_put_commit(p, NULL, err);
}

enum amber_rc amber_store_remove(struct amber_store *st, const char *key, struct amber_err *err)
{
    enum amber_rc rc = amber_key_check(key, err);

    if (rc)
        return rc;
    if (!st->ops->traits.can_remove)
        return amber_fail(err, AMBER_E_UNSUPPORTED, "%s: this kind of storage removes nothing",
                          key);
    return st->ops->remove(st, key, err);
}
