/* test_gunzip.c - gzip by zlib in many forms: the same text in pieces, resumed, cut off, damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <zlib.h>

#include <cmocka.h>

#include "amber/gunzip.h"
#include "amber/mem.h"

#define TEXT_BYTES 300000U
#define ROOM (2U * TEXT_BYTES + AMBER_GUNZIP_WINDOW + AMBER_GUNZIP_SLACK)

static uint32_t seed = 1;
static unsigned pick(unsigned n)
{
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 8) % n;
}

/* Lines that repeat in part, a stretch of noise, a stretch of one byte. */
static void make_text(uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (i / 10000 % 5 == 3)
            text[i] = (uint8_t)pick(256);
        else if (i / 10000 % 5 == 4)
            text[i] = 'x';
        else
            text[i] = i % 40 < 25 ? (uint8_t)("{\"id\":1,\"name\":\"amber\",\"n\":"[i % 40])
                                  : (uint8_t)('0' + pick(10));
    }
}

/* One member by zlib. */
static size_t gzip(const uint8_t *text, size_t len, int level, int strategy, gz_header *header,
                   uint8_t *out, size_t room)
{
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, strategy), Z_OK);
    if (header)
        assert_int_equal(deflateSetHeader(&z, header), Z_OK);
    z.next_in = (uint8_t *)(uintptr_t)text;
    z.avail_in = (unsigned)len;
    z.next_out = out;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

/* What zlib makes of one member: its text's length, or -1. */
static long by_zlib(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)in, .avail_in = (unsigned)len};

    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_out = out;
    z.avail_out = (unsigned)room;
    int r = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return r == Z_STREAM_END ? (long)z.total_out : -1;
}

struct decoded {
    uint8_t *text; /* behind a window's room */
    size_t len;
    unsigned members;
    enum amber_rc rc;
    bool whole; /* the last thing was a member's end, at the end of the input */
};

/* Decode with at most in_step bytes of new input and out_step of room at once; resume: with a new
 * decoder at each stop. */
static void decode(const uint8_t *in, size_t len, size_t in_step, size_t out_step, bool resume,
                   struct decoded *d)
{
    static uint8_t room[ROOM];
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_gunzip *g;
    size_t given = 0, pos = 0;

    *d = (struct decoded){.text = room + AMBER_GUNZIP_WINDOW};
    assert_int_equal(amber_gunzip_new(&g, &err), AMBER_OK);
    for (;;) {
        enum amber_gunzip_stop stop;
        struct amber_gunzip_io io = {.in = in + pos, .in_end = in + given};
        io.out = d->text + d->len;
        io.limit = io.out + out_step;
        d->rc = amber_gunzip_run(g, &io, &stop, &err);
        pos = (size_t)(io.in - in);
        d->len = (size_t)(io.out - d->text);
        d->whole = false;
        if (d->rc)
            break;
        if (stop == AMBER_GUNZIP_MEMBER_END) {
            d->members++;
            d->whole = pos == len;
            if (d->whole)
                break;
        }
        if (stop == AMBER_GUNZIP_NEEDS_INPUT) {
            if (given == len)
                break;
            given = len - given < in_step ? len : given + in_step;
        } else if (resume) {
            struct amber_gunzip_point p;
            size_t window = amber_gunzip_window(g);
            amber_gunzip_point(g, &p);
            amber_gunzip_free(g);
            assert_int_equal(amber_gunzip_new(&g, &err), AMBER_OK);
            assert_int_equal(amber_gunzip_resume(g, &p, window, &err), AMBER_OK);
        }
    }
    amber_gunzip_free(g);
}

static uint8_t text[TEXT_BYTES], stored[TEXT_BYTES * 2];

static void run_any_encoding_is_same_text(void **state)
{
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE,
                                     Z_FIXED};
    (void)state;
    for (int level = 0; level <= 9; level += 3) {
        for (size_t s = 0; s < amber_countof(strategies); s++) {
            size_t len =
                gzip(text, sizeof(text), level, strategies[s], NULL, stored, sizeof(stored));
            struct decoded d;
            decode(stored, len, len, ROOM - 2 * AMBER_GUNZIP_WINDOW - AMBER_GUNZIP_SLACK, false,
                   &d);
            assert_true(d.whole);
            assert_int_equal(d.len, sizeof(text));
            assert_memory_equal(d.text, text, sizeof(text));
        }
    }
}

static void run_in_small_pieces_is_same_text(void **state)
{
    static const size_t steps[][2] = {{1, 100}, {7, 1000}, {100, 33}, {5000, 1}, {65536, 50000}};
    (void)state;
    for (int level = 0; level <= 6; level += 6) {
        size_t len =
            gzip(text, sizeof(text), level, Z_DEFAULT_STRATEGY, NULL, stored, sizeof(stored));
        for (size_t i = 0; i < amber_countof(steps); i++) {
            struct decoded d;
            decode(stored, len, steps[i][0], steps[i][1], i % 2, &d);
            assert_true(d.whole);
            assert_int_equal(d.len, sizeof(text));
            assert_memory_equal(d.text, text, sizeof(text));
        }
    }
}

static void run_resumed_at_each_stop_is_same_text(void **state)
{
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_FIXED};
    (void)state;
    for (size_t s = 0; s < amber_countof(strategies); s++) {
        size_t len = gzip(text, sizeof(text), 6, strategies[s], NULL, stored, sizeof(stored));
        len += gzip(text, 1000, 0, Z_DEFAULT_STRATEGY, NULL, stored + len, sizeof(stored) - len);
        struct decoded d;
        decode(stored, len, len, 777, true, &d);
        assert_true(d.whole);
        assert_int_equal(d.members, 2);
        assert_int_equal(d.len, sizeof(text) + 1000);
        assert_memory_equal(d.text, text, sizeof(text));
        assert_memory_equal(d.text + sizeof(text), text, 1000);
    }
}

static void run_all_header_fields_are_skipped(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 16; flags++) {
        gz_header h = {.text = 1, .time = 77, .os = 3, .hcrc = flags & 1};
        h.extra = flags & 2 ? (uint8_t *)(uintptr_t) "AB\3\0xyz" : NULL;
        h.extra_len = flags & 2 ? 7 : 0;
        h.name = flags & 4 ? (uint8_t *)(uintptr_t) "a name" : NULL;
        h.comment = flags & 8 ? (uint8_t *)(uintptr_t) "a comment" : NULL;
        size_t len = gzip(text, 100, 6, Z_DEFAULT_STRATEGY, &h, stored, sizeof(stored));
        struct decoded d;
        decode(stored, len, 1, 1000, false, &d);
        assert_true(d.whole);
        assert_int_equal(d.len, 100);
        if (flags & 1) { /* a header's own checksum counts */
            stored[4] ^= 1;
            decode(stored, len, len, 1000, false, &d);
            assert_int_equal(d.rc, AMBER_E_CORRUPT);
        }
    }
}

static void run_cut_anywhere_wants_input(void **state)
{
    size_t len = gzip(text, 2000, 6, Z_DEFAULT_STRATEGY, NULL, stored, sizeof(stored));
    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        struct decoded d;
        decode(stored, cut, cut + 1, 5000, false, &d);
        assert_int_equal(d.rc, AMBER_OK);
        assert_false(d.whole);
        assert_memory_equal(d.text, text, d.len);
    }
}

/* Each bit of a file wrong in turn: found, or as zlib sees it. */
static void run_any_bit_wrong_is_as_by_zlib(void **state)
{
    static uint8_t reference[TEXT_BYTES];
    (void)state;
    for (int strategy = Z_DEFAULT_STRATEGY; strategy <= Z_FIXED; strategy += Z_FIXED) {
        size_t len = gzip(text, 700, strategy ? 9 : 6, strategy, NULL, stored, sizeof(stored));
        for (size_t bit = 0; bit < len * 8; bit++) {
            struct decoded d;
            stored[bit / 8] ^= (uint8_t)(1U << bit % 8);
            long n = by_zlib(stored, len, reference, sizeof(reference));
            decode(stored, len, len, TEXT_BYTES, false, &d);
            assert_int_equal(d.whole, n >= 0);
            if (n >= 0) {
                assert_int_equal(d.len, n);
                assert_memory_equal(d.text, reference, (size_t)n);
            }
            stored[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
}

static void resume_impossible_point_is_corrupt(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_gunzip_point good = {.where = AMBER_GUNZIP_CODED}, p;
    struct amber_gunzip *g;
    (void)state;
    memset(good.lens, 8, 144);
    memset(good.lens + 144, 9, 112);
    memset(good.lens + 256, 7, 24);
    memset(good.lens + 280, 8, 8);
    memset(good.lens + 288, 5, 32);
    assert_int_equal(amber_gunzip_new(&g, &err), AMBER_OK);
    assert_int_equal(amber_gunzip_resume(g, &good, 0, &err), AMBER_OK);
    p = good, p.lens[0] = 1; /* more codes than there are */
    assert_int_equal(amber_gunzip_resume(g, &p, 0, &err), AMBER_E_CORRUPT);
    p = good, p.lens[0] = 16;
    assert_int_equal(amber_gunzip_resume(g, &p, 0, &err), AMBER_E_CORRUPT);
    p = good, p.bit = 8;
    assert_int_equal(amber_gunzip_resume(g, &p, 0, &err), AMBER_E_CORRUPT);
    p = good, p.where = (enum amber_gunzip_where)5;
    assert_int_equal(amber_gunzip_resume(g, &p, 0, &err), AMBER_E_CORRUPT);
    assert_int_equal(amber_gunzip_resume(g, &good, AMBER_GUNZIP_WINDOW + 1, &err), AMBER_E_CORRUPT);
    amber_gunzip_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_any_encoding_is_same_text),
        cmocka_unit_test(run_in_small_pieces_is_same_text),
        cmocka_unit_test(run_resumed_at_each_stop_is_same_text),
        cmocka_unit_test(run_all_header_fields_are_skipped),
        cmocka_unit_test(run_cut_anywhere_wants_input),
        cmocka_unit_test(run_any_bit_wrong_is_as_by_zlib),
        cmocka_unit_test(resume_impossible_point_is_corrupt),
    };
    make_text(text, sizeof(text));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
