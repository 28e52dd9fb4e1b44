/*
 * s3_credentials_priv.h - the keys that requests are signed with, wherever they come from.
 */
#ifndef AMBER_S3_CREDENTIALS_PRIV_H
#define AMBER_S3_CREDENTIALS_PRIV_H

#include "amber/store.h"

#define S3_ACCESS_KEY_MAX 256
#define S3_SECRET_KEY_MAX 512
#define S3_TOKEN_MAX 8192

struct s3_credentials {
    char access_key[S3_ACCESS_KEY_MAX];
    char secret_key[S3_SECRET_KEY_MAX];
    char token[S3_TOKEN_MAX]; /* "": none */
    int64_t expires_us;       /* since 1970; INT64_MAX: never */
};
/* Wipe the secrets. */
void amber_s3_credentials_clear(struct s3_credentials *c);

struct s3_keyring;
/* Nothing is looked up before the first get. cfg's strings are copied. errors INVALID one key
 * without the other; NOMEM */
enum amber_rc amber_s3_keyring_new(const struct amber_s3_config *cfg, struct s3_keyring **out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_keyring_free(struct s3_keyring *k); /* NULL allowed */
/*
 * The keys to sign with now.
 * errors  DENIED there are none, with where they were looked for; NET, TIMEOUT of the service that
 *         gives them; CORRUPT its answer; INVALID a file's or variable's content
 * thread  any; one looks up, the others wait for it
 */
enum amber_rc amber_s3_keyring_get(struct s3_keyring *k, struct s3_credentials *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* The server refuses these: look up anew at the next get. False: they are fixed, it is of no use. */
bool amber_s3_keyring_expire(struct s3_keyring *k, const struct s3_credentials *refused);

#endif
