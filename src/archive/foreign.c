/*
 * foreign.c - the engine: an index for each file of another program, loaded or made, and the reader
 * that goes by it.
 *
 * An index is found by store and key, and counts only for the object's present version. As many are
 * made at once as there are processors; others wait. The lock is held for counting only.
 */
#include <inttypes.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/log.h"
#include "amber/pool.h"
#include "foreign_priv.h"
#include "reader_priv.h"

#define FOLDER "foreign"
#define HEAD_BYTES 20U /* that tell archives of ours */

enum amber_rc amber_foreign_new(const struct amber_foreign_config *cfg, struct amber_foreign **out,
                                struct amber_err *err)
{
    struct amber_foreign *f;
    enum amber_rc rc = amber_calloc(1, sizeof(*f), &f, err);

    if (rc)
        return rc;
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->free_slot, NULL);
    f->store = cfg->store;
    f->disk_bytes = cfg->disk_bytes;
    f->memory_bytes = cfg->memory_bytes;
    f->max_builds = amber_cpu_count();
    rc = amber_strdup(cfg->store_name, &f->store_name, err);
    if (!rc)
        rc = amber_strdup(cfg->cache_path, &f->cache_path, err);
    if (rc)
        amber_foreign_free(f);
    else
        *out = f;
    return rc;
}

void amber_foreign_free(struct amber_foreign *f)
{
    if (!f)
        return;
    amber_cache_dir_free(f->dir);
    pthread_cond_destroy(&f->free_slot);
    pthread_mutex_destroy(&f->mutex);
    free(f->store_name);
    free(f->cache_path);
    free(f);
}

void amber_foreign_stop(struct amber_foreign *f)
{
    atomic_store(&f->stop, true);
}

enum amber_rc amber_foreign_dir(struct amber_foreign *f, struct amber_cache_dir **out,
                                struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    pthread_mutex_lock(&f->mutex);
    if (!f->dir)
        rc = amber_cache_dir_open(f->cache_path, &f->dir, err);
    *out = f->dir;
    pthread_mutex_unlock(&f->mutex);
    return rc;
}

/* ---- finding and making ---- */

/* "foreign/3f/9a...": the index of this store's object. */
static enum amber_rc index_name(const struct amber_foreign *f, const char *key,
                                char out[FOREIGN_NAME_MAX], struct amber_err *err)
{
    AMBER_AUTO_FREE char *id = NULL;
    char hex[AMBER_SHA256_HEX];
    struct amber_sha256 digest;
    enum amber_rc rc = amber_asprintf(&id, err, "%s\n%s", f->store_name, key);

    if (!rc)
        rc = amber_sha256(id, strlen(id), &digest, err);
    if (rc)
        return rc;
    amber_sha256_hex(&digest, hex);
    snprintf(out, FOREIGN_NAME_MAX, FOLDER "/%.2s/%s", hex, hex + 2);
    return AMBER_OK;
}

static bool is_of(const struct amber_part *p, const char *key, const struct amber_object_info *info)
{
    return strcmp(p->key, key) == 0 && p->stored_bytes == info->size &&
           strcmp(p->foreign->version, info->version) == 0;
}

/* The index that the folder has. errors NOT_FOUND none, or of another object or version */
static enum amber_rc load_index(struct amber_foreign *f, const char *key, const char *name,
                                const struct amber_object_info *info, struct amber_part *out,
                                struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(FOREIGN_INDEX_MAX);
    char file[AMBER_CACHE_NAME_MAX];
    struct amber_part p = {0};
    struct amber_cache_dir *dir;
    enum amber_rc rc = amber_foreign_dir(f, &dir, err);

    snprintf(file, sizeof(file), "%s.index", name);
    if (!rc)
        rc = amber_cache_dir_get(dir, file, &doc, err);
    if (!rc)
        rc = amber_foreign_parse(doc.data, doc.len, &p, err);
    if (!rc && !is_of(&p, key, info))
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "%s is of another version of %s", file, key);
    if (rc == AMBER_E_CORRUPT)
        amber_warn("%s: %s; it is made anew", key, err->text);
    if (rc) {
        amber_part_clear(&p);
        return rc;
    }
    snprintf(p.foreign->name, sizeof(p.foreign->name), "%s", name);
    *out = p;
    return AMBER_OK;
}

/* Keep the folder within its bound, looking at it only after an eighth of that was written. */
static void trim(struct amber_foreign *f, uint64_t written)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t left;

    pthread_mutex_lock(&f->mutex);
    f->written += written;
    bool look = f->written > f->disk_bytes / 8 || !f->looked;
    f->looked = true;
    if (look)
        f->written = 0;
    pthread_mutex_unlock(&f->mutex);
    if (look &&
        amber_cache_dir_trim(f->dir, FOLDER, f->disk_bytes, f->disk_bytes / 8 * 7, &left, &err))
        amber_warn("%s", err.text);
}

/* Decode the file, when it is our turn. dir NULL: to check it. */
static enum amber_rc build(struct amber_foreign *f, const char *key, const char *name,
                           struct amber_cache_dir *dir, struct amber_object *object,
                           const struct amber_object_info *info, struct amber_part *out,
                           struct amber_err *err)
{
    uint64_t written = 0;
    struct amber_part p = {0};
    enum amber_rc rc = amber_strdup(key, &p.key, err);

    if (rc)
        return rc;
    pthread_mutex_lock(&f->mutex);
    while (f->n_builds >= f->max_builds)
        pthread_cond_wait(&f->free_slot, &f->mutex);
    f->n_builds++;
    pthread_mutex_unlock(&f->mutex);
    rc = amber_foreign_build(f, dir, name, object, info, &p, &written, err);
    pthread_mutex_lock(&f->mutex);
    f->n_builds--;
    pthread_cond_signal(&f->free_slot);
    pthread_mutex_unlock(&f->mutex);
    if (written > 0)
        trim(f, written);
    if (!rc)
        *out = p;
    else
        amber_part_clear(&p);
    return rc;
}

static enum amber_rc make_index(struct amber_foreign *f, const char *key, const char *name,
                                struct amber_object *object, const struct amber_object_info *info,
                                struct amber_part *out, struct amber_err *err)
{
    int64_t begun = amber_mono_us();
    struct amber_cache_dir *dir;
    enum amber_rc rc = amber_foreign_dir(f, &dir, err);

    if (!rc)
        rc = build(f, key, name, dir, object, info, out, err);
    if (rc)
        return amber_wrap(err, "%s can't be indexed", key);
    if (out->foreign->fault)
        amber_error("%s is damaged: %s", key, out->foreign->fault);
    amber_debug("%s: indexed, %" PRIu64 " bytes of text in %zu blocks, %" PRId64 " ms", key,
                out->raw_bytes, out->n_blocks, (amber_mono_us() - begun) / 1000);
    return AMBER_OK;
}

enum amber_rc amber_foreign_verify(struct amber_foreign *f, const char *key,
                                   uint64_t *out_raw_bytes, struct amber_err *err)
{
    struct amber_object_info info;
    struct amber_object *o = NULL;
    struct amber_part p = {0};
    enum amber_rc rc = amber_object_open(f->store, key, AMBER_OPEN_MEDIUM, &o, &info, err);

    if (!rc)
        rc = build(f, key, "", NULL, o, &info, &p, err);
    amber_object_close(o);
    if (!rc && p.foreign->fault)
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s", p.foreign->fault);
    if (!rc)
        *out_raw_bytes = p.raw_bytes;
    amber_part_clear(&p);
    return rc;
}

enum amber_rc amber_foreign_again(const struct amber_part *p, struct amber_err *err)
{
    struct amber_foreign *f = p->foreign->engine;
    struct amber_object_info info;
    struct amber_object *o = NULL;
    struct amber_part again = {0};
    enum amber_rc rc = amber_object_open(f->store, p->key, AMBER_OPEN_CACHED, &o, &info, err);

    if (!rc && !is_of(p, p->key, &info))
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s was changed since it was opened", p->key);
    if (!rc) {
        amber_warn("%s: its index isn't whole any more and is made anew", p->key);
        rc = make_index(f, p->key, p->foreign->name, o, &info, &again, err);
    }
    amber_part_clear(&again);
    amber_object_close(o);
    return rc;
}

/* ---- ours or not ---- */

static bool begins_ours(const uint8_t *p, size_t len)
{
    static const uint8_t gzip[] = {0x1f, 0x8b, 8, 4}, zstd[] = {0x50, 0x2a, 0x4d, 0x18};

    if (len < HEAD_BYTES)
        return false;
    return (memcmp(p, gzip, sizeof(gzip)) == 0 && p[12] == 'A' && p[13] == 'M') ||
           (memcmp(p, zstd, sizeof(zstd)) == 0 && memcmp(p + 8, "AMBR", 4) == 0);
}

static enum amber_rc object_is_ours(struct amber_object *o, uint64_t size, bool *out,
                                    struct amber_err *err)
{
    uint8_t head[HEAD_BYTES];
    size_t len = size < sizeof(head) ? (size_t)size : sizeof(head);
    enum amber_rc rc = amber_object_read(o, 0, head, len, err);

    if (!rc)
        *out = begins_ours(head, len);
    return rc;
}

enum amber_rc amber_foreign_is_ours(struct amber_store *store, const char *key, bool *out,
                                    struct amber_err *err)
{
    struct amber_object_info info;
    struct amber_object *o = NULL;
    enum amber_rc rc = amber_object_open(store, key, AMBER_OPEN_CACHED, &o, &info, err);

    if (!rc)
        rc = object_is_ours(o, info.size, out, err);
    amber_object_close(o);
    return rc;
}

/* ---- opening ---- */

static enum amber_rc make_unless_ours(struct amber_foreign *f, const char *key, const char *name,
                                      struct amber_part *out, struct amber_err *err)
{
    struct amber_object_info info;
    struct amber_object *o = NULL;
    bool ours = false;
    enum amber_rc rc = amber_object_open(f->store, key, AMBER_OPEN_CACHED, &o, &info, err);

    if (!rc)
        rc = object_is_ours(o, info.size, &ours, err);
    if (!rc && ours)
        rc = amber_fail(err, AMBER_E_UNSUPPORTED,
                        "%s is an archive of amberfs whose run didn't commit, or that was put here "
                        "without its manifest",
                        key);
    if (!rc)
        rc = make_index(f, key, name, o, &info, out, err);
    amber_object_close(o);
    return rc;
}

/* With its index at hand the object isn't opened here: in a bucket that is a read of its head. */
static enum amber_rc find_or_make(struct amber_foreign *f, const char *key, struct amber_part *out,
                                  struct amber_err *err)
{
    struct amber_object_info info;
    char name[FOREIGN_NAME_MAX];
    enum amber_rc rc = index_name(f, key, name, err);

    if (!rc)
        rc = amber_store_stat(f->store, key, &info, err);
    if (rc || load_index(f, key, name, &info, out, err) == AMBER_OK)
        return rc;
    return make_unless_ours(f, key, name, out, err);
}

enum amber_rc amber_foreign_open(struct amber_foreign *f, const char *key,
                                 struct amber_cache *cache, struct amber_reader **out,
                                 struct amber_err *err)
{
    struct amber_part p = {0};
    enum amber_rc rc = find_or_make(f, key, &p, err);

    if (rc)
        return rc;
    p.foreign->engine = f;
    rc = amber_reader_open(f->store, &p, cache, out, err);
    if (rc)
        amber_part_clear(&p);
    return rc;
}

const char *amber_foreign_fault(const struct amber_reader *r)
{
    return r->part.foreign ? r->part.foreign->fault : NULL;
}

const char *amber_foreign_version(const struct amber_reader *r)
{
    return r->part.foreign->version;
}
