/*
 * store_s3_read.c - objects: ranges by GET, each with the ETag that open found.
 *
 * Opening asks for the first bytes rather than for nothing: a small object (marker, manifest) has
 * come whole with that one request.
 */
#include <inttypes.h>
#include <stdio.h>

#include "amber/calendar.h"

#include "store_s3_priv.h"

#define HEAD_BYTES (64U * 1024U) /* asked for by open */

struct s3_object {
    struct amber_object base;
    uint64_t size;
    char if_match[S3_ETAG_MAX + 2]; /* with quotes; "": the server gave no ETag */
    struct amber_buf head;          /* the object's first bytes */
    char key[];
};

/* Bytes of a range as they come, over several tries if need be. */
struct range {
    char *buf;
    size_t len, done;
    bool wrong; /* the answer isn't what was asked for */
};

static bool take_range(void *arg, const struct http_response *rs, const void *data, size_t len)
{
    struct range *r = arg;

    /* 200 is the whole object, from a server that knows no ranges. */
    if (rs->status != 206 || len > r->len - r->done) {
        r->wrong = true;
        return false;
    }
    memcpy(r->buf + r->done, data, len);
    r->done += len;
    return true;
}

/* Whether the answer's range is the one that was asked for. "bytes 0-99/1000" */
static bool range_fits(const struct s3_object *o, const char *content_range, uint64_t from,
                       uint64_t last)
{
    uint64_t a, b, total;

    return sscanf(content_range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &a, &b, &total) == 3 &&
           a == from && b == last && total == o->size;
}

static enum amber_rc try_range(struct s3_object *o, uint64_t off, struct range *r,
                               struct s3_tries *t, struct amber_err *err)
{
    struct s3_store *st = amber_s3(o->base.store);
    struct s3_call c = {.method = "GET", .key = o->key, .on_body = take_range, .arg = r};
    struct s3_answer a;
    char range[64];
    uint64_t from = off + r->done, last = off + r->len - 1;

    snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, from, last);
    if (o->if_match[0])
        amber_s3_header(&c, "if-match", o->if_match);
    amber_s3_header(&c, "range", range);
    enum amber_rc rc = amber_s3_try(st, &c, t, &a, err);
    if (r->wrong || (!rc && !range_fits(o, a.content_range, from, last)))
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

static enum amber_rc get_range(struct s3_object *o, uint64_t off, char *buf, size_t len,
                               struct amber_err *err)
{
    struct s3_store *st = amber_s3(o->base.store);
    struct range r = {.buf = buf, .len = len};
    struct s3_tries t;
    enum amber_rc rc;

    amber_s3_tries_init(&t, st, len);
    do
        rc = try_range(o, off, &r, &t, err);
    while (rc && amber_s3_again(st, &t, NULL, err));
    return rc ? amber_wrap(err, "%s/%s: %zu bytes at offset %" PRIu64, st->name, o->key, len, off)
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
    o->base.store = base;
    memcpy(o->key, key, strlen(key) + 1);
    amber_buf_init(&o->head, HEAD_BYTES);
    rc = get_head(o, &a, err);
    if (rc) {
        amber_s3_close(&o->base);
        return rc;
    }
    o->size = a.info.size;
    if (a.etag[0])
        snprintf(o->if_match, sizeof(o->if_match), "\"%s\"", a.etag);
    *out_info = a.info;
    *out = &o->base;
    return AMBER_OK;
}

void amber_s3_close(struct amber_object *base)
{
    struct s3_object *o = (struct s3_object *)base;

    amber_buf_clear(&o->head);
    free(o);
}

enum amber_rc amber_s3_read_at(struct amber_object *base, uint64_t off, void *buf, size_t len,
                               struct amber_err *err)
{
    struct s3_object *o = (struct s3_object *)base;

    if (off + len <= o->head.len) {
        memcpy(buf, o->head.data + off, len);
        return AMBER_OK;
    }
    return get_range(o, off, buf, len, err);
}
