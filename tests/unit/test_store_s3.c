/*
 * test_store_s3.c - what the driver makes of answers that a real server gives at bad times only: a
 * fake on the loopback interface gives them. (Good ones come from a real server in
 * tests/integration.)
 */
#include <errno.h>

#include "store_s3_priv.h" /* before the fixture's st */

#include "s3_fixture.h"

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

/* The fake serves one connection after the other: behind this one, which asks nothing, nobody. */
static int occupy_fake(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((in_port_t)fake.port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void silent_server_has_a_quarter_of_the_time_for_each_try(void **state)
{
    static const struct fake_route probe = PROBE;
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_call c = {.method = "HEAD", .key = "a"};
    struct s3_answer a;
    struct s3_tries t;
    (void)state;
    fake_routes(&fake, &probe, 1);
    assert_int_equal(open_store_with((struct amber_s3_config){.timeout_s = 8}, false, &err), 0);
    int fd = occupy_fake();
    amber_s3_tries_init(&t, amber_s3(st), 0);
    enum amber_rc rc = amber_s3_try(amber_s3(st), &c, &t, &a, &err);
    close(fd);
    assert_int_equal(rc, AMBER_E_TIMEOUT);
    assert_text(&err, "the last 2 seconds");
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

static int start_with_head(void **state)
{
    memset(head, 'h', sizeof(head) - 1);
    return start(state);
}

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
        TEST(silent_server_has_a_quarter_of_the_time_for_each_try),
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
        TEST(read_only_store_writes_nothing),
        TEST(interrupted_store_answers_at_once),
    };
    return cmocka_run_group_tests(tests, start_with_head, stop);
}
