/*
 * s3_credentials.c - which source the keys come from, and when it is asked again.
 *
 * In this order, the first that is configured: ARCHIVAL_S3_*; AWS_ACCESS_KEY_ID and its like; a web
 * identity; Amazon's shared files; a container's address; the instance's metadata. Temporary keys
 * are looked up anew REFRESH_US before they end; if that fails, the old ones serve until their end.
 * One thread looks up, without the lock.
 * source  "Credential provider chain" in Amazon's SDK reference
 */
#include "s3_credentials_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "amber/log.h"

#define REFRESH_US (INT64_C(300) * 1000000)
#define RETRY_US (INT64_C(60) * 1000000) /* after a look-up that failed while the old keys hold */

struct s3_keyring {
    pthread_mutex_t lock; /* guards all but source */
    pthread_cond_t changed;
    struct s3_credentials current;
    int64_t refresh_us; /* when current is looked up anew */
    bool have, fixed;   /* current is good; it never changes */
    bool looking;       /* somebody looks up */
    struct s3_source source;
    char *region, *ca_file; /* owned */
};

void amber_s3_credentials_clear(struct s3_credentials *c)
{
    explicit_bzero(c, sizeof(*c));
}

/* ---- helpers of all sources ---- */

const char *amber_s3_env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

enum amber_rc amber_s3_copy_key(const char *what, const char *value, char *out, size_t cap,
                                struct amber_err *err)
{
    size_t len = strlen(value);

    if (len >= cap)
        return amber_fail(err, AMBER_E_LIMIT, "%s has %zu bytes, more than %zu", what, len,
                          cap - 1);
    /* It becomes a header's line. */
    if (strpbrk(value, "\r\n"))
        return amber_fail(err, AMBER_E_INVALID, "%s has a line break in it", what);
    memcpy(out, value, len + 1);
    return AMBER_OK;
}

enum amber_rc amber_s3_read_file(const char *path, struct amber_buf *out, struct amber_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    enum amber_rc rc = fd < 0 ? amber_fail_errno(err, errno, "%s", path) : AMBER_OK;

    while (!rc && n > 0) {
        rc = amber_buf_reserve(out, 1024, err);
        if (rc)
            break;
        n = read(fd, out->data + out->len, 1024);
        if (n < 0)
            rc = amber_fail_errno(err, errno, "%s", path);
        else
            out->len += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    if (rc)
        return rc == AMBER_E_LIMIT ? amber_wrap(err, "%s", path) : rc;
    while (out->len > 0 && strchr(" \t\r\n", out->data[out->len - 1]))
        out->len--;
    out->data[out->len] = '\0';
    return AMBER_OK;
}

/* ---- sources ---- */

static enum amber_rc set_fixed(struct s3_keyring *k, const char *id, const char *secret,
                               const char *token, struct amber_err *err)
{
    struct s3_credentials *c = &k->current;

    enum amber_rc rc =
        amber_s3_copy_key("the access key", id, c->access_key, S3_ACCESS_KEY_MAX, err);
    if (!rc)
        rc = amber_s3_copy_key("the secret key", secret, c->secret_key, S3_SECRET_KEY_MAX, err);
    if (!rc)
        rc =
            amber_s3_copy_key("the session token", token ? token : "", c->token, S3_TOKEN_MAX, err);
    c->expires_us = k->refresh_us = INT64_MAX;
    k->have = k->fixed = true;
    return rc;
}

static enum amber_rc take_given(struct s3_keyring *k, const struct amber_s3_config *cfg,
                                struct amber_err *err)
{
    const char *id = cfg->access_key_id, *secret = cfg->secret_access_key;

    if (!id != !secret)
        return amber_fail(err, AMBER_E_INVALID, "%s is set and %s is not: set both or neither",
                          id ? "ARCHIVAL_S3_ACCESS_KEY_ID" : "ARCHIVAL_S3_SECRET_ACCESS_KEY",
                          id ? "ARCHIVAL_S3_SECRET_ACCESS_KEY" : "ARCHIVAL_S3_ACCESS_KEY_ID");
    if (id)
        return set_fixed(k, id, secret, cfg->session_token, err);
    id = amber_s3_env("AWS_ACCESS_KEY_ID");
    secret = amber_s3_env("AWS_SECRET_ACCESS_KEY");
    return id && secret ? set_fixed(k, id, secret, amber_s3_env("AWS_SESSION_TOKEN"), err)
                        : AMBER_OK;
}

static enum amber_rc look_up(const struct s3_source *src, struct s3_credentials *out,
                             struct amber_err *err)
{
    static enum amber_rc (*const sources[])(const struct s3_source *, struct s3_credentials *,
                                            bool *, struct amber_err *) = {
        amber_s3_from_web_identity, amber_s3_from_profile, amber_s3_from_container,
        amber_s3_from_instance};
    bool found = false;
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && !found && i < amber_countof(sources); i++) {
        amber_s3_credentials_clear(out);
        out->expires_us = INT64_MAX;
        rc = sources[i](src, out, &found, err);
    }
    if (rc)
        return amber_wrap(err, "S3 credentials");
    if (!found)
        return amber_fail(
            err, AMBER_E_DENIED,
            "there are no S3 credentials: none in ARCHIVAL_S3_ACCESS_KEY_ID, "
            "AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, Amazon's shared files, "
            "AWS_CONTAINER_CREDENTIALS_*_URI, and no instance metadata service answers");
    return AMBER_OK;
}

/* ---- the keyring ---- */

enum amber_rc amber_s3_keyring_new(const struct amber_s3_config *cfg, const char *region,
                                   struct s3_keyring **out, struct amber_err *err)
{
    struct s3_keyring *k;
    enum amber_rc rc = amber_calloc(1, sizeof(*k), &k, err);

    if (rc)
        return rc;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->changed, NULL);
    rc = amber_strdup(region, &k->region, err);
    if (!rc && cfg->ca_file)
        rc = amber_strdup(cfg->ca_file, &k->ca_file, err);
    if (!rc)
        rc = take_given(k, cfg, err);
    k->source = (struct s3_source){.region = k->region, .ca_file = k->ca_file};
    if (rc)
        amber_s3_keyring_free(k);
    else
        *out = k;
    return rc;
}

void amber_s3_keyring_free(struct s3_keyring *k)
{
    if (!k)
        return;
    amber_s3_credentials_clear(&k->current);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    free(k->region);
    free(k->ca_file);
    free(k);
}

/* Take what a look-up gave. Called with the lock. */
static enum amber_rc settle(struct s3_keyring *k, enum amber_rc rc,
                            const struct s3_credentials *fresh, struct amber_err *err)
{
    int64_t now = amber_now_us();

    if (!rc) {
        k->current = *fresh;
        k->have = true;
        k->refresh_us = fresh->expires_us == INT64_MAX ? INT64_MAX : fresh->expires_us - REFRESH_US;
        /* Keys that end soon anyway aren't looked up for each request. */
        if (k->refresh_us < now + RETRY_US)
            k->refresh_us = now + RETRY_US;
        return AMBER_OK;
    }
    if (!k->have || now >= k->current.expires_us)
        return rc;
    amber_warn("%s; the keys at hand serve on until they end", err->text);
    *err = (struct amber_err)AMBER_ERR_INIT;
    k->refresh_us = now + RETRY_US;
    return AMBER_OK;
}

enum amber_rc amber_s3_keyring_get(struct s3_keyring *k, struct s3_credentials *out,
                                   struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    pthread_mutex_lock(&k->lock);
    while (k->looking && !(k->have && amber_now_us() < k->current.expires_us))
        pthread_cond_wait(&k->changed, &k->lock);
    int64_t now = amber_now_us();
    bool good = k->have && (now < k->refresh_us && now < k->current.expires_us);
    if (!good && !k->looking) {
        struct s3_credentials fresh AMBER_CLEANUP(amber_s3_credentials_clear);
        k->looking = true;
        pthread_mutex_unlock(&k->lock);
        rc = look_up(&k->source, &fresh, err);
        pthread_mutex_lock(&k->lock);
        k->looking = false;
        rc = settle(k, rc, &fresh, err);
        pthread_cond_broadcast(&k->changed);
    }
    if (!rc)
        *out = k->current;
    pthread_mutex_unlock(&k->lock);
    return rc;
}

bool amber_s3_keyring_expire(struct s3_keyring *k, const struct s3_credentials *refused)
{
    pthread_mutex_lock(&k->lock);
    bool fixed = k->fixed;
    if (!fixed && k->have && strcmp(k->current.access_key, refused->access_key) == 0)
        k->have = false;
    pthread_mutex_unlock(&k->lock);
    return !fixed;
}
