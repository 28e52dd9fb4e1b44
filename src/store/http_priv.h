/*
 * http_priv.h - HTTP/1.1 requests over kept-alive connections. The one home of libcurl is http.c.
 *
 * A request runs in the caller's thread, on a connection of its own that is kept for the next
 * request; any number of threads may have one under way. Nothing is retried here and no status is
 * an error: that is for those who know the protocol above.
 *
 * Every wait ends: for the connection, for a peer that sends or takes less than
 * HTTP_SLOW_BYTES a second, at the request's deadline, or when its stop flag is set and
 * amber_http_wake was called.
 */
#ifndef AMBER_HTTP_PRIV_H
#define AMBER_HTTP_PRIV_H

#include "amber/err.h"
#include "amber/mem.h"

#define HTTP_SLOW_BYTES 4096U          /* a second; slower than that counts as hanging */
#define HTTP_HEADERS_MAX (64U * 1024U) /* bytes of one answer's header lines */

struct http;

struct http_config {
    const char *ca_file; /* NULL: the system's */
    unsigned connect_s;  /* for a connection with its TLS handshake */
    unsigned slow_s;     /* how long a peer may be too slow */
    bool no_proxy;       /* leave http_proxy and the like alone: for addresses of this host */
};

struct http_response {
    int status;               /* 0: no answer came */
    uint64_t body_len;        /* Content-Length; UINT64_MAX if not said */
    struct amber_buf headers; /* "name: value\n" lines, names in lower case; owned */
};

struct http_request {
    const char *method;         /* GET, HEAD, PUT, POST, DELETE */
    const char *url;            /* sent as it is: the caller has encoded it */
    const char *const *headers; /* n lines "Name: value" */
    size_t n_headers;
    const void *body; /* PUT and POST: body_len bytes, which stay the caller's */
    size_t body_len;
    /* Called for each piece of the answer's body, when status and headers are known. Returns false
     * to end the transfer (the request fails with CORRUPT). NULL: the body is dropped. */
    bool (*on_body)(void *arg, const struct http_response *rs, const void *data, size_t len);
    void *arg;
    int64_t deadline_us; /* amber_mono_us */
    unsigned patience_s; /* longer than slow_s that the peer may take before it answers */
    const bool *stop;    /* accessed atomically; NULL: never */
    bool fresh;          /* not on a kept-alive connection: the last one failed */
};

enum amber_rc amber_http_new(const struct http_config *cfg, struct http **out,
                             struct amber_err *err) AMBER_MUST_CHECK;
void amber_http_free(struct http *h); /* no request is under way; NULL allowed */

/*
 * Send a request and take the answer. rs starts as AMBER_HTTP_RESPONSE_INIT or cleared, and is
 * filled as far as the answer came, also on failure.
 * errors  NET refused, reset, name not found, body cut short; TIMEOUT; CANCELED; DENIED the
 *         certificate isn't trusted; INVALID URL; CORRUPT on_body refused, or no HTTP; NOMEM
 * thread  any
 */
enum amber_rc amber_http_perform(struct http *h, const struct http_request *rq,
                                 struct http_response *rs, struct amber_err *err) AMBER_MUST_CHECK;
/* Let every request under way, and every amber_http_pause, look at its stop flag. */
void amber_http_wake(struct http *h);
/* Every request under way or to come fails with CANCELED, every pause ends. */
void amber_http_interrupt(struct http *h);
/* Wait; false if *stop was set, or all is interrupted. */
bool amber_http_pause(struct http *h, int64_t until_us, const bool *stop);

void amber_http_response_clear(struct http_response *rs);
/* A header's value, cut at cap - 1 bytes; "" if the answer hasn't got it. name in lower case. */
void amber_http_header(const struct http_response *rs, const char *name, char *out, size_t cap);

#define AMBER_HTTP_RESPONSE_INIT                                                                   \
    {                                                                                              \
        .body_len = UINT64_MAX, .headers = {.max = HTTP_HEADERS_MAX }                              \
    }

#endif
