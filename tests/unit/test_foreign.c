/*
 * test_foreign.c - files by zlib and libzstd in many forms, read by their index: whole and at
 * random; cut off, damaged, changed; with an index that is damaged or gone.
 */
#include "archive_fixture.h"

#include <dirent.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "amber/foreign.h"

#define TEXT_BYTES (5U * 1024U * 1024U)
#define KEY_GZ "other/a.json.gz"
#define KEY_ZST "other/a.json.zst"

static uint8_t text[TEXT_BYTES];

/* Lines that differ, with a stretch of noise and one that is all the same. */
static void make_text(void)
{
    uint32_t seed = 7;

    for (size_t i = 0; i < sizeof(text); i++) {
        seed = seed * 1664525U + 1013904223U;
        if (i / 500000 == 2)
            text[i] = (uint8_t)(seed >> 24);
        else if (i / 500000 == 3)
            text[i] = 'x';
        else
            text[i] =
                i % 60 < 50
                    ? (uint8_t)("{\"id\":1,\"name\":\"a stored row of text\",\"value\":\"12\","[i %
                                                                                                60])
                    : (uint8_t)('0' + (seed >> 28));
    }
}

static void add_gzip(struct amber_buf *b, const void *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)data, .avail_in = (unsigned)len};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, len) + 64;
    FX_OK(amber_buf_reserve(b, room, &err));
    z.next_out = (uint8_t *)b->data + b->len;
    z.avail_out = (unsigned)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b->len += z.total_out;
    deflateEnd(&z);
}

static void add_zstd(struct amber_buf *b, const void *data, size_t len, bool sized)
{
    struct amber_err err = AMBER_ERR_INIT;
    ZSTD_CCtx *c = ZSTD_createCCtx();

    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
    FX_OK(amber_buf_reserve(b, ZSTD_compressBound(len), &err));
    size_t n = ZSTD_compress2(c, b->data + b->len, ZSTD_compressBound(len), data, len);
    assert_false(ZSTD_isError(n));
    b->len += n;
    ZSTD_freeCCtx(c);
}

/* ---- a store, a cache folder, an engine ---- */

struct ff {
    struct fx fx;
    char cache_path[300];
    struct amber_foreign *f;
    struct amber_cache *cache;
};

static void start(struct ff *t, uint64_t disk_bytes)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_foreign_config cfg = {.store_name = "test",
                                       .cache_path = t->cache_path,
                                       .disk_bytes = disk_bytes,
                                       .memory_bytes = 32U << 20};

    fx_open(&t->fx);
    snprintf(t->cache_path, sizeof(t->cache_path), "%s.cache", t->fx.dir);
    cfg.store = t->fx.st;
    FX_OK(amber_foreign_new(&cfg, &t->f, &err));
    FX_OK(amber_cache_new(8U << 20, t->fx.pool, &t->cache, &err));
}

static void end(struct ff *t)
{
    char command[400];

    amber_cache_free(t->cache);
    amber_foreign_free(t->f);
    snprintf(command, sizeof(command), "rm -rf '%s'", t->cache_path);
    assert_int_equal(system(command), 0);
    fx_close(&t->fx);
}

/* Put or replace a file by another program's means. */
static void put(struct ff *t, const char *key, const void *data, size_t len)
{
    char path[700];
    FILE *f;

    snprintf(path, sizeof(path), "%s/other", t->fx.dir);
    mkdir(path, 0750);
    snprintf(path, sizeof(path), "%s/%s", t->fx.dir, key);
    unlink(path);
    assert_non_null(f = fopen(path, "wb"));
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct amber_reader *open_foreign(struct ff *t, const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;

    FX_OK(amber_foreign_open(t->f, key, t->cache, &r, &err));
    return r;
}

/* The reader has want's len bytes, in one go and at places all over. */
static void check_reader(struct amber_reader *r, const uint8_t *want, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint8_t *got = malloc(len ? len : 1);
    size_t n;

    FX_OK(amber_reader_read(r, 0, got, len, &n, &err));
    assert_int_equal(n, len);
    assert_memory_equal(got, want, len);
    for (size_t i = 0; i < 40 && len > 0; i++) {
        uint64_t off = (uint64_t)i * 7919U * 1237U % len;
        size_t want_n = len - off < 5000 ? (size_t)(len - off) : 5000;
        FX_OK(amber_reader_read(r, off, got, want_n, &n, &err));
        assert_int_equal(n, want_n);
        assert_memory_equal(got, want + off, want_n);
    }
    free(got);
}

/* A sound file with this text. */
static void check_sound(struct ff *t, const char *key, const uint8_t *want, size_t len)
{
    for (int again = 0; again < 2; again++) { /* made, then loaded */
        struct amber_reader *r = open_foreign(t, key);
        assert_null(amber_foreign_fault(r));
        assert_int_equal(amber_reader_size(r), len);
        check_reader(r, want, len);
        amber_reader_close(r);
    }
}

/* A damaged file of which good bytes can be read, and no more. */
static void check_damaged(struct ff *t, const char *key, const uint8_t *want, size_t good)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r = open_foreign(t, key);
    char byte;
    size_t n;

    assert_non_null(amber_foreign_fault(r));
    assert_int_equal(amber_reader_size(r), good + 1);
    check_reader(r, want, good);
    assert_int_equal(amber_reader_read(r, good, &byte, 1, &n, &err), AMBER_E_CORRUPT);
    amber_reader_close(r);
}

/* However the file is damaged: its text is want's beginning, and where it ends before, by an error.
 * Returns how much can be read. */
static size_t check_beginning(struct ff *t, const char *key, const uint8_t *want, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r = open_foreign(t, key);
    bool bad = amber_foreign_fault(r) != NULL;
    size_t good = (size_t)amber_reader_size(r) - bad, n;
    uint8_t *got = malloc(good + 1);

    assert_non_null(got);
    assert_true(good <= len && (bad || good == len));
    FX_OK(amber_reader_read(r, 0, got, good, &n, &err));
    assert_int_equal(n, good);
    assert_memory_equal(got, want, good);
    if (bad)
        assert_int_equal(amber_reader_read(r, good, got, 1, &n, &err), AMBER_E_CORRUPT);
    free(got);
    amber_reader_close(r);
    return good;
}

static void put_buf(struct ff *t, const char *key, const struct amber_buf *b)
{
    put(t, key, b->data, b->len);
}

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
    add_gzip(&b, text, 100000);
    size_t first = b.len;
    add_gzip(&b, text + 100000, 60000);
    for (size_t i = 0; i < 120; i++) {
        seed = seed * 1664525U + 1013904223U;
        size_t n = i % 3 ? sizeof(kept) : 1;
        size_t at = i % 3 == 2 ? b.len - 8 - n - (seed >> 8) % 50 : (seed >> 8) % (b.len - n);
        memcpy(kept, b.data + at, n);
        for (size_t k = 0; k < n; k++)
            b.data[at + k] ^= n == 1 ? (char)(1 << i % 8) : (char)text[1100000 + i * 997 + k];
        snprintf(key, sizeof(key), "other/%zu.json.gz", i); /* replacing files costs */
        put_buf(&t, key, &b);
        size_t good = check_beginning(&t, key, text, 160000);
        assert_true(at < first ? good == 0 || good == 160000 : good >= 100000);
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

/* ---- changes ---- */

static void read_changed_file_is_error_then_new_text(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    char path[700], byte;
    struct ff t;
    size_t n;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 3000000);
    put_buf(&t, KEY_GZ, &b);
    struct amber_reader *r = open_foreign(&t, KEY_GZ);
    /* The same file, written over in place: of equal length, and valid. */
    size_t len = b.len;
    b.len = 0;
    add_gzip(&b, text + 60, 3000000);
    snprintf(path, sizeof(path), "%s/" KEY_GZ, t.fx.dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(b.data, 1, b.len < len ? b.len : len, f), b.len < len ? b.len : len);
    fclose(f);
    assert_int_equal(truncate(path, (off_t)b.len), 0);
    assert_int_not_equal(amber_reader_read(r, 1500000, &byte, 1, &n, &err), AMBER_OK);
    amber_reader_close(r);
    check_sound(&t, KEY_GZ, text + 60, 3000000);
    end(&t);
}

/* Do something to each file of the cache folder. */
static void each_cached(const char *path, void (*what)(const char *path))
{
    DIR *d = opendir(path);
    char sub[900];
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            each_cached(sub, what);
        else
            what(sub);
    }
    closedir(d);
}

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void flip_middle(const char *path)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long at = ftell(f) / 2;
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 0x40, f);
    fclose(f);
}

static void read_without_or_with_damaged_records_makes_them_anew(void **state)
{
    static void (*const harm[])(const char *path) = {remove_file, flip_middle};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        const char *key = i < 2 ? KEY_GZ : KEY_ZST;
        struct ff t;
        start(&t, 1U << 30);
        if (i < 2)
            add_gzip(&b, text, sizeof(text));
        else
            add_zstd(&b, text, sizeof(text), true);
        put_buf(&t, key, &b);
        struct amber_reader *r = open_foreign(&t, key);
        each_cached(t.cache_path, harm[i % 2]);
        check_reader(r, text, sizeof(text));
        amber_reader_close(r);
        each_cached(t.cache_path, harm[i % 2]); /* and the document with them */
        check_sound(&t, key, text, sizeof(text));
        end(&t);
    }
}

/* ---- limits and what isn't another program's ---- */

static void open_index_past_its_room_is_limit(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;
    struct ff t;
    (void)state;
    start(&t, 100000);
    add_zstd(&b, text, sizeof(text), true);
    put_buf(&t, KEY_ZST, &b);
    assert_int_equal(amber_foreign_open(t.f, KEY_ZST, t.cache, &r, &err), AMBER_E_LIMIT);
    assert_non_null(strstr(err.text, "ARCHIVAL_CACHE_DISK_BYTES"));
    end(&t);
}

static void open_stopped_is_canceled(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 1000);
    put_buf(&t, KEY_GZ, &b);
    amber_foreign_stop(t.f);
    assert_int_equal(amber_foreign_open(t.f, KEY_GZ, t.cache, &r, &err), AMBER_E_CANCELED);
    end(&t);
}

static void open_own_header_is_unsupported(void **state)
{
    static const enum amber_codec_kind kinds[] = {AMBER_CODEC_GZIP, AMBER_CODEC_ZSTD};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_reader *r;
        struct amber_codec *c;
        bool ours = false;
        struct ff t;
        start(&t, 1U << 30);
        const char *key = i == 0 ? KEY_GZ : KEY_ZST;
        FX_OK(amber_codec_new(kinds[i], 3, &c, &err));
        FX_OK(amber_codec_header(c, "{}", 2, &b, &err));
        FX_OK(amber_codec_compress(c, text, 1000, &b, &err));
        amber_codec_free(c);
        put_buf(&t, key, &b);
        FX_OK(amber_foreign_is_ours(t.fx.st, key, &ours, &err));
        assert_true(ours);
        assert_int_equal(amber_foreign_open(t.f, key, t.cache, &r, &err), AMBER_E_UNSUPPORTED);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_one_member_reads_anywhere),
        cmocka_unit_test(open_many_members_is_one_text),
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
        cmocka_unit_test(read_changed_file_is_error_then_new_text),
        cmocka_unit_test(read_without_or_with_damaged_records_makes_them_anew),
        cmocka_unit_test(open_index_past_its_room_is_limit),
        cmocka_unit_test(open_stopped_is_canceled),
        cmocka_unit_test(open_own_header_is_unsupported),
    };
    make_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
