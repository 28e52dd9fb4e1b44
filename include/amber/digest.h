/*
 * digest.h - SHA-256, random identifiers, and the order-independent set digest.
 *
 * source  SHA-256 FIPS 180-4 by OpenSSL; UUID version 4 RFC 4122
 */
#ifndef AMBER_DIGEST_H
#define AMBER_DIGEST_H

#include "amber/err.h"

#define AMBER_SHA256_HEX 65 /* 64 digits and NUL */
#define AMBER_UUID_LEN 37   /* 36 characters and NUL */

struct amber_sha256 {
    uint8_t b[32];
};

/* One-shot digest. errors IO if OpenSSL refuses (never in practice). */
enum amber_rc amber_sha256(const void *data, size_t len, struct amber_sha256 *out,
                           struct amber_err *err) AMBER_MUST_CHECK;

/* Streaming digest. One thread at a time per handle. */
struct amber_hasher;
enum amber_rc amber_hasher_new(struct amber_hasher **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_hasher_free(struct amber_hasher *h); /* NULL allowed */
void amber_hasher_free_p(struct amber_hasher **h);
enum amber_rc amber_hasher_update(struct amber_hasher *h, const void *data, size_t len,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/* Give the digest and start anew. */
enum amber_rc amber_hasher_final(struct amber_hasher *h, struct amber_sha256 *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;

bool amber_sha256_equal(const struct amber_sha256 *a, const struct amber_sha256 *b);
void amber_sha256_hex(const struct amber_sha256 *d, char out[AMBER_SHA256_HEX]);
/* 64 lower-case hex digits. errors INVALID. */
enum amber_rc amber_sha256_parse(const char *hex, struct amber_sha256 *out, struct amber_err *err)
    AMBER_MUST_CHECK;

/* A random UUID version 4 as text, from the kernel's generator. errors IO. */
enum amber_rc amber_uuid_new(char out[AMBER_UUID_LEN], struct amber_err *err) AMBER_MUST_CHECK;
bool amber_uuid_valid(const char *text);

/*
 * Digest of a multiset of row identities (table OID, block, offset), the same whatever the order
 * in which they come: what was exported is what was deleted. Sums of two independent 64-bit
 * mixes and a count. Not cryptographic: it guards against our own and PostgreSQL's mistakes.
 */
struct amber_set_digest {
    uint64_t n;
    uint64_t sum[2];
};
void amber_set_digest_add(struct amber_set_digest *d, uint32_t oid, uint32_t block, uint16_t off);
void amber_set_digest_merge(struct amber_set_digest *d, const struct amber_set_digest *other);
bool amber_set_digest_equal(const struct amber_set_digest *a, const struct amber_set_digest *b);

/* Fast 128-bit digest of bytes (XXH3) for comparisons inside one process. */
struct amber_fast_digest {
    uint64_t lo, hi;
};
void amber_fast_digest(const void *data, size_t len, struct amber_fast_digest *out);
/* Streaming form. */
struct amber_fast_hasher;
enum amber_rc amber_fast_hasher_new(struct amber_fast_hasher **out, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_fast_hasher_free(struct amber_fast_hasher *h);
void amber_fast_hasher_reset(struct amber_fast_hasher *h);
void amber_fast_hasher_update(struct amber_fast_hasher *h, const void *data, size_t len);
void amber_fast_hasher_final(const struct amber_fast_hasher *h, struct amber_fast_digest *out);

#endif
