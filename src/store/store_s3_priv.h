/*
 * store_s3_priv.h - what the files of the S3 driver share.
 *
 *   store_s3.c       opening a store; stat, list, remove        s3_sign.c         SigV4, MD5
 *   store_s3_read.c  objects: ranges of bytes                   s3_credentials.c  keys
 *   store_s3_ahead.c ranges ahead of those who read in order    s3_url.c          addresses
 *   store_s3_put.c   writing: one PUT, or a multipart upload    s3_xml.c          answers
 *   store_s3_clean.c uploads that dead processes left
 *   s3_request.c     one signed request, its errors, retries    http.c            connections
 */
#ifndef AMBER_STORE_S3_PRIV_H
#define AMBER_STORE_S3_PRIV_H

#include <pthread.h>

#include "amber/pool.h"

#include "http_priv.h"
#include "s3_credentials_priv.h"
#include "s3_sign_priv.h"
#include "s3_url_priv.h"
#include "s3_xml_priv.h"
#include "store_priv.h"

#define S3_ETAG_MAX 256
#define S3_CODE_MAX 64
#define S3_HEADERS_MAX 8
#define S3_ERROR_BYTES (64U * 1024U)      /* of an error's document */
#define S3_DOCUMENT_BYTES (16U * 1048576) /* of any other document; a page of keys may have 4 MiB */

struct s3_store {
    struct amber_store base;
    struct http *http;
    struct s3_keyring *keyring;
    struct amber_pool *pool; /* parts and ranges under way */
    struct s3_target target;
    enum amber_s3_sse sse;
    char *sse_kms_key_id, *storage_class; /* owned; NULL: the bucket's default */
    unsigned timeout_s;
    bool read_only;
    size_t ahead_bytes;    /* atomic: of all objects' spans */
    bool no_if_none_match; /* atomic: the server doesn't know that header */
    char *name;            /* for messages: "s3://bucket/prefix" */
};

static inline struct s3_store *amber_s3(struct amber_store *st)
{
    return (struct s3_store *)st;
}

/* One request as the protocol has it. Strings and body are borrowed until it is done. */
struct s3_call {
    const char *method;
    const char *key;   /* of the store; NULL: the bucket itself */
    const char *query; /* percent-encoded, sorted, each with '='; NULL: none */
    struct s3_header headers[S3_HEADERS_MAX]; /* besides host, date, digest and token; sorted */
    size_t n_headers;
    const void *body;
    size_t body_len;
    /* Of a successful answer: whole into out, or piece by piece to on_body (one of them, or none). */
    struct amber_buf *out;
    bool (*on_body)(void *arg, const struct http_response *rs, const void *data, size_t len);
    void *arg;
    const bool *stop;    /* as in http_request */
    unsigned patience_s; /* as in http_request; deadlines are so much later too */
};

struct s3_answer {
    int status;
    struct amber_object_info info; /* of a GET or HEAD: size is Content-Length */
    char etag[S3_ETAG_MAX];        /* without quotes */
    char content_range[96];
    char code[S3_CODE_MAX]; /* the server's word for an error; "" */
};

/* How often and how long an operation is tried. */
struct s3_tries {
    int64_t start_us;
    int64_t give_up_us;  /* no new try from then on */
    int64_t deadline_us; /* of the last one: later, for bytes that come slowly but do come */
    unsigned n;        /* tries made */
    bool new_keys;     /* keys were looked up anew already */
    bool fresh;        /* the next try takes a new connection */
};
/* bytes: of the body to be moved, for which a slow connection gets more time. */
void amber_s3_tries_init(struct s3_tries *t, const struct s3_store *st, uint64_t bytes);

/*
 * One try. a is filled as far as an answer came.
 * errors  NOT_FOUND no such key; EXISTS 412 of If-None-Match; CORRUPT 412 of If-Match, 416, or an
 *         answer that is no S3; DENIED; INVALID bucket, region, request; UNSUPPORTED 501;
 *         NET, TIMEOUT, BUSY may be tried again; CANCELED. The text has the server's code, message
 *         and request id.
 */
enum amber_rc amber_s3_try(struct s3_store *st, const struct s3_call *c, struct s3_tries *t,
                           struct s3_answer *a, struct amber_err *err) AMBER_MUST_CHECK;
/* After a failed try: wait if another one makes sense. False: err is final, and says how often it
 * was tried. */
bool amber_s3_again(struct s3_store *st, struct s3_tries *t, const bool *stop,
                    struct amber_err *err) AMBER_MUST_CHECK;
/* Tries until it is done. errors as amber_s3_try, with the request before them. */
enum amber_rc amber_s3_call(struct s3_store *st, const struct s3_call *c, struct s3_answer *a,
                            struct amber_err *err) AMBER_MUST_CHECK;

/* An ETag without its quotes. */
void amber_s3_etag(const char *quoted, char out[S3_ETAG_MAX]);
/* Append a header, keeping them sorted. */
void amber_s3_header(struct s3_call *c, const char *name, const char *value);
/* HEAD. errors NOT_FOUND, ... */
enum amber_rc amber_s3_head(struct s3_store *st, const char *key, struct s3_answer *a,
                            struct amber_err *err) AMBER_MUST_CHECK;
/* errors  DENIED with sys_errno EROFS */
enum amber_rc amber_s3_check_writable(struct s3_store *st, const char *key,
                                      struct amber_err *err) AMBER_MUST_CHECK;

/* The driver's operations on objects (store_s3_read.c) and puts (store_s3_put.c). */
enum amber_rc amber_s3_open(struct amber_store *base, const char *key, int flags,
                            struct amber_object **out, struct amber_object_info *out_info,
                            struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_read_at(struct amber_object *base, uint64_t off, void *buf, size_t len,
                               struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_close(struct amber_object *base);
enum amber_rc amber_s3_put_open(struct amber_store *base, const char *key, struct amber_put **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_put_write(struct amber_put *base, const void *data, size_t len,
                                 struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_put_commit(struct amber_put *base, struct amber_object_info *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_put_abort(struct amber_put *base);
enum amber_rc amber_s3_clean_puts(struct amber_store *base,
                                  bool (*is_dead)(void *arg, const char *key), void *arg,
                                  unsigned *out_n, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_abort_upload(struct s3_store *st, const char *key, const char *upload_id,
                                    struct amber_err *err) AMBER_MUST_CHECK;
/* Append "&name=value", the value encoded; no '&' before the first. errors NOMEM, LIMIT */
enum amber_rc amber_s3_query(struct amber_buf *q, const char *name, const char *value,
                             struct amber_err *err) AMBER_MUST_CHECK;

#endif
