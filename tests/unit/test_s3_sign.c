/*
 * test_s3_sign.c - the signer against the signatures that Amazon publishes.
 *
 * source  "Examples: Signature Calculations" in the S3 API reference, and the Signature Version 4
 *         test suite (service "service")
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "s3_sign_priv.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define S3_DATE "20130524T000000Z"
#define S3_HOST                                                                                    \
    {                                                                                              \
        "host", "examplebucket.s3.amazonaws.com"                                                   \
    }
#define SUITE_DATE "20150830T123600Z"

static void assert_signature(const struct s3_sign_input *in, const char *want_names,
                             const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf out AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
    char end[256];

    if (amber_s3_sign(in, &out, &err))
        fail_msg("%s", err.text);
    snprintf(end, sizeof(end), "SignedHeaders=%s, Signature=%s", want_names, want);
    if (!strstr(out.data, end))
        fail_msg("%s\ndoes not end with\n%s", out.data, end);
}

static struct s3_sign_input s3_example(const char *method, const char *path, const char *query,
                                       const struct s3_header *headers, size_t n,
                                       const char *payload)
{
    return (struct s3_sign_input){
        .method = method,
        .path = path,
        .query = query,
        .headers = headers,
        .n_headers = n,
        .payload_sha256 = payload,
        .access_key = "AKIAIOSFODNN7EXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        .region = "us-east-1",
        .service = "s3",
        .amz_date = S3_DATE,
    };
}

static void get_of_a_range_has_published_signature(void **state)
{
    const struct s3_header h[] = {
        S3_HOST, {"range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY}, {"x-amz-date", S3_DATE}};
    struct s3_sign_input in = s3_example("GET", "/test.txt", "", h, amber_countof(h), EMPTY);

    (void)state;
    assert_signature(&in, "host;range;x-amz-content-sha256;x-amz-date",
                     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void put_with_storage_class_has_published_signature(void **state)
{
    static const char payload[] =
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    const struct s3_header h[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                  S3_HOST,
                                  {"x-amz-content-sha256", payload},
                                  {"x-amz-date", S3_DATE},
                                  {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    struct s3_sign_input in =
        s3_example("PUT", "/test%24file.text", "", h, amber_countof(h), payload);

    (void)state;
    assert_signature(&in, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void get_of_a_subresource_has_published_signature(void **state)
{
    const struct s3_header h[] = {
        S3_HOST, {"x-amz-content-sha256", EMPTY}, {"x-amz-date", S3_DATE}};
    struct s3_sign_input in = s3_example("GET", "/", "lifecycle=", h, amber_countof(h), EMPTY);

    (void)state;
    assert_signature(&in, "host;x-amz-content-sha256;x-amz-date",
                     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void listing_has_published_signature(void **state)
{
    const struct s3_header h[] = {
        S3_HOST, {"x-amz-content-sha256", EMPTY}, {"x-amz-date", S3_DATE}};
    struct s3_sign_input in =
        s3_example("GET", "/", "max-keys=2&prefix=J", h, amber_countof(h), EMPTY);

    (void)state;
    assert_signature(&in, "host;x-amz-content-sha256;x-amz-date",
                     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

struct suite_case {
    const char *method, *path, *query;
    struct s3_header headers[3];
    size_t n;
    const char *names, *signature;
};

static void test_suite_has_published_signatures(void **state)
{
    static const struct suite_case cases[] = {
        /* get-vanilla */
        {"GET",
         "/",
         "",
         {{"host", "example.amazonaws.com"}, {"x-amz-date", SUITE_DATE}},
         2,
         "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        /* get-vanilla-query-order-key-case */
        {"GET",
         "/",
         "Param1=value1&Param2=value2",
         {{"host", "example.amazonaws.com"}, {"x-amz-date", SUITE_DATE}},
         2,
         "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        /* get-utf8 */
        {"GET",
         "/%E1%88%B4",
         "",
         {{"host", "example.amazonaws.com"}, {"x-amz-date", SUITE_DATE}},
         2,
         "host;x-amz-date",
         "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
        /* get-header-value-trim */
        {"GET",
         "/",
         "",
         {{"host", "example.amazonaws.com"},
          {"my-header1", " value1"},
          {"my-header2", " \"a   b   c\""}},
         3,
         NULL,
         NULL},
        /* post-vanilla */
        {"POST",
         "/",
         "",
         {{"host", "example.amazonaws.com"}, {"x-amz-date", SUITE_DATE}},
         2,
         "host;x-amz-date",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    };

    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        const struct suite_case *c = &cases[i];
        struct s3_header four[4];
        struct s3_sign_input in = {
            .method = c->method,
            .path = c->path,
            .query = c->query,
            .headers = c->headers,
            .n_headers = c->n,
            .payload_sha256 = EMPTY,
            .access_key = "AKIDEXAMPLE",
            .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            .region = "us-east-1",
            .service = "service",
            .amz_date = SUITE_DATE,
        };
        if (c->names) {
            assert_signature(&in, c->names, c->signature);
            continue;
        }
        memcpy(four, c->headers, sizeof(c->headers));
        four[3] = (struct s3_header){"x-amz-date", SUITE_DATE};
        in.headers = four;
        in.n_headers = 4;
        assert_signature(&in, "host;my-header1;my-header2;x-amz-date",
                         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
    }
}

static void secret_is_not_in_the_header(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf out AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
    const struct s3_header h[] = {S3_HOST, {"x-amz-date", S3_DATE}};
    struct s3_sign_input in = s3_example("GET", "/", "", h, amber_countof(h), EMPTY);

    (void)state;
    assert_int_equal(amber_s3_sign(&in, &out, &err), AMBER_OK);
    assert_null(strstr(out.data, "wJalr"));
}

static void md5_of_nothing_is_the_known_one(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_md5 d;
    char text[S3_MD5_BASE64];

    (void)state;
    assert_int_equal(amber_s3_md5("", 0, &d, &err), AMBER_OK);
    amber_s3_md5_base64(&d, text);
    assert_string_equal(text, "1B2M2Y8AsgTpgAmY7PhCfg==");
}

static void dates_are_written_and_read(void **state)
{
    char text[S3_AMZ_DATE_LEN];

    (void)state;
    amber_s3_amz_date(INT64_C(1369353600000000), text);
    assert_string_equal(text, S3_DATE);
    assert_int_equal(amber_s3_time("2013-05-24T00:00:00.123Z"), INT64_C(1369353600123000));
    assert_int_equal(amber_s3_time("2013-05-24T00:00:00Z"), INT64_C(1369353600000000));
    assert_int_equal(amber_s3_time("yesterday"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_of_a_range_has_published_signature),
        cmocka_unit_test(put_with_storage_class_has_published_signature),
        cmocka_unit_test(get_of_a_subresource_has_published_signature),
        cmocka_unit_test(listing_has_published_signature),
        cmocka_unit_test(test_suite_has_published_signatures),
        cmocka_unit_test(secret_is_not_in_the_header),
        cmocka_unit_test(md5_of_nothing_is_the_known_one),
        cmocka_unit_test(dates_are_written_and_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
