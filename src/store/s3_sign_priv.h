/*
 * s3_sign_priv.h - AWS Signature Version 4, and the digests that S3 asks for.
 * source  "Signature Calculations for the Authorization Header" in Amazon's S3 API reference
 */
#ifndef AMBER_S3_SIGN_PRIV_H
#define AMBER_S3_SIGN_PRIV_H

#include "amber/digest.h"
#include "amber/mem.h"

#define S3_MD5_BASE64 25   /* 24 characters and NUL */
#define S3_AMZ_DATE_LEN 17 /* "20130524T000000Z" and NUL */

struct s3_header {
    const char *name; /* lower case */
    const char *value;
};

struct s3_sign_input {
    const char *method;
    const char *path;                /* percent-encoded, begins with '/' */
    const char *query;               /* percent-encoded, sorted, each with '='; "" if none */
    const struct s3_header *headers; /* what is signed, sorted by name */
    size_t n_headers;
    const char *payload_sha256; /* hex, or UNSIGNED-PAYLOAD */
    const char *access_key, *secret_key;
    const char *region, *service;
    const char *amz_date; /* S3_AMZ_DATE_LEN */
};

/* Append the value of the Authorization header to out. errors NOMEM, LIMIT, IO OpenSSL refused. */
enum amber_rc amber_s3_sign(const struct s3_sign_input *in, struct amber_buf *out,
                            struct amber_err *err) AMBER_MUST_CHECK;
/* Time of now_us in the form that requests carry. */
void amber_s3_amz_date(int64_t now_us, char out[S3_AMZ_DATE_LEN]);
/* "2009-10-12T17:50:30.000Z", as documents have it -> microseconds since 1970; 0 if it isn't one.
 */
int64_t amber_s3_time(const char *text);

struct s3_md5 {
    uint8_t b[16];
};
/* errors  IO if OpenSSL refuses (MD5 is switched off in FIPS mode) */
enum amber_rc amber_s3_md5(const void *data, size_t len, struct s3_md5 *out,
                           struct amber_err *err) AMBER_MUST_CHECK;
void amber_s3_md5_base64(const struct s3_md5 *d, char out[S3_MD5_BASE64]);
void amber_s3_md5_hex(const struct s3_md5 *d, char out[33]);

#endif
