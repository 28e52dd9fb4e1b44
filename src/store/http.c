/*
 * http.c - HTTP/1.1 requests by libcurl.
 *
 *   slot  one easy handle in a multi handle of its own, with the connection that it kept
 *   idle  slots that wait for the next request, newest first: so few connections stay warm
 *   busy  slots of running requests: amber_http_wake ends their polling
 *
 * A multi handle for each slot, rather than one for all on a thread of its own: a request is driven
 * by the thread that wants it, decryption uses as many cores as there are readers, and a wake-up
 * reaches each. Lock order: the engine's lock is the only one; it is never held over a transfer.
 */
#include "http_priv.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

#include "amber/calendar.h"

#define IDLE_MAX 16U               /* slots kept */
#define BUFFER_BYTES (512L * 1024) /* of a transfer, each way */
#define POLL_MAX_MS 60000

struct slot {
    struct slot *prev, *next; /* busy list; next alone: idle list */
    CURLM *multi;
    CURL *easy;
};

struct http {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* for those who pause */
    struct slot busy;    /* sentinel */
    struct slot *idle;
    unsigned n_idle;
    bool interrupted; /* atomic */
    struct http_config cfg;
    char *ca_file; /* owned */
};

/* What the callbacks of one request work with. */
struct transfer {
    const struct http_request *rq;
    struct http_response *rs;
    size_t sent;
    bool refused; /* by on_body */
    bool nomem;
    char reason[CURL_ERROR_SIZE];
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows when a handle is made */
}

/* ---- slots ---- */

static void slot_free(struct slot *s)
{
    curl_easy_cleanup(s->easy);
    curl_multi_cleanup(s->multi);
    free(s);
}

static struct slot *slot_new(void)
{
    struct slot *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->multi = curl_multi_init();
    s->easy = curl_easy_init();
    if (s->multi && s->easy)
        return s;
    slot_free(s);
    return NULL;
}

static struct slot *slot_take(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    struct slot *s = h->idle;
    if (s) {
        h->idle = s->next;
        h->n_idle--;
    }
    pthread_mutex_unlock(&h->lock);
    if (!s)
        s = slot_new();
    if (!s)
        return NULL;
    pthread_mutex_lock(&h->lock);
    s->prev = &h->busy;
    s->next = h->busy.next;
    s->next->prev = s;
    h->busy.next = s;
    pthread_mutex_unlock(&h->lock);
    return s;
}

static void slot_give(struct http *h, struct slot *s)
{
    pthread_mutex_lock(&h->lock);
    s->prev->next = s->next;
    s->next->prev = s->prev;
    bool keep = h->n_idle < IDLE_MAX;
    if (keep) {
        s->next = h->idle;
        h->idle = s;
        h->n_idle++;
    }
    pthread_mutex_unlock(&h->lock);
    if (!keep)
        slot_free(s);
}

enum amber_rc amber_http_new(const struct http_config *cfg, struct http **out,
                             struct amber_err *err)
{
    AMBER_AUTO_FREE struct http *h = NULL;
    pthread_condattr_t monotonic;

    pthread_once(&curl_once, init_curl);
    enum amber_rc rc = amber_calloc(1, sizeof(*h), &h, err);
    if (!rc && cfg->ca_file)
        rc = amber_strdup(cfg->ca_file, &h->ca_file, err);
    if (rc)
        return rc;
    h->cfg = *cfg;
    h->busy.prev = h->busy.next = &h->busy;
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&h->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = amber_steal(&h);
    return AMBER_OK;
}

void amber_http_free(struct http *h)
{
    if (!h)
        return;
    while (h->idle) {
        struct slot *next = h->idle->next;
        slot_free(h->idle);
        h->idle = next;
    }
    pthread_cond_destroy(&h->wake);
    pthread_mutex_destroy(&h->lock);
    free(h->ca_file);
    free(h);
}

void amber_http_wake(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    for (struct slot *s = h->busy.next; s != &h->busy; s = s->next)
        (void)curl_multi_wakeup(s->multi);
    pthread_cond_broadcast(&h->wake);
    pthread_mutex_unlock(&h->lock);
}

void amber_http_interrupt(struct http *h)
{
    __atomic_store_n(&h->interrupted, true, __ATOMIC_RELEASE);
    amber_http_wake(h);
}

static bool stopped(const struct http *h, const bool *stop)
{
    return __atomic_load_n(&h->interrupted, __ATOMIC_ACQUIRE) ||
           (stop && __atomic_load_n(stop, __ATOMIC_ACQUIRE));
}

bool amber_http_pause(struct http *h, int64_t until_us, const bool *stop)
{
    struct timespec at = {.tv_sec = (time_t)(until_us / 1000000),
                          .tv_nsec = (long)(until_us % 1000000) * 1000};

    pthread_mutex_lock(&h->lock);
    while (!stopped(h, stop) && amber_mono_us() < until_us)
        (void)pthread_cond_timedwait(&h->wake, &h->lock, &at);
    pthread_mutex_unlock(&h->lock);
    return !stopped(h, stop);
}

/* ---- answers ---- */

void amber_http_response_clear(struct http_response *rs)
{
    amber_buf_clear(&rs->headers);
    rs->status = 0;
    rs->body_len = UINT64_MAX;
}

void amber_http_header(const struct http_response *rs, const char *name, char *out, size_t cap)
{
    size_t name_len = strlen(name);
    const char *line = rs->headers.data;

    out[0] = '\0';
    while (line && *line) {
        size_t len = strcspn(line, "\n");
        if (len > name_len && strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *v = line + name_len + 1;
            v += strspn(v, " \t");
            snprintf(out, cap, "%.*s", (int)(line + len - v), v);
            return;
        }
        line += len + (line[len] == '\n');
    }
}

/* One header line. A new status line (after 100 Continue) starts the headers anew. */
static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct amber_err err = AMBER_ERR_INIT;
    size_t all = size * n, len = all;

    while (len > 0 && (data[len - 1] == '\r' || data[len - 1] == '\n'))
        len--;
    if (len >= 5 && strncmp(data, "HTTP/", 5) == 0) {
        t->rs->headers.len = 0;
        return all;
    }
    size_t start = t->rs->headers.len;
    if (len == 0)
        return all;
    if (amber_buf_append(&t->rs->headers, data, len, &err) ||
        amber_buf_append(&t->rs->headers, "\n", 1, &err))
        return err.code == AMBER_E_LIMIT ? 0 : (t->nomem = true, (size_t)0);
    for (char *s = t->rs->headers.data + start; *s && *s != ':'; s++)
        *s = (char)tolower((unsigned char)*s);
    return all;
}

static void note_head(struct transfer *t, CURL *easy)
{
    long status = 0;
    curl_off_t len = -1;

    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &len);
    t->rs->status = (int)status;
    t->rs->body_len = len < 0 ? UINT64_MAX : (uint64_t)len;
}

struct body_arg {
    struct transfer *t;
    CURL *easy;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct body_arg *b = arg;
    struct transfer *t = b->t;

    if (!t->rq->on_body)
        return size * n;
    if (!t->rs->status)
        note_head(t, b->easy);
    if (t->rq->on_body(t->rq->arg, t->rs, data, size * n))
        return size * n;
    t->refused = true;
    return 0;
}

/* ---- requests ---- */

static size_t on_read(char *out, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t left = t->rq->body_len - t->sent, len = left < size * n ? left : size * n;

    if (len > 0)
        memcpy(out, (const char *)t->rq->body + t->sent, len);
    t->sent += len;
    return len;
}

/* A kept-alive connection that the server has closed meanwhile: libcurl sends anew. */
static int on_seek(void *arg, curl_off_t off, int origin)
{
    struct transfer *t = arg;

    if (origin != SEEK_SET || off < 0 || (uint64_t)off > t->rq->body_len)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (size_t)off;
    return CURL_SEEKFUNC_OK;
}

static struct curl_slist *header_list(const struct http_request *rq)
{
    struct curl_slist *list = NULL;

    for (size_t i = 0; i < rq->n_headers + 2; i++) {
        /* Without "Expect: 100-continue", which costs a round trip, and libcurl's own Accept. */
        const char *line =
            i < rq->n_headers ? rq->headers[i] : (i == rq->n_headers ? "Expect:" : "Accept:");
        struct curl_slist *longer = curl_slist_append(list, line);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

static void set_method(CURL *e, const struct http_request *rq)
{
    if (strcmp(rq->method, "HEAD") == 0) {
        (void)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (strcmp(rq->method, "PUT") == 0 || strcmp(rq->method, "POST") == 0) {
        (void)curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rq->body_len);
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, rq->method);
    } else {
        (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, rq->method);
    }
}

/* The protocols libcurl may speak: an answer can't lead it to a file or another scheme. */
static void set_protocols(CURL *e)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
}

static void set_options(struct http *h, CURL *e, struct transfer *t, struct body_arg *body,
                        struct curl_slist *headers)
{
    const struct http_request *rq = t->rq;

    curl_easy_reset(e); /* keeps the connection */
    set_protocols(e);
    set_method(e, rq);
    (void)curl_easy_setopt(e, CURLOPT_URL, rq->url);
    (void)curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->reason);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, body);
    (void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(e, CURLOPT_READDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(e, CURLOPT_SEEKDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)h->cfg.connect_s);
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, (long)HTTP_SLOW_BYTES);
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)h->cfg.slow_s + (long)rq->patience_s);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    if (rq->fresh)
        (void)curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    if (h->ca_file)
        (void)curl_easy_setopt(e, CURLOPT_CAINFO, h->ca_file);
    if (h->cfg.no_proxy)
        (void)curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
}

/* Drive the transfer. *out_code is set only if the result is OK. */
static enum amber_rc drive(struct http *h, struct slot *s, const struct http_request *rq,
                           CURLcode *out_code, struct amber_err *err)
{
    int running = 1, left = 0;

    for (;;) {
        CURLMcode m = curl_multi_perform(s->multi, &running);
        if (m == CURLM_OUT_OF_MEMORY)
            return amber_fail_nomem(err, "a request", 0);
        if (m != CURLM_OK)
            return amber_fail(err, AMBER_E_NET, "libcurl: %s", curl_multi_strerror(m));
        if (!running)
            break;
        if (stopped(h, rq->stop))
            return amber_fail(err, AMBER_E_CANCELED, "canceled");
        int64_t us = rq->deadline_us - amber_mono_us();
        if (us <= 0)
            return amber_fail(err, AMBER_E_TIMEOUT, "no complete answer in time");
        int ms = us / 1000 < POLL_MAX_MS ? (int)(us / 1000) + 1 : POLL_MAX_MS;
        m = curl_multi_poll(s->multi, NULL, 0, ms, NULL);
        if (m != CURLM_OK)
            return amber_fail(err, AMBER_E_NET, "libcurl: %s", curl_multi_strerror(m));
    }
    CURLMsg *msg = curl_multi_info_read(s->multi, &left);
    *out_code = msg && msg->msg == CURLMSG_DONE ? msg->data.result : CURLE_RECV_ERROR;
    return AMBER_OK;
}

/* errors  as amber_http_perform */
static enum amber_rc judge(struct http *h, const struct transfer *t, CURLcode code,
                           struct amber_err *err)
{
    const char *why = t->reason[0] ? t->reason : curl_easy_strerror(code);

    if (code == CURLE_OK)
        return AMBER_OK;
    if (t->nomem || code == CURLE_OUT_OF_MEMORY)
        return amber_fail_nomem(err, "an answer", 0);
    if (t->refused)
        return amber_fail(err, AMBER_E_CORRUPT, "the answer has another length than asked for");
    switch ((int)code) { /* libcurl has a hundred more, all of them trouble with the peer */
    case CURLE_OPERATION_TIMEDOUT:
        return amber_fail(err, AMBER_E_TIMEOUT, "%s", why);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return amber_fail(err, AMBER_E_INVALID, "%s", why);
    case CURLE_PEER_FAILED_VERIFICATION:
        return amber_fail(err, AMBER_E_DENIED,
                          "the server's certificate isn't trusted (%s): check the name in the "
                          "endpoint, and ARCHIVAL_S3_CA_FILE, the file with its authority's "
                          "certificate (now %s)",
                          why, h->ca_file ? h->ca_file : "the system's");
    case CURLE_SSL_CACERT_BADFILE:
        return amber_fail(err, AMBER_E_INVALID,
                          "%s: check ARCHIVAL_S3_CA_FILE, a readable file with certificates in PEM "
                          "form",
                          why);
    case CURLE_SSL_CONNECT_ERROR: /* a reset of the handshake is one too */
        return amber_fail(err, AMBER_E_NET, "no TLS (%s): does the endpoint speak https?", why);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return amber_fail(err, AMBER_E_CORRUPT, "this is no HTTP server: %s", why);
    default:
        return amber_fail(err, AMBER_E_NET, "%s", why);
    }
}

enum amber_rc amber_http_perform(struct http *h, const struct http_request *rq,
                                 struct http_response *rs, struct amber_err *err)
{
    struct transfer t = {.rq = rq, .rs = rs};
    CURLcode code = CURLE_OK;

    amber_http_response_clear(rs);
    struct slot *s = slot_take(h);
    if (!s)
        return amber_fail_nomem(err, "a connection", sizeof(*s));
    struct body_arg body = {.t = &t, .easy = s->easy};
    struct curl_slist *headers = header_list(rq);
    enum amber_rc rc = headers ? AMBER_OK : amber_fail_nomem(err, "a request's headers", 0);
    if (!rc) {
        set_options(h, s->easy, &t, &body, headers);
        if (curl_multi_add_handle(s->multi, s->easy) != CURLM_OK)
            rc = amber_fail_nomem(err, "a request", 0);
        else
            rc = drive(h, s, rq, &code, err);
        if (!rc)
            note_head(&t, s->easy);
        (void)curl_multi_remove_handle(s->multi, s->easy); /* closes a transfer that isn't done */
    }
    if (!rc)
        rc = judge(h, &t, code, err);
    /* The options point to what ends here. */
    curl_easy_reset(s->easy);
    curl_slist_free_all(headers);
    slot_give(h, s);
    return rc;
}
