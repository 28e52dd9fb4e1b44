/*
 * inflate_priv.h - deflate blocks (RFC 1951) symbol by symbol, for gunzip.c.
 */
#ifndef AMBER_INFLATE_PRIV_H
#define AMBER_INFLATE_PRIV_H

#include "amber/gunzip.h"

#define LITLEN_ROOT 11U
#define DIST_ROOT 8U
/* The most entries that codes of 288 and 32 symbols of up to 15 bits take with these roots.
 * source  zlib's examples/enough.c */
#define LITLEN_ENTRIES 2342U
#define DIST_ENTRIES 402U

/* The code in force: made from lens. */
struct inflate_code {
    uint32_t litlen[LITLEN_ENTRIES], dist[DIST_ENTRIES];
};

/* Bits of the input: the next one is bits' lowest. Above n bits is nothing. */
struct inflate_bits {
    const uint8_t *in, *end;
    uint64_t bits;
    unsigned n;
};
void amber_bits_begin(struct inflate_bits *b, const uint8_t *in, const uint8_t *end, unsigned bit);
/* The byte of the next bit, and which of its bits that is. */
const uint8_t *amber_bits_end(const struct inflate_bits *b, unsigned *out_bit);
/* Have n bits (at most 56). False: the input ends before. */
bool amber_bits_need(struct inflate_bits *b, unsigned n);
static inline unsigned take_bits(struct inflate_bits *b, unsigned n)
{
    unsigned v = (unsigned)(b->bits & ((UINT64_C(1) << n) - 1));
    b->bits >>= n;
    b->n -= n;
    return v;
}

enum inflate_result {
    INFLATE_OK,
    INFLATE_END,   /* of the block */
    INFLATE_FULL,  /* the limit is reached */
    INFLATE_INPUT, /* the input ends before what is wanted */
    INFLATE_BAD,
};
/* False: these lengths are no code. */
bool amber_inflate_code(struct inflate_code *c, const uint8_t lens[AMBER_GUNZIP_LENS]);
/* The lengths of a dynamic block, behind its three first bits: OK, INPUT or BAD. */
enum inflate_result amber_inflate_lens(struct inflate_bits *b, uint8_t lens[AMBER_GUNZIP_LENS]);
void amber_inflate_fixed_lens(uint8_t lens[AMBER_GUNZIP_LENS]);
/*
 * Symbols from b to *out until END, FULL, INPUT (before the next whole symbol) or BAD. first: the
 * oldest byte that a match may refer to; behind limit is AMBER_GUNZIP_SLACK room.
 */
enum inflate_result amber_inflate_symbols(const struct inflate_code *c, struct inflate_bits *b,
                                          const uint8_t *first, uint8_t **out, uint8_t *limit);

#endif
