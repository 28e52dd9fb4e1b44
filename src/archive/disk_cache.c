/*
 * disk_cache.c - stored blocks of remote stores on a local disk.
 *
 *   blocks/3f/3f9a...   a block, its whole SHA-256 as name
 *
 * The bytes are counted while they are written, from what a look at the folder found; past the
 * bound, or after an eighth of it was written (others may write there too), one thread looks again
 * and trims to seven eighths. The mutex guards counts only and is held over no file operation.
 */
#include "amber/disk_cache.h"

#include <pthread.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/log.h"

#define FOLDER "blocks"
#define RETRY_US INT64_C(60000000) /* after a failed write none is tried for so long */

struct amber_disk_cache {
    struct amber_cache_dir *dir;
    uint64_t max_bytes;
    pthread_mutex_t mutex;
    /* --- guarded --- */
    uint64_t bytes;   /* at the last look, and what was written since */
    uint64_t written; /* since the last look */
    bool looked, trimming, failing;
    int64_t retry_us; /* monotonic */
    struct amber_disk_cache_stats stats;
};

enum amber_rc amber_disk_cache_new(const char *path, uint64_t bytes, struct amber_disk_cache **out,
                                   struct amber_err *err)
{
    struct amber_disk_cache *d;
    enum amber_rc rc = amber_calloc(1, sizeof(*d), &d, err);

    if (rc)
        return rc;
    rc = amber_cache_dir_open(path, &d->dir, err);
    if (rc) {
        free(d);
        return rc;
    }
    d->max_bytes = bytes;
    pthread_mutex_init(&d->mutex, NULL);
    *out = d;
    return AMBER_OK;
}

void amber_disk_cache_free(struct amber_disk_cache *d)
{
    if (!d)
        return;
    amber_cache_dir_free(d->dir);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

static void name_of(const struct amber_sha256 *digest, char out[AMBER_CACHE_NAME_MAX])
{
    char hex[AMBER_SHA256_HEX];

    amber_sha256_hex(digest, hex);
    snprintf(out, AMBER_CACHE_NAME_MAX, FOLDER "/%.2s/%s", hex, hex);
}

bool amber_disk_cache_get(struct amber_disk_cache *d, const struct amber_sha256 *digest, void *buf,
                          size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    char name[AMBER_CACHE_NAME_MAX];
    struct amber_sha256 found;

    if (!d)
        return false;
    name_of(digest, name);
    enum amber_rc rc = amber_cache_dir_read(d->dir, name, buf, len, &err);
    if (!rc)
        rc = amber_sha256(buf, len, &found, &err);
    if (!rc && !amber_sha256_equal(&found, digest))
        rc = amber_fail(&err, AMBER_E_CORRUPT, "%s/%s has another digest than its name",
                        amber_cache_dir_path(d->dir), name);
    if (rc == AMBER_E_CORRUPT) {
        amber_warn("%s: a damaged file of the disk cache, removed; the block is fetched anew",
                   err.text);
        amber_cache_dir_remove(d->dir, name);
    }
    pthread_mutex_lock(&d->mutex);
    d->stats.hits += rc == AMBER_OK;
    d->stats.misses += rc != AMBER_OK;
    d->stats.damaged += rc == AMBER_E_CORRUPT;
    pthread_mutex_unlock(&d->mutex);
    return rc == AMBER_OK;
}

/* A failed write is said once, until one succeeds again. */
static void note_write(struct amber_disk_cache *d, enum amber_rc rc, size_t len,
                       const struct amber_err *err)
{
    pthread_mutex_lock(&d->mutex);
    bool news = rc && !d->failing;
    d->failing = rc != AMBER_OK;
    if (rc) {
        d->retry_us = amber_mono_us() + RETRY_US;
    } else {
        d->bytes += amber_cache_dir_room(len);
        d->written += amber_cache_dir_room(len);
    }
    pthread_mutex_unlock(&d->mutex);
    if (news)
        amber_warn("the disk cache can't be written, blocks aren't kept for now: %s", err->text);
}

/* Whether the caller is to look and trim. */
static bool trim_is_due(struct amber_disk_cache *d)
{
    pthread_mutex_lock(&d->mutex);
    bool due = !d->trimming &&
               (!d->looked || d->bytes > d->max_bytes || d->written >= d->max_bytes / 8);
    if (due) {
        d->trimming = true;
        d->written = 0;
    }
    pthread_mutex_unlock(&d->mutex);
    return due;
}

static void trim(struct amber_disk_cache *d)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t left = 0;
    enum amber_rc rc =
        amber_cache_dir_trim(d->dir, FOLDER, d->max_bytes, d->max_bytes / 8 * 7, &left, &err);

    pthread_mutex_lock(&d->mutex);
    d->trimming = false;
    d->looked = d->looked || !rc;
    if (!rc)
        d->bytes = left + d->written;
    pthread_mutex_unlock(&d->mutex);
    if (rc)
        note_write(d, rc, 0, &err);
}

static bool may_write(struct amber_disk_cache *d, size_t len)
{
    pthread_mutex_lock(&d->mutex);
    bool may = len <= d->max_bytes / 8 && (!d->failing || amber_mono_us() >= d->retry_us);
    pthread_mutex_unlock(&d->mutex);
    return may;
}

void amber_disk_cache_put(struct amber_disk_cache *d, const struct amber_sha256 *digest,
                          const void *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    char name[AMBER_CACHE_NAME_MAX];

    if (!d || !may_write(d, len))
        return;
    name_of(digest, name);
    note_write(d, amber_cache_dir_put(d->dir, name, data, len, &err), len, &err);
    if (trim_is_due(d))
        trim(d);
}

void amber_disk_cache_stats(struct amber_disk_cache *d, struct amber_disk_cache_stats *out)
{
    *out = (struct amber_disk_cache_stats){0};
    if (!d)
        return;
    pthread_mutex_lock(&d->mutex);
    *out = d->stats;
    pthread_mutex_unlock(&d->mutex);
}
