/*
 * test_reader.c - verified bytes: every flipped bit, swapped and cut blocks, random reads by many
 * threads with a tiny cache, one decode for many readers, budgets.
 */
#include "archive_fixture.h"

#include <pthread.h>

#include "../../src/archive/part_writer_priv.h"

#define KEY "flow/a"
#define THREADS 8

/* A part of three tiny blocks with header and trailer, so that each of its bits can be tried. */
static void write_tiny(struct fx *f, enum amber_codec_kind codec, const char *key,
                       struct amber_part *out)
{
    static const char *const raw[] = {"{\"a\":1}\n{\"a\":2}\n", "{\"a\":\"three three three\"}\n",
                                      "{\"a\":4}\n"};
    AMBER_AUTO_BUF struct amber_buf unit = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_codec *c;
    struct part_writer w;

    FX_OK(amber_codec_new(codec, amber_codec_info(codec)->level_default, &c, &err));
    FX_OK(amber_part_writer_open(&w, f->st, key, codec, &err));
    FX_OK(amber_codec_header(c, "{}", 2, &unit, &err));
    FX_OK(amber_part_writer_frame(&w, AMBER_BLOCK_HEADER, &unit, &err));
    for (size_t i = 0; i < amber_countof(raw); i++) {
        struct amber_block b = {
            .kind = AMBER_BLOCK_DATA, .raw_len = (uint32_t)strlen(raw[i]), .rows = i == 0 ? 2 : 1};
        unit.len = 0;
        FX_OK(amber_codec_compress(c, raw[i], b.raw_len, &unit, &err));
        b.stored_len = (uint32_t)unit.len;
        FX_OK(amber_sha256(unit.data, unit.len, &b.sha256, &err));
        FX_OK(amber_part_writer_raw(&w, raw[i], b.raw_len, &err));
        FX_OK(amber_part_writer_unit(&w, &b, unit.data, &err));
    }
    FX_OK(amber_part_writer_finish(&w, c, out, &err));
    amber_codec_free(c);
}

/* Read block i by its raw and by its stored bytes: both as expected, or both CORRUPT. */
static void check_block(struct amber_reader *r, size_t i, bool bad, uint64_t bit)
{
    const struct amber_block *b = &amber_reader_part(r)->blocks[i];
    struct amber_err err = AMBER_ERR_INIT;
    char buf[512];
    size_t n;
    enum amber_rc want = bad ? AMBER_E_CORRUPT : AMBER_OK;

    if (b->raw_len > 0 && amber_reader_read(r, b->raw_off, buf, b->raw_len, &n, &err) != want)
        fail_msg("bit %llu: block %zu: raw read is not %s", (unsigned long long)bit, i,
                 amber_rc_name(want));
    if (amber_reader_read_stored(r, b->stored_off, buf, b->stored_len, &n, &err) != want)
        fail_msg("bit %llu: block %zu: stored read is not %s", (unsigned long long)bit, i,
                 amber_rc_name(want));
    if (bad) {
        char where[64];
        snprintf(where, sizeof(where), "block %zu at stored offset %llu", i,
                 (unsigned long long)b->stored_off);
        assert_non_null(strstr(err.text, where));
        assert_non_null(strstr(err.text, KEY));
    }
}

static void check_flips(struct fx *f, enum amber_codec_kind codec, const char *key)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report report;
    struct amber_cache *cache;
    struct amber_err err = AMBER_ERR_INIT;

    write_tiny(f, codec, key, &m.archive);
    m.typed = false;
    FX_OK(amber_verify(f->st, &m, NULL, NULL, NULL, &report, &err));
    for (uint64_t bit = 0; bit < m.archive.stored_bytes * 8; bit++) {
        fx_flip(f, key, bit);
        FX_OK(amber_cache_new(1U << 20, f->pool, &cache, &err));
        struct amber_reader *r = fx_reader(f->st, &m.archive, cache);
        for (size_t i = 0; i < m.archive.n_blocks; i++) {
            const struct amber_block *b = &m.archive.blocks[i];
            bool bad = bit / 8 >= b->stored_off && bit / 8 < b->stored_off + b->stored_len;
            check_block(r, i, bad, bit);
        }
        amber_reader_close(r);
        amber_cache_free(cache);
        /* A scan makes threads: every seventh bit is enough to see each byte and each bit of it. */
        if (bit % 7 == 0) {
            assert_int_equal(amber_verify(f->st, &m, NULL, NULL, NULL, &report, &err),
                             AMBER_E_CORRUPT);
            assert_int_equal(report.bad_blocks, 1);
            assert_int_equal(report.blocks, m.archive.n_blocks);
            assert_string_equal(report.first_fault, err.text);
        }
        fx_flip(f, key, bit);
    }
    FX_OK(amber_verify(f->st, &m, NULL, NULL, NULL, &report, &err));
}

static void read_gzip_with_any_bit_flipped_is_corrupt(void **state)
{
    check_flips(*state, AMBER_CODEC_GZIP, KEY ".json.gz");
}

static void read_zstd_with_any_bit_flipped_is_corrupt(void **state)
{
    check_flips(*state, AMBER_CODEC_ZSTD, KEY ".json.zst");
}

static void read_plain_with_any_bit_flipped_is_corrupt(void **state)
{
    check_flips(*state, AMBER_CODEC_NONE, KEY ".json");
}

/* Put these bytes in place of the object. */
static void replace_object(struct fx *f, const char *key, const char *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(amber_store_remove(f->st, key, &err));
    FX_OK(amber_store_put(f->st, key, data, len, &err));
}

/* Two blocks of one length, swapped or doubled: each is sound by itself, but not at its place. */
static void read_swapped_or_doubled_blocks_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_part_clear) struct amber_part p = {0};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cache *cache;
    struct part_writer w;
    char buf[32];
    size_t n;

    FX_OK(amber_part_writer_open(&w, f->st, KEY, AMBER_CODEC_NONE, &err));
    const char *raw = "{\"a\":1}\n{\"a\":2}\n";
    for (size_t i = 0; i < 2; i++) {
        struct amber_block b = {.kind = AMBER_BLOCK_DATA, .raw_len = 8, .stored_len = 8, .rows = 1};
        FX_OK(amber_sha256(raw + 8 * i, 8, &b.sha256, &err));
        FX_OK(amber_part_writer_unit(&w, &b, raw + 8 * i, &err));
    }
    struct amber_codec *c;
    FX_OK(amber_codec_new(AMBER_CODEC_NONE, 0, &c, &err));
    FX_OK(amber_part_writer_finish(&w, c, &p, &err));
    amber_codec_free(c);

    const char *const broken[] = {"{\"a\":2}\n{\"a\":1}\n", "{\"a\":1}\n{\"a\":1}\n"};
    for (size_t k = 0; k < 2; k++) {
        replace_object(f, KEY, broken[k], 16);
        FX_OK(amber_cache_new(1U << 20, f->pool, &cache, &err));
        struct amber_reader *r = fx_reader(f->st, &p, cache);
        assert_int_equal(amber_reader_read(r, 0, buf, 8, &n, &err),
                         k == 0 ? AMBER_E_CORRUPT : AMBER_OK);
        assert_int_equal(amber_reader_read(r, 8, buf, 8, &n, &err), AMBER_E_CORRUPT);
        amber_reader_close(r);
        amber_cache_free(cache);
    }
}

static void open_of_cut_object_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_part_clear) struct amber_part p = {0}, copy = {0};
    struct amber_cache *cache;
    struct amber_reader *r;
    struct amber_err err = AMBER_ERR_INIT;
    char path[256];

    write_tiny(f, AMBER_CODEC_GZIP, KEY ".json.gz", &p);
    FX_OK(amber_cache_new(1U << 20, f->pool, &cache, &err));
    struct amber_reader *early = fx_reader(f->st, &p, cache);
    snprintf(path, sizeof(path), "%s/%s", f->dir, KEY ".json.gz");
    assert_int_equal(truncate(path, (off_t)(p.stored_bytes - 1)), 0);

    copy = fx_part(&p);
    assert_int_equal(amber_reader_open(f->st, &copy, cache, &r, &err), AMBER_E_CORRUPT);
    assert_non_null(copy.key); /* still the caller's */
    /* Cut after it was opened: the blocks before still read. */
    check_block(early, 1, false, 0);
    check_block(early, p.n_blocks - 1, true, 0);
    amber_reader_close(early);
    amber_cache_free(cache);
}

static void open_of_missing_object_is_not_found(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_part_clear) struct amber_part p = {0};
    struct amber_cache *cache;
    struct amber_reader *r;
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(amber_strdup("flow/none", &p.key, &err));
    FX_OK(amber_cache_new(1U << 20, f->pool, &cache, &err));
    assert_int_equal(amber_reader_open(f->st, &p, cache, &r, &err), AMBER_E_NOT_FOUND);
    amber_cache_free(cache);
}

/* A failed block is read again at its next use. */
static void read_after_repair_succeeds(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_part_clear) struct amber_part p = {0};
    struct amber_cache_stats stats;
    struct amber_cache *cache;
    struct amber_err err = AMBER_ERR_INIT;

    write_tiny(f, AMBER_CODEC_ZSTD, KEY ".json.zst", &p);
    FX_OK(amber_cache_new(1U << 20, f->pool, &cache, &err));
    struct amber_reader *r = fx_reader(f->st, &p, cache);
    uint64_t bit = p.blocks[2].stored_off * 8;
    fx_flip(f, p.key, bit);
    check_block(r, 2, true, bit);
    fx_flip(f, p.key, bit);
    check_block(r, 2, false, bit);
    amber_cache_stats(cache, &stats);
    assert_int_equal(stats.failures, 2);
    amber_reader_close(r);
    amber_cache_free(cache);
}

/* --- many threads ------------------------------------------------------------------------ */

struct crowd {
    struct amber_reader *raw;
    const struct amber_buf *text, *stored;
    unsigned rounds;
    uint64_t seed;

    bool ok;
    pthread_t thread;
};

static void *read_random(void *arg)
{
    struct crowd *c = arg;
    struct amber_err err = AMBER_ERR_INIT;
    char *buf = malloc(300000);
    size_t n;

    c->ok = buf != NULL;
    for (unsigned i = 0; c->ok && i < c->rounds; i++) {
        bool stored = fx_random(&c->seed) % 4 == 0;
        const struct amber_buf *want = stored ? c->stored : c->text;
        uint64_t off = fx_random(&c->seed) % (want->len + 10);
        size_t len = fx_random(&c->seed) % 300000;
        size_t left = off < want->len ? want->len - (size_t)off : 0;
        enum amber_rc rc = stored ? amber_reader_read_stored(c->raw, off, buf, len, &n, &err)
                                  : amber_reader_read(c->raw, off, buf, len, &n, &err);
        c->ok = rc == AMBER_OK && n == (len < left ? len : left) &&
                memcmp(buf, want->data + (left ? off : 0), n) == 0;
    }
    free(buf);
    return NULL;
}

/* Through a stream of its own, pin by pin, in order. */
static void *read_stream(void *arg)
{
    struct crowd *c = arg;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_stream *s;
    struct amber_pin pin;

    c->ok = amber_stream_open(c->raw, &s, &err) == AMBER_OK;
    for (uint64_t off = 0; c->ok && off < c->text->len;) {
        c->ok = amber_stream_pin(s, off, &pin, &err) == AMBER_OK;
        if (!c->ok)
            break;
        size_t skip = (size_t)(off - pin.raw_off);
        size_t n = pin.len - skip < 40000 ? pin.len - skip : 40000;
        c->ok = memcmp(pin.data + skip, c->text->data + off, n) == 0;
        off += n;
        amber_pin_release(&pin);
    }
    amber_stream_close(s);
    return NULL;
}

static void run_crowd(struct amber_reader *r, const struct amber_buf *text,
                      const struct amber_buf *stored, void *(*fn)(void *))
{
    struct crowd crowd[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        crowd[i] =
            (struct crowd){.raw = r, .text = text, .stored = stored, .rounds = 60, .seed = i + 1};
        assert_int_equal(pthread_create(&crowd[i].thread, NULL, fn, &crowd[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(crowd[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        assert_true(crowd[i].ok);
}

static void check_crowd(struct fx *f, size_t cache_bytes, void *(*fn)(void *),
                        struct amber_cache_stats *out, size_t *out_blocks)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64U << 20);
    AMBER_AUTO_BUF struct amber_buf stored = AMBER_BUF_INIT(64U << 20);
    struct amber_cache *cache;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/c.json.zst", AMBER_CODEC_ZSTD, 9000, &m, NULL, &text);
    FX_OK(amber_store_get(f->st, "flow/c.json.zst", &stored, &err));
    FX_OK(amber_cache_new(cache_bytes, f->pool, &cache, &err));
    struct amber_reader *r = fx_reader(f->st, &m.archive, cache);
    run_crowd(r, &text, &stored, fn);
    amber_cache_stats(cache, out);
    *out_blocks = m.archive.n_blocks - 2;
    amber_reader_close(r);
    amber_cache_free(cache);
}

static void random_reads_by_many_threads_with_tiny_cache_are_right(void **state)
{
    struct amber_cache_stats stats;
    size_t blocks;

    check_crowd(*state, 200000, read_random, &stats, &blocks);
    assert_true(stats.evictions > 0);
    assert_true(stats.bytes <= 200000);
}

static void random_reads_with_cache_smaller_than_a_block_are_right(void **state)
{
    struct amber_cache_stats stats;
    size_t blocks;

    check_crowd(*state, 1, read_random, &stats, &blocks);
    assert_true(stats.bytes <= 1);
}

static void streams_of_many_threads_decode_each_block_once(void **state)
{
    struct amber_cache_stats stats;
    size_t blocks;

    check_crowd(*state, 64U << 20, read_stream, &stats, &blocks);
    assert_int_equal(stats.blocks_decoded, blocks);
    assert_int_equal(stats.evictions, 0);
}

static void streams_of_many_threads_with_tiny_cache_are_right(void **state)
{
    struct amber_cache_stats stats;
    size_t blocks;

    check_crowd(*state, 300000, read_stream, &stats, &blocks);
    assert_true(stats.bytes <= 300000);
}

/* --- one stream -------------------------------------------------------------------------- */

/* Read in order; the pool's threads must have decoded most of it ahead, whatever their timing:
 * the consumer waits for each prefetch before it goes on. */
static void stream_in_order_decodes_ahead(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_cache_stats stats;
    struct amber_cache *cache;
    struct amber_stream *s;
    struct amber_pin pin;
    struct amber_err err = AMBER_ERR_INIT;
    size_t pinned = 0;

    fx_write(f, "flow/c.json.zst", AMBER_CODEC_ZSTD, 9000, &m, NULL, NULL);
    FX_OK(amber_cache_new(8U << 20, f->pool, &cache, &err));
    struct amber_reader *r = fx_reader(f->st, &m.archive, cache);
    FX_OK(amber_stream_open(r, &s, &err));
    for (uint64_t off = 0; off < m.archive.raw_bytes; pinned++) {
        FX_OK(amber_stream_pin(s, off, &pin, &err));
        off = pin.raw_off + pin.len;
        amber_pin_release(&pin);
        while (amber_pool_load(f->pool) > 0)
            sched_yield();
    }
    amber_cache_stats(cache, &stats);
    assert_int_equal(stats.blocks_decoded, pinned);
    assert_int_equal(stats.misses, 1); /* the very first */
    amber_stream_close(s);
    amber_reader_close(r);
    amber_cache_free(cache);
}

static void stream_that_jumps_decodes_nothing_ahead(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_cache_stats stats;
    struct amber_cache *cache;
    struct amber_stream *s;
    struct amber_pin pin;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/c.json.zst", AMBER_CODEC_ZSTD, 9000, &m, NULL, NULL);
    FX_OK(amber_cache_new(8U << 20, f->pool, &cache, &err));
    struct amber_reader *r = fx_reader(f->st, &m.archive, cache);
    FX_OK(amber_stream_open(r, &s, &err));
    static const size_t jumps[] = {9, 2, 12, 6, 1};
    for (size_t i = 0; i < amber_countof(jumps); i++) {
        FX_OK(amber_stream_pin(s, m.archive.blocks[jumps[i]].raw_off, &pin, &err));
        amber_pin_release(&pin);
    }
    while (amber_pool_load(f->pool) > 0)
        sched_yield();
    amber_cache_stats(cache, &stats);
    assert_int_equal(stats.blocks_decoded, amber_countof(jumps));
    assert_int_equal(amber_stream_pin(s, m.archive.raw_bytes, &pin, &err), AMBER_E_INVALID);
    amber_stream_close(s);
    amber_reader_close(r);
    amber_cache_free(cache);
}

/* A pinned block outlives everything that would push it out, and the budget counts it. */
static void pinned_block_stays_while_others_go(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64U << 20);
    struct amber_cache_stats stats;
    struct amber_cache *cache;
    struct amber_stream *s;
    struct amber_pin pin;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/c.json.gz", AMBER_CODEC_GZIP, 9000, &m, NULL, &text);
    FX_OK(amber_cache_new(400000, f->pool, &cache, &err));
    struct amber_reader *r = fx_reader(f->st, &m.archive, cache);
    FX_OK(amber_stream_open(r, &s, &err));
    FX_OK(amber_stream_pin(s, 0, &pin, &err));
    AMBER_AUTO_FREE char *buf = malloc(text.len);
    for (int i = 0; i < 3; i++) {
        size_t n;
        FX_OK(amber_reader_read(r, 0, buf, text.len, &n, &err));
        amber_cache_stats(cache, &stats);
        assert_true(stats.bytes <= 400000);
    }
    assert_true(stats.evictions > 0);
    assert_memory_equal(pin.data, text.data, pin.len);
    amber_pin_release(&pin);
    amber_stream_close(s);
    amber_reader_close(r);
    amber_cache_free(cache);
}

/* Closing right after a start ahead: the task may still be queued or running. */
static void close_while_blocks_load_ahead_is_clean(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_cache *cache;
    struct amber_stream *s;
    struct amber_pin pin;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/c.json.zst", AMBER_CODEC_ZSTD, 9000, &m, NULL, NULL);
    for (size_t i = 0; i < 100; i++) {
        FX_OK(amber_cache_new(8U << 20, f->pool, &cache, &err));
        struct amber_reader *r = fx_reader(f->st, &m.archive, cache);
        FX_OK(amber_stream_open(r, &s, &err));
        for (size_t b = 1; b < 2 + i % 8; b++) {
            FX_OK(amber_stream_pin(s, m.archive.blocks[b].raw_off, &pin, &err));
            amber_pin_release(&pin);
        }
        amber_stream_close(s);
        amber_reader_close(r);
        amber_cache_free(cache);
    }
}

/* Every operation of the store fails once while the archive is read through a stream. */
static void read_with_each_store_operation_failing_is_clean(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    bool done = false;

    fx_write(f, "flow/c.json.gz", AMBER_CODEC_GZIP, 4000, &m, NULL, &text);
    AMBER_AUTO_FREE char *buf = malloc(text.len);
    for (unsigned n = 1; !done; n++) {
        struct amber_fault_plan plan = {.fail_nth = n, .code = AMBER_E_IO};
        AMBER_CLEANUP(amber_part_clear) struct amber_part part = fx_part(&m.archive);
        struct amber_cache *cache;
        struct amber_reader *r = NULL;
        struct amber_store *st;
        size_t got = 0;
        FX_OK(amber_store_fault_new(fx_store(f), &plan, &st, &err));
        FX_OK(amber_cache_new(8U << 20, f->pool, &cache, &err));
        enum amber_rc rc = amber_reader_open(st, &part, cache, &r, &err);
        if (!rc)
            rc = amber_reader_read(r, 0, buf, text.len, &got, &err);
        done = rc == AMBER_OK;
        assert_true(done || rc == AMBER_E_IO);
        assert_int_equal(got, done ? text.len : 0);
        /* The second try succeeds. */
        if (!done && r) {
            FX_OK(amber_reader_read(r, 0, buf, text.len, &got, &err));
            assert_memory_equal(buf, text.data, got);
        }
        amber_reader_close(r);
        amber_cache_free(cache);
        amber_store_free(st);
    }
}

/* A bit that flips on its way from the medium is caught as well as one on it. */
static void read_with_each_read_flipped_is_corrupt_once(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/c.json", AMBER_CODEC_NONE, 3000, &m, NULL, &text);
    AMBER_AUTO_FREE char *buf = malloc(text.len);
    for (unsigned n = 1; n <= m.archive.n_blocks; n++) {
        struct amber_fault_plan plan = {.fail_nth = n, .flip_bit = true};
        struct amber_cache *cache;
        struct amber_store *st;
        size_t got = 0;
        FX_OK(amber_store_fault_new(fx_store(f), &plan, &st, &err));
        FX_OK(amber_cache_new(8U << 20, f->pool, &cache, &err));
        struct amber_reader *r = fx_reader(st, &m.archive, cache);
        assert_int_equal(amber_reader_read(r, 0, buf, text.len, &got, &err), AMBER_E_CORRUPT);
        FX_OK(amber_reader_read(r, 0, buf, text.len, &got, &err));
        assert_memory_equal(buf, text.data, text.len);
        amber_reader_close(r);
        amber_cache_free(cache);
        amber_store_free(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(read_gzip_with_any_bit_flipped_is_corrupt),
        T(read_zstd_with_any_bit_flipped_is_corrupt),
        T(read_plain_with_any_bit_flipped_is_corrupt),
        T(read_swapped_or_doubled_blocks_is_corrupt),
        T(open_of_cut_object_is_corrupt),
        T(open_of_missing_object_is_not_found),
        T(read_after_repair_succeeds),
        T(random_reads_by_many_threads_with_tiny_cache_are_right),
        T(random_reads_with_cache_smaller_than_a_block_are_right),
        T(streams_of_many_threads_decode_each_block_once),
        T(streams_of_many_threads_with_tiny_cache_are_right),
        T(stream_in_order_decodes_ahead),
        T(stream_that_jumps_decodes_nothing_ahead),
        T(pinned_block_stays_while_others_go),
        T(close_while_blocks_load_ahead_is_clean),
        T(read_with_each_store_operation_failing_is_clean),
        T(read_with_each_read_flipped_is_corrupt_once),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
