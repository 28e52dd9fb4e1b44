/*
 * test_store_s3.c - what the driver makes of answers that a real server gives at bad times only: a
 * fake on the loopback interface gives them. (Good ones come from a real server in
 * tests/integration.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "amber/log.h"
#include "amber/store.h"
#include "fake_http.h"
#include "store_s3_priv.h"

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

static enum amber_rc open_store_with(struct amber_s3_config s3, bool read_only,
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
    s3.timeout_s = 2;
    return amber_store_open(&cfg, &st, err);
}

static enum amber_rc open_store(bool read_only, struct amber_err *err)
{
    return open_store_with((struct amber_s3_config){0}, read_only, err);
}

static int drop_store(void **state)
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

static void assert_text(const struct amber_err *err, const char *want)
{
    if (!strstr(err->text, want))
        fail_msg("\"%s\" where \"%s\" was expected", err->text, want);
    assert_null(strstr(err->text, SECRET));
}

static unsigned count_asked(const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&fake.mutex);
    for (unsigned i = 0; i < fake.n_requests; i++)
        n += strstr(fake.requests[i], text) != NULL;
    pthread_mutex_unlock(&fake.mutex);
    return n;
}

/* ---- opening ---- */

static void assert_open_fails(const struct fake_route *route, enum amber_rc code, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    fake_routes(&fake, route, 1);
    assert_int_equal(open_store(false, &err), code);
    assert_text(&err, want);
    assert_int_equal(count_asked("GET "), 1);
}

static void missing_bucket_is_said_at_once(void **state)
{
    static const struct fake_route r = {"", 404, "", ERROR("NoSuchBucket", ""), 0, 0};
    (void)state;
    assert_open_fails(&r, AMBER_E_INVALID, "404 NoSuchBucket, request req-7: make the bucket");
}

static void other_region_is_named(void **state)
{
    static const struct fake_route moved = {
        "", 301, "x-amz-bucket-region: us-west-2\r\n", ERROR("PermanentRedirect", "elsewhere"),
        0,  0};
    static const struct fake_route malformed = {
        "", 400,
        "", "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>",
        0,  0};
    (void)state;
    assert_open_fails(&moved, AMBER_E_INVALID, "set ARCHIVAL_S3_REGION=us-west-2");
    assert_open_fails(&malformed, AMBER_E_INVALID, "set ARCHIVAL_S3_REGION=us-west-2");
}

static void clock_that_is_wrong_is_named(void **state)
{
    static const struct fake_route r = {
        "", 403, "Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n", ERROR("RequestTimeTooSkewed", ""),
        0,  0};
    (void)state;
    assert_open_fails(&r, AMBER_E_DENIED, "s behind the server's; set it (NTP)");
}

static void refusal_has_code_message_and_request(void **state)
{
    static const struct fake_route r = {"", 403, "", ERROR("AccessDenied", "no such luck"), 0, 0};
    (void)state;
    assert_open_fails(&r, AMBER_E_DENIED, "403 AccessDenied (no such luck), request req-7");
}

static void page_of_a_proxy_is_no_listing(void **state)
{
    static const struct fake_route r = {"", 403, "", "<html><body>login</body>", 0, 0};
    (void)state;
    assert_open_fails(&r, AMBER_E_DENIED, "the server answers 403");
}

static void server_that_is_away_fails_unless_it_may_be(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_s3_config s3 = {.endpoint = "http://127.0.0.1:1",
                                 .access_key_id = "key",
                                 .secret_access_key = SECRET,
                                 .timeout_s = 1};
    struct amber_store_config cfg = {.type = "s3", .path = "s3://bucket", .s3 = &s3, .dir_fd = -1};
    (void)state;
    assert_int_equal(amber_store_open(&cfg, &st, &err), AMBER_E_NET);
    s3.may_be_away = true;
    assert_int_equal(amber_store_open(&cfg, &st, &err), AMBER_OK);
}

/* ---- tries ---- */

static void busy_server_is_asked_again(void **state)
{
    struct amber_object_info info;
    WITH(
        {.text = "HEAD /bucket/pre%20fix/a",
         .status = 200,
         .headers = "ETag: \"e1\"\r\n",
         .body = "12345"},
        {.text = "HEAD /bucket/pre%20fix/a", .status = 503, .headers = "", .body = "", .times = 2});
    assert_int_equal(amber_store_stat(st, "a", &info, &err), AMBER_OK);
    assert_int_equal(info.size, 5);
    assert_string_equal(info.version, "e1");
    assert_int_equal(count_asked("HEAD "), 3);
}

static void server_that_stays_busy_fails_in_time(void **state)
{
    struct amber_object_info info;
    WITH({.text = "HEAD ", .status = 503, .headers = "", .body = ""});
    assert_int_equal(amber_store_stat(st, "a", &info, &err), AMBER_E_NET);
    assert_text(&err, "tried ");
}

static void try_that_ended_late_leaves_time_for_another(void **state)
{
    const int64_t stood_still_us = INT64_C(3600000000);
    struct s3_tries t;
    WITH({.text = "HEAD ", .status = 503, .headers = "", .body = ""});
    amber_s3_tries_init(&t, amber_s3(st), 40960);
    int64_t for_bytes = t.deadline_us - t.give_up_us, begin = t.start_us;
    assert_true(for_bytes > 0);
    t.start_us -= stood_still_us;
    t.give_up_us -= stood_still_us;
    t.deadline_us -= stood_still_us;
    t.n = 1;
    (void)amber_fail(&err, AMBER_E_TIMEOUT, "late");
    assert_true(amber_s3_again(amber_s3(st), &t, NULL, &err));
    assert_true(t.give_up_us > begin);
    assert_int_equal(t.deadline_us - t.give_up_us, for_bytes);
}

/* Its answer says more than that it came too late. */
static void try_that_begins_late_is_answered(void **state)
{
    struct s3_call c = {.method = "HEAD", .key = "a"};
    struct s3_answer a;
    struct s3_tries t;
    WITH({.text = "HEAD ", .status = 503, .headers = "", .body = ""});
    amber_s3_tries_init(&t, amber_s3(st), 0);
    t.deadline_us = t.start_us;
    assert_int_equal(amber_s3_try(amber_s3(st), &c, &t, &a, &err), AMBER_E_BUSY);
    assert_int_equal(a.status, 503);
}

static void object_that_is_not_there_is_not_found(void **state)
{
    struct amber_object_info info;
    WITH({.text = "HEAD ", .status = 404, .headers = "", .body = ""});
    assert_int_equal(amber_store_stat(st, "a", &info, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(count_asked("HEAD "), 1);
}

/* ---- listing ---- */

static enum amber_rc note_key(void *arg, const char *key, const struct amber_object_info *info,
                              struct amber_err *err)
{
    char *all = arg;
    (void)err;
    size_t len = strlen(all);
    snprintf(all + len, 512 - len, "%s=%u;", key, (unsigned)info->size);
    return AMBER_OK;
}

#define CONTENT(key, size)                                                                         \
    "<Contents><Key>" key "</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified>"            \
    "<ETag>&quot;e&quot;</ETag><Size>" size "</Size></Contents>"

static void listing_goes_on_from_page_to_page(void **state)
{
    char all[512] = "";
    WITH({.text = "list-type=2&prefix=pre%20fix%2Fd%2F",
          .status = 200,
          .headers = "",
          .body = PAGE_HEAD "<IsTruncated>true</IsTruncated><NextContinuationToken>a/b=</"
                            "NextContinuationToken>" CONTENT("pre%20fix/d/x%2By%0A%26", "7")
                                CONTENT("pre%20fix/d/", "0") "</ListBucketResult>"},
         {.text = "continuation-token=a%2Fb%3D&",
          .status = 200,
          .headers = "",
          .body = PAGE_HEAD CONTENT("pre+fix/d/z", "8") "</ListBucketResult>"});
    assert_int_equal(amber_store_list(st, "d", note_key, all, &err), AMBER_OK);
    assert_string_equal(all, "d/x+y\n&=7;d/z=8;");
}

static void listing_that_does_not_go_on_is_corrupt(void **state)
{
    char all[512] = "";
    WITH({.text = "prefix=pre%20fix%2Fd%2F",
          .status = 200,
          .headers = "",
          .body = PAGE_HEAD "<IsTruncated>true</IsTruncated></ListBucketResult>"});
    assert_int_equal(amber_store_list(st, "d", note_key, all, &err), AMBER_E_CORRUPT);
}

static void listing_of_another_prefix_is_corrupt(void **state)
{
    char all[512] = "";
    WITH({.text = "prefix=pre%20fix%2Fd%2F",
          .status = 200,
          .headers = "",
          .body = PAGE_HEAD CONTENT("other/x", "1") "</ListBucketResult>"});
    assert_int_equal(amber_store_list(st, "d", note_key, all, &err), AMBER_E_CORRUPT);
}

/* ---- reading ---- */

/* An object of 70,000 bytes: its head comes with the open, "0123456789" stands at 66,000. */
static char head[65537];
#define OPENS                                                                                      \
    {                                                                                              \
        .text = "ange: bytes=0-65535\r\n", .status = 206,                                          \
        .headers = "ETag: \"v1\"\r\nContent-Range: bytes 0-65535/70000\r\n", .body = head          \
    }

static struct amber_object *open_object(void)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object *o = NULL;
    if (amber_object_open(st, "o", AMBER_OPEN_CACHED, &o, NULL, &err))
        fail_msg("%s", err.text);
    return o;
}

static void small_object_takes_one_request(void **state)
{
    struct amber_buf out AMBER_AUTO_BUF = AMBER_BUF_INIT(1024);
    WITH({.text = "GET /bucket/pre%20fix/s ",
          .status = 206,
          .headers = "ETag: \"v1\"\r\nContent-Range: bytes 0-4/5\r\n",
          .body = "small"});
    assert_int_equal(amber_store_get(st, "s", &out, &err), AMBER_OK);
    assert_string_equal(out.data, "small");
    assert_int_equal(count_asked("/s HTTP"), 1);
}

static void empty_object_is_read(void **state)
{
    struct amber_buf out AMBER_AUTO_BUF = AMBER_BUF_INIT(1024);
    WITH({.text = "GET /bucket/pre%20fix/e ",
          .status = 416,
          .headers = "",
          .body = ERROR("InvalidRange", "")},
         {.text = "HEAD /bucket/pre%20fix/e ", .status = 200, .headers = "", .body = ""});
    assert_int_equal(amber_store_get(st, "e", &out, &err), AMBER_OK);
    assert_int_equal(out.len, 0);
}

static void range_is_asked_with_the_etag(void **state)
{
    char buf[10];
    WITH(OPENS, {.text = "ange: bytes=66000-66009\r\n",
                 .status = 206,
                 .headers = "Content-Range: bytes 66000-66009/70000\r\n",
                 .body = "0123456789"});
    struct amber_object *o = open_object();
    assert_int_equal(amber_object_read(o, 66000, buf, 10, &err), AMBER_OK);
    assert_memory_equal(buf, "0123456789", 10);
    assert_int_equal(count_asked("if-match: \"v1\"\r\n"), 1);
    amber_object_close(o);
}

static void body_that_is_cut_is_asked_for_from_there_on(void **state)
{
    char buf[10];
    WITH(OPENS,
         {.text = "ange: bytes=66000-66009\r\n",
          .status = 206,
          .headers = "Content-Range: bytes 66000-66009/70000\r\n",
          .body = "0123",
          .missing = 6},
         {.text = "ange: bytes=66004-66009\r\n",
          .status = 206,
          .headers = "Content-Range: bytes 66004-66009/70000\r\n",
          .body = "456789"});
    struct amber_object *o = open_object();
    assert_int_equal(amber_object_read(o, 66000, buf, 10, &err), AMBER_OK);
    assert_memory_equal(buf, "0123456789", 10);
    amber_object_close(o);
}

static void assert_read_is_corrupt(const struct fake_route *answer, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct fake_route routes[] = {PROBE, OPENS, *answer};
    char buf[10];
    fake_routes(&fake, routes, amber_countof(routes));
    assert_int_equal(open_store(false, &err), AMBER_OK);
    struct amber_object *o = open_object();
    assert_int_equal(amber_object_read(o, 66000, buf, 10, &err), AMBER_E_CORRUPT);
    assert_text(&err, want);
    amber_object_close(o);
    drop_store(NULL);
    fake_routes(&fake, NULL, 0);
}

static void answer_that_is_not_the_range_is_corrupt(void **state)
{
    static const struct fake_route replaced = {"bytes=66000", 412, "", "", 0, 0};
    static const struct fake_route whole = {"bytes=66000", 200, "", "0123456789", 0, 0};
    static const struct fake_route other = {
        "bytes=66000", 206, "Content-Range: bytes 0-9/70000\r\n", "0123456789", 0, 0};
    static const struct fake_route grown = {
        "bytes=66000", 206, "Content-Range: bytes 66000-66009/80000\r\n", "0123456789", 0, 0};
    static const struct fake_route longer = {
        "bytes=66000", 206, "Content-Range: bytes 66000-66009/70000\r\n", "0123456789a", 0, 0};
    (void)state;
    assert_read_is_corrupt(&replaced, "was replaced since it was opened");
    assert_read_is_corrupt(&whole, "answers 200");
    assert_read_is_corrupt(&other, "bytes 0-9/70000");
    assert_read_is_corrupt(&grown, "66000-66009/80000");
    assert_read_is_corrupt(&longer, "bytes 66000-66009");
}

/* ---- writing ---- */

#define LARGE_BYTES ((8U << 20) + 1) /* two parts */

static char large[LARGE_BYTES];

static void put_is_guarded_and_checked(void **state)
{
    WITH({.text = "HEAD ", .status = 200, .headers = "", .body = "hello"},
         {.text = "HEAD ", .status = 404, .headers = "", .body = "", .times = 1},
         {.text = "PUT /bucket/pre%20fix/a%2Bb ", .status = 200, .headers = "", .body = ""});
    assert_int_equal(amber_store_put(st, "a+b", "hello", 5, &err), AMBER_OK);
    assert_int_equal(count_asked("content-md5: XUFAKrxLKna5cZ2REBfFkg==\r\n"), 1);
    assert_int_equal(count_asked("if-none-match: *\r\n"), 1);
}

/* Opened with these settings: what a small object's PUT and a large one's start have in common. */
static void assert_stored_with(const struct amber_s3_config *s3, const char *lines,
                               const char *signed_names)
{
    static const struct fake_route routes[] = {
        PROBE,
        {.text = "fix/a ", .status = 200, .headers = "", .body = "hello"},
        {.text = "HEAD /bucket/pre%20fix/a ", .status = 404, .headers = "", .body = "", .times = 1},
        {.text = "HEAD /bucket/pre%20fix/b ", .status = 404, .headers = "", .body = ""},
        {.text = "POST ", .status = 403, .headers = "", .body = ERROR("AccessDenied", "")}};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_put *p = NULL;

    fake_routes(&fake, routes, amber_countof(routes));
    assert_int_equal(open_store_with(*s3, false, &err), AMBER_OK);
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_OK);
    assert_int_equal(amber_put_open(st, "b", &p, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, large, sizeof(large), &err), AMBER_E_DENIED);
    amber_put_abort(p);
    assert_text(&err, "check ARCHIVAL_S3_SSE");
    assert_int_equal(count_asked("POST "), 1);
    assert_int_equal(count_asked(lines), 2); /* the PUT and the POST */
    assert_int_equal(count_asked(signed_names), 2);
    drop_store(NULL);
}

static void encryption_and_class_go_along_signed(void **state)
{
    static const struct amber_s3_config aes = {.sse = AMBER_S3_SSE_AES256};
    static const struct amber_s3_config kms = {.sse = AMBER_S3_SSE_KMS,
                                               .sse_kms_key_id = "arn:aws:kms:1:key/k"};
    static const struct amber_s3_config ia = {.storage_class = "STANDARD_IA"};
    (void)state;
    assert_stored_with(&aes, "x-amz-server-side-encryption: AES256\r\n",
                       ";x-amz-server-side-encryption,");
    assert_stored_with(&kms,
                       "x-amz-server-side-encryption: aws:kms\r\n"
                       "x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:1:key/k\r\n",
                       ";x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id,");
    assert_stored_with(&ia, "x-amz-storage-class: STANDARD_IA\r\n", ";x-amz-storage-class,");
}

/* Of two things that may be wrong the server has named one. */
static void wrong_key_is_named_whatever_the_settings(void **state)
{
    static const struct fake_route routes[] = {
        PROBE,
        {.text = "HEAD ", .status = 404, .headers = "", .body = ""},
        {.text = "PUT ", .status = 403, .headers = "", .body = ERROR("InvalidAccessKeyId", "")}};
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    fake_routes(&fake, routes, amber_countof(routes));
    assert_int_equal(
        open_store_with((struct amber_s3_config){.sse = AMBER_S3_SSE_AES256}, false, &err), AMBER_OK);
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_E_DENIED);
    assert_text(&err, "check ARCHIVAL_S3_ACCESS_KEY_ID");
}

static void name_that_is_taken_is_not_written(void **state)
{
    WITH({.text = "HEAD ", .status = 200, .headers = "", .body = "there"});
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_E_EXISTS);
    assert_int_equal(count_asked("PUT "), 0);
}

static void name_that_is_taken_meanwhile_stays_as_it_is(void **state)
{
    WITH({.text = "HEAD ", .status = 404, .headers = "", .body = ""},
         {.text = "PUT ", .status = 412, .headers = "", .body = ERROR("PreconditionFailed", "")});
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_E_EXISTS);
}

static void put_whose_answer_was_lost_is_settled_by_looking(void **state)
{
    WITH({.text = "HEAD ", .status = 200, .headers = "", .body = "hello"},
         {.text = "HEAD ", .status = 404, .headers = "", .body = "", .times = 1},
         {.text = "PUT ", .status = 412, .headers = "", .body = ERROR("PreconditionFailed", "")},
         {.text = "PUT ", .status = 500, .headers = "", .body = "", .times = 1},
         {.text = "GET /bucket/pre%20fix/a ", .status = 200, .headers = "", .body = "hello"});
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_OK);
}

static void server_without_conditions_is_asked_without(void **state)
{
    WITH({.text = "HEAD ", .status = 200, .headers = "", .body = "hello"},
         {.text = "HEAD ", .status = 404, .headers = "", .body = "", .times = 1},
         {.text = "PUT ", .status = 200, .headers = "", .body = ""},
         {.text = "if-none-match",
          .status = 501,
          .headers = "",
          .body = ERROR("NotImplemented", "")});
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_OK);
    assert_int_equal(count_asked("PUT "), 2);
}

static void what_is_stored_short_is_corrupt(void **state)
{
    WITH({.text = "HEAD ", .status = 200, .headers = "", .body = "hell"},
         {.text = "HEAD ", .status = 404, .headers = "", .body = "", .times = 1},
         {.text = "PUT ", .status = 200, .headers = "", .body = ""});
    assert_int_equal(amber_store_put(st, "a", "hello", 5, &err), AMBER_E_CORRUPT);
}

/* ---- writing in parts ---- */

#define UPLOAD_STARTS                                                                              \
    {                                                                                              \
        .text = "POST /bucket/pre%20fix/a?uploads= ", .status = 200, .headers = "",                \
        .body = "<InitiateMultipartUploadResult><UploadId>up</UploadId>"                           \
                "</InitiateMultipartUploadResult>"                                                 \
    }
#define PARTS_ARRIVE                                                                               \
    {                                                                                              \
        .text = "PUT /bucket/pre%20fix/a?partNumber=", .status = 200, .headers = "ETag: \"p\"\r\n", \
        .body = ""                                                                                 \
    }

/* The upload's end has no good answer, and the object that is there then has this length and ETag. */
static enum amber_rc put_in_doubt(const char *headers, unsigned bytes)
{
    const struct fake_route routes[] = {
        PROBE,
        {.text = "HEAD ", .status = 200, .headers = headers, .body = "", .missing = bytes},
        {.text = "HEAD ", .status = 404, .headers = "", .body = "", .times = 2},
        UPLOAD_STARTS,
        PARTS_ARRIVE,
        {.text = "?uploadId=", .status = 404, .headers = "", .body = ERROR("NoSuchUpload", "")}};
    struct amber_err err = AMBER_ERR_INIT;

    fake_routes(&fake, routes, amber_countof(routes));
    assert_int_equal(open_store(false, &err), AMBER_OK);
    enum amber_rc rc = amber_store_put(st, "a", large, LARGE_BYTES, &err);
    assert_int_equal(count_asked("POST /bucket/pre%20fix/a?uploadId="), 1);
    drop_store(NULL);
    fake_routes(&fake, NULL, 0);
    return rc;
}

static void upload_in_doubt_is_settled_by_length_and_number_of_parts(void **state)
{
    (void)state;
    assert_int_equal(put_in_doubt("ETag: \"0f-2\"\r\n", LARGE_BYTES), AMBER_OK);
    assert_int_equal(put_in_doubt("ETag: \"0f-2\"\r\n", LARGE_BYTES - 1), AMBER_E_NOT_FOUND);
    assert_int_equal(put_in_doubt("ETag: \"0f-12\"\r\n", LARGE_BYTES), AMBER_E_NOT_FOUND);
    assert_int_equal(put_in_doubt("ETag: \"0f-3\"\r\n", LARGE_BYTES), AMBER_E_NOT_FOUND);
    assert_int_equal(put_in_doubt("ETag: \"02\"\r\n", LARGE_BYTES), AMBER_E_NOT_FOUND);
}

/* What was written is short then, by what came behind the first part. */
static void put_whose_write_failed_does_not_commit(void **state)
{
    struct amber_put *p = NULL;
    WITH({.text = "HEAD ", .status = 404, .headers = "", .body = ""},
         {.text = "PUT ", .status = 200, .headers = "", .body = ""},
         {.text = "POST ", .status = 403, .headers = "", .body = ERROR("AccessDenied", "")});
    assert_int_equal(amber_put_open(st, "a", &p, &err), AMBER_OK);
    assert_int_equal(amber_put_write(p, large, sizeof(large), &err), AMBER_E_DENIED);
    assert_int_equal(amber_put_commit(p, NULL, &err), AMBER_E_DENIED);
    assert_text(&err, "AccessDenied");
    assert_int_equal(count_asked("PUT "), 0);
}

static void read_only_store_writes_nothing(void **state)
{
    static const struct fake_route routes[] = {PROBE};
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    fake_routes(&fake, routes, 1);
    assert_int_equal(open_store(true, &err), AMBER_OK);
    assert_int_equal(amber_store_put(st, "a", "x", 1, &err), AMBER_E_DENIED);
    assert_int_equal(err.sys_errno, EROFS);
    assert_int_equal(amber_store_remove(st, "a", &err), AMBER_E_DENIED);
    assert_int_equal(count_asked(" /"), 1);
}

static void interrupted_store_answers_at_once(void **state)
{
    struct amber_object_info info;
    WITH({.text = "HEAD ", .status = 503, .headers = "", .body = ""});
    amber_store_interrupt(st);
    assert_int_equal(amber_store_stat(st, "a", &info, &err), AMBER_E_CANCELED);
}

static int start(void **state)
{
    (void)state;
    amber_log_set_stderr(false);
    memset(head, 'h', sizeof(head) - 1);
    return fake_start(&fake) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    fake_stop(&fake);
    return 0;
}

#define TEST(fn) cmocka_unit_test_teardown(fn, drop_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(missing_bucket_is_said_at_once),
        TEST(other_region_is_named),
        TEST(clock_that_is_wrong_is_named),
        TEST(refusal_has_code_message_and_request),
        TEST(page_of_a_proxy_is_no_listing),
        TEST(server_that_is_away_fails_unless_it_may_be),
        TEST(busy_server_is_asked_again),
        TEST(server_that_stays_busy_fails_in_time),
        TEST(try_that_ended_late_leaves_time_for_another),
        TEST(try_that_begins_late_is_answered),
        TEST(object_that_is_not_there_is_not_found),
        TEST(listing_goes_on_from_page_to_page),
        TEST(listing_that_does_not_go_on_is_corrupt),
        TEST(listing_of_another_prefix_is_corrupt),
        TEST(small_object_takes_one_request),
        TEST(empty_object_is_read),
        TEST(range_is_asked_with_the_etag),
        TEST(body_that_is_cut_is_asked_for_from_there_on),
        TEST(answer_that_is_not_the_range_is_corrupt),
        TEST(put_is_guarded_and_checked),
        TEST(encryption_and_class_go_along_signed),
        TEST(wrong_key_is_named_whatever_the_settings),
        TEST(name_that_is_taken_is_not_written),
        TEST(name_that_is_taken_meanwhile_stays_as_it_is),
        TEST(put_whose_answer_was_lost_is_settled_by_looking),
        TEST(server_without_conditions_is_asked_without),
        TEST(what_is_stored_short_is_corrupt),
        TEST(upload_in_doubt_is_settled_by_length_and_number_of_parts),
        TEST(put_whose_write_failed_does_not_commit),
        TEST(read_only_store_writes_nothing),
        TEST(interrupted_store_answers_at_once),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
