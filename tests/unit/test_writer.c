/*
 * test_writer.c - rows in, archive and overlay out: content, block table, huge rows, failures.
 */
#include "archive_fixture.h"

#define N_ROWS 9000 /* about 1 MiB of JSON: some 16 blocks */

static void check_text(const struct fx *f, const struct amber_manifest *m,
                       const struct amber_buf *text)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cache *cache;
    size_t n;

    FX_OK(amber_cache_new(4U << 20, f->pool, &cache, &err));
    struct amber_reader *r = fx_reader(f->st, &m->archive, cache);
    assert_int_equal(amber_reader_size(r), text->len);
    AMBER_AUTO_FREE char *got = malloc(text->len + 1);
    FX_OK(amber_reader_read(r, 0, got, text->len + 1, &n, &err));
    assert_int_equal(n, text->len);
    assert_memory_equal(got, text->data, n);
    amber_reader_close(r);
    amber_cache_free(cache);
}

static void check_codec(struct fx *f, enum amber_codec_kind codec, const char *key,
                        const char *unpack)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *proof;
    struct amber_sha256 d;
    char command[512];

    fx_write(f, key, codec, N_ROWS, &m, &proof, &text);
    assert_int_equal(m.archive.rows, N_ROWS);
    assert_int_equal(m.archive.raw_bytes, text.len);
    assert_true(m.archive.n_blocks >= 12);
    FX_OK(amber_part_check(&m.archive, "archive", &err));
    FX_OK(amber_sha256(text.data, text.len, &d, &err));
    assert_true(amber_sha256_equal(&d, &m.archive.raw_sha256));
    check_text(f, &m, &text);
    FX_OK(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err));
    amber_proof_free(proof);

    /* It is a standard file: the standard tool gives the same text. */
    snprintf(command, sizeof(command), "%s %s/%s", unpack, f->dir, key);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    AMBER_AUTO_FREE char *got = malloc(text.len + 1);
    assert_int_equal(fread(got, 1, text.len + 1, p), text.len);
    assert_int_equal(pclose(p), 0);
    assert_memory_equal(got, text.data, text.len);
}

static void write_gzip_gives_rows_and_standard_file(void **state)
{
    check_codec(*state, AMBER_CODEC_GZIP, "flow/a.json.gz", "gzip -dc");
}

static void write_zstd_gives_rows_and_standard_file(void **state)
{
    check_codec(*state, AMBER_CODEC_ZSTD, "flow/a.json.zst", "zstd -dcq");
}

static void write_plain_gives_rows_and_standard_file(void **state)
{
    check_codec(*state, AMBER_CODEC_NONE, "flow/a.json", "cat");
}

static void write_with_json_null_makes_overlay(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    uint64_t want = 0;

    fx_write(f, "flow/a.json.gz", AMBER_CODEC_GZIP, 1000, &m, NULL, NULL);
    for (uint64_t i = 0; i < 1000; i++)
        want += fx_in_overlay(i);
    const struct amber_part *o = amber_manifest_attachment(&m, "overlay");
    assert_non_null(o);
    assert_int_equal(o->rows, want);
    assert_string_equal(o->key, ".amberfs/attachments/flow/a.json.gz/" FX_RUN ".overlay.zst");
}

static void write_without_overlay_lines_makes_no_attachment(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_object_info info;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/a.json.gz", AMBER_CODEC_GZIP, 5, &m, NULL, NULL);
    assert_int_equal(m.n_attachments, 0);
    assert_int_equal(amber_store_stat(f->st,
                                      ".amberfs/attachments/flow/a.json.gz/" FX_RUN ".overlay.zst",
                                      &info, &err),
                     AMBER_E_NOT_FOUND);
}

static void write_no_rows_gives_empty_archive(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *proof;

    fx_write(f, "flow/a.json.gz", AMBER_CODEC_GZIP, 0, &m, &proof, NULL);
    assert_int_equal(m.archive.rows, 0);
    assert_int_equal(m.archive.raw_bytes, 0);
    assert_int_equal(m.archive.n_blocks, 1); /* the header */
    check_text(f, &m, &text);
    FX_OK(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err));
    amber_proof_free(proof);
}

/* A row of 11 MiB between small ones; JSON and raw text agree, and so does the proof. */
static void write_huge_row_spans_blocks(void **state)
{
    struct fx *f = *state;
    const size_t huge = 11U << 20;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(64U << 20);
    AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(64U << 20);
    struct amber_writer_config cfg = fx_config(f, "flow/a.json.zst", AMBER_CODEC_ZSTD);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *proof;
    struct amber_writer *w;
    uint64_t seed = 7;

    fx_describe(f, &m);
    cfg.block_bytes = 1U << 20;
    FX_OK(amber_writer_open(&cfg, &w, &err));
    for (uint64_t i = 0; i < 300; i++) {
        line.len = 0;
        if (i != 150) {
            fx_row(i, &line, &text);
            FX_OK(amber_writer_row(w, line.data, line.len, &err));
            continue;
        }
        char *big = malloc(5 + 4 + huge + 3);
        assert_non_null(big);
        memcpy(big, "skip!150\t", 9);
        for (size_t k = 0; k < huge; k++)
            big[9 + k] = "0123456789abcdef"[fx_random(&seed) % 16];
        memcpy(big + 9 + huge, "\t\\N", 3);
        FX_OK(amber_buf_puts(&text, "{\"id\":150,\"name\":\"", &err));
        FX_OK(amber_buf_append(&text, big + 9, huge, &err));
        FX_OK(amber_buf_puts(&text, "\",\"data\":null}\n", &err));
        FX_OK(amber_writer_row_take(w, big, 5, 4 + huge + 3, &err));
    }
    FX_OK(amber_writer_finish(w, &m, &proof, &err));
    FX_OK(amber_part_check(&m.archive, "archive", &err));
    size_t continued = 0;
    for (size_t i = 0; i < m.archive.n_blocks; i++)
        continued += m.archive.blocks[i].kind == AMBER_BLOCK_DATA && m.archive.blocks[i].rows == 0;
    assert_true(continued >= 5);
    check_text(f, &m, &text);
    FX_OK(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err));
    amber_proof_free(proof);
}

static void finish_with_taken_key_is_exists(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_writer_config cfg = fx_config(f, "flow/a.json.gz", AMBER_CODEC_GZIP);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *proof = NULL;
    struct amber_writer *w;

    fx_write(f, "flow/a.json.gz", AMBER_CODEC_GZIP, 10, &m, NULL, NULL);
    enum amber_rc rc = amber_writer_open(&cfg, &w, &err);
    if (!rc) {
        FX_OK(amber_writer_row(w, "1\tx\t\\N", 6, &err));
        rc = amber_writer_finish(w, &m, &proof, &err);
    }
    assert_int_equal(rc, AMBER_E_EXISTS);
    assert_null(proof);
}

static void row_that_is_no_copy_line_fails_and_sticks(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_writer_config cfg = fx_config(f, "flow/a.json.gz", AMBER_CODEC_GZIP);
    struct amber_object_info info;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *proof = NULL;
    struct amber_writer *w;

    FX_OK(amber_writer_open(&cfg, &w, &err));
    FX_OK(amber_writer_row(w, "only one field", 14, &err));
    assert_int_equal(amber_writer_finish(w, &m, &proof, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(err.text, "flow/a.json.gz: row 1"));
    assert_null(strstr(err.text, "only one field"));
    assert_null(proof);
    assert_int_equal(amber_store_stat(f->st, "flow/a.json.gz", &info, &err), AMBER_E_NOT_FOUND);

    FX_OK(amber_writer_open(&cfg, &w, &err));
    assert_int_equal(amber_writer_row(w, "1\ta\nb\t\\N", 8, &err), AMBER_E_INVALID);
    assert_int_equal(amber_writer_row(w, "2\tx\t\\N", 6, &err), AMBER_E_INVALID);
    assert_int_equal(amber_writer_finish(w, &m, &proof, &err), AMBER_E_INVALID);
}

static void open_with_wrong_block_size_is_invalid(void **state)
{
    struct amber_writer_config cfg = fx_config(*state, "flow/a.json.gz", AMBER_CODEC_GZIP);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_writer *w;

    cfg.block_bytes = AMBER_BLOCK_MIN - 1;
    assert_int_equal(amber_writer_open(&cfg, &w, &err), AMBER_E_INVALID);
    cfg.block_bytes = AMBER_BLOCK_MAX + 1;
    assert_int_equal(amber_writer_open(&cfg, &w, &err), AMBER_E_INVALID);
}

static void abort_at_any_row_leaves_nothing(void **state)
{
    struct fx *f = *state;
    AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(1U << 20);
    struct amber_writer_config cfg = fx_config(f, "flow/a.json.gz", AMBER_CODEC_GZIP);
    struct amber_object_info info;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_writer *w;

    for (uint64_t n = 0; n < 5000; n = n * 3 + 1) {
        FX_OK(amber_writer_open(&cfg, &w, &err));
        for (uint64_t i = 0; i < n; i++) {
            line.len = 0;
            fx_row(i, &line, NULL);
            FX_OK(amber_writer_row(w, line.data, line.len, &err));
        }
        amber_writer_abort(w);
        assert_int_equal(amber_store_stat(f->st, "flow/a.json.gz", &info, &err), AMBER_E_NOT_FOUND);
    }
    amber_writer_abort(NULL);
}

/* One attempt to write 2,000 rows through st; true if it succeeded. */
static bool try_write(struct fx *f, struct amber_store *st, struct amber_manifest *m,
                      struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(1U << 20);
    struct amber_writer_config cfg = fx_config(f, "flow/a.json.gz", AMBER_CODEC_GZIP);
    struct amber_proof *proof = NULL;
    struct amber_writer *w;

    cfg.store = st;
    cfg.meta = "{}";
    cfg.meta_len = 2;
    if (amber_writer_open(&cfg, &w, err))
        return false;
    for (uint64_t i = 0; i < 2000; i++) {
        line.len = 0;
        fx_row(i, &line, NULL);
        if (amber_writer_row(w, line.data, line.len, err)) {
            amber_writer_abort(w);
            return false;
        }
    }
    if (amber_writer_finish(w, m, &proof, err)) {
        assert_null(proof);
        return false;
    }
    amber_proof_free(proof);
    return true;
}

/* Every operation of the store fails once: the right code, nothing half done, no leak. */
static void write_with_each_store_operation_failing_is_clean(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    bool done = false;

    for (unsigned n = 1; !done; n++) {
        AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
        struct amber_fault_plan plan = {.fail_nth = n, .code = AMBER_E_IO};
        struct amber_store *st;
        FX_OK(amber_store_fault_new(fx_store(f), &plan, &st, &err));
        done = try_write(f, st, &m, &err);
        if (!done) {
            assert_int_equal(err.code, AMBER_E_IO);
            assert_null(m.archive.key);
            assert_int_equal(m.n_attachments, 0);
            /* Only a failed overlay leaves the archive, which no manifest shows. */
            struct amber_object_info info;
            if (amber_store_stat(f->st, "flow/a.json.gz", &info, &err) == AMBER_OK)
                FX_OK(amber_store_remove(f->st, "flow/a.json.gz", &err));
        } else {
            assert_true(plan.n_ops < n);
            assert_true(n > 8);
            assert_int_equal(m.archive.rows, 2000);
        }
        amber_store_free(st);
    }
}

static void progress_counts_rows_and_bytes(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_writer_config cfg = fx_config(f, "flow/a.json.gz", AMBER_CODEC_GZIP);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *proof;
    struct amber_writer *w;
    uint64_t rows, bytes;

    FX_OK(amber_writer_open(&cfg, &w, &err));
    FX_OK(amber_writer_row(w, "1\tx\t\\N", 6, &err));
    FX_OK(amber_writer_row(w, "2\tx\t\\N", 6, &err));
    amber_writer_progress(w, &rows, &bytes);
    assert_int_equal(rows, 2);
    FX_OK(amber_writer_finish(w, &m, &proof, &err));
    amber_proof_free(proof);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(write_gzip_gives_rows_and_standard_file),
        T(write_zstd_gives_rows_and_standard_file),
        T(write_plain_gives_rows_and_standard_file),
        T(write_with_json_null_makes_overlay),
        T(write_without_overlay_lines_makes_no_attachment),
        T(write_no_rows_gives_empty_archive),
        T(write_huge_row_spans_blocks),
        T(finish_with_taken_key_is_exists),
        T(row_that_is_no_copy_line_fails_and_sticks),
        T(open_with_wrong_block_size_is_invalid),
        T(abort_at_any_row_leaves_nothing),
        T(write_with_each_store_operation_failing_is_clean),
        T(progress_counts_rows_and_bytes),
    };
    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
