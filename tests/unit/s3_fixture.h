/*
 * s3_fixture.h - the S3 driver against a fake server (fake_http.h): opening a store on it, looking at
 * what it was asked.
 */
#ifndef AMBER_S3_FIXTURE_H
#define AMBER_S3_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "amber/log.h"
#include "amber/store.h"
#include "fake_http.h"

#define SECRET "hunter2-secret"
#define PAGE_HEAD                                                                                  \
    "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
#define EMPTY_PAGE PAGE_HEAD "<IsTruncated>false</IsTruncated></ListBucketResult>"
#define ERROR(code, message)                                                                       \
    "<Error><Code>" code "</Code><Message>" message "</Message><RequestId>req-7</RequestId></"     \
                                                    "Error>"
#define PROBE                                                                                      \
    {                                                                                              \
        .text = "max-keys=1", .status = 200, .headers = "", .body = EMPTY_PAGE                     \
    }

static struct fake_http fake;
static struct amber_store *st;

static inline enum amber_rc open_store_with(struct amber_s3_config s3, bool read_only,
                                     struct amber_err *err)
{
    char endpoint[64];
    struct amber_store_config cfg = {.type = "s3",
                                     .path = "s3://bucket/pre fix",
                                     .s3 = &s3,
                                     .dir_fd = -1,
                                     .read_only = read_only};
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u", fake.port);
    s3.region = "eu-central-1";
    s3.endpoint = endpoint;
    s3.access_key_id = "key";
    s3.secret_access_key = SECRET;
    if (!s3.timeout_s)
        s3.timeout_s = 2;
    return amber_store_open(&cfg, &st, err);
}

static inline enum amber_rc open_store(bool read_only, struct amber_err *err)
{
    return open_store_with((struct amber_s3_config){0}, read_only, err);
}

static inline int drop_store(void **state)
{
    (void)state;
    amber_store_free(st);
    st = NULL;
    return 0;
}

/* Answer by these routes, and open the store. */
#define WITH(...)                                                                                  \
    static const struct fake_route routes[] = {PROBE, __VA_ARGS__};                                \
    struct amber_err err = AMBER_ERR_INIT;                                                         \
    (void)state;                                                                                   \
    fake_routes(&fake, routes, amber_countof(routes));                                             \
    if (open_store(false, &err))                                                                   \
    fail_msg("%s", err.text)

static inline void assert_text(const struct amber_err *err, const char *want)
{
    if (!strstr(err->text, want))
        fail_msg("\"%s\" where \"%s\" was expected", err->text, want);
    assert_null(strstr(err->text, SECRET));
}

static inline unsigned count_asked(const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&fake.mutex);
    for (unsigned i = 0; i < fake.n_requests; i++)
        n += strstr(fake.requests[i], text) != NULL;
    pthread_mutex_unlock(&fake.mutex);
    return n;
}

static inline int start(void **state)
{
    (void)state;
    amber_log_set_stderr(false);
    return fake_start(&fake) ? 0 : -1;
}

static inline int stop(void **state)
{
    (void)state;
    fake_stop(&fake);
    return 0;
}

#define TEST(fn) cmocka_unit_test_teardown(fn, drop_store)

#endif
