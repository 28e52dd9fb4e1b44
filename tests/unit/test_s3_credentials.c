/*
 * test_s3_credentials.c - where keys come from, in which order, and when they are renewed. The
 * services are fakes on the loopback interface; time is the answers' own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "amber/log.h"
#include "fake_http.h"
#include "s3_credentials_priv.h"
#include "temp_folder.h"

#define LATER "2099-01-01T00:00:00Z"
#define KEYS(id, expires)                                                                          \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" id "\",\"SecretAccessKey\":\"" id "-secret\","      \
    "\"Token\":\"" id "-token\",\"Expiration\":\"" expires "\"}"

static struct fake_http fake;
static char folder[TEMP_FOLDER_MAX];

static const char *const variables[] = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
};

/* Nothing set, no instance metadata, an empty home. */
static int nothing_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < amber_countof(variables); i++)
        unsetenv(variables[i]);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    setenv("HOME", folder, 1);
    fake_routes(&fake, NULL, 0);
    return 0;
}

static int start(void **state)
{
    (void)state;
    amber_log_set_stderr(false);
    temp_folder_make(folder);
    return fake_start(&fake) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    fake_stop(&fake);
    temp_folder_remove(folder);
    return 0;
}

static const char *write_file(const char *name, const char *text)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void set_url(const char *variable, const char *path)
{
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", fake.port, path);
    setenv(variable, url, 1);
}

static struct s3_keyring *keyring(const struct amber_s3_config *cfg)
{
    static const struct amber_s3_config none;
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_keyring *k = NULL;
    if (amber_s3_keyring_new(cfg ? cfg : &none, "eu-central-1", &k, &err))
        fail_msg("%s", err.text);
    return k;
}

static void assert_keys(struct s3_keyring *k, const char *id, const char *secret, const char *token)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_credentials c;
    if (amber_s3_keyring_get(k, &c, &err))
        fail_msg("%s", err.text);
    assert_string_equal(c.access_key, id);
    assert_string_equal(c.secret_key, secret);
    assert_string_equal(c.token, token);
}

/* The keys that the environment as it is gives, once. */
static void assert_found(const char *id, const char *secret, const char *token)
{
    struct s3_keyring *k = keyring(NULL);
    assert_keys(k, id, secret, token);
    amber_s3_keyring_free(k);
}

static void assert_fails(enum amber_rc code, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_credentials c;
    struct s3_keyring *k = keyring(NULL);
    assert_int_equal(amber_s3_keyring_get(k, &c, &err), code);
    if (!strstr(err.text, want))
        fail_msg("\"%s\" where \"%s\" was expected", err.text, want);
    amber_s3_keyring_free(k);
}

static void assert_asked(unsigned i, const char *want)
{
    pthread_mutex_lock(&fake.mutex);
    bool there = i < fake.n_requests && strstr(fake.requests[i], want);
    pthread_mutex_unlock(&fake.mutex);
    if (!there)
        fail_msg("request %u hasn't got \"%s\": %s", i, want, fake.requests[i]);
}

static void given_keys_win(void **state)
{
    struct amber_s3_config cfg = {.access_key_id = "given", .secret_access_key = "s"};
    (void)state;
    setenv("AWS_ACCESS_KEY_ID", "env", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    setenv("AWS_SESSION_TOKEN", "env-token", 1);
    struct s3_keyring *k = keyring(&cfg);
    assert_keys(k, "given", "s", "");
    amber_s3_keyring_free(k);
    assert_found("env", "env-secret", "env-token");
}

static void one_key_without_the_other_is_refused(void **state)
{
    struct amber_s3_config cfg = {.access_key_id = "given"};
    struct amber_err err = AMBER_ERR_INIT;
    struct s3_keyring *k;
    (void)state;
    assert_int_equal(amber_s3_keyring_new(&cfg, "r", &k, &err), AMBER_E_INVALID);
    assert_non_null(strstr(err.text, "ARCHIVAL_S3_SECRET_ACCESS_KEY is not"));
}

static void nothing_found_says_where_it_looked(void **state)
{
    (void)state;
    assert_fails(AMBER_E_DENIED, "no S3 credentials");
}

static void shared_files_give_the_profile(void **state)
{
    static const char credentials[] = "# keys\n[default]\naws_access_key_id = d\n"
                                      "aws_secret_access_key=d-secret\n\n[work]\n"
                                      "aws_access_key_id=w\naws_secret_access_key = w=secret==\n";
    static const char config[] = "[profile work]\nregion = eu-west-1\naws_session_token = w-token\n"
                                 "s3 =\n  aws_session_token = nested\n[profile role]\n"
                                 "role_arn = arn:x\n";
    (void)state;
    setenv("AWS_SHARED_CREDENTIALS_FILE", write_file("credentials", credentials), 1);
    setenv("AWS_CONFIG_FILE", write_file("config", config), 1);
    assert_found("d", "d-secret", "");
    setenv("AWS_PROFILE", "work", 1);
    assert_found("w", "w=secret==", "w-token");
    setenv("AWS_PROFILE", "role", 1);
    assert_fails(AMBER_E_UNSUPPORTED, "role_arn");
    setenv("AWS_PROFILE", "nobody", 1);
    assert_fails(AMBER_E_INVALID, "AWS_PROFILE is \"nobody\"");
}

static void web_identity_is_changed_for_keys(void **state)
{
    static const struct fake_route routes[] = {
        {.text = "POST / ",
         .status = 200,
         .headers = "",
         .body =
             "<AssumeRoleWithWebIdentityResponse "
             "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>"
             "<Credentials><AccessKeyId>web</AccessKeyId><SecretAccessKey>web/secret</"
             "SecretAccessKey>"
             "<SessionToken>web-token</SessionToken><Expiration>" LATER
             "</Expiration></Credentials>"
             "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"}};
    (void)state;
    fake_routes(&fake, routes, 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file("token", "ey.J+/=\n"), 1);
    assert_fails(AMBER_E_INVALID, "AWS_ROLE_ARN is not");
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
    set_url("AWS_ENDPOINT_URL_STS", "");
    assert_found("web", "web/secret", "web-token");
    assert_asked(0, "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&");
    assert_asked(0, "WebIdentityToken=ey.J%2B%2F%3D");
}

static void refusal_of_the_token_service_is_told(void **state)
{
    static const struct fake_route routes[] = {
        {.text = "POST / ",
         .status = 400,
         .headers = "",
         .body = "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token "
                 "expired</Message></Error></ErrorResponse>"}};
    (void)state;
    fake_routes(&fake, routes, 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file("token", "t"), 1);
    setenv("AWS_ROLE_ARN", "arn", 1);
    set_url("AWS_ENDPOINT_URL_STS", "");
    assert_fails(AMBER_E_DENIED, "400 ExpiredTokenException (Token expired)");
}

static void container_is_asked_with_its_token(void **state)
{
    static const struct fake_route routes[] = {
        {.text = "GET /creds?x=1 ", .status = 200, .headers = "", .body = KEYS("pod", LATER)}};
    (void)state;
    fake_routes(&fake, routes, 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds?x=1");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write_file("auth", "Bearer abc\n"), 1);
    assert_found("pod", "pod-secret", "pod-token");
    assert_asked(0, "Authorization: Bearer abc\r\n");
}

static void foreign_address_in_plain_is_not_asked(void **state)
{
    (void)state;
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1.example.com/x", 1);
    assert_fails(AMBER_E_INVALID, "must begin with https://");
}

static const struct fake_route instance_routes[] = {
    {.text = "PUT /latest/api/token ", .status = 200, .headers = "", .body = "session"},
    {.text = "security-credentials/ ", .status = 200, .headers = "", .body = "my-role"},
    {.text = "security-credentials/my-role ",
     .status = 200,
     .headers = "",
     .body = KEYS("ec2", LATER)},
};

static void instance_is_asked_within_a_session(void **state)
{
    (void)state;
    fake_routes(&fake, instance_routes, amber_countof(instance_routes));
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    assert_fails(AMBER_E_DENIED, "no S3 credentials"); /* switched off */
    setenv("AWS_EC2_METADATA_DISABLED", "false", 1);
    assert_found("ec2", "ec2-secret", "ec2-token");
    assert_asked(0, "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n");
    assert_asked(1, "X-aws-ec2-metadata-token: session\r\n");
    assert_asked(2, "X-aws-ec2-metadata-token: session\r\n");
}

static void keys_that_hold_are_looked_up_once(void **state)
{
    (void)state;
    fake_routes(&fake, instance_routes, amber_countof(instance_routes));
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    setenv("AWS_EC2_METADATA_DISABLED", "false", 1);
    struct s3_keyring *k = keyring(NULL);
    for (int i = 0; i < 3; i++)
        assert_keys(k, "ec2", "ec2-secret", "ec2-token");
    assert_int_equal(fake.n_requests, 3);
    amber_s3_keyring_free(k);
}

static void refused_keys_are_looked_up_anew(void **state)
{
    static const struct fake_route first[] = {
        {.text = "GET /c ", .status = 200, .headers = "", .body = KEYS("one", LATER)}};
    static const struct fake_route second[] = {
        {.text = "GET /c ", .status = 200, .headers = "", .body = KEYS("two", LATER)}};
    struct s3_credentials refused = {.access_key = "one"};
    (void)state;
    fake_routes(&fake, first, 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/c");
    struct s3_keyring *k = keyring(NULL);
    assert_keys(k, "one", "one-secret", "one-token");
    fake_routes(&fake, second, 1);
    assert_keys(k, "one", "one-secret", "one-token");
    assert_true(amber_s3_keyring_expire(k, &refused));
    assert_keys(k, "two", "two-secret", "two-token");
    /* Somebody else's refusal of the old ones doesn't take the new ones away. */
    assert_true(amber_s3_keyring_expire(k, &refused));
    fake_routes(&fake, NULL, 0);
    assert_keys(k, "two", "two-secret", "two-token");
    amber_s3_keyring_free(k);
}

static void keys_that_have_ended_are_not_used(void **state)
{
    static const struct fake_route ended[] = {{.text = "GET /c ",
                                               .status = 200,
                                               .headers = "",
                                               .body = KEYS("old", "2001-01-01T00:00:00Z")}};
    static const struct fake_route fresh[] = {
        {.text = "GET /c ", .status = 200, .headers = "", .body = KEYS("new", LATER)}};
    (void)state;
    fake_routes(&fake, ended, 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/c");
    struct s3_keyring *k = keyring(NULL);
    assert_keys(k, "old", "old-secret", "old-token");
    fake_routes(&fake, fresh, 1);
    assert_keys(k, "new", "new-secret", "new-token");
    amber_s3_keyring_free(k);
}

static void given_keys_never_expire(void **state)
{
    struct amber_s3_config cfg = {.access_key_id = "given", .secret_access_key = "s"};
    struct s3_credentials refused = {.access_key = "given"};
    (void)state;
    struct s3_keyring *k = keyring(&cfg);
    assert_false(amber_s3_keyring_expire(k, &refused));
    amber_s3_keyring_free(k);
}

static void broken_answers_are_corrupt(void **state)
{
    static const char *const bodies[] = {
        "", "[]", "{\"AccessKeyId\":\"a\"}",
        "{\"AccessKeyId\":\"a\\r\\nX: y\",\"SecretAccessKey\":\"s\"}",
        "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"s\",\"Expiration\":\"soon\"}"};
    (void)state;
    for (size_t i = 0; i < amber_countof(bodies); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct s3_credentials c = {.expires_us = 0};
        if (!amber_s3_role_parse(bodies[i], strlen(bodies[i]), &c, &err))
            fail_msg("%s is taken", bodies[i]);
    }
}

#define TEST(fn) cmocka_unit_test_setup(fn, nothing_set)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(given_keys_win),
        TEST(one_key_without_the_other_is_refused),
        TEST(nothing_found_says_where_it_looked),
        TEST(shared_files_give_the_profile),
        TEST(web_identity_is_changed_for_keys),
        TEST(refusal_of_the_token_service_is_told),
        TEST(container_is_asked_with_its_token),
        TEST(foreign_address_in_plain_is_not_asked),
        TEST(instance_is_asked_within_a_session),
        TEST(keys_that_hold_are_looked_up_once),
        TEST(refused_keys_are_looked_up_anew),
        TEST(keys_that_have_ended_are_not_used),
        TEST(given_keys_never_expire),
        TEST(broken_answers_are_corrupt),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
