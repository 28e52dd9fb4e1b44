/*
 * s3_url_priv.h - where a bucket is: its address, its keys as URLs.
 */
#ifndef AMBER_S3_URL_PRIV_H
#define AMBER_S3_URL_PRIV_H

#include "amber/store.h"

#define S3_KEY_MAX 1024 /* bytes of a key with its prefix */

/* A bucket, or the part of it below a prefix, and how it is reached. */
struct s3_target {
    char *bucket;
    char *prefix; /* "" or "a/b/" */
    char *origin; /* "https://host:port" */
    char *host;   /* "host:port", the port only where it isn't the scheme's own */
    char *root;   /* "/" (virtual-hosted) or "/bucket/" (path style) */
    char *region;
};

/*
 * From "s3://bucket/prefix" and the settings.
 * errors  INVALID with the variable to mend; NOMEM. out is set only on success.
 */
enum amber_rc amber_s3_target_init(struct s3_target *out, const char *path,
                                   const struct amber_s3_config *cfg,
                                   struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_target_clear(struct s3_target *t);

/*
 * Split "http://host:port" into its parts; without a scheme it is https. errors INVALID for
 * anything more (user, path, query), NOMEM. what: the variable's name, for the message
 */
enum amber_rc amber_s3_endpoint_parse(const char *what, const char *url, char **out_origin,
                                      char **out_host, struct amber_err *err) AMBER_MUST_CHECK;

/* Append text percent-encoded as SigV4 wants it: everything but A-Z a-z 0-9 - . _ ~, and '/' unless
 * slash says to encode it too. errors NOMEM, LIMIT */
enum amber_rc amber_s3_encode(struct amber_buf *out, const char *text, bool slash,
                              struct amber_err *err) AMBER_MUST_CHECK;
/* Undo percent-encoding in place. False: a '%' without two digits behind it, or a NUL. */
bool amber_s3_decode(char *text);

#endif
