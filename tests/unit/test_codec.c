/*
 * test_codec.c - blocks, headers, trailers and scans of the three codecs: round trips, what damage
 * is told apart, and that the ordinary command line tools read the files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <cmocka.h>

#include "amber/codec.h"
#include "temp_folder.h"

#define MIB (1024U * 1024U)

static const enum amber_codec_kind kinds[] = {AMBER_CODEC_NONE, AMBER_CODEC_GZIP, AMBER_CODEC_ZSTD};

static struct amber_codec *new_codec(enum amber_codec_kind kind)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_codec *c = NULL;

    if (amber_codec_new(kind, amber_codec_info(kind)->level_default, &c, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    return c;
}

/* Bytes that don't compress, the same in every run. */
static void fill_noise(uint8_t *p, size_t len, uint64_t seed)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15U + 1;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = (uint8_t)(x >> 32);
    }
}

static void fill_rows(uint8_t *p, size_t len, uint64_t seed)
{
    size_t at = 0;

    for (uint64_t i = seed * 1000; at < len; i++) {
        char row[100];
        size_t n = (size_t)snprintf(row, sizeof(row),
                                    "{\"id\":%llu,\"level\":\"info\",\"message\":\"step %llu\"}\n",
                                    (unsigned long long)i, (unsigned long long)(i * i % 997));
        size_t take = n < len - at ? n : len - at;
        memcpy(p + at, row, take);
        at += take;
    }
}

static uint8_t *block_of(size_t len, bool noise, uint64_t seed)
{
    uint8_t *p = malloc(len + 1);

    assert_non_null(p);
    if (noise)
        fill_noise(p, len, seed);
    else
        fill_rows(p, len, seed);
    return p;
}

static struct amber_buf compressed(struct amber_codec *c, const void *raw, size_t len)
{
    struct amber_buf out = AMBER_BUF_INIT(AMBER_BLOCK_STORED_MAX);
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_codec_compress(c, raw, len, &out, &err) != AMBER_OK)
        fail_msg("%s", err.text);
    return out;
}

static void compress_of_any_size_round_trips(void **state)
{
    static const size_t sizes[] = {
        1,       2,   63,      64,           1000,        65535,          65536,
        MIB - 1, MIB, 2 * MIB, 3 * MIB + 17, 4 * MIB - 1, AMBER_BLOCK_MAX};
    AMBER_AUTO_FREE uint8_t *back = malloc(AMBER_BLOCK_MAX + 1);

    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        for (size_t i = 0; i < 2 * amber_countof(sizes); i++) {
            size_t len = sizes[i / 2];
            struct amber_err err = AMBER_ERR_INIT;
            AMBER_AUTO_FREE uint8_t *raw = block_of(len, i % 2, i);
            AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, len);
            assert_true(stored.len <= AMBER_BLOCK_STORED_MAX);
            back[len] = 0xAA;
            if (amber_codec_decompress(c, stored.data, stored.len, back, len, &err) != AMBER_OK)
                fail_msg("%s", err.text);
            assert_memory_equal(back, raw, len);
            assert_int_equal(back[len], 0xAA);
        }
        amber_codec_free(c);
    }
}

static void compress_at_every_level_round_trips(void **state)
{
    AMBER_AUTO_FREE uint8_t *raw = block_of(100000, false, 1);
    AMBER_AUTO_FREE uint8_t *back = malloc(100000);

    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        const struct amber_codec_info *info = amber_codec_info(kinds[k]);
        for (int level = info->level_min; level <= info->level_max; level++) {
            struct amber_err err = AMBER_ERR_INIT;
            struct amber_codec *c = NULL;
            assert_int_equal(amber_codec_new(kinds[k], level, &c, &err), AMBER_OK);
            AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, 100000);
            assert_int_equal(amber_codec_decompress(c, stored.data, stored.len, back, 100000, &err),
                             AMBER_OK);
            assert_memory_equal(back, raw, 100000);
            amber_codec_free(c);
        }
    }
}

static void new_with_level_out_of_range_is_invalid(void **state)
{
    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        const struct amber_codec_info *info = amber_codec_info(kinds[k]);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_codec *c = NULL;
        assert_int_equal(amber_codec_new(kinds[k], info->level_max + 1, &c, &err), AMBER_E_INVALID);
        assert_int_equal(amber_codec_new(kinds[k], info->level_min - 1, &c, &err), AMBER_E_INVALID);
        assert_null(c);
    }
}

static void compress_of_wrong_length_is_refused(void **state)
{
    AMBER_AUTO_FREE uint8_t *raw = block_of(AMBER_BLOCK_MAX + 1, false, 1);

    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(2 * AMBER_BLOCK_STORED_MAX);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_codec *c = new_codec(kinds[k]);
        assert_int_equal(amber_codec_compress(c, raw, 0, &out, &err), AMBER_E_INVALID);
        assert_int_equal(amber_codec_compress(c, raw, AMBER_BLOCK_MAX + 1, &out, &err),
                         AMBER_E_LIMIT);
        assert_int_equal(out.len, 0);
        amber_codec_free(c);
    }
}

static void compress_past_the_ceiling_is_limit_and_changes_nothing(void **state)
{
    AMBER_AUTO_FREE uint8_t *raw = block_of(10000, true, 1);

    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(5000);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_codec *c = new_codec(kinds[k]);
        assert_int_equal(amber_buf_puts(&out, "before", &err), AMBER_OK);
        assert_int_equal(amber_codec_compress(c, raw, 10000, &out, &err), AMBER_E_LIMIT);
        assert_string_equal(out.data, "before");
        assert_int_equal(out.len, 6);
        amber_codec_free(c);
    }
}

/* Decode what may be damaged: CORRUPT, or the right bytes if the damage hit nothing that counts. */
static enum amber_rc decode(struct amber_codec *c, const void *stored, size_t stored_len,
                            const uint8_t *raw, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE uint8_t *back = malloc(len);
    AMBER_AUTO_FREE uint8_t *exact = malloc(stored_len ? stored_len : 1);

    assert_non_null(back);
    assert_non_null(exact);
    memcpy(exact, stored, stored_len); /* so that ASan sees a read past the end */
    enum amber_rc rc = amber_codec_decompress(c, exact, stored_len, back, len, &err);
    if (rc == AMBER_OK)
        assert_memory_equal(back, raw, len);
    return rc;
}

static void decompress_of_truncated_unit_is_corrupt(void **state)
{
    enum { LEN = 3000 };
    AMBER_AUTO_FREE uint8_t *raw = block_of(LEN, false, 1);

    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, LEN);
        for (size_t n = 0; n < stored.len; n++)
            assert_int_equal(decode(c, stored.data, n, raw, LEN), AMBER_E_CORRUPT);
        assert_int_equal(decode(c, stored.data, stored.len, raw, LEN), AMBER_OK);
        amber_codec_free(c);
    }
}

/*
 * Flip each bit once. A few bits carry nothing (the time in gzip's header, the padding behind the
 * last code, an unused code's length): the rows are right then, which decode() asserts, and the
 * archive's digest of the stored bytes finds those too. Plain blocks have no checksum at all.
 */
static void decompress_of_flipped_bit_never_gives_wrong_bytes(void **state)
{
    enum { LEN = 3000 };
    AMBER_AUTO_FREE uint8_t *raw = block_of(LEN, false, 1);

    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, LEN);
        size_t n_bits = stored.len * 8, harmless = 0;
        for (size_t bit = 0; bit < n_bits; bit++) {
            stored.data[bit / 8] = (char)((unsigned char)stored.data[bit / 8] ^ 1U << bit % 8);
            enum amber_rc rc = decode(c, stored.data, stored.len, raw, LEN);
            harmless += rc == AMBER_OK;
            assert_true(rc == AMBER_OK || rc == AMBER_E_CORRUPT);
            stored.data[bit / 8] = (char)((unsigned char)stored.data[bit / 8] ^ 1U << bit % 8);
        }
        assert_true(harmless < n_bits / 20);
        amber_codec_free(c);
    }
}

static void decompress_into_wrong_length_is_corrupt(void **state)
{
    enum { LEN = 3000 };
    AMBER_AUTO_FREE uint8_t *raw = block_of(LEN + 1, false, 1);

    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, LEN);
        assert_int_equal(decode(c, stored.data, stored.len, raw, LEN - 1), AMBER_E_CORRUPT);
        assert_int_equal(decode(c, stored.data, stored.len, raw, LEN + 1), AMBER_E_CORRUPT);
        assert_int_equal(decode(c, stored.data, stored.len, raw, AMBER_BLOCK_MAX + 1),
                         AMBER_E_CORRUPT);
        assert_int_equal(decode(c, stored.data, stored.len, raw, LEN), AMBER_OK);
        amber_codec_free(c);
    }
}

static void decompress_of_more_than_one_unit_is_corrupt(void **state)
{
    enum { LEN = 500 };
    AMBER_AUTO_FREE uint8_t *raw = block_of(2 * LEN, false, 1);

    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        struct amber_err err = AMBER_ERR_INIT;
        AMBER_AUTO_BUF struct amber_buf stored = AMBER_BUF_INIT(MIB);
        assert_int_equal(amber_codec_compress(c, raw, LEN, &stored, &err), AMBER_OK);
        size_t one = stored.len;
        assert_int_equal(amber_codec_compress(c, raw + LEN, LEN, &stored, &err), AMBER_OK);
        assert_int_equal(decode(c, stored.data, stored.len, raw, 2 * LEN), AMBER_E_CORRUPT);
        assert_int_equal(decode(c, stored.data, stored.len, raw, LEN), AMBER_E_CORRUPT);
        assert_int_equal(decode(c, stored.data, one, raw, LEN), AMBER_OK);
        amber_codec_free(c);
    }
}

static void decompress_of_another_codecs_unit_is_corrupt(void **state)
{
    enum { LEN = 500 };
    AMBER_AUTO_FREE uint8_t *raw = block_of(LEN, false, 1);
    struct amber_codec *g = new_codec(AMBER_CODEC_GZIP), *z = new_codec(AMBER_CODEC_ZSTD);
    AMBER_AUTO_BUF struct amber_buf gz = compressed(g, raw, LEN);
    AMBER_AUTO_BUF struct amber_buf zst = compressed(z, raw, LEN);

    (void)state;
    assert_int_equal(decode(z, gz.data, gz.len, raw, LEN), AMBER_E_CORRUPT);
    assert_int_equal(decode(g, zst.data, zst.len, raw, LEN), AMBER_E_CORRUPT);
    assert_int_equal(decode(g, raw, LEN, raw, LEN), AMBER_E_CORRUPT);
    assert_int_equal(decode(z, raw, LEN, raw, LEN), AMBER_E_CORRUPT);
    assert_int_equal(decode(g, gz.data, gz.len, raw, LEN), AMBER_OK); /* the state is still good */
    assert_int_equal(decode(z, zst.data, zst.len, raw, LEN), AMBER_OK);
    amber_codec_free(g);
    amber_codec_free(z);
}

static struct amber_codec *new_trusting(enum amber_codec_kind kind)
{
    struct amber_codec *c = new_codec(kind);

    amber_codec_trust(c);
    return c;
}

static void decompress_of_trusted_unit_compares_all_but_the_checksum(void **state)
{
    enum { LEN = 3000 };
    AMBER_AUTO_FREE uint8_t *raw = block_of(2 * LEN, false, 1);

    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]), *t = new_trusting(kinds[k]);
        struct amber_err err = AMBER_ERR_INIT;
        AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, LEN);
        size_t one = stored.len, sum = one - (kinds[k] == AMBER_CODEC_GZIP ? 8 : 4);
        assert_int_equal(decode(t, stored.data, one, raw, LEN), AMBER_OK);
        assert_int_equal(decode(t, stored.data, one, raw, LEN - 1), AMBER_E_CORRUPT);
        assert_int_equal(decode(t, stored.data, one, raw, LEN + 1), AMBER_E_CORRUPT);
        for (size_t n = 0; n < one; n++)
            assert_int_equal(decode(t, stored.data, n, raw, LEN), AMBER_E_CORRUPT);

        stored.data[sum] ^= 1;
        assert_int_equal(decode(c, stored.data, one, raw, LEN), AMBER_E_CORRUPT);
        assert_int_equal(decode(t, stored.data, one, raw, LEN), AMBER_OK);

        assert_int_equal(amber_codec_compress(c, raw + LEN, LEN, &stored, &err), AMBER_OK);
        assert_int_equal(decode(t, stored.data, stored.len, raw, LEN), AMBER_E_CORRUPT);
        assert_int_equal(decode(t, stored.data, stored.len, raw, 2 * LEN), AMBER_E_CORRUPT);
        amber_codec_free(c);
        amber_codec_free(t);
    }
}

/* What gzip itself writes: not the head that our members have. */
static void decompress_of_trusted_member_with_a_name_works(void **state)
{
    enum { LEN = 3000, HEAD = 10 };
    static const char name[] = "rows.json";
    AMBER_AUTO_FREE uint8_t *raw = block_of(LEN, false, 1);
    struct amber_codec *t = new_trusting(AMBER_CODEC_GZIP);
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf plain = compressed(t, raw, LEN);
    AMBER_AUTO_BUF struct amber_buf named = AMBER_BUF_INIT(MIB);

    (void)state;
    assert_int_equal(amber_buf_append(&named, plain.data, HEAD, &err), AMBER_OK);
    named.data[3] = 8;
    assert_int_equal(amber_buf_append(&named, name, sizeof(name), &err), AMBER_OK);
    assert_int_equal(amber_buf_append(&named, plain.data + HEAD, plain.len - HEAD, &err), AMBER_OK);
    assert_int_equal(decode(t, named.data, named.len, raw, LEN), AMBER_OK);
    assert_int_equal(decode(t, named.data, named.len - 1, raw, LEN), AMBER_E_CORRUPT);
    amber_codec_free(t);
}

/* A whole archive as the writer makes it. */
struct archive {
    struct amber_buf stored, raw, meta;
    struct amber_unit_lens units[8];
    size_t n_units;
};

static void add_unit(struct archive *a, size_t stored_before, size_t raw_len)
{
    if (a->stored.len > stored_before)
        a->units[a->n_units++] =
            (struct amber_unit_lens){(uint32_t)(a->stored.len - stored_before), (uint32_t)raw_len};
}

static struct archive make_archive(struct amber_codec *c, size_t meta_len)
{
    static const size_t sizes[] = {MIB, 5, 300000};
    struct archive a = {.stored = AMBER_BUF_INIT(32 * MIB),
                        .raw = AMBER_BUF_INIT(32 * MIB),
                        .meta = AMBER_BUF_INIT(AMBER_BLOCK_MAX)};
    struct amber_err err = AMBER_ERR_INIT;

    AMBER_AUTO_FREE uint8_t *meta = block_of(meta_len, true, 3);
    assert_int_equal(amber_buf_append(&a.meta, meta, meta_len, &err), AMBER_OK);
    assert_int_equal(amber_codec_header(c, meta, meta_len, &a.stored, &err), AMBER_OK);
    add_unit(&a, 0, 0);
    for (size_t i = 0; i < amber_countof(sizes); i++) {
        AMBER_AUTO_FREE uint8_t *raw = block_of(sizes[i], false, i);
        size_t before = a.stored.len;
        assert_int_equal(amber_buf_append(&a.raw, raw, sizes[i], &err), AMBER_OK);
        assert_int_equal(amber_codec_compress(c, raw, sizes[i], &a.stored, &err), AMBER_OK);
        add_unit(&a, before, sizes[i]);
    }
    assert_int_equal(amber_codec_trailer(c, a.units, a.n_units, &a.stored, &err), AMBER_OK);
    return a;
}

static void clear_archive(struct archive *a)
{
    amber_buf_clear(&a->stored);
    amber_buf_clear(&a->raw);
    amber_buf_clear(&a->meta);
}

static void write_file(const char *path, const struct amber_buf *b)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
}

/* Whether the command's output is exactly want. */
static bool command_gives(const char *command, const struct amber_buf *want)
{
    AMBER_AUTO_FREE char *got = malloc(want->len + 1);
    FILE *f = popen(command, "r");

    assert_non_null(got);
    assert_non_null(f);
    size_t n = fread(got, 1, want->len + 1, f);
    return pclose(f) == 0 && n == want->len && memcmp(got, want->data, n) == 0;
}

static void check_command(enum amber_codec_kind kind, const char *tool)
{
    char dir[TEMP_FOLDER_MAX], path[128], command[256];
    struct amber_codec *c = new_codec(kind);
    struct archive a = make_archive(c, 150000);

    temp_folder_make(dir);
    snprintf(path, sizeof(path), "%s/a%s", dir, amber_codec_info(kind)->suffix);
    snprintf(command, sizeof(command), "%s %s", tool, path);
    write_file(path, &a.stored);
    bool same = command_gives(command, &a.raw);
    temp_folder_remove(dir);
    clear_archive(&a);
    amber_codec_free(c);
    assert_true(same);
}

static void archive_is_read_by_gzip_command(void **state)
{
    (void)state;
    check_command(AMBER_CODEC_GZIP, "gzip -dc");
}

static void archive_is_read_by_zstd_command(void **state)
{
    (void)state;
    if (system("command -v zstd >/dev/null") != 0) {
        print_message("the zstd command isn't installed\n");
        skip();
    }
    check_command(AMBER_CODEC_ZSTD, "zstd -dcq");
}

static void archive_without_compression_is_the_text(void **state)
{
    (void)state;
    check_command(AMBER_CODEC_NONE, "cat");
}

/* The seek table as the seekable format states it, read from the file's end. */
static void zstd_trailer_is_a_seek_table(void **state)
{
    struct amber_codec *c = new_codec(AMBER_CODEC_ZSTD);
    struct archive a = make_archive(c, 100);
    const uint8_t *end = (const uint8_t *)a.stored.data + a.stored.len;
    static const uint8_t footer[] = {4, 0, 0, 0, 0, 0xB1, 0xEA, 0x92, 0x8F};
    static const uint8_t head[] = {0x5E, 0x2A, 0x4D, 0x18, 4 * 8 + 9, 0, 0, 0};

    (void)state;
    assert_int_equal(a.n_units, 4);
    assert_memory_equal(end - 9, footer, 9);
    assert_memory_equal(end - 9 - 32 - 8, head, 8);
    uint64_t off = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t entry[2];
        memcpy(entry, end - 9 - 32 + 8 * i, 8);
        assert_int_equal(entry[0], a.units[i].stored_len);
        assert_int_equal(entry[1], a.units[i].raw_len);
        off += entry[0];
    }
    assert_int_equal(off, a.stored.len - 9 - 32 - 8);
    clear_archive(&a);
    amber_codec_free(c);
}

static void check_scan(enum amber_codec_kind kind, size_t meta_len)
{
    struct amber_codec *c = new_codec(kind);
    struct archive a = make_archive(c, meta_len);
    AMBER_AUTO_BUF struct amber_buf raw = AMBER_BUF_INIT(32 * MIB);
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(AMBER_BLOCK_MAX);
    size_t off = 0, n = 0;

    for (; off < a.stored.len; n++) {
        struct amber_scanned unit;
        struct amber_err err = AMBER_ERR_INIT;
        if (amber_codec_scan(c, a.stored.data + off, a.stored.len - off, &unit, &out, &err))
            fail_msg("at %zu: %s", off, err.text);
        if (kind != AMBER_CODEC_NONE && n < a.n_units)
            assert_int_equal(unit.stored_len, a.units[n].stored_len);
        if (unit.type == AMBER_UNIT_HEADER) {
            assert_int_equal(n, 0);
            assert_int_equal(out.len, a.meta.len);
            assert_memory_equal(out.data, a.meta.data, out.len);
        } else if (unit.type == AMBER_UNIT_BLOCK) {
            assert_int_equal(amber_buf_append(&raw, out.data, out.len, &err), AMBER_OK);
        } else {
            assert_int_equal(n, a.n_units); /* the trailer is the last */
            assert_int_equal(out.len, 0);
        }
        off += unit.stored_len;
    }
    assert_int_equal(off, a.stored.len);
    assert_int_equal(raw.len, a.raw.len);
    assert_memory_equal(raw.data, a.raw.data, raw.len);
    assert_int_equal(n, kind == AMBER_CODEC_NONE ? 1 : a.n_units + (kind == AMBER_CODEC_ZSTD));
    clear_archive(&a);
    amber_codec_free(c);
}

static void scan_finds_every_unit_and_the_meta(void **state)
{
    /* 59,968 bytes and their digest fill one part of a gzip header exactly. */
    static const size_t meta[] = {0, 1, 100, 59967, 59968, 59969, 300000};

    (void)state;
    for (size_t i = 0; i < amber_countof(meta); i++)
        for (size_t k = 0; k < amber_countof(kinds); k++)
            check_scan(kinds[k], meta[i]);
}

static enum amber_rc scan(struct amber_codec *c, const void *stored, size_t len,
                          struct amber_scanned *unit)
{
    AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(AMBER_BLOCK_MAX);
    AMBER_AUTO_FREE uint8_t *exact = malloc(len ? len : 1);
    struct amber_err err = AMBER_ERR_INIT;

    assert_non_null(exact);
    memcpy(exact, stored, len);
    enum amber_rc rc = amber_codec_scan(c, exact, len, unit, &out, &err);
    if (rc)
        assert_int_equal(out.len, 0);
    return rc;
}

static void scan_of_truncated_header_is_corrupt(void **state)
{
    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        struct amber_scanned unit;
        struct amber_err err = AMBER_ERR_INIT;
        AMBER_AUTO_BUF struct amber_buf head = AMBER_BUF_INIT(MIB);
        AMBER_AUTO_FREE uint8_t *meta = block_of(60500, true, 5);
        assert_int_equal(amber_codec_header(c, meta, 60500, &head, &err), AMBER_OK);
        for (size_t n = 1; n < head.len; n += n < 100 || n > head.len - 700 ? 1 : 997)
            assert_int_equal(scan(c, head.data, n, &unit), AMBER_E_CORRUPT);
        assert_int_equal(scan(c, head.data, head.len, &unit), AMBER_OK);
        amber_codec_free(c);
    }
}

static void scan_of_flipped_bit_in_header_never_gives_wrong_meta(void **state)
{
    static const char meta[] = "{\"columns\":[{\"name\":\"id\",\"type\":\"uuid\"}]}";

    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        struct amber_err err = AMBER_ERR_INIT;
        AMBER_AUTO_BUF struct amber_buf head = AMBER_BUF_INIT(MIB);
        AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(AMBER_BLOCK_MAX);
        assert_int_equal(amber_codec_header(c, meta, sizeof(meta), &head, &err), AMBER_OK);
        for (size_t bit = 0; bit < head.len * 8; bit++) {
            struct amber_scanned unit;
            head.data[bit / 8] = (char)((unsigned char)head.data[bit / 8] ^ 1U << bit % 8);
            if (amber_codec_scan(c, head.data, head.len, &unit, &out, &err) == AMBER_OK) {
                assert_int_not_equal(unit.type, AMBER_UNIT_BLOCK);
                if (unit.type == AMBER_UNIT_HEADER)
                    assert_memory_equal(out.data, meta, sizeof(meta));
            }
            head.data[bit / 8] = (char)((unsigned char)head.data[bit / 8] ^ 1U << bit % 8);
        }
        amber_codec_free(c);
    }
}

static void scan_of_damaged_block_is_corrupt(void **state)
{
    AMBER_AUTO_FREE uint8_t *raw = block_of(5000, false, 1);

    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        struct amber_scanned unit;
        AMBER_AUTO_BUF struct amber_buf stored = compressed(c, raw, 5000);
        for (size_t n = 1; n < stored.len; n++)
            assert_int_equal(scan(c, stored.data, n, &unit), AMBER_E_CORRUPT);
        stored.data[stored.len / 2] = (char)(stored.data[stored.len / 2] ^ 4);
        assert_int_not_equal(scan(c, stored.data, stored.len, &unit), AMBER_OK);
        assert_int_equal(scan(c, "hello, world", 12, &unit), AMBER_E_CORRUPT);
        amber_codec_free(c);
    }
}

static void scan_of_zero_padding_behind_gzip_is_other(void **state)
{
    struct amber_codec *c = new_codec(AMBER_CODEC_GZIP);
    struct amber_scanned unit;
    char zeros[512] = {0};

    (void)state;
    assert_int_equal(scan(c, zeros, sizeof(zeros), &unit), AMBER_OK);
    assert_int_equal(unit.type, AMBER_UNIT_OTHER);
    assert_int_equal(unit.stored_len, sizeof(zeros));
    amber_codec_free(c);
}

/* What other programs write: named members, frames of unknown size, units larger than a block. */
static void check_foreign(enum amber_codec_kind kind, const char *tool, size_t len,
                          enum amber_rc want)
{
    char dir[TEMP_FOLDER_MAX], command[256];
    struct amber_codec *c = new_codec(kind);
    AMBER_AUTO_FREE uint8_t *raw = block_of(len, false, 9);
    struct amber_buf text = {.data = (char *)raw, .len = len};
    AMBER_AUTO_FREE char *stored = malloc(len + MIB);
    struct amber_scanned unit = {.type = AMBER_UNIT_OTHER};

    temp_folder_make(dir);
    snprintf(command, sizeof(command), "%s/text", dir);
    write_file(command, &text);
    snprintf(command, sizeof(command), "cd %s && %s", dir, tool);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(stored, 1, len + MIB, f);
    assert_int_equal(pclose(f), 0);
    temp_folder_remove(dir);
    assert_int_equal(scan(c, stored, n, &unit), want);
    if (want == AMBER_OK) {
        assert_int_equal(unit.type, AMBER_UNIT_BLOCK);
        assert_int_equal(unit.stored_len, n);
    }
    amber_codec_free(c);
}

static void scan_of_units_by_other_programs_works_up_to_a_block(void **state)
{
    (void)state;
    check_foreign(AMBER_CODEC_GZIP, "gzip -c text", 100000, AMBER_OK);
    check_foreign(AMBER_CODEC_GZIP, "gzip -c text", 5 * MIB, AMBER_E_LIMIT);
    if (system("command -v zstd >/dev/null") != 0)
        return;
    check_foreign(AMBER_CODEC_ZSTD, "zstd -qc text", 100000, AMBER_OK);
    check_foreign(AMBER_CODEC_ZSTD, "zstd -qc < text", 100000, AMBER_OK);
    check_foreign(AMBER_CODEC_ZSTD, "zstd -qc text", 5 * MIB, AMBER_E_LIMIT);
    check_foreign(AMBER_CODEC_ZSTD, "zstd -qc < text", 5 * MIB, AMBER_E_LIMIT);
}

static void scan_of_nothing_is_invalid(void **state)
{
    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        struct amber_scanned unit;
        assert_int_equal(scan(c, "", 0, &unit), AMBER_E_INVALID);
        amber_codec_free(c);
    }
}

static void scan_of_plain_file_gives_full_blocks(void **state)
{
    struct amber_codec *c = new_codec(AMBER_CODEC_NONE);
    AMBER_AUTO_FREE uint8_t *raw = block_of(AMBER_BLOCK_MAX + 100, false, 1);
    struct amber_scanned unit;

    (void)state;
    assert_int_equal(scan(c, raw, AMBER_BLOCK_MAX + 100, &unit), AMBER_OK);
    assert_int_equal(unit.stored_len, AMBER_BLOCK_MAX);
    assert_int_equal(scan(c, raw, 100, &unit), AMBER_OK);
    assert_int_equal(unit.stored_len, 100);
    amber_codec_free(c);
}

static void header_past_the_limit_is_refused(void **state)
{
    AMBER_AUTO_FREE uint8_t *meta = block_of(AMBER_BLOCK_MAX, true, 1);

    (void)state;
    for (size_t k = 1; k < amber_countof(kinds); k++) {
        struct amber_codec *c = new_codec(kinds[k]);
        AMBER_AUTO_BUF struct amber_buf out = AMBER_BUF_INIT(16 * MIB);
        struct amber_err err = AMBER_ERR_INIT;
        assert_int_equal(amber_codec_header(c, meta, AMBER_BLOCK_MAX, &out, &err), AMBER_E_LIMIT);
        assert_int_equal(out.len, 0);
        amber_codec_free(c);
    }
}

static void info_by_name_and_suffix_finds_the_codec(void **state)
{
    (void)state;
    for (size_t k = 0; k < amber_countof(kinds); k++) {
        const struct amber_codec_info *info = amber_codec_info(kinds[k]);
        assert_int_equal(info->kind, kinds[k]);
        assert_ptr_equal(amber_codec_by_name(info->name), info);
    }
    assert_null(amber_codec_by_name("lzma"));
    assert_null(amber_codec_by_name(""));
    assert_int_equal(amber_codec_by_suffix("d/a.json.gz")->kind, AMBER_CODEC_GZIP);
    assert_int_equal(amber_codec_by_suffix("a.json.zst")->kind, AMBER_CODEC_ZSTD);
    assert_int_equal(amber_codec_by_suffix("a.json")->kind, AMBER_CODEC_NONE);
    assert_int_equal(amber_codec_by_suffix("d.gz/a")->kind, AMBER_CODEC_NONE);
    assert_int_equal(amber_codec_by_suffix(".gz")->kind, AMBER_CODEC_NONE);
    assert_int_equal(amber_codec_by_suffix("d/.gz")->kind, AMBER_CODEC_NONE);
    assert_int_equal(amber_codec_by_suffix("")->kind, AMBER_CODEC_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compress_of_any_size_round_trips),
        cmocka_unit_test(compress_at_every_level_round_trips),
        cmocka_unit_test(new_with_level_out_of_range_is_invalid),
        cmocka_unit_test(compress_of_wrong_length_is_refused),
        cmocka_unit_test(compress_past_the_ceiling_is_limit_and_changes_nothing),
        cmocka_unit_test(decompress_of_truncated_unit_is_corrupt),
        cmocka_unit_test(decompress_of_flipped_bit_never_gives_wrong_bytes),
        cmocka_unit_test(decompress_into_wrong_length_is_corrupt),
        cmocka_unit_test(decompress_of_more_than_one_unit_is_corrupt),
        cmocka_unit_test(decompress_of_another_codecs_unit_is_corrupt),
        cmocka_unit_test(decompress_of_trusted_unit_compares_all_but_the_checksum),
        cmocka_unit_test(decompress_of_trusted_member_with_a_name_works),
        cmocka_unit_test(archive_is_read_by_gzip_command),
        cmocka_unit_test(archive_is_read_by_zstd_command),
        cmocka_unit_test(archive_without_compression_is_the_text),
        cmocka_unit_test(zstd_trailer_is_a_seek_table),
        cmocka_unit_test(scan_finds_every_unit_and_the_meta),
        cmocka_unit_test(scan_of_truncated_header_is_corrupt),
        cmocka_unit_test(scan_of_flipped_bit_in_header_never_gives_wrong_meta),
        cmocka_unit_test(scan_of_damaged_block_is_corrupt),
        cmocka_unit_test(scan_of_zero_padding_behind_gzip_is_other),
        cmocka_unit_test(scan_of_units_by_other_programs_works_up_to_a_block),
        cmocka_unit_test(scan_of_nothing_is_invalid),
        cmocka_unit_test(scan_of_plain_file_gives_full_blocks),
        cmocka_unit_test(header_past_the_limit_is_refused),
        cmocka_unit_test(info_by_name_and_suffix_finds_the_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
