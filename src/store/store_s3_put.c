/*
 * store_s3_put.c - writing an object of a bucket.
 *
 *   up to PART_BYTES      one PUT
 *   more                  a multipart upload: parts fill in put_write, go out on the store's pool,
 *                         and become the object in put_commit
 *
 * Nothing is overwritten: the name is looked for before, and `If-None-Match: *` closes the gap where
 * the server honours it (names of archives are reserved in the catalog besides). A request whose
 * answer was lost is settled by looking at what is there.
 *
 * Memory: one part that fills and those under way, UNDER_WAY_BYTES of them or one. Parts grow with
 * their number, so that the 10,000 that S3 allows are more than its largest object needs.
 * Lock order: a put's lock is the only one; it is never held over a request.
 * source  "Multipart upload limits" and CompleteMultipartUpload in Amazon's S3 documentation
 */
#include <inttypes.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/failpoint.h"
#include "amber/log.h"

#include "store_s3_priv.h"

#define PART_BYTES ((size_t)8 << 20)
#define PARTS_MAX 10000U
#define PARTS_PER_SIZE 1000U /* then they double */
#define UNDER_WAY_BYTES ((size_t)32 << 20)
#define UPLOAD_ID_MAX 1024
#define COMPLETE_BYTES_S ((uint64_t)4 << 20) /* that a server puts together in a second, at least */

struct s3_put;

/* A part that fills, is under way, or is free for the next. */
struct part {
    struct amber_task task; /* first: run() gets its address */
    struct s3_put *put;
    struct part *next; /* free list */
    unsigned number;   /* from 1 */
    char *data;        /* owned; cap bytes */
    size_t len, cap;
};

struct s3_put {
    struct amber_put base;
    pthread_mutex_t lock; /* guards all below up to fault */
    pthread_cond_t ended; /* a part */
    unsigned under_way;
    size_t under_way_bytes;
    struct part *free;
    char (*etags)[S3_ETAG_MAX]; /* owned; of part i + 1 */
    size_t n_etags, etags_cap;
    struct amber_err fault; /* of the first part that failed */
    bool stop;              /* atomic: nobody wants the rest */
    /* The writer's: */
    struct part *filling;
    unsigned n_parts; /* sent out */
    uint64_t bytes;
    char upload_id[UPLOAD_ID_MAX]; /* "": none */
    bool strays; /* uploads may have begun whose answer, and so their id, was lost */
    char key[];
};

static struct s3_store *store_of(const struct s3_put *p)
{
    return amber_s3(p->base.store);
}

static size_t part_bytes(unsigned number)
{
    return PART_BYTES << ((number - 1) / PARTS_PER_SIZE);
}

/* ---- one part ---- */

static void part_free(struct part *part)
{
    if (!part)
        return;
    free(part->data);
    free(part);
}

/* The next part to fill: a used one if it is large enough. */
static enum amber_rc part_take(struct s3_put *p, struct amber_err *err)
{
    size_t cap = part_bytes(p->n_parts + 1);

    pthread_mutex_lock(&p->lock);
    struct part *part = p->free;
    if (part)
        p->free = part->next;
    pthread_mutex_unlock(&p->lock);
    if (part && part->cap < cap) {
        part_free(part);
        part = NULL;
    }
    if (!part) {
        part = calloc(1, sizeof(*part));
        if (part)
            part->data = malloc(cap);
        if (!part || !part->data) {
            part_free(part);
            return amber_fail_nomem(err, "a part of an upload", cap);
        }
        part->cap = cap;
        part->put = p;
    }
    part->len = 0;
    p->filling = part;
    return AMBER_OK;
}

static enum amber_rc content_md5(const void *data, size_t len, char out[S3_MD5_BASE64],
                                 struct amber_err *err)
{
    struct s3_md5 d;
    enum amber_rc rc = amber_s3_md5(data, len, &d, err);

    if (!rc)
        amber_s3_md5_base64(&d, out);
    return rc;
}

static enum amber_rc send_part(struct part *part, char etag[S3_ETAG_MAX], struct amber_err *err)
{
    struct s3_put *p = part->put;
    AMBER_AUTO_BUF struct amber_buf q = AMBER_BUF_INIT(4U * UPLOAD_ID_MAX);
    char md5[S3_MD5_BASE64];
    struct s3_answer a;

    enum amber_rc rc = content_md5(part->data, part->len, md5, err);
    if (!rc)
        rc = amber_buf_printf(&q, err, "partNumber=%u&uploadId=", part->number);
    if (!rc)
        rc = amber_s3_encode(&q, p->upload_id, true, err);
    if (rc)
        return rc;
    struct s3_call c = {.method = "PUT", .key = p->key, .query = q.data, .body = part->data,
                        .body_len = part->len, .stop = &p->stop};
    amber_s3_header(&c, "content-md5", md5);
    rc = amber_s3_call(store_of(p), &c, &a, err);
    if (!rc && !a.etag[0])
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s: the server gives no ETag for part %u", p->key,
                        part->number);
    if (!rc)
        memcpy(etag, a.etag, S3_ETAG_MAX);
    return rc;
}

static void run_part(struct amber_task *task)
{
    struct part *part = (struct part *)task;
    struct s3_put *p = part->put;
    struct amber_err err = AMBER_ERR_INIT;
    char etag[S3_ETAG_MAX] = "";

    enum amber_rc rc = __atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)
                           ? amber_fail(&err, AMBER_E_CANCELED, "canceled")
                           : send_part(part, etag, &err);
    pthread_mutex_lock(&p->lock);
    if (rc && !p->fault.code)
        p->fault = err;
    if (!rc)
        memcpy(p->etags[part->number - 1], etag, S3_ETAG_MAX);
    p->under_way--;
    p->under_way_bytes -= part->len;
    part->next = p->free;
    p->free = part;
    pthread_cond_broadcast(&p->ended);
    pthread_mutex_unlock(&p->lock);
}

/* ---- starting an upload, sending its parts ---- */

static void add_storage_headers(const struct s3_store *st, struct s3_call *c)
{
    if (st->sse != AMBER_S3_SSE_NONE)
        amber_s3_header(c, "x-amz-server-side-encryption",
                        st->sse == AMBER_S3_SSE_KMS ? "aws:kms" : "AES256");
    if (st->sse == AMBER_S3_SSE_KMS && st->sse_kms_key_id)
        amber_s3_header(c, "x-amz-server-side-encryption-aws-kms-key-id", st->sse_kms_key_id);
    if (st->storage_class)
        amber_s3_header(c, "x-amz-storage-class", st->storage_class);
}

static enum amber_rc fail_exists(struct s3_put *p, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_EXISTS, "%s/%s exists; nothing was overwritten",
                      store_of(p)->name, p->key);
}

static enum amber_rc check_free(struct s3_put *p, struct amber_err *err)
{
    struct amber_err why = AMBER_ERR_INIT;
    struct s3_answer a;

    if (p->base.replace)
        return AMBER_OK;
    enum amber_rc rc = amber_s3_head(store_of(p), p->key, &a, &why);
    if (rc == AMBER_E_NOT_FOUND)
        return AMBER_OK;
    if (!rc)
        return fail_exists(p, err);
    *err = why;
    return rc;
}

static enum amber_rc start_upload(struct s3_put *p, struct amber_err *err)
{
    struct s3_store *st = store_of(p);
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(S3_ERROR_BYTES);
    struct s3_call c = {.method = "POST", .key = p->key, .query = "uploads=", .out = &doc};
    const struct s3_xml_field field = {"InitiateMultipartUploadResult/UploadId", p->upload_id,
                                       sizeof(p->upload_id)};
    struct s3_tries t;
    struct s3_answer a;

    enum amber_rc rc = check_free(p, err); /* before the bytes go out for nothing */
    if (rc)
        return rc;
    add_storage_headers(st, &c);
    amber_s3_tries_init(&t, st, 0);
    t.fresh = true; /* libcurl repeats what a kept connection may have lost, and tells nobody */
    do
        rc = amber_s3_try(st, &c, &t, &a, err);
    while (rc && amber_s3_again(st, &t, NULL, err));
    p->strays = t.n > 1 || (rc && amber_rc_retryable(rc));
    if (rc)
        rc = amber_wrap(err, "POST %s/%s", st->name, p->key);
    if (!rc)
        rc = amber_s3_xml_fields(doc.data ? doc.data : "", doc.len, &field, 1, err);
    if (!rc && (!p->upload_id[0] || strlen(p->upload_id) == sizeof(p->upload_id) - 1)) {
        p->upload_id[0] = '\0';
        p->strays = true;
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s/%s: the server gives no upload id", st->name,
                        p->key);
    }
    return rc;
}

/* Wait until the next part may go out, or (0) until all are done. The first fault is the result. */
static enum amber_rc wait_parts(struct s3_put *p, size_t next_bytes, struct amber_err *err)
{
    pthread_mutex_lock(&p->lock);
    while (next_bytes > 0 ? p->under_way > 0 && p->under_way_bytes + next_bytes > UNDER_WAY_BYTES
                          : p->under_way > 0)
        pthread_cond_wait(&p->ended, &p->lock);
    if (p->fault.code)
        *err = p->fault;
    enum amber_rc rc = p->fault.code;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* What failed before, though nobody may have looked. */
static enum amber_rc first_fault(struct s3_put *p, struct amber_err *err)
{
    pthread_mutex_lock(&p->lock);
    if (p->fault.code)
        *err = p->fault;
    enum amber_rc rc = p->fault.code;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* Send the part that filled. */
static enum amber_rc send_filled(struct s3_put *p, struct amber_err *err)
{
    struct part *part = p->filling;
    enum amber_rc rc = AMBER_OK;

    if (p->n_parts == PARTS_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "%s/%s: S3 takes no object larger than %" PRIu64
                          " bytes", store_of(p)->name, p->key, p->bytes);
    if (!p->upload_id[0])
        rc = start_upload(p, err);
    if (!rc)
        rc = wait_parts(p, part->len, err);
    pthread_mutex_lock(&p->lock);
    if (!rc)
        rc = amber_grow(&p->etags, &p->etags_cap, p->n_parts + 1, sizeof(*p->etags), err);
    if (!rc) {
        p->under_way++;
        p->under_way_bytes += part->len;
    }
    pthread_mutex_unlock(&p->lock);
    if (rc)
        return rc;
    part->number = ++p->n_parts;
    part->task.run = run_part;
    p->filling = NULL;
    amber_pool_submit(store_of(p)->pool, &part->task);
    return AMBER_OK;
}

enum amber_rc amber_s3_put_open(struct amber_store *base, const char *key, struct amber_put **out,
                                struct amber_err *err)
{
    struct s3_put *p;

    enum amber_rc rc = amber_s3_check_writable(amber_s3(base), key, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*p) + strlen(key) + 1, &p, err);
    if (rc)
        return rc;
    p->base.store = base;
    memcpy(p->key, key, strlen(key) + 1);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->ended, NULL);
    *out = &p->base;
    return AMBER_OK;
}

enum amber_rc amber_s3_put_write(struct amber_put *base, const void *data, size_t len,
                                 struct amber_err *err)
{
    struct s3_put *p = (struct s3_put *)base;
    const char *s = data;
    enum amber_rc rc = AMBER_OK;

    while (!rc && len > 0) {
        /* A full part goes out when more comes: then it isn't the whole object. */
        if (p->filling && p->filling->len == p->filling->cap)
            rc = send_filled(p, err);
        if (!rc && !p->filling)
            rc = part_take(p, err);
        if (rc)
            break;
        struct part *part = p->filling;
        size_t room = part->cap - part->len, n = len < room ? len : room;
        memcpy(part->data + part->len, s, n);
        part->len += n;
        p->bytes += n;
        s += n;
        len -= n;
    }
    if (rc) {
        pthread_mutex_lock(&p->lock);
        if (!p->fault.code)
            p->fault = *err; /* the bytes have a hole: commit refuses */
        pthread_mutex_unlock(&p->lock);
    }
    return rc;
}

/* ---- ending ---- */

/* A request that must not overwrite, unless it is a repair; anew without the header where the server
 * doesn't know it. */
static enum amber_rc call_if_free(struct s3_put *p, struct s3_call *c, struct s3_answer *a,
                                  struct amber_err *err)
{
    struct s3_store *st = store_of(p);
    struct s3_call guarded = *c;
    struct amber_err why = AMBER_ERR_INIT;

    if (p->base.replace || __atomic_load_n(&st->no_if_none_match, __ATOMIC_RELAXED))
        return amber_s3_call(st, c, a, err);
    amber_s3_header(&guarded, "if-none-match", "*");
    enum amber_rc rc = amber_s3_call(st, &guarded, a, &why);
    if (rc == AMBER_E_UNSUPPORTED || (rc && strcmp(a->code, "NotImplemented") == 0)) {
        __atomic_store_n(&st->no_if_none_match, true, __ATOMIC_RELAXED);
        return amber_s3_call(st, c, a, err);
    }
    if (rc)
        *err = why;
    return rc;
}

/* Whether the object has just these bytes: a PUT whose answer was lost did its work. (libcurl repeats
 * requests by itself when a kept connection breaks, so nobody else would know.) */
static bool has_these_bytes(struct s3_put *p, const void *data, size_t len)
{
    struct s3_store *st = store_of(p);
    struct amber_buf got AMBER_AUTO_BUF = AMBER_BUF_INIT(len);
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_call c = {.method = "GET", .key = p->key, .out = &got};
    struct s3_answer a;

    return amber_s3_call(st, &c, &a, &err) == AMBER_OK && got.len == len &&
           (len == 0 || memcmp(got.data, data, len) == 0);
}

static enum amber_rc put_whole(struct s3_put *p, struct amber_err *err)
{
    struct s3_store *st = store_of(p);
    size_t len = p->filling ? p->filling->len : 0;
    struct s3_call c = {.method = "PUT", .key = p->key, .body = len ? p->filling->data : NULL,
                        .body_len = len};
    char md5[S3_MD5_BASE64];
    struct s3_answer a;

    enum amber_rc rc = content_md5(len ? p->filling->data : "", len, md5, err);
    if (!rc)
        rc = check_free(p, err);
    if (rc)
        return rc;
    amber_s3_header(&c, "content-md5", md5);
    add_storage_headers(st, &c);
    rc = call_if_free(p, &c, &a, err);
    if (rc == AMBER_E_EXISTS && !has_these_bytes(p, c.body, len))
        return fail_exists(p, err);
    if (rc == AMBER_E_EXISTS) {
        *err = (struct amber_err)AMBER_ERR_INIT;
        rc = AMBER_OK;
    }
    return rc;
}

/* The document that lists all parts. */
static enum amber_rc complete_document(struct s3_put *p, struct amber_buf *doc,
                                       struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(
        doc, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", err);

    for (unsigned i = 0; !rc && i < p->n_parts; i++)
        rc = amber_buf_printf(doc, err,
                              "<Part><PartNumber>%u</PartNumber><ETag>&quot;%s&quot;</ETag></Part>",
                              i + 1, p->etags[i]);
    return rc ? rc : amber_buf_puts(doc, "</CompleteMultipartUpload>", err);
}

/* The answer may be an error though its status is 200: S3 sends that before the work is done. */
static enum amber_rc check_completed(struct s3_put *p, const struct amber_buf *doc,
                                     struct amber_err *err)
{
    char code[S3_CODE_MAX], message[300], key[S3_XML_TEXT_MAX], etag[S3_ETAG_MAX];
    const struct s3_xml_field fields[] = {
        {"Error/Code", code, sizeof(code)},
        {"Error/Message", message, sizeof(message)},
        {"CompleteMultipartUploadResult/Key", key, sizeof(key)},
        {"CompleteMultipartUploadResult/ETag", etag, sizeof(etag)},
    };

    enum amber_rc rc = amber_s3_xml_fields(doc->data ? doc->data : "", doc->len, fields,
                                           amber_countof(fields), err);
    if (!rc && code[0])
        rc = amber_fail(err, strcmp(code, "PreconditionFailed") == 0 ? AMBER_E_EXISTS : AMBER_E_BUSY,
                        "%s/%s: the server answers 200 with %s (%s)", store_of(p)->name, p->key,
                        code, message);
    if (!rc && !key[0] && !etag[0])
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s/%s: the server doesn't say that it is complete",
                        store_of(p)->name, p->key);
    return rc;
}

static enum amber_rc complete_once(struct s3_put *p, const struct amber_buf *doc,
                                   struct s3_answer *a, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf q = AMBER_BUF_INIT(4U * UPLOAD_ID_MAX);
    AMBER_AUTO_BUF struct amber_buf answer = AMBER_BUF_INIT(S3_ERROR_BYTES);
    char md5[S3_MD5_BASE64];

    enum amber_rc rc = content_md5(doc->data, doc->len, md5, err);
    if (!rc)
        rc = amber_buf_puts(&q, "uploadId=", err);
    if (!rc)
        rc = amber_s3_encode(&q, p->upload_id, true, err);
    if (rc)
        return rc;
    struct s3_call c = {.method = "POST", .key = p->key, .query = q.data, .body = doc->data,
                        .body_len = doc->len, .out = &answer,
                        /* Amazon takes minutes to put a large object together. */
                        .patience_s = (unsigned)(p->bytes / COMPLETE_BYTES_S)};
    amber_s3_header(&c, "content-md5", md5);
    rc = call_if_free(p, &c, a, err);
    return rc ? rc : check_completed(p, &answer, err);
}

/* What stands under the name has the length that was written. errors NOT_FOUND, CORRUPT */
static enum amber_rc check_stored(struct s3_put *p, struct s3_answer *a, struct amber_err *err)
{
    enum amber_rc rc = amber_s3_head(store_of(p), p->key, a, err);

    if (!rc && a->info.size != p->bytes)
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "%s/%s has %" PRIu64 " bytes after %" PRIu64 " were written",
                        store_of(p)->name, p->key, a->info.size, p->bytes);
    return rc;
}

/* Whether an object that is there now is this upload: of its length and number of parts. (Who reads
 * it back compares every byte.) */
static bool completed_before(struct s3_put *p)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_answer a;
    char parts[16];

    snprintf(parts, sizeof(parts), "-%u", p->n_parts);
    if (check_stored(p, &a, &err))
        return false;
    size_t len = strlen(a.etag), n = strlen(parts);
    return len > n && strcmp(a.etag + len - n, parts) == 0;
}

static enum amber_rc complete(struct s3_put *p, struct amber_err *err)
{
    struct s3_store *st = store_of(p);
    AMBER_AUTO_BUF struct amber_buf doc = AMBER_BUF_INIT(PARTS_MAX * (S3_ETAG_MAX + 100U));
    struct s3_tries t;

    enum amber_rc rc = complete_document(p, &doc, err);
    if (!rc)
        rc = check_free(p, err);
    if (!rc)
        rc = amber_failpoint("put-complete", err);
    if (rc)
        return rc;
    amber_s3_tries_init(&t, st, 0);
    do {
        struct s3_answer a;
        t.n++;
        rc = complete_once(p, &doc, &a, err);
        if ((rc == AMBER_E_NOT_FOUND || rc == AMBER_E_EXISTS) && completed_before(p)) {
            *err = (struct amber_err)AMBER_ERR_INIT;
            return AMBER_OK;
        }
        if (rc == AMBER_E_EXISTS)
            return fail_exists(p, err);
    } while (rc == AMBER_E_BUSY && amber_s3_again(st, &t, NULL, err));
    return rc;
}

static void put_free(struct s3_put *p)
{
    part_free(p->filling);
    while (p->free) {
        struct part *next = p->free->next;
        part_free(p->free);
        p->free = next;
    }
    free(p->etags);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static bool is_key(void *arg, const char *key)
{
    return strcmp(arg, key) == 0;
}

/* The name is this put's alone, and so is every upload under it. */
static void abort_strays(struct s3_put *p)
{
    struct amber_err err = AMBER_ERR_INIT;
    unsigned n = 0;

    if (p->strays && amber_s3_clean_puts(p->base.store, is_key, p->key, &n, &err))
        amber_warn("%s/%s: whether an upload was begun twice isn't known; such a one takes room "
                   "until a lifecycle rule removes it: %s",
                   store_of(p)->name, p->key, err.text);
}

void amber_s3_put_abort(struct amber_put *base)
{
    struct s3_put *p = (struct s3_put *)base;
    struct amber_err err = AMBER_ERR_INIT;

    __atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
    amber_http_wake(store_of(p)->http);
    (void)!wait_parts(p, 0, &err); /* their failure is why it ends */
    if (p->upload_id[0]) {
        enum amber_rc rc = amber_s3_abort_upload(store_of(p), p->key, p->upload_id, &err);
        if (rc && rc != AMBER_E_NOT_FOUND)
            amber_warn("%s/%s: the unfinished upload can't be aborted and takes room until a "
                       "lifecycle rule removes it: %s",
                       store_of(p)->name, p->key, err.text);
    }
    abort_strays(p);
    put_free(p);
}

enum amber_rc amber_s3_put_commit(struct amber_put *base, struct amber_object_info *out,
                                  struct amber_err *err)
{
    struct s3_put *p = (struct s3_put *)base;
    struct s3_answer a;
    enum amber_rc rc = first_fault(p, err);

    if (!rc && !p->upload_id[0] && p->n_parts == 0) {
        rc = put_whole(p, err);
    } else if (!rc) {
        if (p->filling)
            rc = send_filled(p, err);
        if (!rc)
            rc = wait_parts(p, 0, err);
        if (!rc)
            rc = complete(p, err);
        if (!rc) {
            p->upload_id[0] = '\0'; /* nothing to abort */
            abort_strays(p);
        }
    }
    if (!rc)
        rc = check_stored(p, &a, err);
    if (rc) {
        amber_s3_put_abort(base);
        return rc;
    }
    *out = a.info;
    put_free(p);
    return AMBER_OK;
}
