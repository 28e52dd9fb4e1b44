/*
 * s3_url.c - where a bucket is: its address, its keys as URLs.
 * source  "Virtual hosting of buckets" in Amazon's S3 user guide; RFC 3986
 */
#include "s3_url_priv.h"

#include <ctype.h>
#include <stdio.h>

static bool is_host_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '[' ||
           c == ']';
}

enum amber_rc amber_s3_endpoint_parse(const char *what, const char *url, char **out_origin,
                                      char **out_host, struct amber_err *err)
{
    AMBER_AUTO_FREE char *host = NULL;
    const char *scheme = "https", *s = url;

    if (strncasecmp(url, "http://", 7) == 0) {
        scheme = "http";
        s = url + 7;
    } else if (strncasecmp(url, "https://", 8) == 0) {
        s = url + 8;
    }
    size_t len = 0;
    while (is_host_char(s[len]))
        len++;
    if (len == 0 || strcmp(s + len + (s[len] == '/'), "") != 0)
        return amber_fail(err, AMBER_E_INVALID,
                          "%s is no server's address; allowed: https://HOST or http://HOST:PORT, "
                          "without user, path or query",
                          what);
    const char *own_port = strcmp(scheme, "http") == 0 ? ":80" : ":443";
    size_t port_len = strlen(own_port);
    if (len > port_len && strncmp(s + len - port_len, own_port, port_len) == 0)
        len -= port_len;
    enum amber_rc rc = amber_asprintf(&host, err, "%.*s", (int)len, s);
    if (!rc)
        rc = amber_asprintf(out_origin, err, "%s://%s", scheme, host);
    if (!rc)
        *out_host = amber_steal(&host);
    return rc;
}

enum amber_rc amber_s3_encode(struct amber_buf *out, const char *text, bool slash,
                              struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (const char *s = text; !rc && *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c < 0x80 && isalnum(c)) || c == '-' || c == '.' || c == '_' || c == '~' ||
                     (c == '/' && !slash);
        rc = plain ? amber_buf_append(out, s, 1, err) : amber_buf_printf(out, err, "%%%02X", c);
    }
    return rc;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool amber_s3_decode(char *text)
{
    char *out = text;

    for (const char *s = text; *s; s++) {
        int c = (unsigned char)*s;
        if (*s == '%') {
            int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
            if (lo < 0 || (hi == 0 && lo == 0))
                return false;
            c = hi * 16 + lo;
            s += 2;
        } else if (*s == '+') {
            c = ' '; /* as Java's and Go's encoders write it; a plus itself comes as %2B */
        }
        *out++ = (char)c;
    }
    *out = '\0';
    return true;
}

/* Names that old buckets and other servers have too; what a server refuses, it says itself. */
static bool is_bucket(const char *s, size_t len)
{
    if (len < 3 || len > 255 || !isalnum((unsigned char)s[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '.' && s[i] != '-' && s[i] != '_')
            return false;
    return true;
}

static bool is_host_label(const char *s)
{
    for (const char *c = s; *c; c++)
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '-')
            return false;
    return strlen(s) <= 63;
}

/* "s3://bucket/some/prefix": the prefix without slashes around it, then one behind it. */
static enum amber_rc split_path(const char *path, struct s3_target *t, struct amber_err *err)
{
    bool s3 = strncasecmp(path, "s3://", 5) == 0;
    const char *bucket = s3 ? path + 5 : path;
    size_t len = strcspn(bucket, "/");
    const char *prefix = bucket + len + strspn(bucket + len, "/");
    size_t prefix_len = strlen(prefix);

    if (!s3 || !is_bucket(bucket, len))
        return amber_fail(err, AMBER_E_INVALID,
                          "ARCHIVAL_PATH %.200s names no bucket; allowed: s3://BUCKET or "
                          "s3://BUCKET/PREFIX",
                          path);
    while (prefix_len > 0 && prefix[prefix_len - 1] == '/')
        prefix_len--;
    AMBER_AUTO_FREE char *key = strndup(prefix, prefix_len);
    if (!key)
        return amber_fail_nomem(err, "a prefix", prefix_len);
    if (prefix_len > 0 && amber_key_check(key, err))
        return amber_wrap(err, "the prefix in ARCHIVAL_PATH");
    if (prefix_len + 1 + AMBER_KEY_MAX / 2 > S3_KEY_MAX)
        return amber_fail(err, AMBER_E_LIMIT,
                          "the prefix in ARCHIVAL_PATH has %zu bytes, which leaves too few of the "
                          "%d that a key may have",
                          prefix_len, S3_KEY_MAX);
    enum amber_rc rc = amber_asprintf(&t->bucket, err, "%.*s", (int)len, bucket);
    return rc ? rc : amber_asprintf(&t->prefix, err, "%s%s", key, prefix_len > 0 ? "/" : "");
}

static bool region_valid(const char *region)
{
    for (const char *s = region; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_')
            return false;
    return *region && strlen(region) <= 64;
}

static enum amber_rc choose_region(struct s3_target *t, const struct amber_s3_config *cfg,
                                   struct amber_err *err)
{
    const char *names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    const char *region = cfg->region, *from = "ARCHIVAL_S3_REGION";

    for (size_t i = 0; !region && i < amber_countof(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value) {
            region = value;
            from = names[i];
        }
    }
    if (!region)
        region = "us-east-1";
    if (!region_valid(region))
        return amber_fail(err, AMBER_E_INVALID,
                          "%s is \"%.60s\"; allowed: a region's name, such as eu-central-1", from,
                          region);
    return amber_strdup(region, &t->region, err);
}

/* Amazon's own address of the region; in China the domain is another one. */
static enum amber_rc default_endpoint(const struct s3_target *t, char **out, struct amber_err *err)
{
    return amber_asprintf(out, err, "https://s3.%s.amazonaws.com%s", t->region,
                          strncmp(t->region, "cn-", 3) == 0 ? ".cn" : "");
}

static enum amber_rc choose_address(struct s3_target *t, const struct amber_s3_config *cfg,
                                    struct amber_err *err)
{
    AMBER_AUTO_FREE char *own = NULL, *origin = NULL, *host = NULL;
    bool virtual_host = cfg->addressing == AMBER_S3_VIRTUAL;
    enum amber_rc rc = AMBER_OK;

    if (!cfg->endpoint)
        rc = default_endpoint(t, &own, err);
    if (!rc)
        rc = amber_s3_endpoint_parse("ARCHIVAL_S3_ENDPOINT", cfg->endpoint ? cfg->endpoint : own,
                                     &origin, &host, err);
    if (rc)
        return rc;
    /* A name with dots would need a certificate of its own. */
    if (cfg->addressing == AMBER_S3_AUTO)
        virtual_host = !cfg->endpoint && is_host_label(t->bucket);
    if (!virtual_host) {
        t->origin = amber_steal(&origin);
        t->host = amber_steal(&host);
        return amber_asprintf(&t->root, err, "/%s/", t->bucket);
    }
    const char *scheme_end = strstr(origin, "://") + 3;
    rc = amber_asprintf(&t->origin, err, "%.*s%s.%s", (int)(scheme_end - origin), origin, t->bucket,
                        host);
    if (!rc)
        rc = amber_asprintf(&t->host, err, "%s.%s", t->bucket, host);
    return rc ? rc : amber_strdup("/", &t->root, err);
}

enum amber_rc amber_s3_target_init(struct s3_target *out, const char *path,
                                   const struct amber_s3_config *cfg, struct amber_err *err)
{
    struct s3_target t = {0};

    enum amber_rc rc = split_path(path, &t, err);
    if (!rc)
        rc = choose_region(&t, cfg, err);
    if (!rc)
        rc = choose_address(&t, cfg, err);
    if (rc)
        amber_s3_target_clear(&t);
    else
        *out = t;
    return rc;
}

void amber_s3_target_clear(struct s3_target *t)
{
    free(t->bucket);
    free(t->prefix);
    free(t->origin);
    free(t->host);
    free(t->root);
    free(t->region);
    *t = (struct s3_target){0};
}
