/*
 * test_foreign.c - files by zlib and libzstd in many forms, read by their index: whole and at random; cut
 * off and damaged.
 */
#include "foreign_fixture.h"

/* ---- gzip ---- */

static void open_one_member_reads_anywhere(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, sizeof(text));
    put_buf(&t, KEY_GZ, &b);
    check_sound(&t, KEY_GZ, text, sizeof(text));
    end(&t);
}

static void open_many_members_is_one_text(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    size_t at = 0;
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    /* Small, empty and large ones in turn. */
    for (size_t i = 0; at < sizeof(text); i++) {
        size_t n = i % 7 == 6 ? 2500000 : i % 7 == 5 ? 0 : 65280;
        n = n < sizeof(text) - at ? n : sizeof(text) - at;
        add_gzip(&b, text + at, n);
        at += n;
    }
    put_buf(&t, KEY_GZ, &b);
    check_sound(&t, KEY_GZ, text, sizeof(text));
    end(&t);
}

/* Noise is as long when it is stored, and files are read in pieces of 1 MiB: the first of them ends
 * within a large member, behind a small one of the same block, which isn't the file's first. */
static void open_members_across_pieces_of_the_file_are_one_text(void **state)
{
    static const size_t lens[] = {900000, 100000, 1500000};
    static uint8_t noise[TEXT_BYTES];
    (void)state;
    make_noise(noise, sizeof(noise), 3);
    for (int zstd = 0; zstd < 2; zstd++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        struct ff t;
        start(&t, 1U << 30);
        for (size_t at = 0, i = 0, n; at < sizeof(noise); at += n, i++) {
            n = lens[i % 3] < sizeof(noise) - at ? lens[i % 3] : sizeof(noise) - at;
            if (zstd)
                add_zstd(&b, noise + at, n, true);
            else
                add_gzip(&b, noise + at, n);
        }
        const char *key = zstd ? KEY_ZST : KEY_GZ;
        put_buf(&t, key, &b);
        check_sound(&t, key, noise, sizeof(noise));
        end(&t);
    }
}

static void open_zeros_behind_are_padding(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 100000);
    size_t len = b.len, padding = 6U << 20;
    FX_OK(amber_buf_reserve(&b, padding, &err));
    memset(b.data + len, 0, padding);
    b.len = len + 1;
    put_buf(&t, KEY_GZ, &b);
    check_sound(&t, KEY_GZ, text, 100000);
    b.len = len + padding;
    put_buf(&t, KEY_GZ, &b);
    check_sound(&t, KEY_GZ, text, 100000);
    b.data[b.len - 1] = 'x'; /* neither zero nor a member */
    put_buf(&t, KEY_GZ, &b);
    check_damaged(&t, KEY_GZ, text, 100000);
    end(&t);
}

static void open_empty_files_are_empty(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    put(&t, KEY_GZ, "", 0);
    check_sound(&t, KEY_GZ, text, 0);
    put(&t, KEY_ZST, "", 0);
    check_sound(&t, KEY_ZST, text, 0);
    add_gzip(&b, "", 0);
    put_buf(&t, KEY_GZ, &b);
    check_sound(&t, KEY_GZ, text, 0);
    b.len = 0;
    add_zstd(&b, "", 0, true);
    put_buf(&t, KEY_ZST, &b);
    check_sound(&t, KEY_ZST, text, 0);
    end(&t);
}

/* Cut anywhere: a beginning of the text that is as long as zlib's, or almost. */
static void open_cut_gzip_reads_up_to_there(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    size_t last = 0;
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 300000);
    add_gzip(&b, text + 300000, 2000000);
    size_t len = b.len;
    for (size_t i = 1; i < 12; i++) {
        struct amber_err err = AMBER_ERR_INIT;
        b.len = i < 8 ? len * i / 8 : len - (12 - i) * 2;
        put_buf(&t, KEY_GZ, &b);
        struct amber_reader *r = open_foreign(&t, KEY_GZ);
        size_t good = (size_t)amber_reader_size(r) - 1, n;
        char byte;
        assert_non_null(amber_foreign_fault(r));
        assert_true(good >= last && good <= 2300000);
        assert_true(i < 8 || good == 2300000); /* within the last eight bytes all text is there */
        check_reader(r, text, good);
        assert_int_equal(amber_reader_read(r, good, &byte, 1, &n, &err), AMBER_E_CORRUPT);
        amber_reader_close(r);
        last = good;
    }
    end(&t);
}

/* A member that is wrong takes itself along and what is behind, nothing before it. */
static void open_damaged_member_reads_those_before(void **state)
{
    static const size_t lens[] = {70000, 2500000, 50000, 1500000};
    (void)state;
    for (size_t bad = 0; bad < 4; bad++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        size_t at = 0, good = 0, wrong = 0;
        struct ff t;
        start(&t, 1U << 30);
        for (size_t i = 0; i < 4; i++) {
            add_gzip(&b, text + at, lens[i]);
            at += lens[i];
            if (i == bad) {
                wrong = b.len - 8; /* its CRC-32 */
                good = at - lens[i];
            }
        }
        b.data[wrong] ^= 1;
        put_buf(&t, KEY_GZ, &b);
        check_damaged(&t, KEY_GZ, text, good);
        end(&t);
    }
}

/* Two members: what there is of the second one's head or checksum tells nothing of its text. */
static void open_gzip_cut_in_header_or_trailer_reads_all_text(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 50000);
    size_t first = b.len;
    add_gzip(&b, text + 50000, 50000);
    size_t both = b.len;
    for (b.len = first + 1; b.len <= first + 10; b.len++) {
        put_buf(&t, KEY_GZ, &b);
        check_damaged(&t, KEY_GZ, text, 50000);
    }
    for (b.len = both - 8; b.len < both; b.len++) {
        put_buf(&t, KEY_GZ, &b);
        check_damaged(&t, KEY_GZ, text, 100000);
    }
    for (b.len = 1; b.len <= 10; b.len++) {
        put_buf(&t, KEY_GZ, &b);
        check_damaged(&t, KEY_GZ, text, 0);
    }
    end(&t);
}

/* The end was never written, and reads as zeros: as if it weren't there. */
static void open_zeros_for_the_end_is_cut_off_there(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 3000000);
    size_t whole = b.len, at = whole / 2;
    b.len = at;
    put_buf(&t, KEY_GZ, &b);
    size_t good = check_beginning(&t, KEY_GZ, text, 3000000);
    memset(b.data + at, 0, whole - at);
    b.len = whole;
    put_buf(&t, KEY_GZ, &b);
    size_t zeros_good = check_beginning(&t, KEY_GZ, text, 3000000);
    assert_true(good > 1000000 && zeros_good <= good && zeros_good + 100 > good);
    end(&t);
}

/* Bytes written over, and one bit: where it isn't text that is damaged, or nothing, the text is
 * right up to an error. */
static void open_damaged_gzip_gives_no_wrong_byte(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    char key[64];
    uint8_t kept[200];
    uint32_t seed = 5;
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    const uint8_t *from = text + 1500000;
    add_gzip(&b, from, 1100000); /* by more than a missed end is told from */
    size_t first = b.len;
    add_gzip(&b, from + 1100000, 60000);
    for (size_t i = 0; i < 120; i++) {
        seed = seed * 1664525U + 1013904223U;
        size_t n = i % 3 ? sizeof(kept) : 1;
        size_t at = i % 3 == 2 ? b.len - 8 - n - (seed >> 8) % 50 : (seed >> 8) % (b.len - n);
        memcpy(kept, b.data + at, n);
        for (size_t k = 0; k < n; k++)
            b.data[at + k] ^= n == 1 ? (char)(1 << i % 8) : (char)text[1100000 + i * 997 + k];
        snprintf(key, sizeof(key), "other/%zu.json.gz", i); /* replacing files costs */
        put_buf(&t, key, &b);
        size_t good = check_beginning(&t, key, from, 1160000);
        assert_true(at < first ? good == 0 || good == 1160000 : good >= 1100000);
        memcpy(b.data + at, kept, n);
    }
    end(&t);
}

/* ---- zstd ---- */

static void open_zstd_frames_are_one_text(void **state)
{
    static const size_t frames[] = {1000, 65536, 700000, 1900000, 3000000, TEXT_BYTES};
    (void)state;
    for (size_t k = 0; k < amber_countof(frames) * 2; k++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        struct amber_err err = AMBER_ERR_INIT;
        struct ff t;
        start(&t, 1U << 30);
        for (size_t at = 0, n; at < sizeof(text); at += n) {
            n = frames[k / 2] < sizeof(text) - at ? frames[k / 2] : sizeof(text) - at;
            FX_OK(amber_buf_append(&b, "\x55\x2a\x4d\x18\x03\0\0\0abc", 11, &err));
            add_zstd(&b, text + at, n, k % 2);
        }
        put_buf(&t, KEY_ZST, &b);
        check_sound(&t, KEY_ZST, text, sizeof(text));
        end(&t);
    }
}

static void open_cut_zstd_reads_up_to_there(void **state)
{
    static const size_t frames[] = {100000, 1900000, TEXT_BYTES};
    (void)state;
    for (size_t k = 0; k < amber_countof(frames); k++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        struct amber_err err = AMBER_ERR_INIT;
        struct ff t;
        start(&t, 1U << 30);
        for (size_t at = 0, n; at < sizeof(text); at += n) {
            n = frames[k] < sizeof(text) - at ? frames[k] : sizeof(text) - at;
            add_zstd(&b, text + at, n, true);
        }
        b.len = b.len / 3 * 2;
        put_buf(&t, KEY_ZST, &b);
        struct amber_reader *r = open_foreign(&t, KEY_ZST);
        size_t good = (size_t)amber_reader_size(r) - 1, n;
        char byte;
        assert_true(good > TEXT_BYTES / 3 && good < TEXT_BYTES);
        check_reader(r, text, good);
        assert_int_equal(amber_reader_read(r, good, &byte, 1, &n, &err), AMBER_E_CORRUPT);
        amber_reader_close(r);
        end(&t);
    }
}

/* Small frames and a large one, with checksums. */
static void open_damaged_zstd_gives_no_wrong_byte(void **state)
{
    static const size_t frames[] = {30000, 3000000};
    uint32_t seed = 5;
    (void)state;
    for (size_t k = 0; k < amber_countof(frames); k++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        size_t len = 3000000 + 60000, second = 0;
        char key[64];
        struct ff t;
        start(&t, 1U << 30);
        for (size_t at = 0, n; at < len; at += n) {
            n = frames[k] < len - at ? frames[k] : len - at;
            if (at == frames[k])
                second = b.len;
            add_zstd(&b, text + at, n, true);
        }
        for (size_t i = 0; i < 12; i++) {
            seed = seed * 1664525U + 1013904223U;
            size_t at = (seed >> 4) % b.len;
            b.data[at] ^= (char)(1 << i % 8);
            snprintf(key, sizeof(key), "other/%zu.json.zst", i);
            put_buf(&t, key, &b);
            size_t good = check_beginning(&t, key, text, len);
            assert_true(at < second || good >= frames[k]);
            b.data[at] ^= (char)(1 << i % 8);
        }
        end(&t);
    }
}

/* Without a checksum nothing but the frame's own form tells; what ends within one still counts. */
static void open_zstd_cut_in_header_or_checksum_reads_all_text(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_zstd(&b, text, 50000, true);
    size_t first = b.len;
    add_zstd(&b, text + 50000, 50000, false);
    size_t both = b.len;
    for (b.len = first + 1; b.len <= first + 6; b.len++) {
        put_buf(&t, KEY_ZST, &b);
        check_damaged(&t, KEY_ZST, text, 50000);
    }
    for (b.len = both - 4; b.len < both; b.len++) {
        put_buf(&t, KEY_ZST, &b);
        check_damaged(&t, KEY_ZST, text, 100000);
    }
    end(&t);
}

static void open_damaged_frame_reads_those_before(void **state)
{
    static const size_t lens[] = {70000, 4000000, 500000};
    (void)state;
    for (size_t bad = 0; bad < 3; bad++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        size_t at = 0, good = 0, wrong = 0;
        struct ff t;
        start(&t, 1U << 30);
        for (size_t i = 0; i < 3; i++) {
            add_zstd(&b, text + at, lens[i], true);
            at += lens[i];
            if (i == bad) {
                wrong = b.len - 2; /* its checksum */
                good = at - lens[i];
            }
        }
        b.data[wrong] ^= 1;
        put_buf(&t, KEY_ZST, &b);
        check_damaged(&t, KEY_ZST, text, good);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_one_member_reads_anywhere),
        cmocka_unit_test(open_many_members_is_one_text),
        cmocka_unit_test(open_members_across_pieces_of_the_file_are_one_text),
        cmocka_unit_test(open_zeros_behind_are_padding),
        cmocka_unit_test(open_empty_files_are_empty),
        cmocka_unit_test(open_cut_gzip_reads_up_to_there),
        cmocka_unit_test(open_damaged_member_reads_those_before),
        cmocka_unit_test(open_gzip_cut_in_header_or_trailer_reads_all_text),
        cmocka_unit_test(open_zeros_for_the_end_is_cut_off_there),
        cmocka_unit_test(open_damaged_gzip_gives_no_wrong_byte),
        cmocka_unit_test(open_zstd_frames_are_one_text),
        cmocka_unit_test(open_cut_zstd_reads_up_to_there),
        cmocka_unit_test(open_zstd_cut_in_header_or_checksum_reads_all_text),
        cmocka_unit_test(open_damaged_zstd_gives_no_wrong_byte),
        cmocka_unit_test(open_damaged_frame_reads_those_before),
    };
    make_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
