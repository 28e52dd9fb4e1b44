/*
 * s3_credentials_priv.h - the keys that requests are signed with, wherever they come from.
 *
 *   s3_credentials.c     which source, and when it is asked again
 *   s3_profile.c         Amazon's shared files
 *   s3_role.c            services that give temporary keys: STS, a container's, an instance's
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
/* Nothing is looked up before the first get. Strings are copied. errors INVALID one key without the
 * other; LIMIT; NOMEM */
enum amber_rc amber_s3_keyring_new(const struct amber_s3_config *cfg, const char *region,
                                   struct s3_keyring **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_keyring_free(struct s3_keyring *k); /* NULL allowed */
/*
 * The keys to sign with now.
 * errors  DENIED there are none, with where they were looked for, or a service refuses; NET,
 * TIMEOUT of the service; CORRUPT its answer; INVALID a file's or variable's content thread  any;
 * one looks up, the others go on with the old ones or wait for it
 */
enum amber_rc amber_s3_keyring_get(struct s3_keyring *k, struct s3_credentials *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* The server refuses these: look up anew at the next get. False: they are fixed, it is of no use.
 */
bool amber_s3_keyring_expire(struct s3_keyring *k, const struct s3_credentials *refused);

/* ---- sources. Each: *out_found false if it isn't configured here ---- */

/* What all sources work with. */
struct s3_source {
    const char *region;
    const char *ca_file; /* NULL: the system's */
};
enum amber_rc amber_s3_from_profile(const struct s3_source *src, struct s3_credentials *out,
                                    bool *out_found, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_from_web_identity(const struct s3_source *src, struct s3_credentials *out,
                                         bool *out_found, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_from_container(const struct s3_source *src, struct s3_credentials *out,
                                      bool *out_found, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_s3_from_instance(const struct s3_source *src, struct s3_credentials *out,
                                     bool *out_found, struct amber_err *err) AMBER_MUST_CHECK;

/* A variable's value, NULL if it isn't set or empty. */
const char *amber_s3_env(const char *name);
/* Copy a key or token. errors LIMIT, with what */
enum amber_rc amber_s3_copy_key(const char *what, const char *value, char *out, size_t cap,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* A small file's content without white space at its end. errors NOT_FOUND, DENIED, IO, LIMIT */
enum amber_rc amber_s3_read_file(const char *path, struct amber_buf *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Keys of one profile in a shared file's text: "[section]" lines, "key = value" lines, comments.
 * section: as it stands between the brackets. A value is set only if its out is still "".
 * *out_found  the section is there
 * errors      LIMIT a value is longer than its field
 */
struct s3_profile {
    char access_key[S3_ACCESS_KEY_MAX];
    char secret_key[S3_SECRET_KEY_MAX];
    char token[S3_TOKEN_MAX];
    char other[32]; /* a key of it that names another way to get credentials */
};
enum amber_rc amber_s3_profile_parse(const char *text, size_t len, const char *section,
                                     struct s3_profile *out, bool *out_found,
                                     struct amber_err *err) AMBER_MUST_CHECK;
/* {"AccessKeyId": ..., "SecretAccessKey": ..., "Token": ..., "Expiration": ...}. errors CORRUPT */
enum amber_rc amber_s3_role_parse(const char *text, size_t len, struct s3_credentials *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;

#endif
