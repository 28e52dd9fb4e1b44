/*
 * foreign_fixture.h - files by zlib and libzstd, a store and a cache folder for their indexes, and what
 * a reader must give of a file that is sound or damaged.
 */
#ifndef AMBER_FOREIGN_FIXTURE_H
#define AMBER_FOREIGN_FIXTURE_H

#include "archive_fixture.h"

#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "amber/foreign.h"

#define TEXT_BYTES (5U * 1024U * 1024U)
#define KEY_GZ "other/a.json.gz"
#define KEY_ZST "other/a.json.zst"

static uint8_t text[TEXT_BYTES];

/* Lines that differ, with a stretch of noise and one that is all the same. */
static inline void make_text(void)
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

static inline void add_gzip(struct amber_buf *b, const void *data, size_t len)
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

static inline void add_zstd(struct amber_buf *b, const void *data, size_t len, bool sized)
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

/* plan NULL: a store without faults. */
static inline void start_with(struct ff *t, uint64_t disk_bytes, struct amber_fault_plan *plan)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_foreign_config cfg = {.store_name = "test",
                                       .cache_path = t->cache_path,
                                       .disk_bytes = disk_bytes,
                                       .memory_bytes = 32U << 20};

    fx_open(&t->fx);
    if (plan)
        FX_OK(amber_store_fault_new(t->fx.st, plan, &t->fx.st, &err));
    snprintf(t->cache_path, sizeof(t->cache_path), "%s.cache", t->fx.dir);
    cfg.store = t->fx.st;
    FX_OK(amber_foreign_new(&cfg, &t->f, &err));
    FX_OK(amber_cache_new(8U << 20, t->fx.pool, &t->cache, &err));
}

static inline void start(struct ff *t, uint64_t disk_bytes)
{
    start_with(t, disk_bytes, NULL);
}

static inline void end(struct ff *t)
{
    char command[400];

    amber_cache_free(t->cache);
    amber_foreign_free(t->f);
    snprintf(command, sizeof(command), "rm -rf '%s'", t->cache_path);
    assert_int_equal(system(command), 0);
    fx_close(&t->fx);
}

/* Put or replace a file by another program's means. */
static inline void put(struct ff *t, const char *key, const void *data, size_t len)
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

static inline struct amber_reader *open_foreign(struct ff *t, const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;

    FX_OK(amber_foreign_open(t->f, key, t->cache, &r, &err));
    return r;
}

/* The reader has want's len bytes, in one go and at places all over. */
static inline void check_reader(struct amber_reader *r, const uint8_t *want, size_t len)
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
static inline void check_sound(struct ff *t, const char *key, const uint8_t *want, size_t len)
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
static inline void check_damaged(struct ff *t, const char *key, const uint8_t *want, size_t good)
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
static inline size_t check_beginning(struct ff *t, const char *key, const uint8_t *want, size_t len)
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

static inline void put_buf(struct ff *t, const char *key, const struct amber_buf *b)
{
    put(t, key, b->data, b->len);
}

static inline void make_noise(uint8_t *out, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525U + 1013904223U;
        out[i] = (uint8_t)(seed >> 24);
    }
}

#endif
