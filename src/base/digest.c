/*
 * digest.c - SHA-256 by OpenSSL, XXH3 by libxxhash, identifiers from the kernel's generator.
 *
 * OpenSSL looks an algorithm up by name each time it isn't handed a fetched one, which costs more
 * than hashing a small unit; so SHA-256 is fetched once for the process and never freed.
 */
#include "amber/digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include "amber/mem.h"

static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256_md;

static void fetch_sha256(void)
{
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static enum amber_rc fail_openssl(struct amber_err *err, const char *what)
{
    char reason[160];

    ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
    ERR_clear_error();
    return amber_fail(err, AMBER_E_IO, "OpenSSL failed to %s a SHA-256 digest: %s", what, reason);
}

enum amber_rc amber_sha256(const void *data, size_t len, struct amber_sha256 *out,
                           struct amber_err *err)
{
    struct amber_sha256 d;

    pthread_once(&sha256_once, fetch_sha256);
    if (!sha256_md || !EVP_Digest(data, len, d.b, NULL, sha256_md, NULL))
        return fail_openssl(err, "compute");
    *out = d;
    return AMBER_OK;
}

struct amber_hasher {
    EVP_MD_CTX *ctx;
};

enum amber_rc amber_hasher_new(struct amber_hasher **out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_hasher_free_p) struct amber_hasher *h = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*h), &h, err);

    if (rc)
        return rc;
    pthread_once(&sha256_once, fetch_sha256);
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !sha256_md || !EVP_DigestInit_ex2(h->ctx, sha256_md, NULL))
        return fail_openssl(err, "start");
    *out = amber_steal(&h);
    return AMBER_OK;
}

void amber_hasher_free(struct amber_hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void amber_hasher_free_p(struct amber_hasher **h)
{
    amber_hasher_free(*h);
}

enum amber_rc amber_hasher_update(struct amber_hasher *h, const void *data, size_t len,
                                  struct amber_err *err)
{
    if (!EVP_DigestUpdate(h->ctx, data, len))
        return fail_openssl(err, "continue");
    return AMBER_OK;
}

enum amber_rc amber_hasher_final(struct amber_hasher *h, struct amber_sha256 *out,
                                 struct amber_err *err)
{
    struct amber_sha256 d;

    if (!EVP_DigestFinal_ex(h->ctx, d.b, NULL) || !EVP_DigestInit_ex2(h->ctx, sha256_md, NULL))
        return fail_openssl(err, "finish");
    *out = d;
    return AMBER_OK;
}

bool amber_sha256_equal(const struct amber_sha256 *a, const struct amber_sha256 *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void amber_sha256_hex(const struct amber_sha256 *d, char out[AMBER_SHA256_HEX])
{
    for (size_t i = 0; i < sizeof(d->b); i++) {
        out[2 * i] = "0123456789abcdef"[d->b[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[d->b[i] & 15U];
    }
    out[AMBER_SHA256_HEX - 1] = '\0';
}

/* Value of a lower-case hex digit, -1 if c isn't one. */
static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum amber_rc amber_sha256_parse(const char *hex, struct amber_sha256 *out, struct amber_err *err)
{
    struct amber_sha256 d;

    if (strlen(hex) != AMBER_SHA256_HEX - 1)
        return amber_fail(err, AMBER_E_INVALID, "a SHA-256 digest has 64 hex digits, this has %zu",
                          strlen(hex));
    for (size_t i = 0; i < sizeof(d.b); i++) {
        int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return amber_fail(err, AMBER_E_INVALID,
                              "a SHA-256 digest has 64 lower-case hex digits, this is \"%s\"", hex);
        d.b[i] = (uint8_t)(hi << 4 | lo);
    }
    *out = d;
    return AMBER_OK;
}

enum amber_rc amber_uuid_new(char out[AMBER_UUID_LEN], struct amber_err *err)
{
    uint8_t b[16];
    ssize_t n;

    do
        n = getrandom(b, sizeof(b), 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(b))
        return amber_fail_errno(err, n < 0 ? errno : EIO, "the kernel gave no random bytes");
    b[6] = (uint8_t)((b[6] & 0x0FU) | 0x40U); /* version 4 */
    b[8] = (uint8_t)((b[8] & 0x3FU) | 0x80U); /* variant of RFC 4122 */
    snprintf(out, AMBER_UUID_LEN,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
    return AMBER_OK;
}

bool amber_uuid_valid(const char *text)
{
    for (size_t i = 0; i < AMBER_UUID_LEN - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : hex_value(text[i]) < 0)
            return false;
    }
    return text[AMBER_UUID_LEN - 1] == '\0';
}

void amber_set_digest_add(struct amber_set_digest *d, uint32_t oid, uint32_t block, uint16_t off)
{
    uint8_t id[10];

    /* Packed by hand: a struct's padding would be hashed too. */
    memcpy(id, &oid, 4);
    memcpy(id + 4, &block, 4);
    memcpy(id + 8, &off, 2);
    XXH128_hash_t h = XXH3_128bits(id, sizeof(id));
    d->n++;
    d->sum[0] += h.low64;
    d->sum[1] += h.high64;
}

void amber_set_digest_merge(struct amber_set_digest *d, const struct amber_set_digest *other)
{
    d->n += other->n;
    d->sum[0] += other->sum[0];
    d->sum[1] += other->sum[1];
}

bool amber_set_digest_equal(const struct amber_set_digest *a, const struct amber_set_digest *b)
{
    return a->n == b->n && a->sum[0] == b->sum[0] && a->sum[1] == b->sum[1];
}

void amber_fast_digest(const void *data, size_t len, struct amber_fast_digest *out)
{
    XXH128_hash_t h = XXH3_128bits(data, len);

    out->lo = h.low64;
    out->hi = h.high64;
}

struct amber_fast_hasher {
    XXH3_state_t *state; /* its own allocation: it needs 64-byte alignment */
};

enum amber_rc amber_fast_hasher_new(struct amber_fast_hasher **out, struct amber_err *err)
{
    struct amber_fast_hasher *h;
    enum amber_rc rc = amber_calloc(1, sizeof(*h), &h, err);

    if (rc)
        return rc;
    h->state = XXH3_createState();
    if (!h->state) {
        free(h);
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a fast digest");
    }
    amber_fast_hasher_reset(h);
    *out = h;
    return AMBER_OK;
}

void amber_fast_hasher_free(struct amber_fast_hasher *h)
{
    if (!h)
        return;
    XXH3_freeState(h->state);
    free(h);
}

void amber_fast_hasher_reset(struct amber_fast_hasher *h)
{
    XXH3_128bits_reset(h->state);
}

void amber_fast_hasher_update(struct amber_fast_hasher *h, const void *data, size_t len)
{
    XXH3_128bits_update(h->state, data, len);
}

void amber_fast_hasher_final(const struct amber_fast_hasher *h, struct amber_fast_digest *out)
{
    XXH128_hash_t d = XXH3_128bits_digest(h->state);

    out->lo = d.low64;
    out->hi = d.high64;
}
