/*
 * s3_role.c - temporary keys of a role: from STS for a web identity, from a container's address,
 * from the instance's metadata service (version 2).
 *
 * Each ask is one request with a short deadline: who signs a request tries again by itself. Answers
 * and tokens are wiped once read.
 * source  AssumeRoleWithWebIdentity in Amazon's STS reference; "Container credential provider" and
 *         "IMDS credential provider" in its SDK reference
 */
#include <stdio.h>

#include <jansson.h>

#include "amber/calendar.h"

#include "http_priv.h"
#include "s3_credentials_priv.h"
#include "s3_sign_priv.h"
#include "s3_url_priv.h"
#include "s3_xml_priv.h"

#define ANSWER_BYTES (64U * 1024U)
#define ASK_US INT64_C(10000000)
#define INSTANCE_ASK_US INT64_C(2000000) /* it answers in milliseconds, or isn't there */
#define INSTANCE "http://169.254.169.254"
#define CONTAINER "http://169.254.170.2"
#define TOKEN_BYTES (64U * 1024U)

/* ---- asking ---- */

struct ask {
    const char *method, *url;
    const char *headers[4];
    size_t n_headers;
    const struct amber_buf *body;
    const char *ca_file;
    int64_t time_us;
    bool no_proxy;
    struct amber_buf *out;
};

static bool take(void *arg, const struct http_response *rs, const void *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;

    (void)rs;
    return amber_buf_append(arg, data, len, &err) == AMBER_OK;
}

/* *out_status is set on success. errors NET, TIMEOUT, DENIED, ... */
static enum amber_rc ask(const struct ask *a, int *out_status, struct amber_err *err)
{
    struct http_config cfg = {.ca_file = a->ca_file,
                              .connect_s = (unsigned)(a->time_us / 1000000),
                              .slow_s = (unsigned)(a->time_us / 1000000),
                              .no_proxy = a->no_proxy};
    struct http_response rs = AMBER_HTTP_RESPONSE_INIT;
    struct http_request rq = {
        .method = a->method,
        .url = a->url,
        .headers = a->headers,
        .n_headers = a->n_headers,
        .body = a->body ? a->body->data : NULL,
        .body_len = a->body ? a->body->len : 0,
        .on_body = take,
        .arg = a->out,
        .deadline_us = amber_mono_us() + a->time_us,
    };
    struct http *h;

    enum amber_rc rc = amber_http_new(&cfg, &h, err);
    if (rc)
        return rc;
    rc = amber_http_perform(h, &rq, &rs, err);
    if (!rc)
        *out_status = rs.status;
    amber_http_response_clear(&rs);
    amber_http_free(h);
    return rc ? amber_wrap(err, "%s", a->url) : AMBER_OK;
}

/* A status that isn't 200. */
static enum amber_rc fail_status(const char *url, int status, struct amber_err *err)
{
    return amber_fail(err, status >= 500 || status == 429 ? AMBER_E_NET : AMBER_E_DENIED,
                      "%s answers %d", url, status);
}

static void wipe_clear(struct amber_buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    amber_buf_clear(b);
}
#define AUTO_SECRET AMBER_CLEANUP(wipe_clear)

/* ---- answers in JSON ---- */

static enum amber_rc copy_member(json_t *doc, const char *name, char *out, size_t cap,
                                 struct amber_err *err)
{
    const char *value = json_string_value(json_object_get(doc, name));

    if (!value || !*value)
        return amber_fail(err, AMBER_E_CORRUPT, "it has no %s", name);
    return amber_s3_copy_key(name, value, out, cap, err);
}

enum amber_rc amber_s3_role_parse(const char *text, size_t len, struct s3_credentials *out,
                                  struct amber_err *err)
{
    json_t *doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const char *expires = json_string_value(json_object_get(doc, "Expiration"));
    enum amber_rc rc = doc ? AMBER_OK : amber_fail(err, AMBER_E_CORRUPT, "it is no JSON");

    if (!rc)
        rc = copy_member(doc, "AccessKeyId", out->access_key, sizeof(out->access_key), err);
    if (!rc)
        rc = copy_member(doc, "SecretAccessKey", out->secret_key, sizeof(out->secret_key), err);
    if (!rc && json_object_get(doc, "Token"))
        rc = copy_member(doc, "Token", out->token, sizeof(out->token), err);
    out->expires_us = expires ? amber_s3_time(expires) : INT64_MAX;
    if (!rc && out->expires_us == 0)
        rc = amber_fail(err, AMBER_E_CORRUPT, "its Expiration is no time");
    json_decref(doc);
    return rc;
}

/* ---- web identity ---- */

static enum amber_rc add_field(struct amber_buf *b, const char *name, const char *value,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_buf_printf(b, err, "%s%s=", b->len ? "&" : "", name);

    return rc ? rc : amber_s3_encode(b, value, true, err);
}

static enum amber_rc web_identity_form(const char *role, const char *token, struct amber_buf *b,
                                       struct amber_err *err)
{
    const char *session = amber_s3_env("AWS_ROLE_SESSION_NAME");

    enum amber_rc rc = add_field(b, "Action", "AssumeRoleWithWebIdentity", err);
    if (!rc)
        rc = add_field(b, "RoleArn", role, err);
    if (!rc)
        rc = add_field(b, "RoleSessionName", session ? session : "amberfs", err);
    if (!rc)
        rc = add_field(b, "Version", "2011-06-15", err);
    return rc ? rc : add_field(b, "WebIdentityToken", token, err);
}

static enum amber_rc read_sts(const struct amber_buf *doc, int status, struct s3_credentials *out,
                              struct amber_err *err)
{
#define RESULT "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"
    char code[64], message[300], expires[64];
    const struct s3_xml_field fields[] = {
        {"ErrorResponse/Error/Code", code, sizeof(code)},
        {"ErrorResponse/Error/Message", message, sizeof(message)},
        {RESULT "AccessKeyId", out->access_key, sizeof(out->access_key)},
        {RESULT "SecretAccessKey", out->secret_key, sizeof(out->secret_key)},
        {RESULT "SessionToken", out->token, sizeof(out->token)},
        {RESULT "Expiration", expires, sizeof(expires)},
    };

    enum amber_rc rc = amber_s3_xml_fields(doc->data ? doc->data : "", doc->len, fields,
                                           amber_countof(fields), err);
    if (!rc && status != 200)
        rc = amber_fail(err, status >= 500 ? AMBER_E_NET : AMBER_E_DENIED,
                        "the token service answers %d %s (%s)", status, code, message);
    if (!rc)
        out->expires_us = amber_s3_time(expires);
    if (!rc && (!out->access_key[0] || !out->secret_key[0] || !out->token[0] ||
                strlen(out->token) == sizeof(out->token) - 1 || out->expires_us == 0))
        rc = amber_fail(err, AMBER_E_CORRUPT, "the token service's answer lacks keys");
    return rc;
}

enum amber_rc amber_s3_from_web_identity(const struct s3_source *src, struct s3_credentials *out,
                                         bool *out_found, struct amber_err *err)
{
    AUTO_SECRET struct amber_buf token = AMBER_BUF_INIT(TOKEN_BYTES);
    AUTO_SECRET struct amber_buf form = AMBER_BUF_INIT(4 * TOKEN_BYTES);
    AUTO_SECRET struct amber_buf doc = AMBER_BUF_INIT(ANSWER_BYTES);
    AMBER_AUTO_FREE char *url = NULL;
    const char *file = amber_s3_env("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *role = amber_s3_env("AWS_ROLE_ARN"), *sts = amber_s3_env("AWS_ENDPOINT_URL_STS");
    int status = 0;

    *out_found = file != NULL;
    if (!file)
        return AMBER_OK;
    if (!role)
        return amber_fail(err, AMBER_E_INVALID,
                          "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not");
    enum amber_rc rc = amber_s3_read_file(file, &token, err);
    if (rc)
        return amber_wrap(err, "AWS_WEB_IDENTITY_TOKEN_FILE");
    rc = web_identity_form(role, token.data, &form, err);
    if (!rc)
        rc = sts ? amber_strdup(sts, &url, err)
                 : amber_asprintf(&url, err, "https://sts.%s.amazonaws.com%s/", src->region,
                                  strncmp(src->region, "cn-", 3) == 0 ? ".cn" : "");
    struct ask a = {.method = "POST",
                    .url = url,
                    .headers = {"Content-Type: application/x-www-form-urlencoded"},
                    .n_headers = 1,
                    .body = &form,
                    .ca_file = src->ca_file,
                    .time_us = ASK_US,
                    .out = &doc};
    if (!rc)
        rc = ask(&a, &status, err);
    return rc ? rc : read_sts(&doc, status, out, err);
}

/* ---- a container's address ---- */

/* Only over TLS, or to this host and the addresses that container services have. */
static bool may_ask(const char *url)
{
    static const char *const plain[] = {"127.0.0.1",     "localhost",      "[::1]",
                                        "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};

    if (strncmp(url, "https://", 8) == 0)
        return true;
    if (strncmp(url, "http://", 7) != 0)
        return false;
    for (size_t i = 0; i < amber_countof(plain); i++) {
        size_t n = strlen(plain[i]);
        if (strncmp(url + 7, plain[i], n) == 0 && strchr(":/?", url[7 + n]))
            return true;
    }
    return false;
}

/* "Authorization: ..." from a file, which may change, or a variable; empty if there is neither. */
static enum amber_rc container_token(struct amber_buf *line, struct amber_err *err)
{
    AUTO_SECRET struct amber_buf token = AMBER_BUF_INIT(TOKEN_BYTES);
    const char *file = amber_s3_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *value = amber_s3_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");

    if (file) {
        enum amber_rc rc = amber_s3_read_file(file, &token, err);
        if (rc)
            return amber_wrap(err, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        value = token.data;
    }
    if (!value)
        return AMBER_OK;
    if (strpbrk(value, "\r\n"))
        return amber_fail(err, AMBER_E_INVALID, "the container's token has a line break in it");
    return amber_buf_printf(line, err, "Authorization: %s", value);
}

enum amber_rc amber_s3_from_container(const struct s3_source *src, struct s3_credentials *out,
                                      bool *out_found, struct amber_err *err)
{
    AUTO_SECRET struct amber_buf line = AMBER_BUF_INIT(2 * TOKEN_BYTES);
    AUTO_SECRET struct amber_buf doc = AMBER_BUF_INIT(ANSWER_BYTES);
    AMBER_AUTO_FREE char *url = NULL;
    const char *relative = amber_s3_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = amber_s3_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    int status = 0;

    *out_found = relative || full;
    if (!*out_found)
        return AMBER_OK;
    enum amber_rc rc =
        amber_asprintf(&url, err, "%s%s", relative ? CONTAINER : "", relative ? relative : full);
    if (!rc && !may_ask(url))
        return amber_fail(err, AMBER_E_INVALID,
                          "AWS_CONTAINER_CREDENTIALS_FULL_URI must begin with https://, or be this "
                          "host's or a container service's own address");
    if (!rc)
        rc = container_token(&line, err);
    struct ask a = {.method = "GET",
                    .url = url,
                    .headers = {line.data},
                    .n_headers = line.len > 0,
                    .ca_file = src->ca_file,
                    .time_us = ASK_US,
                    .no_proxy = true,
                    .out = &doc};
    if (!rc)
        rc = ask(&a, &status, err);
    if (!rc && status != 200)
        rc = fail_status(url, status, err);
    if (!rc && amber_s3_role_parse(doc.data ? doc.data : "", doc.len, out, err))
        rc = amber_wrap(err, "the answer of %s", url);
    return rc;
}

/* ---- the instance's metadata ---- */

struct instance {
    const char *base;
    struct amber_buf token_line; /* "X-aws-ec2-metadata-token: ..." */
};

static enum amber_rc instance_get(struct instance *in, const char *path, const char *leaf,
                                  struct amber_buf *out, int *out_status, struct amber_err *err)
{
    AMBER_AUTO_FREE char *url = NULL;
    enum amber_rc rc = amber_asprintf(&url, err, "%s%s%s", in->base, path, leaf);
    struct ask a = {.method = "GET",
                    .url = url,
                    .headers = {in->token_line.data},
                    .n_headers = 1,
                    .time_us = INSTANCE_ASK_US,
                    .no_proxy = true,
                    .out = out};

    return rc ? rc : ask(&a, out_status, err);
}

/* A session's token. *out_found false: nobody is there who answers. */
static enum amber_rc instance_session(struct instance *in, bool *out_found, struct amber_err *err)
{
    AUTO_SECRET struct amber_buf token = AMBER_BUF_INIT(ANSWER_BYTES);
    AMBER_AUTO_FREE char *url = NULL;
    struct amber_err why = AMBER_ERR_INIT;
    int status = 0;

    enum amber_rc rc = amber_asprintf(&url, err, "%s/latest/api/token", in->base);
    if (rc)
        return rc;
    struct ask a = {.method = "PUT",
                    .url = url,
                    .headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"},
                    .n_headers = 1,
                    .time_us = INSTANCE_ASK_US,
                    .no_proxy = true,
                    .out = &token};
    rc = ask(&a, &status, &why);
    *out_found = !rc && status == 200 && token.len > 0 && !strpbrk(token.data, "\r\n");
    return *out_found
               ? amber_buf_printf(&in->token_line, err, "X-aws-ec2-metadata-token: %s", token.data)
               : AMBER_OK;
}

static enum amber_rc instance_role(struct instance *in, struct s3_credentials *out, bool *out_found,
                                   struct amber_err *err)
{
    static const char path[] = "/latest/meta-data/iam/security-credentials/";
    AUTO_SECRET struct amber_buf doc = AMBER_BUF_INIT(ANSWER_BYTES);
    struct amber_buf role AMBER_AUTO_BUF = AMBER_BUF_INIT(ANSWER_BYTES);
    int status = 0;

    enum amber_rc rc = instance_get(in, path, "", &role, &status, err);
    *out_found = rc || (status == 200 && role.len > 0);
    if (rc || !*out_found)
        return rc;
    role.data[strcspn(role.data, "\r\n")] = '\0';
    rc = instance_get(in, path, role.data, &doc, &status, err);
    if (!rc && status != 200)
        rc = fail_status(in->base, status, err);
    if (!rc && amber_s3_role_parse(doc.data ? doc.data : "", doc.len, out, err))
        rc = amber_wrap(err, "the instance's metadata about role %.60s", role.data);
    return rc;
}

enum amber_rc amber_s3_from_instance(const struct s3_source *src, struct s3_credentials *out,
                                     bool *out_found, struct amber_err *err)
{
    const char *off = amber_s3_env("AWS_EC2_METADATA_DISABLED");
    const char *base = amber_s3_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    AMBER_AUTO_FREE char *origin = NULL, *host = NULL;
    struct instance in = {.token_line = {.max = ANSWER_BYTES + 64U}};

    (void)src;
    *out_found = false;
    if (off && strcasecmp(off, "true") == 0)
        return AMBER_OK;
    enum amber_rc rc = amber_s3_endpoint_parse("AWS_EC2_METADATA_SERVICE_ENDPOINT",
                                               base ? base : INSTANCE, &origin, &host, err);
    in.base = origin;
    if (!rc)
        rc = instance_session(&in, out_found, err);
    if (!rc && *out_found)
        rc = instance_role(&in, out, out_found, err);
    wipe_clear(&in.token_line);
    return rc;
}
