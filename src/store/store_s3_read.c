/*
 * store_s3_read.c - objects: ranges by GET, each with the ETag that open found.
 *
 * Opening asks for the first bytes rather than for nothing: a small object (marker, manifest) has
 * come whole with that one request.
 */
#include <inttypes.h>
#include <stdio.h>

#include <time.h>

#include "store_s3_read_priv.h"

#define HEAD_BYTES (64U * 1024U) /* asked for by open */

/* Whether the answer's range is the one that was asked for: "bytes 0-99/1000". */
static bool range_fits(const struct s3_range *r, const char *content_range)
{
    uint64_t a, b, total;

    return sscanf(content_range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &a, &b, &total) == 3 &&
           a == r->off + r->done && b == r->off + r->len - 1 && total == r->object->size;
}

struct range_try {
    struct s3_range *range;
    bool checked; /* this try's answer */
};

static bool take_range(void *arg, const struct http_response *rs, const void *data, size_t len)
{
    struct range_try *t = arg;
    struct s3_range *r = t->range;
    char content_range[96];

    if (!t->checked) {
        /* 200 would be the whole object, from a server that knows no ranges. */
        amber_http_header(rs, "content-range", content_range, sizeof(content_range));
        t->checked = rs->status == 206 && range_fits(r, content_range);
    }
    if (!t->checked || len > r->len - r->done) {
        r->wrong = true;
        return false;
    }
    memcpy(r->buf + r->done, data, len);
    r->done += len;
    if (r->span)
        amber_s3_span_progress(r->span, r->done);
    return true;
}

static enum amber_rc try_range(struct s3_range *r, struct s3_tries *t, struct amber_err *err)
{
    struct s3_object *o = r->object;
    struct range_try try = {.range = r};
    struct s3_call c = {
        .method = "GET", .key = o->key, .on_body = take_range, .arg = &try, .stop = r->stop};
    struct s3_answer a;
    char range[64];
    uint64_t from = r->off + r->done, last = r->off + r->len - 1;

    snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, from, last);
    if (o->if_match[0])
        amber_s3_header(&c, "if-match", o->if_match);
    amber_s3_header(&c, "range", range);
    enum amber_rc rc = amber_s3_try(amber_s3(o->base.store), &c, t, &a, err);
    if (r->wrong)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "the server answers %d with \"%s\" to a request for bytes %" PRIu64
                          "-%" PRIu64 " of %" PRIu64,
                          a.status, a.content_range, from, last, o->size);
    if (!rc && r->done < r->len)
        return amber_fail(err, AMBER_E_NET, "the answer ends %zu bytes too early",
                          r->len - r->done);
    if (rc == AMBER_E_CORRUPT && a.status == 412)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "the object was replaced since it was opened (its ETag isn't %s any "
                          "more); nothing may overwrite an archive, restore it from a copy",
                          o->if_match);
    return rc;
}

enum amber_rc amber_s3_get_range(struct s3_range *r, struct amber_err *err)
{
    struct s3_store *st = amber_s3(r->object->base.store);
    struct s3_tries t;
    enum amber_rc rc;

    amber_s3_tries_init(&t, st, r->len);
    do
        rc = try_range(r, &t, err);
    while (rc && amber_s3_again(st, &t, r->stop, err));
    return rc ? amber_wrap(err, "%s/%s: %zu bytes at offset %" PRIu64, st->name, r->object->key,
                           r->len, r->off)
              : AMBER_OK;
}

/* ---- opening ---- */

/* The total in "bytes 0-99/1000"; UINT64_MAX if it isn't there. */
static uint64_t total_of(const char *content_range)
{
    uint64_t total;

    return sscanf(content_range, "bytes %*u-%*u/%" SCNu64, &total) == 1 ? total : UINT64_MAX;
}

/* The first bytes and the object's size by one request. An empty object has no first byte, which is
 * an error; HEAD then says the rest. */
static enum amber_rc get_head(struct s3_object *o, struct s3_answer *a, struct amber_err *err)
{
    struct s3_store *st = amber_s3(o->base.store);
    struct s3_call c = {.method = "GET", .key = o->key, .out = &o->head};
    struct amber_err why = AMBER_ERR_INIT;
    char range[64];

    snprintf(range, sizeof(range), "bytes=0-%u", HEAD_BYTES - 1);
    amber_s3_header(&c, "range", range);
    enum amber_rc rc = amber_s3_call(st, &c, a, &why);
    if (rc == AMBER_E_CORRUPT && a->status == 416)
        rc = amber_s3_head(st, o->key, a, &why);
    else if (!rc && a->status == 206)
        a->info.size = total_of(a->content_range);
    if (rc) {
        *err = why;
        return rc;
    }
    size_t want = a->info.size < HEAD_BYTES ? (size_t)a->info.size : HEAD_BYTES;
    if (a->info.size == UINT64_MAX || o->head.len != want)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s/%s: the server gives %zu bytes with \"%s\" to a request for the "
                          "first %u",
                          st->name, o->key, o->head.len, a->content_range, HEAD_BYTES);
    return AMBER_OK;
}

static void object_init(struct s3_object *o, struct amber_store *base, const char *key)
{
    pthread_condattr_t monotonic;

    o->base.store = base;
    o->refs = 1;
    memcpy(o->key, key, strlen(key) + 1);
    amber_buf_init(&o->head, HEAD_BYTES);
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&o->progress, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum amber_rc amber_s3_open(struct amber_store *base, const char *key, int flags,
                            struct amber_object **out, struct amber_object_info *out_info,
                            struct amber_err *err)
{
    struct s3_object *o;
    struct s3_answer a;

    (void)flags; /* every byte comes from the server in any case */
    enum amber_rc rc = amber_calloc(1, sizeof(*o) + strlen(key) + 1, &o, err);
    if (rc)
        return rc;
    object_init(o, base, key);
    rc = get_head(o, &a, err);
    if (rc) {
        amber_s3_close(&o->base);
        return rc;
    }
    o->size = a.info.size;
    if (a.etag[0] && strncmp(a.etag, "W/", 2) != 0)
        snprintf(o->if_match, sizeof(o->if_match), "\"%s\"", a.etag);
    *out_info = a.info;
    *out = &o->base;
    return AMBER_OK;
}

void amber_s3_object_unref(struct s3_object *o)
{
    pthread_mutex_lock(&o->lock);
    bool last = --o->refs == 0;
    pthread_mutex_unlock(&o->lock);
    if (!last)
        return;
    amber_buf_clear(&o->head);
    pthread_cond_destroy(&o->progress);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

void amber_s3_close(struct amber_object *base)
{
    struct s3_object *o = (struct s3_object *)base;

    amber_s3_ahead_end(o);
    amber_s3_object_unref(o);
}

enum amber_rc amber_s3_read_at(struct amber_object *base, uint64_t off, void *buf, size_t len,
                               struct amber_err *err)
{
    struct s3_object *o = (struct s3_object *)base;
    size_t n = 0;

    if (off + len <= o->head.len) {
        memcpy(buf, o->head.data + off, len);
        return AMBER_OK;
    }
    enum amber_rc rc = amber_s3_ahead(o, off, buf, len, &n, err);
    if (rc || n == len)
        return rc;
    struct s3_range r = {.buf = (char *)buf + n, .len = len - n, .off = off + n, .object = o};
    return amber_s3_get_range(&r, err);
}
