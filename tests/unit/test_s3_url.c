/*
 * test_s3_url.c - addresses of buckets, keys as URLs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "s3_url_priv.h"

static struct s3_target good(const char *path, const struct amber_s3_config *cfg)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_target t = {0};

    if (amber_s3_target_init(&t, path, cfg, &err))
        fail_msg("%s: %s", path, err.text);
    return t;
}

static void assert_target(const char *path, const struct amber_s3_config *cfg, const char *origin,
                          const char *host, const char *root)
{
    struct s3_target t AMBER_CLEANUP(amber_s3_target_clear) = good(path, cfg);

    assert_string_equal(t.origin, origin);
    assert_string_equal(t.host, host);
    assert_string_equal(t.root, root);
}

static void amazon_is_asked_by_the_buckets_own_name(void **state)
{
    struct amber_s3_config cfg = {.region = "eu-central-1"};

    (void)state;
    assert_target("s3://my-bucket/x", &cfg, "https://my-bucket.s3.eu-central-1.amazonaws.com",
                  "my-bucket.s3.eu-central-1.amazonaws.com", "/");
    cfg.region = "cn-north-1";
    assert_target("s3://my-bucket", &cfg, "https://my-bucket.s3.cn-north-1.amazonaws.com.cn",
                  "my-bucket.s3.cn-north-1.amazonaws.com.cn", "/");
    cfg.addressing = AMBER_S3_PATH;
    assert_target("s3://my-bucket", &cfg, "https://s3.cn-north-1.amazonaws.com.cn",
                  "s3.cn-north-1.amazonaws.com.cn", "/my-bucket/");
}

static void bucket_with_dots_stands_in_the_path(void **state)
{
    struct amber_s3_config cfg = {.region = "us-west-2"};

    (void)state;
    assert_target("s3://my.bucket", &cfg, "https://s3.us-west-2.amazonaws.com",
                  "s3.us-west-2.amazonaws.com", "/my.bucket/");
}

static void endpoint_is_asked_by_path_unless_said_otherwise(void **state)
{
    struct amber_s3_config cfg = {.endpoint = "http://127.0.0.1:9000/"};

    (void)state;
    assert_target("s3://bucket", &cfg, "http://127.0.0.1:9000", "127.0.0.1:9000", "/bucket/");
    cfg.endpoint = "https://minio.example.com:443";
    assert_target("s3://bucket", &cfg, "https://minio.example.com", "minio.example.com",
                  "/bucket/");
    cfg.endpoint = "minio.example.com:8443";
    cfg.addressing = AMBER_S3_VIRTUAL;
    assert_target("s3://bucket", &cfg, "https://bucket.minio.example.com:8443",
                  "bucket.minio.example.com:8443", "/");
}

static void prefix_has_one_slash_behind_it(void **state)
{
    static const char *const cases[][2] = {{"s3://bucket", ""},
                                           {"s3://bucket/", ""},
                                           {"s3://bucket/a", "a/"},
                                           {"S3://bucket//a/b//", "a/b/"}};
    struct amber_s3_config cfg = {.region = "us-east-1"};

    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct s3_target t AMBER_CLEANUP(amber_s3_target_clear) = good(cases[i][0], &cfg);
        assert_string_equal(t.prefix, cases[i][1]);
        assert_string_equal(t.bucket, "bucket");
    }
}

static void region_comes_from_the_environment_last(void **state)
{
    struct amber_s3_config cfg = {.region = NULL};

    (void)state;
    unsetenv("AWS_REGION");
    unsetenv("AWS_DEFAULT_REGION");
    struct s3_target none AMBER_CLEANUP(amber_s3_target_clear) = good("s3://bucket", &cfg);
    assert_string_equal(none.region, "us-east-1");
    setenv("AWS_DEFAULT_REGION", "ap-south-1", 1);
    struct s3_target other AMBER_CLEANUP(amber_s3_target_clear) = good("s3://bucket", &cfg);
    assert_string_equal(other.region, "ap-south-1");
    cfg.region = "eu-west-1";
    struct s3_target given AMBER_CLEANUP(amber_s3_target_clear) = good("s3://bucket", &cfg);
    assert_string_equal(given.region, "eu-west-1");
    unsetenv("AWS_DEFAULT_REGION");
}

static void wrong_settings_are_refused_with_their_variable(void **state)
{
    static const struct {
        const char *path, *endpoint, *region, *want;
    } cases[] = {
        {"/data", NULL, NULL, "ARCHIVAL_PATH /data names no bucket"},
        {"s3://", NULL, NULL, "names no bucket"},
        {"s3://ab", NULL, NULL, "names no bucket"},
        {"s3://buck et", NULL, NULL, "names no bucket"},
        {"s3://bucket/a/../b", NULL, NULL, "prefix in ARCHIVAL_PATH"},
        {"s3://bucket", "ftp://host", NULL, "ARCHIVAL_S3_ENDPOINT is no server's address"},
        {"s3://bucket", "https://user:hunter2@host", NULL, "ARCHIVAL_S3_ENDPOINT"},
        {"s3://bucket", "https://host/path", NULL, "ARCHIVAL_S3_ENDPOINT"},
        {"s3://bucket", "https://host?x=y", NULL, "ARCHIVAL_S3_ENDPOINT"},
        {"s3://bucket", NULL, "eu central", "ARCHIVAL_S3_REGION is \"eu central\""},
    };

    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_s3_config cfg = {.endpoint = cases[i].endpoint, .region = cases[i].region};
        struct s3_target t = {0};
        if (!amber_s3_target_init(&t, cases[i].path, &cfg, &err))
            fail_msg("%s is taken", cases[i].want);
        if (!strstr(err.text, cases[i].want))
            fail_msg("\"%s\" where \"%s\" was expected", err.text, cases[i].want);
        assert_null(strstr(err.text, "hunter2"));
        assert_null(t.bucket);
    }
}

static void every_byte_of_a_key_comes_back(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf out AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
    char key[256];

    (void)state;
    for (int i = 1; i < 256; i++)
        key[i - 1] = (char)i;
    key[255] = '\0';
    assert_int_equal(amber_s3_encode(&out, key, true, &err), AMBER_OK);
    for (const char *s = out.data; *s; s++)
        assert_non_null(
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%", *s));
    assert_true(amber_s3_decode(out.data));
    assert_string_equal(out.data, key);
}

static void slash_of_a_path_stays(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf out AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);

    (void)state;
    assert_int_equal(amber_s3_encode(&out, "a/b=c+d é", false, &err), AMBER_OK);
    assert_string_equal(out.data, "a/b%3Dc%2Bd%20%C3%A9");
}

static void broken_encoding_is_refused(void **state)
{
    static const char *const cases[] = {"%", "%1", "%zz", "a%00b", "%2"};

    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++) {
        char text[16];
        memcpy(text, cases[i], strlen(cases[i]) + 1);
        assert_false(amber_s3_decode(text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amazon_is_asked_by_the_buckets_own_name),
        cmocka_unit_test(bucket_with_dots_stands_in_the_path),
        cmocka_unit_test(endpoint_is_asked_by_path_unless_said_otherwise),
        cmocka_unit_test(prefix_has_one_slash_behind_it),
        cmocka_unit_test(region_comes_from_the_environment_last),
        cmocka_unit_test(wrong_settings_are_refused_with_their_variable),
        cmocka_unit_test(every_byte_of_a_key_comes_back),
        cmocka_unit_test(slash_of_a_path_stays),
        cmocka_unit_test(broken_encoding_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
