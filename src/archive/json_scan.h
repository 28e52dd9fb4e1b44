/*
 * json_scan.h - finding where JSON tokens end, without building anything.
 *
 * The row format passes json values through as they stand, so all it needs is a strict check of
 * the grammar that says where a value ends. Nothing recurses: nesting is one bit a level on a
 * stack of fixed size. Scanning goes 16 bytes a step where the machine has SSE2 and 8 otherwise;
 * no byte outside [p, end) is read.
 *
 * source  RFC 8259
 */
#ifndef AMBER_JSON_SCAN_H
#define AMBER_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Levels of arrays and objects: more than PostgreSQL's own parser takes with the largest stack
 * that a usual system allows it. */
#define AMBER_JSON_DEPTH_MAX 65536U

struct amber_json_stack {
    uint64_t bits[AMBER_JSON_DEPTH_MAX / 64]; /* 1: object, 0: array */
};

/* Where and why a text is not JSON. */
struct amber_json_fault {
    const char *at;
    const char *what; /* static */
    bool too_deep;    /* past AMBER_JSON_DEPTH_MAX, not a grammar error */
};

/* Offset of the first byte that isn't part of valid UTF-8 (overlong forms, surrogates and code
 * points past 10FFFF are not valid), or len. */
size_t amber_utf8_check(const char *text, size_t len);

/* Behind the number at p, or NULL if there is none. */
const char *amber_json_number_end(const char *p, const char *end);

/* Behind the closing quote of the string whose content starts at p; NULL: see f. */
const char *amber_json_string_end(const char *p, const char *end, struct amber_json_fault *f);

/* Behind the value at p (white space before it is skipped); NULL: see f. */
const char *amber_json_value_end(struct amber_json_stack *stack, const char *p, const char *end,
                                 struct amber_json_fault *f);

/* Four hex digits -> 0..0xFFFF, or -1. */
int amber_hex4(const char *p);

static inline bool amber_json_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline const char *amber_json_space(const char *p, const char *end)
{
    while (p < end && amber_json_is_space(*p))
        p++;
    return p;
}

static inline bool amber_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/*
 * Special bytes are control characters and backslash, and with `quote` the quotation mark.
 * The result is how many of the AMBER_STEP bytes at p come before the first special one.
 */
#ifdef __SSE2__
#define AMBER_STEP 16
static inline unsigned amber_plain_bytes(const char *p, bool quote)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i special = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v),
                                   _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    if (quote)
        special = _mm_or_si128(special, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    unsigned mask = (unsigned)_mm_movemask_epi8(special);
    return mask ? (unsigned)__builtin_ctz(mask) : AMBER_STEP;
}
#else
#define AMBER_STEP 8
static inline unsigned amber_plain_bytes(const char *p, bool quote)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t v;
    memcpy(&v, p, 8);
    uint64_t bs = v ^ (ones * '\\'), q = v ^ (ones * '"');
    uint64_t special = ((v - ones * 0x20) & ~v) | ((bs - ones) & ~bs);
    if (quote)
        special |= (q - ones) & ~q;
    if (!(special & (ones << 7)))
        return AMBER_STEP;
    unsigned n = 0;
    while (n < AMBER_STEP && (unsigned char)p[n] >= 0x20 && p[n] != '\\' && (!quote || p[n] != '"'))
        n++;
    return n;
}
#endif

/* Copy AMBER_STEP bytes, special or not, and say how many of them are plain. */
static inline unsigned amber_copy_step(char *dst, const char *src, bool quote)
{
    memcpy(dst, src, AMBER_STEP);
    return amber_plain_bytes(src, quote);
}

#endif
