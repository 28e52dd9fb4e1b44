/*
 * inflate.c - deflate's codes (RFC 1951): tables from code lengths, and the loop over symbols.
 *
 * A table entry is what a code stands for and how many bits it takes:
 *
 *     value (16) | flags (4) | extra bits (4) | bits of the code (8)
 *
 * A table has 2^root entries for the next bits of the input; codes that are longer go on in a
 * subtable, whose entry has its place as value, the bits of its index as extra. Bits of the code
 * then count behind the root's. Two loops: a fast one while enough input is left for any symbol,
 * and a careful one that takes nothing of a symbol that isn't there whole.
 */
#include "inflate_priv.h"

#include <string.h>

#define LITERAL 0x8000U
#define SUBTABLE 0x4000U
#define END_OF_BLOCK 0x2000U
#define INVALID 0x1000U
#define BITS_OF(e) ((e)&0xffU)
#define EXTRA_OF(e) ((e) >> 8 & 0xfU)
#define VALUE_OF(e) ((e) >> 16)

#define N_LITLEN 288U
#define N_DIST 32U
#define BITS_MAX 15U
#define FAST_INPUT 16 /* bytes that one turn of the fast loop may look at */

/* ---- tables ---- */

static uint32_t litlen_entry(unsigned symbol)
{
    static const uint16_t base[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                    2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

    if (symbol < 256)
        return symbol << 16 | LITERAL;
    if (symbol == 256)
        return END_OF_BLOCK;
    if (symbol > 285)
        return INVALID;
    return (uint32_t)base[symbol - 257] << 16 | (uint32_t)extra[symbol - 257] << 8;
}

static uint32_t dist_entry(unsigned symbol)
{
    if (symbol > 29)
        return INVALID;
    if (symbol < 4)
        return (symbol + 1) << 16;
    unsigned extra = symbol / 2 - 1;
    return (((2 + (symbol & 1)) << extra) + 1) << 16 | extra << 8;
}

static uint32_t plain_entry(unsigned symbol)
{
    return symbol << 16;
}

/* The code's bits in the order in which the input has them. */
static unsigned reverse(unsigned code, unsigned len)
{
    unsigned r = 0;

    for (; len > 0; len--, code >>= 1)
        r = r << 1 | (code & 1);
    return r;
}

/* How a code's symbols lie: counts by length, and the symbols in order of their codes. */
struct sorted_code {
    unsigned count[BITS_MAX + 1];
    uint16_t symbols[N_LITLEN];
    unsigned n;
};

/* False: more codes than there are, or fewer; but a single one, or none, may stand for itself. */
static bool sort_code(struct sorted_code *s, const uint8_t *lens, unsigned n)
{
    unsigned at[BITS_MAX + 2] = {0}, left = 1, longest = 0;

    memset(s->count, 0, sizeof(s->count));
    for (unsigned i = 0; i < n; i++)
        s->count[lens[i]]++;
    s->n = n - s->count[0];
    s->count[0] = 0;
    for (unsigned len = 1; len <= BITS_MAX; len++) {
        if (s->count[len] > left * 2)
            return false;
        left = left * 2 - s->count[len];
        at[len + 1] = at[len] + s->count[len];
        longest = s->count[len] ? len : longest;
    }
    if (left > 0 && longest > 1)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (lens[i])
            s->symbols[at[lens[i]]++] = (uint16_t)i;
    return true;
}

/* Bits of the index of a subtable that begins with a code of len bits: as many as the codes that
 * share its first root bits need. left: codes of each length that have no entry yet. */
static unsigned subtable_bits(const unsigned left[BITS_MAX + 1], unsigned root, unsigned len)
{
    unsigned bits = len - root, used = left[len];

    while (used < 1U << bits && root + bits < BITS_MAX) {
        bits++;
        used = used * 2 + left[root + bits];
    }
    return bits;
}

static bool make_table(uint32_t *table, unsigned n_entries, unsigned root, const uint8_t *lens,
                       unsigned n, uint32_t (*entry_of)(unsigned symbol))
{
    struct sorted_code s;
    unsigned code = 0, prefix = UINT32_MAX, sub = 0, sub_bits = 0, end = 1U << root, i = 0;

    if (!sort_code(&s, lens, n))
        return false;
    for (unsigned k = 0; k < end; k++)
        table[k] = INVALID | 1;
    for (unsigned len = 1; len <= BITS_MAX; len++, code <<= 1) {
        for (; s.count[len] > 0; s.count[len]--, i++, code++) {
            unsigned r = reverse(code, len);
            uint32_t e = entry_of(s.symbols[i]);
            if (len <= root) {
                for (unsigned k = r; k < 1U << root; k += 1U << len)
                    table[k] = e | len;
                continue;
            }
            if ((r & ((1U << root) - 1)) != prefix) {
                prefix = r & ((1U << root) - 1);
                sub_bits = subtable_bits(s.count, root, len);
                sub = end;
                end += 1U << sub_bits;
                if (end > n_entries)
                    return false;
                table[prefix] = sub << 16 | SUBTABLE | sub_bits << 8 | root;
            }
            for (unsigned k = r >> root; k < 1U << sub_bits; k += 1U << (len - root))
                table[sub + k] = e | (len - root);
        }
    }
    return true;
}

bool amber_inflate_code(struct inflate_code *c, const uint8_t lens[AMBER_GUNZIP_LENS])
{
    return lens[256] > 0 && /* without an end the block is none */
           make_table(c->litlen, LITLEN_ENTRIES, LITLEN_ROOT, lens, N_LITLEN, litlen_entry) &&
           make_table(c->dist, DIST_ENTRIES, DIST_ROOT, lens + N_LITLEN, N_DIST, dist_entry);
}

void amber_inflate_fixed_lens(uint8_t lens[AMBER_GUNZIP_LENS])
{
    memset(lens, 8, 144);
    memset(lens + 144, 9, 112);
    memset(lens + 256, 7, 24);
    memset(lens + 280, 8, 8);
    memset(lens + N_LITLEN, 5, N_DIST);
}

/* ---- bits ---- */

void amber_bits_begin(struct inflate_bits *b, const uint8_t *in, const uint8_t *end, unsigned bit)
{
    *b = (struct inflate_bits){.in = in, .end = end};
    if (bit > 0 && in < end) {
        b->bits = (uint64_t)(*b->in++ >> bit);
        b->n = 8 - bit;
    }
}

const uint8_t *amber_bits_end(const struct inflate_bits *b, unsigned *out_bit)
{
    *out_bit = (8 - b->n % 8) % 8;
    return b->in - (b->n + 7) / 8;
}

static void refill_careful(struct inflate_bits *b)
{
    while (b->n <= 56 && b->in < b->end) {
        b->bits |= (uint64_t)*b->in++ << b->n;
        b->n += 8;
    }
}

bool amber_bits_need(struct inflate_bits *b, unsigned n)
{
    if (b->n < n)
        refill_careful(b);
    return b->n >= n;
}

/* ---- a dynamic block's lengths ---- */

/* The entry of the next symbol, and how many bits of code it takes. */
static uint32_t peek_symbol(const uint32_t *table, unsigned root, uint64_t bits, unsigned *out_bits)
{
    uint32_t e = table[bits & ((1U << root) - 1)];

    *out_bits = BITS_OF(e);
    if (e & SUBTABLE) {
        e = table[VALUE_OF(e) + (bits >> root & ((1U << EXTRA_OF(e)) - 1))];
        *out_bits = root + BITS_OF(e);
    }
    return e;
}

/* Repeat what symbol says at lens[*i]. */
static enum inflate_result put_lens(struct inflate_bits *b, unsigned symbol, uint8_t *lens,
                                    unsigned *i, unsigned n)
{
    static const uint8_t extra[] = {2, 3, 7}, base[] = {3, 3, 11};
    unsigned times = 1;
    uint8_t len = (uint8_t)symbol;

    if (symbol >= 16) {
        if (!amber_bits_need(b, extra[symbol - 16]))
            return INFLATE_INPUT;
        times = base[symbol - 16] + take_bits(b, extra[symbol - 16]);
        if (symbol == 16 && *i == 0)
            return INFLATE_BAD;
        len = symbol == 16 ? lens[*i - 1] : 0;
    }
    if (times > n - *i)
        return INFLATE_BAD;
    memset(lens + *i, len, times);
    *i += times;
    return INFLATE_OK;
}

enum inflate_result amber_inflate_lens(struct inflate_bits *b, uint8_t lens[AMBER_GUNZIP_LENS])
{
    static const uint8_t order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                    11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t pre[19] = {0}, all[286 + 30] = {0};
    uint32_t table[1U << 7];

    if (!amber_bits_need(b, 14))
        return INFLATE_INPUT;
    unsigned n_litlen = 257 + take_bits(b, 5), n_dist = 1 + take_bits(b, 5);
    unsigned n_pre = 4 + take_bits(b, 4), n = n_litlen + n_dist;
    if (n_litlen > 286 || n_dist > 30)
        return INFLATE_BAD;
    for (unsigned i = 0; i < n_pre; i++) {
        if (!amber_bits_need(b, 3))
            return INFLATE_INPUT;
        pre[order[i]] = (uint8_t)take_bits(b, 3);
    }
    if (!make_table(table, 1U << 7, 7, pre, 19, plain_entry))
        return INFLATE_BAD;
    for (unsigned i = 0; i < n;) {
        unsigned bits;
        refill_careful(b);
        uint32_t e = peek_symbol(table, 7, b->bits, &bits);
        if (bits > b->n)
            return INFLATE_INPUT;
        if (e & INVALID)
            return INFLATE_BAD;
        take_bits(b, bits);
        enum inflate_result r = put_lens(b, VALUE_OF(e), all, &i, n);
        if (r != INFLATE_OK)
            return r;
    }
    memset(lens, 0, AMBER_GUNZIP_LENS);
    memcpy(lens, all, n_litlen);
    memcpy(lens + N_LITLEN, all + n_litlen, n_dist);
    return INFLATE_OK;
}

/* ---- symbols ---- */

/* Copy len bytes from dist bytes back; up to 15 more may be written. */
static inline void copy_match(uint8_t *out, unsigned dist, unsigned len)
{
    const uint8_t *from = out - dist;
    uint8_t *end = out + len;

    if (dist >= 8) {
        do {
            memcpy(out, from, 8);
            out += 8;
            from += 8;
        } while (out < end);
    } else if (dist == 1) {
        memset(out, *from, len);
    } else {
        do
            *out++ = *from++;
        while (out < end);
    }
}

/* One symbol, none of whose bits are taken unless all are there. */
static enum inflate_result careful_symbol(const struct inflate_code *c, struct inflate_bits *b,
                                          const uint8_t *first, uint8_t **out)
{
    struct inflate_bits t = *b;
    unsigned bits;

    refill_careful(&t);
    *b = t; /* the same place, only more of it in bits */
    uint32_t e = peek_symbol(c->litlen, LITLEN_ROOT, t.bits, &bits);
    if (bits + EXTRA_OF(e) > t.n)
        return INFLATE_INPUT;
    if (e & INVALID)
        return INFLATE_BAD;
    take_bits(&t, bits);
    if (e & LITERAL) {
        *(*out)++ = (uint8_t)VALUE_OF(e);
        *b = t;
        return INFLATE_OK;
    }
    if (e & END_OF_BLOCK) {
        *b = t;
        return INFLATE_END;
    }
    unsigned len = VALUE_OF(e) + take_bits(&t, EXTRA_OF(e));
    e = peek_symbol(c->dist, DIST_ROOT, t.bits, &bits);
    if (bits + EXTRA_OF(e) > t.n)
        return INFLATE_INPUT;
    if (e & INVALID)
        return INFLATE_BAD;
    take_bits(&t, bits);
    unsigned dist = VALUE_OF(e) + take_bits(&t, EXTRA_OF(e));
    if (dist > (size_t)(*out - first))
        return INFLATE_BAD;
    copy_match(*out, dist, len);
    *out += len;
    *b = t;
    return INFLATE_OK;
}

static inline void refill_fast(struct inflate_bits *b)
{
    uint64_t next;

    memcpy(&next, b->in, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    next = __builtin_bswap64(next);
#endif
    /* What comes above bit n is or'ed in again, the same, next time. */
    b->bits |= next << b->n;
    b->in += (63 - b->n) >> 3;
    b->n |= 56;
}

static inline uint32_t next_entry(const uint32_t *table, unsigned root, struct inflate_bits *b)
{
    uint32_t e = table[b->bits & ((1U << root) - 1)];

    if (e & SUBTABLE) {
        b->bits >>= root;
        b->n -= root;
        e = table[VALUE_OF(e) + (b->bits & ((1U << EXTRA_OF(e)) - 1))];
    }
    b->bits >>= BITS_OF(e);
    b->n -= BITS_OF(e);
    return e;
}

/* While any symbol is surely there whole. OK: there may be less input than that. */
static enum inflate_result fast_symbols(const struct inflate_code *c, struct inflate_bits *b,
                                        const uint8_t *first, uint8_t **out, const uint8_t *limit)
{
    struct inflate_bits t = *b;
    uint8_t *o = *out;
    enum inflate_result r = INFLATE_OK;

    while (o < limit && t.end - t.in >= FAST_INPUT) {
        /* 56 bits at least: three literals of the root (33), or a length (20). */
        refill_fast(&t);
        uint32_t e = next_entry(c->litlen, LITLEN_ROOT, &t);
        if (e & LITERAL) {
            *o++ = (uint8_t)VALUE_OF(e);
            e = c->litlen[t.bits & ((1U << LITLEN_ROOT) - 1)];
            if (e & LITERAL) {
                t.bits >>= BITS_OF(e);
                t.n -= BITS_OF(e);
                *o++ = (uint8_t)VALUE_OF(e);
            }
            continue;
        }
        if (e & (END_OF_BLOCK | INVALID)) {
            r = e & INVALID ? INFLATE_BAD : INFLATE_END;
            break;
        }
        unsigned len = VALUE_OF(e) + take_bits(&t, EXTRA_OF(e));
        refill_fast(&t);
        e = next_entry(c->dist, DIST_ROOT, &t);
        unsigned dist = VALUE_OF(e) + take_bits(&t, EXTRA_OF(e));
        if ((e & INVALID) || dist > (size_t)(o - first)) {
            r = INFLATE_BAD;
            break;
        }
        copy_match(o, dist, len);
        o += len;
    }
    t.bits &= (UINT64_C(1) << t.n) - 1;
    *b = t;
    *out = o;
    return r;
}

enum inflate_result amber_inflate_symbols(const struct inflate_code *c, struct inflate_bits *b,
                                          const uint8_t *first, uint8_t **out, uint8_t *limit)
{
    enum inflate_result r = fast_symbols(c, b, first, out, limit);

    while (r == INFLATE_OK) {
        if (*out >= limit)
            return INFLATE_FULL;
        r = careful_symbol(c, b, first, out);
    }
    return r;
}
