/*
 * s3_request.c - one signed request: how it is built, what its answer means, when it is tried
 * again.
 *
 * Tried again, with full jitter between tries and on a new connection, until the deadline: no
 * connection, cut or reset ones, 5xx, 429 and the codes that ask for it. Everything else is final
 * at once, with the server's code, message and request id.
 * source  "Error responses" in Amazon's S3 API reference; "Exponential Backoff And Jitter" on the
 *         AWS architecture blog
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "amber/calendar.h"
#include "amber/log.h"

#include "store_s3_priv.h"

#define PAUSE_FIRST_US INT64_C(100000)
#define PAUSE_MAX_US INT64_C(5000000)
#define TRY_LEAST_US INT64_C(1000000) /* that a try has, however late it began */
#define LINES_MAX (S3_HEADERS_MAX + 8)

/* ---- tries ---- */

void amber_s3_tries_init(struct s3_tries *t, const struct s3_store *st, uint64_t bytes)
{
    int64_t now = amber_mono_us();
    int64_t give_up = now + (int64_t)st->timeout_s * 1000000;

    *t = (struct s3_tries){.start_us = now,
                           .give_up_us = give_up,
                           .deadline_us =
                               give_up + (int64_t)(bytes / HTTP_SLOW_BYTES) * 1000000};
}

static int64_t random_below(int64_t n)
{
    uint64_t r = 0;

    if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
        r = (uint64_t)amber_mono_us();
    return (int64_t)(r % (uint64_t)n);
}

bool amber_s3_again(struct s3_store *st, struct s3_tries *t, const bool *stop,
                    struct amber_err *err)
{
    int64_t most = PAUSE_FIRST_US << (t->n < 8 ? t->n : 8);
    int64_t now = amber_mono_us(), until;
    int64_t longer = now + (int64_t)st->timeout_s * 500000 - t->give_up_us;

    /* A body that took long before it failed is worth another try; and so is a request of a process
     * or machine that stood still meanwhile. */
    if (t->n == 1 && longer > 0) {
        t->give_up_us += longer;
        t->deadline_us += longer;
    }
    if (amber_rc_retryable(err->code)) {
        until = now + 1 + random_below(most < PAUSE_MAX_US ? most : PAUSE_MAX_US);
        if (until < t->give_up_us) {
            amber_debug("%s: %s; trying again", st->name, err->text);
            t->fresh = true;
            if (amber_http_pause(st->http, until, stop))
                return true;
            amber_fail(err, AMBER_E_CANCELED, "canceled");
            return false;
        }
    }
    if (err->code == AMBER_E_BUSY)
        err->code = AMBER_E_NET; /* to those above, BUSY is a lock that somebody holds */
    if (t->n > 1)
        amber_wrap(err, "tried %u times in %" PRId64 " s", t->n, (now - t->start_us) / 1000000);
    return false;
}

/* ---- building ---- */

void amber_s3_header(struct s3_call *c, const char *name, const char *value)
{
    size_t i = c->n_headers++;

    while (i > 0 && strcmp(c->headers[i - 1].name, name) > 0) {
        c->headers[i] = c->headers[i - 1];
        i--;
    }
    c->headers[i] = (struct s3_header){.name = name, .value = value};
}

enum amber_rc amber_s3_query(struct amber_buf *q, const char *name, const char *value,
                             struct amber_err *err)
{
    enum amber_rc rc = amber_buf_printf(q, err, "%s%s=", q->len ? "&" : "", name);

    return rc ? rc : amber_s3_encode(q, value, true, err);
}

/* The headers of every request, merged with the call's; out keeps the order of names. */
static size_t all_headers(const struct s3_call *c, const struct s3_header *own, size_t n_own,
                          struct s3_header *out)
{
    size_t n = 0, i = 0, k = 0;

    while (i < n_own || k < c->n_headers) {
        bool take_own =
            k == c->n_headers || (i < n_own && strcmp(own[i].name, c->headers[k].name) < 0);
        out[n++] = take_own ? own[i++] : c->headers[k++];
    }
    return n;
}

static enum amber_rc encode_path(const struct s3_store *st, const struct s3_call *c,
                                 struct amber_buf *path, struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(path, st->target.root, err);

    if (!rc && !c->key) {
        if (path->len > 1)
            path->data[--path->len] = '\0'; /* "/bucket" */
        return AMBER_OK;
    }
    if (!rc && strlen(st->target.prefix) + strlen(c->key) > S3_KEY_MAX)
        return amber_fail(err, AMBER_E_LIMIT,
                          "with the prefix its key has more than the %d bytes that S3 allows",
                          S3_KEY_MAX);
    if (!rc)
        rc = amber_s3_encode(path, st->target.prefix, false, err);
    return rc ? rc : amber_s3_encode(path, c->key, false, err);
}

/* Host and what says how the object is stored. Ranges and conditions are left to proxies between.
 */
static bool is_signed(const char *name)
{
    return strcmp(name, "host") == 0 || strncmp(name, "x-amz-", 6) == 0 ||
           strncmp(name, "content-", 8) == 0;
}

struct built {
    struct amber_buf url, auth, lines[LINES_MAX];
    const char *line_at[LINES_MAX];
    size_t n_lines;
};

static void built_clear(struct built *b)
{
    amber_buf_clear(&b->url);
    if (b->auth.data)
        explicit_bzero(b->auth.data, b->auth.cap);
    amber_buf_clear(&b->auth);
    for (size_t i = 0; i < b->n_lines; i++) {
        if (b->lines[i].data)
            explicit_bzero(b->lines[i].data, b->lines[i].cap); /* the session token is one */
        amber_buf_clear(&b->lines[i]);
    }
}

static enum amber_rc add_line(struct built *b, const char *name, const char *value,
                              struct amber_err *err)
{
    struct amber_buf *line = &b->lines[b->n_lines++];

    amber_buf_init(line, 2 * S3_TOKEN_MAX);
    enum amber_rc rc = *value ? amber_buf_printf(line, err, "%s: %s", name, value)
                              : amber_buf_printf(line, err, "%s;", name); /* libcurl's "empty" */
    b->line_at[b->n_lines - 1] = line->data;
    return rc;
}

static enum amber_rc build(const struct s3_store *st, const struct s3_call *c,
                           const struct s3_credentials *keys, struct built *b,
                           struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf path = AMBER_BUF_INIT(8U * S3_KEY_MAX);
    char date[S3_AMZ_DATE_LEN], hex[AMBER_SHA256_HEX];
    struct amber_sha256 digest;
    struct s3_header headers[LINES_MAX], signing[LINES_MAX];

    amber_buf_init(&b->url, 64U * 1024U);
    amber_buf_init(&b->auth, 4096);
    amber_s3_amz_date(amber_now_us(), date);
    enum amber_rc rc = amber_sha256(c->body_len ? c->body : "", c->body_len, &digest, err);
    if (!rc)
        rc = encode_path(st, c, &path, err);
    if (rc)
        return rc;
    amber_sha256_hex(&digest, hex);
    const struct s3_header own[] = {
        {"host", st->target.host},
        {"x-amz-content-sha256", hex},
        {"x-amz-date", date},
        {"x-amz-security-token", keys->token},
    };
    size_t n_headers = all_headers(c, own, keys->token[0] ? 4 : 3, headers), n_signed = 0;
    for (size_t i = 0; i < n_headers; i++)
        if (is_signed(headers[i].name))
            signing[n_signed++] = headers[i];
    struct s3_sign_input in = {
        .method = c->method,
        .path = path.data,
        .query = c->query ? c->query : "",
        .headers = signing,
        .n_headers = n_signed,
        .payload_sha256 = hex,
        .access_key = keys->access_key,
        .secret_key = keys->secret_key,
        .region = st->target.region,
        .service = "s3",
        .amz_date = date,
    };
    rc = amber_s3_sign(&in, &b->auth, err);
    for (size_t i = 0; !rc && i < n_headers; i++)
        rc = add_line(b, headers[i].name, headers[i].value, err);
    if (!rc)
        rc = add_line(b, "Authorization", b->auth.data, err);
    if (!rc)
        rc = amber_buf_printf(&b->url, err, "%s%s%s%s", st->target.origin, path.data,
                              *in.query ? "?" : "", in.query);
    return rc;
}

/* ---- answers ---- */

/* "Wed, 21 Oct 2015 07:28:00 GMT" -> microseconds since 1970; 0 if it isn't one. */
static int64_t http_date(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S", &tm);

    return end ? (int64_t)timegm(&tm) * 1000000 : 0;
}

static void read_headers(const struct http_response *rs, struct s3_answer *a)
{
    char text[128], etag[S3_ETAG_MAX];

    a->status = rs->status;
    a->info.size = rs->body_len == UINT64_MAX ? 0 : rs->body_len;
    amber_http_header(rs, "etag", etag, sizeof(etag));
    amber_s3_etag(etag, a->etag);
    snprintf(a->info.version, sizeof(a->info.version), "%.63s", a->etag);
    amber_http_header(rs, "content-range", a->content_range, sizeof(a->content_range));
    amber_http_header(rs, "last-modified", text, sizeof(text));
    a->info.mtime_us = http_date(text);
}

void amber_s3_etag(const char *quoted, char out[S3_ETAG_MAX])
{
    size_t len = strlen(quoted);

    if (len >= 2 && quoted[0] == '"' && quoted[len - 1] == '"') {
        quoted++;
        len -= 2;
    }
    snprintf(out, S3_ETAG_MAX, "%.*s", (int)len, quoted);
}

/* What an error's document and headers say. */
struct fault {
    char code[S3_CODE_MAX], message[300], request_id[128], region[80], date[64];
};

static void read_fault(const struct http_response *rs, const struct amber_buf *doc, struct fault *f)
{
    struct amber_err err = AMBER_ERR_INIT;
    const struct s3_xml_field fields[] = {
        {"Error/Code", f->code, sizeof(f->code)},
        {"Error/Message", f->message, sizeof(f->message)},
        {"Error/RequestId", f->request_id, sizeof(f->request_id)},
        {"Error/Region", f->region, sizeof(f->region)},
    };

    memset(f, 0, sizeof(*f));
    /* Something between may have answered with a page of its own: then the status says it all. */
    if (doc->len > 0 &&
        amber_s3_xml_fields(doc->data, doc->len, fields, amber_countof(fields), &err))
        memset(f, 0, sizeof(*f));
    if (!f->request_id[0])
        amber_http_header(rs, "x-amz-request-id", f->request_id, sizeof(f->request_id));
    if (!f->region[0])
        amber_http_header(rs, "x-amz-bucket-region", f->region, sizeof(f->region));
    amber_http_header(rs, "date", f->date, sizeof(f->date));
    for (char *s = f->message; *s; s++)
        if (iscntrl((unsigned char)*s))
            *s = ' ';
}

static bool is_one_of(const char *code, const char *const *codes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    return false;
}
#define IS_ONE_OF(code, list) is_one_of(code, list, amber_countof(list))

static enum amber_rc code_of(int status, const char *code, bool writing)
{
    static const char *const again[] = {"RequestTimeout",   "SlowDown",
                                        "InternalError",    "ServiceUnavailable",
                                        "BadDigest",        "XAmzContentSHA256Mismatch",
                                        "OperationAborted", "ConditionalRequestConflict",
                                        "IncompleteBody"};

    if (IS_ONE_OF(code, again))
        return AMBER_E_BUSY;
    switch (status) {
    case 301:
    case 307:
    case 400:
        return AMBER_E_INVALID;
    case 401:
    case 403:
        return AMBER_E_DENIED;
    case 404:
        return strcmp(code, "NoSuchBucket") == 0 ? AMBER_E_INVALID : AMBER_E_NOT_FOUND;
    case 408:
    case 429:
        return AMBER_E_BUSY;
    case 409:
        return AMBER_E_DENIED;
    case 412:
        return writing ? AMBER_E_EXISTS : AMBER_E_CORRUPT;
    case 416:
        return AMBER_E_CORRUPT;
    case 501:
        return AMBER_E_UNSUPPORTED;
    default:
        return status >= 500 ? AMBER_E_BUSY : AMBER_E_IO;
    }
}

/* Whether the request says how the object is to be stored. */
static bool says_how(const struct s3_call *c)
{
    for (size_t i = 0; i < c->n_headers; i++)
        if (strncmp(c->headers[i].name, "x-amz-", 6) == 0)
            return true;
    return false;
}

/* What the user can do, for what users get wrong. "" else. */
static void remedy(const struct s3_store *st, const struct s3_call *c, const struct fault *f,
                   int status, char *out, size_t cap)
{
    static const char *const key[] = {"InvalidAccessKeyId", "SignatureDoesNotMatch"};
    static const char *const token[] = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"};
    int64_t server = http_date(f->date);

    out[0] = '\0';
    if (strcmp(f->code, "RequestTimeTooSkewed") == 0 && server != 0) {
        int64_t s = (amber_now_us() - server) / 1000000;
        snprintf(out, cap, ": this host's clock is %" PRId64 " s %s the server's; set it (NTP)",
                 s < 0 ? -s : s, s < 0 ? "behind" : "ahead of");
    } else if (strcmp(f->code, "RequestTimeTooSkewed") == 0) {
        snprintf(out, cap, ": this host's clock differs from the server's; set it (NTP)");
    } else if (f->region[0] && strcmp(f->region, st->target.region) != 0) {
        snprintf(out, cap, ": the bucket is in region %s and not in %s; set ARCHIVAL_S3_REGION=%s",
                 f->region, st->target.region, f->region);
    } else if (status == 301) {
        snprintf(out, cap,
                 ": the bucket has another address; check ARCHIVAL_S3_REGION (now %s) and "
                 "ARCHIVAL_S3_ENDPOINT",
                 st->target.region);
    } else if (strcmp(f->code, "NoSuchBucket") == 0) {
        snprintf(out, cap, ": make the bucket, or correct ARCHIVAL_PATH");
    } else if (IS_ONE_OF(f->code, key) && says_how(c)) {
        /* radosgw says so of the encryption's key too */
        snprintf(out, cap,
                 ": check ARCHIVAL_S3_ACCESS_KEY_ID and ARCHIVAL_S3_SECRET_ACCESS_KEY, and check "
                 "ARCHIVAL_S3_SSE with its key and ARCHIVAL_S3_STORAGE_CLASS");
    } else if (IS_ONE_OF(f->code, key)) {
        snprintf(out, cap,
                 ": check ARCHIVAL_S3_ACCESS_KEY_ID and ARCHIVAL_S3_SECRET_ACCESS_KEY, "
                 "or where else the keys come from");
    } else if (IS_ONE_OF(f->code, token)) {
        snprintf(out, cap, ": the temporary keys have run out; renew them");
    } else if (status / 100 == 4 && status != 412 && says_how(c)) {
        snprintf(out, cap,
                 ": check ARCHIVAL_S3_SSE with its key and ARCHIVAL_S3_STORAGE_CLASS, whether this "
                 "server has them and these keys may use them");
    } else if (status == 403) {
        snprintf(out, cap, ": the keys' policy doesn't allow this");
    }
}

static enum amber_rc fail_answer(const struct s3_store *st, const struct s3_call *c,
                                 const struct http_response *rs, const struct amber_buf *doc,
                                 struct s3_answer *a, struct amber_err *err)
{
    struct fault f;
    char what[256];
    bool writing = strcmp(c->method, "GET") != 0 && strcmp(c->method, "HEAD") != 0;

    read_fault(rs, doc, &f);
    snprintf(a->code, sizeof(a->code), "%s", f.code);
    remedy(st, c, &f, rs->status, what, sizeof(what));
    enum amber_rc rc = amber_fail(
        err, code_of(rs->status, f.code, writing), "the server answers %d%s%s%s%s%s%s%s%s",
        rs->status, f.code[0] ? " " : "", f.code, f.message[0] ? " (" : "", f.message,
        f.message[0] ? ")" : "", f.request_id[0] ? ", request " : "", f.request_id, what);
    if (strcmp(f.code, "QuotaExceeded") == 0)
        err->sys_errno = ENOSPC;
    return rc;
}

/* ---- one try ---- */

/* Where an answer's body goes. */
struct sink {
    const struct s3_call *call;
    struct amber_buf doc; /* an error's document */
    bool failed;          /* no room */
};

static bool take_body(void *arg, const struct http_response *rs, const void *data, size_t len)
{
    struct sink *s = arg;
    struct amber_err err = AMBER_ERR_INIT;

    if (rs->status / 100 != 2) {
        if (s->doc.len + len <= s->doc.max && amber_buf_append(&s->doc, data, len, &err))
            s->failed = true;
        return !s->failed; /* the rest of a longer page is of no use */
    }
    if (s->call->on_body)
        return s->call->on_body(s->call->arg, rs, data, len);
    if (!s->call->out)
        return true;
    s->failed = amber_buf_append(s->call->out, data, len, &err) != AMBER_OK;
    return !s->failed;
}

static enum amber_rc send(struct s3_store *st, const struct s3_call *c, struct s3_tries *t,
                          struct built *b, struct s3_answer *a, struct amber_err *err)
{
    struct sink sink = {.call = c, .doc = {.max = S3_ERROR_BYTES}};
    struct http_response rs = AMBER_HTTP_RESPONSE_INIT;
    int64_t least = amber_mono_us() + TRY_LEAST_US;
    int64_t deadline = t->deadline_us > least ? t->deadline_us : least;
    struct http_request rq = {
        .method = c->method,
        .url = b->url.data,
        .headers = b->line_at,
        .n_headers = b->n_lines,
        .body = c->body,
        .body_len = c->body_len,
        .on_body = take_body,
        .arg = &sink,
        .deadline_us = deadline + (int64_t)c->patience_s * 1000000,
        .patience_s = c->patience_s,
        .stop = c->stop,
        .fresh = t->fresh,
    };
    size_t before = c->out ? c->out->len : 0;

    enum amber_rc rc = amber_http_perform(st->http, &rq, &rs, err);
    read_headers(&rs, a);
    if (!rc && rs.status / 100 != 2)
        rc = fail_answer(st, c, &rs, &sink.doc, a, err);
    if (rc && c->out)
        c->out->len = before;
    amber_buf_clear(&sink.doc);
    amber_http_response_clear(&rs);
    return rc;
}

enum amber_rc amber_s3_try(struct s3_store *st, const struct s3_call *c, struct s3_tries *t,
                           struct s3_answer *a, struct amber_err *err)
{
    struct s3_credentials keys AMBER_CLEANUP(amber_s3_credentials_clear);
    struct built b AMBER_CLEANUP(built_clear) = {.n_lines = 0};

    *a = (struct s3_answer){0};
    t->n++;
    enum amber_rc rc = amber_s3_keyring_get(st->keyring, &keys, err);
    if (!rc)
        rc = build(st, c, &keys, &b, err);
    if (!rc)
        rc = send(st, c, t, &b, a, err);
    static const char *const old_keys[] = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired",
                                           "InvalidAccessKeyId"};
    if (rc && !t->new_keys && IS_ONE_OF(a->code, old_keys) &&
        amber_s3_keyring_expire(st->keyring, &keys)) {
        t->new_keys = true;
        err->code = rc = AMBER_E_BUSY;
    }
    return rc;
}

enum amber_rc amber_s3_call(struct s3_store *st, const struct s3_call *c, struct s3_answer *a,
                            struct amber_err *err)
{
    struct s3_tries t;
    enum amber_rc rc;

    amber_s3_tries_init(&t, st, c->body_len);
    do
        rc = amber_s3_try(st, c, &t, a, err);
    while (rc && amber_s3_again(st, &t, c->stop, err));
    return rc ? amber_wrap(err, "%s s3://%s/%s%s", c->method, st->target.bucket,
                           c->key ? st->target.prefix : "", c->key ? c->key : "")
              : AMBER_OK;
}
