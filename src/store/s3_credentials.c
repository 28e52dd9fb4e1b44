/*
 * s3_credentials.c - the keys that requests are signed with.
 */
#include "s3_credentials_priv.h"

#include <stdio.h>

#include <pthread.h>

struct s3_keyring {
    pthread_mutex_t lock;
    struct s3_credentials current;
    bool have;
};

void amber_s3_credentials_clear(struct s3_credentials *c)
{
    explicit_bzero(c, sizeof(*c));
}

static enum amber_rc set(const char *what, const char *value, char *out, size_t cap,
                         struct amber_err *err)
{
    if (strlen(value) >= cap)
        return amber_fail(err, AMBER_E_LIMIT, "%s is longer than %zu bytes", what, cap - 1);
    memcpy(out, value, strlen(value) + 1);
    return AMBER_OK;
}

enum amber_rc amber_s3_keyring_new(const struct amber_s3_config *cfg, struct s3_keyring **out,
                                   struct amber_err *err)
{
    struct s3_keyring *k;
    const char *id = cfg->access_key_id, *secret = cfg->secret_access_key;
    const char *token = cfg->session_token;

    if (!id != !secret)
        return amber_fail(err, AMBER_E_INVALID, "%s is set and %s is not: set both or neither",
                          id ? "ARCHIVAL_S3_ACCESS_KEY_ID" : "ARCHIVAL_S3_SECRET_ACCESS_KEY",
                          id ? "ARCHIVAL_S3_SECRET_ACCESS_KEY" : "ARCHIVAL_S3_ACCESS_KEY_ID");
    if (!id) {
        id = getenv("AWS_ACCESS_KEY_ID");
        secret = getenv("AWS_SECRET_ACCESS_KEY");
        token = getenv("AWS_SESSION_TOKEN");
    }
    enum amber_rc rc = amber_calloc(1, sizeof(*k), &k, err);
    if (rc)
        return rc;
    pthread_mutex_init(&k->lock, NULL);
    k->current.expires_us = INT64_MAX;
    if (id && secret) {
        rc = set("the access key", id, k->current.access_key, S3_ACCESS_KEY_MAX, err);
        if (!rc)
            rc = set("the secret key", secret, k->current.secret_key, S3_SECRET_KEY_MAX, err);
        if (!rc)
            rc = set("the session token", token ? token : "", k->current.token, S3_TOKEN_MAX, err);
        k->have = true;
    }
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
    pthread_mutex_destroy(&k->lock);
    free(k);
}

enum amber_rc amber_s3_keyring_get(struct s3_keyring *k, struct s3_credentials *out,
                                   struct amber_err *err)
{
    if (!k->have)
        return amber_fail(err, AMBER_E_DENIED,
                          "there are no S3 credentials: set ARCHIVAL_S3_ACCESS_KEY_ID and "
                          "ARCHIVAL_S3_SECRET_ACCESS_KEY");
    *out = k->current;
    return AMBER_OK;
}

bool amber_s3_keyring_expire(struct s3_keyring *k, const struct s3_credentials *refused)
{
    (void)k;
    (void)refused;
    return false;
}
