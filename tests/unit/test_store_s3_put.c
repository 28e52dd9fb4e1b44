/*
 * test_store_s3_put.c - writing to S3 when the server's answers come at bad times, are none, or say
 * something else.
 */
#include "s3_fixture.h"

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

/* A large object, with this answer in place of the one as it should be. */
static void assert_upload_fails(const struct fake_route *answer, enum amber_rc code,
                                const char *want)
{
    const struct fake_route routes[] = {
        PROBE,
        {.text = "HEAD ", .status = 404, .headers = "", .body = ""},
        {.text = "DELETE ", .status = 204, .headers = "", .body = ""},
        UPLOAD_STARTS,
        PARTS_ARRIVE,
        *answer};
    struct amber_err err = AMBER_ERR_INIT;

    fake_routes(&fake, routes, amber_countof(routes));
    assert_int_equal(open_store(false, &err), AMBER_OK);
    assert_int_equal(amber_store_put(st, "a", large, LARGE_BYTES, &err), code);
    assert_text(&err, want);
    assert_int_equal(count_asked("DELETE /bucket/pre%20fix/a?uploadId=up "), 1);
    drop_store(NULL);
    fake_routes(&fake, NULL, 0);
}

static void upload_that_is_not_said_to_be_whole_fails_and_is_aborted(void **state)
{
    static const struct fake_route part = {
        .text = "partNumber=2&", .status = 200, .headers = "", .body = ""};
    static const struct fake_route page = {.text = "POST /bucket/pre%20fix/a?uploadId=",
                                           .status = 200,
                                           .headers = "",
                                           .body = "<html/>"};
    static const struct fake_route taken = {.text = "POST /bucket/pre%20fix/a?uploadId=",
                                            .status = 200,
                                            .headers = "",
                                            .body = ERROR("PreconditionFailed", "")};
    (void)state;
    assert_upload_fails(&part, AMBER_E_CORRUPT, "gives no ETag for part 2");
    assert_upload_fails(&page, AMBER_E_CORRUPT, "doesn't say that it is complete");
    assert_upload_fails(&taken, AMBER_E_EXISTS, "nothing was overwritten");
}

#define UPLOAD(key, id) "<Upload><Key>" key "</Key><UploadId>" id "</UploadId></Upload>"

/* One whose id nobody was told is looked for under its key, and no other is touched. */
static void assert_stray_is_aborted(const struct fake_route *start, enum amber_rc code)
{
    const struct fake_route routes[] = {
        PROBE,
        {.text = "HEAD ", .status = 200, .headers = "", .body = "", .missing = LARGE_BYTES},
        {.text = "HEAD ", .status = 404, .headers = "", .body = "", .times = 2},
        {.text = "DELETE ", .status = 204, .headers = "", .body = ""},
        {.text = "&uploads= ",
         .status = 200,
         .headers = "",
         .body = "<ListMultipartUploadsResult>" UPLOAD("pre%20fix/a", "stray")
             UPLOAD("pre%20fix/ab", "other") "</ListMultipartUploadsResult>"},
        UPLOAD_STARTS,
        PARTS_ARRIVE,
        {.text = "POST /bucket/pre%20fix/a?uploadId=",
         .status = 200,
         .headers = "",
         .body = "<CompleteMultipartUploadResult><Key>a</Key></CompleteMultipartUploadResult>"},
        *start};
    struct amber_err err = AMBER_ERR_INIT;

    fake_routes(&fake, routes, amber_countof(routes));
    assert_int_equal(open_store(false, &err), AMBER_OK);
    assert_int_equal(amber_store_put(st, "a", large, LARGE_BYTES, &err), code);
    assert_int_equal(count_asked("DELETE /bucket/pre%20fix/a?uploadId=stray "), 1);
    assert_int_equal(count_asked("DELETE "), 1);
    drop_store(NULL);
    fake_routes(&fake, NULL, 0);
}

static void upload_that_may_have_begun_twice_is_looked_for(void **state)
{
    static const struct fake_route lost = {
        .text = "?uploads= ", .status = 500, .headers = "", .body = "", .times = 1};
    static const struct fake_route nameless = {
        .text = "?uploads= ", .status = 200, .headers = "", .body = "<x/>"};
    (void)state;
    assert_stray_is_aborted(&lost, AMBER_OK);
    assert_stray_is_aborted(&nameless, AMBER_E_CORRUPT);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_is_guarded_and_checked),
        TEST(encryption_and_class_go_along_signed),
        TEST(wrong_key_is_named_whatever_the_settings),
        TEST(name_that_is_taken_is_not_written),
        TEST(name_that_is_taken_meanwhile_stays_as_it_is),
        TEST(put_whose_answer_was_lost_is_settled_by_looking),
        TEST(server_without_conditions_is_asked_without),
        TEST(what_is_stored_short_is_corrupt),
        TEST(upload_in_doubt_is_settled_by_length_and_number_of_parts),
        TEST(upload_that_is_not_said_to_be_whole_fails_and_is_aborted),
        TEST(upload_that_may_have_begun_twice_is_looked_for),
        TEST(put_whose_write_failed_does_not_commit),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
