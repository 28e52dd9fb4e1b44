/*
 * s3_sign.c - AWS Signature Version 4 by OpenSSL's HMAC.
 *
 *   canonical request = method \n path \n query \n headers \n \n signed names \n payload's SHA-256
 *   string to sign    = algorithm \n date \n scope \n SHA-256 of the canonical request
 *   key               = HMAC chain: "AWS4" secret > day > region > service > "aws4_request"
 *
 * The key is wiped from the stack once it was used.
 */
#include "s3_sign_priv.h"

#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "amber/calendar.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define CANONICAL_MAX (256U * 1024U) /* bytes: a session token may have some thousands */

struct mac {
    uint8_t b[32];
};

static enum amber_rc hmac(const void *key, size_t key_len, const char *text, size_t len,
                          struct mac *out, struct amber_err *err)
{
    unsigned n = sizeof(out->b);

    if (!HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, len, out->b, &n))
        return amber_fail(err, AMBER_E_IO, "OpenSSL refuses HMAC-SHA-256");
    return AMBER_OK;
}

void amber_s3_amz_date(int64_t now_us, char out[S3_AMZ_DATE_LEN])
{
    struct amber_civil c;
    char text[64];

    amber_civil_from_us(now_us, &c);
    snprintf(text, sizeof(text), "%04u%02u%02uT%02u%02u%02uZ", (unsigned)(c.year % 10000),
             (unsigned)c.month, (unsigned)c.day, (unsigned)c.hour, (unsigned)c.minute,
             (unsigned)c.second);
    memcpy(out, text, S3_AMZ_DATE_LEN - 1);
    out[S3_AMZ_DATE_LEN - 1] = '\0';
}

int64_t amber_s3_time(const char *text)
{
    struct amber_civil c = {0};
    int year, ms = 0;

    if (sscanf(text, "%d-%d-%dT%d:%d:%d.%3d", &year, &c.month, &c.day, &c.hour, &c.minute,
               &c.second, &ms) < 6)
        return 0;
    c.year = year;
    c.us = ms * 1000;
    return amber_us_from_civil(&c);
}

/* A header's value as it is signed: without blanks around it, each run of blanks one blank. */
static enum amber_rc put_value(struct amber_buf *b, const char *v, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    v += strspn(v, " \t");
    while (!rc && *v) {
        size_t n = strcspn(v, " \t");
        rc = amber_buf_append(b, v, n, err);
        v += n;
        size_t blanks = strspn(v, " \t");
        v += blanks;
        if (!rc && blanks > 0 && *v)
            rc = amber_buf_puts(b, " ", err);
    }
    return rc ? rc : amber_buf_puts(b, "\n", err);
}

static enum amber_rc put_names(const struct s3_sign_input *in, struct amber_buf *b,
                               struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (size_t i = 0; !rc && i < in->n_headers; i++)
        rc = amber_buf_printf(b, err, "%s%s", i ? ";" : "", in->headers[i].name);
    return rc;
}

static enum amber_rc canonical_digest(const struct s3_sign_input *in, char out[AMBER_SHA256_HEX],
                                      struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(CANONICAL_MAX);
    struct amber_sha256 d;

    enum amber_rc rc = amber_buf_printf(&b, err, "%s\n%s\n%s\n", in->method, in->path, in->query);
    for (size_t i = 0; !rc && i < in->n_headers; i++) {
        rc = amber_buf_printf(&b, err, "%s:", in->headers[i].name);
        if (!rc)
            rc = put_value(&b, in->headers[i].value, err);
    }
    if (!rc)
        rc = amber_buf_puts(&b, "\n", err);
    if (!rc)
        rc = put_names(in, &b, err);
    if (!rc)
        rc = amber_buf_printf(&b, err, "\n%s", in->payload_sha256);
    if (!rc)
        rc = amber_sha256(b.data, b.len, &d, err);
    if (!rc)
        amber_sha256_hex(&d, out);
    return rc;
}

static enum amber_rc signing_key(const struct s3_sign_input *in, struct mac *out,
                                 struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf secret = AMBER_BUF_INIT(4096);

    enum amber_rc rc = amber_buf_printf(&secret, err, "AWS4%s", in->secret_key);
    if (!rc)
        rc = hmac(secret.data, secret.len, in->amz_date, 8, out, err);
    if (!rc)
        rc = hmac(out->b, sizeof(out->b), in->region, strlen(in->region), out, err);
    if (!rc)
        rc = hmac(out->b, sizeof(out->b), in->service, strlen(in->service), out, err);
    if (!rc)
        rc = hmac(out->b, sizeof(out->b), "aws4_request", 12, out, err);
    if (secret.data)
        OPENSSL_cleanse(secret.data, secret.cap);
    return rc;
}

static enum amber_rc signature(const struct s3_sign_input *in, char out[AMBER_SHA256_HEX],
                               struct amber_err *err)
{
    char digest[AMBER_SHA256_HEX], text[512];
    struct mac key = {{0}}, mac = {{0}};
    struct amber_sha256 sig;

    enum amber_rc rc = canonical_digest(in, digest, err);
    if (rc)
        return rc;
    int len = snprintf(text, sizeof(text), ALGORITHM "\n%s\n%.8s/%s/%s/aws4_request\n%s",
                       in->amz_date, in->amz_date, in->region, in->service, digest);
    if ((size_t)len >= sizeof(text))
        return amber_fail(err, AMBER_E_LIMIT, "the region's name \"%.40s\" is too long",
                          in->region);
    rc = signing_key(in, &key, err);
    if (!rc)
        rc = hmac(key.b, sizeof(key.b), text, (size_t)len, &mac, err);
    OPENSSL_cleanse(&key, sizeof(key));
    if (rc)
        return rc;
    memcpy(sig.b, mac.b, sizeof(sig.b));
    amber_sha256_hex(&sig, out);
    return AMBER_OK;
}

enum amber_rc amber_s3_sign(const struct s3_sign_input *in, struct amber_buf *out,
                            struct amber_err *err)
{
    char hex[AMBER_SHA256_HEX];

    enum amber_rc rc = signature(in, hex, err);
    if (!rc)
        rc = amber_buf_printf(out, err,
                              ALGORITHM " Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=",
                              in->access_key, in->amz_date, in->region, in->service);
    if (!rc)
        rc = put_names(in, out, err);
    return rc ? rc : amber_buf_printf(out, err, ", Signature=%s", hex);
}

/* ---- Content-MD5 ---- */

enum amber_rc amber_s3_md5(const void *data, size_t len, struct s3_md5 *out, struct amber_err *err)
{
    struct s3_md5 d;

    if (!EVP_Digest(data, len, d.b, NULL, EVP_md5(), NULL))
        return amber_fail(err, AMBER_E_IO,
                          "OpenSSL refuses MD5, which S3's Content-MD5 needs (FIPS mode?)");
    *out = d;
    return AMBER_OK;
}

void amber_s3_md5_base64(const struct s3_md5 *d, char out[S3_MD5_BASE64])
{
    (void)EVP_EncodeBlock((unsigned char *)out, d->b, sizeof(d->b));
}

void amber_s3_md5_hex(const struct s3_md5 *d, char out[33])
{
    for (size_t i = 0; i < sizeof(d->b); i++)
        snprintf(out + 2 * i, 3, "%02x", d->b[i]);
}
