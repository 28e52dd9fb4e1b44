/*
 * test_verify.c - proof, verify and rebuild: what they find, and that they find nothing else.
 */
#include "archive_fixture.h"

#include "../../src/archive/cut_priv.h"

#define KEY_GZ "flow/a.json.gz"
#define N_ROWS 4000

static enum amber_rc verify(struct fx *f, const struct amber_manifest *m,
                            struct amber_verify_report *r, struct amber_err *err)
{
    return amber_verify(f->st, m, NULL, NULL, NULL, r, err);
}

static void verify_of_sound_archive_counts_everything(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    FX_OK(verify(f, &m, &r, &err));
    const struct amber_part *o = amber_manifest_attachment(&m, "overlay");
    assert_int_equal(r.blocks, m.archive.n_blocks + o->n_blocks);
    assert_int_equal(r.bad_blocks, 0);
    assert_int_equal(r.rows, N_ROWS);
    assert_int_equal(r.stored_bytes, m.archive.stored_bytes + o->stored_bytes);
    assert_int_equal(r.raw_bytes, m.archive.raw_bytes + o->raw_bytes);
    assert_string_equal(r.first_fault, "");
}

static void verify_goes_on_behind_bad_blocks(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    fx_flip(f, KEY_GZ, m.archive.blocks[2].stored_off * 8 + 3);
    fx_flip(f, KEY_GZ, m.archive.blocks[4].stored_off * 8 + 900);
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_int_equal(r.bad_blocks, 2);
    assert_non_null(strstr(r.first_fault, KEY_GZ ": block 2 at stored offset"));
}

static void verify_with_bad_overlay_checks_the_archive_too(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    const struct amber_part *o = amber_manifest_attachment(&m, "overlay");
    fx_flip(f, o->key, 800);
    fx_flip(f, KEY_GZ, m.archive.blocks[1].stored_off * 8 + 3);
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_int_equal(r.bad_blocks, 2);
    assert_non_null(strstr(r.first_fault, o->key));
}

static void verify_of_cut_or_longer_object_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;
    char path[256];

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    snprintf(path, sizeof(path), "%s/" KEY_GZ, f->dir);
    assert_int_equal(truncate(path, (off_t)m.archive.stored_bytes + 5), 0);
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_int_equal(r.bad_blocks, 0);
    assert_int_equal(truncate(path, (off_t)m.archive.stored_bytes - 5), 0);
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_int_equal(r.bad_blocks, 1);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_int_equal(r.bad_blocks, m.archive.n_blocks);
}

static void verify_of_missing_part_is_not_found(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    FX_OK(amber_store_remove(f->st, amber_manifest_attachment(&m, "overlay")->key, &err));
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_NOT_FOUND);
}

/* The manifest's numbers are wrong though each block is sound. */
static void verify_of_wrong_manifest_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    m.archive.raw_sha256.b[0] ^= 1;
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(r.first_fault, "all raw bytes"));
    m.archive.raw_sha256.b[0] ^= 1;
    m.archive.stored_sha256.b[0] ^= 1;
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(r.first_fault, "all stored bytes"));
    m.archive.stored_sha256.b[0] ^= 1;
    m.archive.blocks[1].rows++;
    m.archive.rows++;
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(r.first_fault, "rows"));
    m.archive.blocks[1].rows--;
    m.archive.rows--;
    /* A column's type that the rows don't have. */
    m.schema.columns[1].type.kind = AMBER_KIND_BOOL;
    assert_int_equal(verify(f, &m, &r, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(r.first_fault, "row 1"));
}

struct seen {
    uint64_t last;
    struct amber_cancel *cancel;
};

static void note_progress(void *arg, uint64_t done)
{
    struct seen *s = arg;

    assert_true(done > s->last);
    s->last = done;
    if (s->cancel)
        amber_cancel_set(s->cancel);
}

static void verify_tells_progress_up_to_all_stored_bytes(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_err err = AMBER_ERR_INIT;
    struct seen seen = {0};

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    FX_OK(amber_verify(f->st, &m, NULL, note_progress, &seen, &r, &err));
    assert_int_equal(seen.last, r.stored_bytes);
}

static void verify_canceled_midway_is_canceled(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_verify_report r;
    struct amber_cancel cancel;
    struct amber_err err = AMBER_ERR_INIT;
    struct seen seen = {.cancel = &cancel};

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, 20000, &m, NULL, NULL);
    FX_OK(amber_cancel_init(&cancel, &err));
    assert_int_equal(amber_verify(f->st, &m, &cancel, note_progress, &seen, &r, &err),
                     AMBER_E_CANCELED);
    amber_cancel_clear(&cancel);
}

static void verify_with_each_store_operation_failing_is_clean(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_err err = AMBER_ERR_INIT;
    bool done = false;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, 2000, &m, NULL, NULL);
    for (unsigned n = 1; !done; n++) {
        struct amber_fault_plan plan = {.fail_nth = n, .code = AMBER_E_IO};
        struct amber_verify_report r;
        struct amber_store *st;
        FX_OK(amber_store_fault_new(fx_store(f), &plan, &st, &err));
        enum amber_rc rc = amber_verify(st, &m, NULL, NULL, NULL, &r, &err);
        done = rc == AMBER_OK;
        assert_true(done || rc == AMBER_E_IO);
        amber_store_free(st);
    }
}

static void verify_with_each_read_flipped_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/a.json", AMBER_CODEC_NONE, 2000, &m, NULL, NULL);
    for (unsigned n = 1; n <= m.archive.n_blocks + m.attachments[0].part.n_blocks; n++) {
        struct amber_fault_plan plan = {.fail_nth = n, .flip_bit = true};
        struct amber_verify_report r;
        struct amber_store *st;
        FX_OK(amber_store_fault_new(fx_store(f), &plan, &st, &err));
        assert_int_equal(amber_verify(st, &m, NULL, NULL, NULL, &r, &err), AMBER_E_CORRUPT);
        /* The overlay's blocks are read for several groups of rows at once. */
        assert_true(r.bad_blocks >= 1);
        amber_store_free(st);
    }
}

/* --- proof ------------------------------------------------------------------------------- */

static void proof_of_what_was_written_holds_for_each_codec(void **state)
{
    struct fx *f = *state;
    static const char *const keys[] = {"flow/a.json", KEY_GZ, "flow/b.json.zst"};
    struct amber_err err = AMBER_ERR_INIT;

    for (int c = 0; c < AMBER_CODEC_COUNT; c++) {
        AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
        struct amber_proof *proof;
        fx_write(f, keys[c], (enum amber_codec_kind)c, N_ROWS, &m, &proof, NULL);
        FX_OK(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err));
        amber_proof_free(proof);
        FX_OK(amber_store_remove(f->st, m.attachments[0].part.key, &err));
    }
}

static void proof_of_another_stream_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, other = {0};
    AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(1U << 20);
    struct amber_writer_config cfg = fx_config(f, "flow/b.json.gz", AMBER_CODEC_GZIP);
    struct amber_proof *proof, *wrong;
    struct amber_writer *w;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, &proof, NULL);
    /* The same rows but one, whose JSON is as long. */
    FX_OK(amber_writer_open(&cfg, &w, &err));
    for (uint64_t i = 0; i < N_ROWS; i++) {
        line.len = 0;
        fx_row(i, &line, NULL);
        if (i == 2222)
            line.data[7] = line.data[7] == 'x' ? 'y' : 'x';
        FX_OK(amber_writer_row(w, line.data, line.len, &err));
    }
    FX_OK(amber_writer_finish(w, &other, &wrong, &err));
    assert_int_equal(amber_proof_check(wrong, f->st, &m, f->pool, NULL, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(err.text, KEY_GZ));
    amber_proof_free(wrong);
    amber_proof_free(proof);
}

/* Without its overlay the JSON alone doesn't give the rows back. */
static void proof_without_overlay_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_proof *proof;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, &proof, NULL);
    size_t n = m.n_attachments;
    m.n_attachments = 0;
    assert_int_equal(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err), AMBER_E_CORRUPT);
    m.n_attachments = n;
    FX_OK(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err));
    amber_proof_free(proof);
}

static void proof_of_damaged_medium_is_corrupt_with_block_and_offset(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_proof *proof;
    struct amber_err err = AMBER_ERR_INIT;
    char where[64];

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, &proof, NULL);
    fx_flip(f, KEY_GZ, m.archive.blocks[3].stored_off * 8 + 77);
    assert_int_equal(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err), AMBER_E_CORRUPT);
    snprintf(where, sizeof(where), "block 3 at stored offset %llu",
             (unsigned long long)m.archive.blocks[3].stored_off);
    assert_non_null(strstr(err.text, where));
    amber_proof_free(proof);
}

/* The rows are right and the manifest fits the medium, but the text isn't the one that was written. */
static void proof_of_another_text_of_the_rows_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_writer_config cfg = fx_config(f, "flow/a.json", AMBER_CODEC_NONE);
    char path[256], text[256];
    struct amber_proof *proof;
    struct amber_writer *w;
    struct amber_err err = AMBER_ERR_INIT;

    fx_describe(f, &m);
    FX_OK(amber_writer_open(&cfg, &w, &err));
    FX_OK(amber_writer_row(w, "1\ta\x1f\t\\N", 7, &err));
    FX_OK(amber_writer_finish(w, &m, &proof, &err));
    FX_OK(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err));
    snprintf(path, sizeof(path), "%s/flow/a.json", f->dir);
    assert_int_equal(chmod(path, 0600), 0);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    char *hex = strstr(text, "\\u001f");
    assert_non_null(hex);
    hex[5] = 'F';
    rewind(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    FX_OK(amber_sha256(text, len, &m.archive.stored_sha256, &err));
    m.archive.raw_sha256 = m.archive.blocks[0].sha256 = m.archive.stored_sha256;
    FX_OK(amber_verify(f->st, &m, NULL, NULL, NULL, &(struct amber_verify_report){0}, &err));
    assert_int_equal(amber_proof_check(proof, f->st, &m, f->pool, NULL, &err), AMBER_E_CORRUPT);
    amber_proof_free(proof);
}

/* --- rebuild ----------------------------------------------------------------------------- */

static void assert_same_part(const struct amber_part *a, const struct amber_part *b)
{
    assert_string_equal(a->key, b->key);
    assert_int_equal(a->n_blocks, b->n_blocks);
    assert_true(amber_sha256_equal(&a->raw_sha256, &b->raw_sha256));
    assert_true(amber_sha256_equal(&a->stored_sha256, &b->stored_sha256));
    for (size_t i = 0; i < a->n_blocks; i++) {
        assert_int_equal(a->blocks[i].kind, b->blocks[i].kind);
        assert_int_equal(a->blocks[i].stored_len, b->blocks[i].stored_len);
        assert_int_equal(a->blocks[i].raw_len, b->blocks[i].raw_len);
        assert_int_equal(a->blocks[i].rows, b->blocks[i].rows);
        assert_true(amber_sha256_equal(&a->blocks[i].sha256, &b->blocks[i].sha256));
    }
}

static void check_rebuild(struct fx *f, const char *key, enum amber_codec_kind codec)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, r = {0};
    struct amber_verify_report report;
    struct amber_proof *proof;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, key, codec, N_ROWS, &m, &proof, NULL);
    FX_OK(amber_rebuild(f->st, key, &r, &err));
    assert_true(r.rebuilt);
    assert_true(r.typed);
    assert_string_equal(r.archive_id, m.archive_id);
    assert_string_equal(r.run_id, m.run_id);
    assert_string_equal(r.table_name, m.table_name);
    assert_int_equal(r.start_day, m.start_day);
    assert_same_part(&r.archive, &m.archive);
    assert_int_equal(r.n_attachments, 1);
    assert_same_part(&r.attachments[0].part, &m.attachments[0].part);
    FX_OK(amber_verify(f->st, &r, NULL, NULL, NULL, &report, &err));
    /* What was proved of the lost manifest holds for the new one. */
    FX_OK(amber_proof_check(proof, f->st, &r, f->pool, NULL, &err));
    amber_proof_free(proof);
}

static void rebuild_of_gzip_gives_the_manifest(void **state)
{
    check_rebuild(*state, KEY_GZ, AMBER_CODEC_GZIP);
}

static void rebuild_of_zstd_gives_the_manifest(void **state)
{
    check_rebuild(*state, "flow/a.json.zst", AMBER_CODEC_ZSTD);
}

static void rebuild_of_plain_gives_names_and_rows(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, r = {0};
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_verify_report report;
    struct amber_sha256 d;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, "flow/a.json", AMBER_CODEC_NONE, 20000, &m, NULL, NULL);
    FX_OK(amber_rebuild(f->st, "flow/a.json", &r, &err));
    assert_true(r.rebuilt);
    assert_false(r.typed);
    assert_int_equal(r.archive.rows, 20000);
    assert_int_equal(r.archive.raw_bytes, m.archive.raw_bytes);
    assert_true(amber_sha256_equal(&r.archive.raw_sha256, &m.archive.raw_sha256));
    assert_int_equal(r.schema.n_columns, 3);
    assert_string_equal(r.schema.columns[1].name, "name");
    /* The overlay beside it tells the run. */
    assert_string_equal(r.run_id, FX_RUN);
    assert_int_equal(r.n_attachments, 1);
    FX_OK(amber_verify(f->st, &r, NULL, NULL, NULL, &report, &err));
    FX_OK(amber_manifest_put(f->st, &r, &key, &d, &err));
}

static void rebuild_of_damaged_archive_is_corrupt_with_offset(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, r = {0};
    struct amber_err err = AMBER_ERR_INIT;
    char where[64];

    fx_write(f, KEY_GZ, AMBER_CODEC_GZIP, N_ROWS, &m, NULL, NULL);
    fx_flip(f, KEY_GZ, (m.archive.blocks[2].stored_off + 100) * 8);
    assert_int_equal(amber_rebuild(f->st, KEY_GZ, &r, &err), AMBER_E_CORRUPT);
    snprintf(where, sizeof(where), KEY_GZ ": at stored offset %llu",
             (unsigned long long)m.archive.blocks[2].stored_off);
    assert_non_null(strstr(err.text, where));
    assert_null(r.archive.key);
    assert_int_equal(amber_rebuild(f->st, "flow/none.json.gz", &r, &err), AMBER_E_NOT_FOUND);
}

static void rebuild_of_cut_plain_file_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest r = {0};
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(amber_store_put(f->st, "x.json", "{\"a\":1}\n{\"a\"", 12, &err));
    assert_int_equal(amber_rebuild(f->st, "x.json", &r, &err), AMBER_E_CORRUPT);
}

static void rebuild_of_another_programs_members_is_unsupported(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest r = {0};
    AMBER_AUTO_BUF struct amber_buf file = AMBER_BUF_INIT(1U << 20);
    struct amber_codec *c;
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(amber_codec_new(AMBER_CODEC_GZIP, 6, &c, &err));
    FX_OK(amber_codec_compress(c, "{\"a\":1}\n{\"a\"", 12, &file, &err));
    FX_OK(amber_codec_compress(c, ":2}\n{\"a\":3}\n", 12, &file, &err));
    amber_codec_free(c);
    FX_OK(amber_store_put(f->st, "x.json.gz", file.data, file.len, &err));
    assert_int_equal(amber_rebuild(f->st, "x.json.gz", &r, &err), AMBER_E_UNSUPPORTED);
}

/* --- where rows are cut ------------------------------------------------------------------ */

static void cut_ends_at_a_row(void **state)
{
    (void)state;
    assert_int_equal(amber_rows_cut("aa\nbb\ncc\n", 9, false, 7), 6);
    assert_int_equal(amber_rows_cut("aa\nbb\ncc\n", 9, false, 9), 9);
    assert_int_equal(amber_rows_cut("aa\nbb\ncc\n", 9, false, 1), 3); /* a row isn't parted */
    assert_int_equal(amber_rows_cut("aaaaaaaaaa\nb\n", 13, true, 4), 4);
    assert_int_equal(amber_rows_cut("aaaaa\nb\n", 8, true, 4), 6); /* a short rest is kept */
    assert_int_equal(amber_rows_cut("\nb\n", 3, true, 4), 1);      /* nothing else behind it */
}

static void cut_of_row_above_the_maximum_parts_it(void **state)
{
    size_t len = AMBER_BLOCK_MAX + 10;
    AMBER_AUTO_FREE char *text = malloc(len);

    (void)state;
    memset(text, 'x', len);
    text[len - 1] = '\n';
    assert_int_equal(amber_rows_cut(text, len, false, 1U << 20), 1U << 20);
    text[AMBER_BLOCK_MAX - 1] = '\n';
    assert_int_equal(amber_rows_cut(text, len, false, 1U << 20), AMBER_BLOCK_MAX);
}

static void count_counts_rows_where_they_start(void **state)
{
    (void)state;
    assert_int_equal(amber_rows_count("a\nb\n", 4, false), 2);
    assert_int_equal(amber_rows_count("a\nb", 3, false), 2);
    assert_int_equal(amber_rows_count("a", 1, true), 0);
    assert_int_equal(amber_rows_count("a\n", 2, true), 0);
    assert_int_equal(amber_rows_count("a\nb", 3, true), 1);
    assert_int_equal(amber_rows_count("\n\n", 2, false), 2);
    char many[1000];
    memset(many, '\n', sizeof(many));
    assert_int_equal(amber_lines_count(many, sizeof(many)), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(verify_of_sound_archive_counts_everything),
        T(verify_goes_on_behind_bad_blocks),
        T(verify_with_bad_overlay_checks_the_archive_too),
        T(verify_of_cut_or_longer_object_is_corrupt),
        T(verify_of_missing_part_is_not_found),
        T(verify_of_wrong_manifest_is_corrupt),
        T(verify_tells_progress_up_to_all_stored_bytes),
        T(verify_canceled_midway_is_canceled),
        T(verify_with_each_store_operation_failing_is_clean),
        T(verify_with_each_read_flipped_is_corrupt),
        T(proof_of_what_was_written_holds_for_each_codec),
        T(proof_of_another_stream_is_corrupt),
        T(proof_without_overlay_is_corrupt),
        T(proof_of_another_text_of_the_rows_is_corrupt),
        T(proof_of_damaged_medium_is_corrupt_with_block_and_offset),
        T(rebuild_of_gzip_gives_the_manifest),
        T(rebuild_of_zstd_gives_the_manifest),
        T(rebuild_of_plain_gives_names_and_rows),
        T(rebuild_of_damaged_archive_is_corrupt_with_offset),
        T(rebuild_of_cut_plain_file_is_corrupt),
        T(rebuild_of_another_programs_members_is_unsupported),
        cmocka_unit_test(cut_ends_at_a_row),
        cmocka_unit_test(cut_of_row_above_the_maximum_parts_it),
        cmocka_unit_test(count_counts_rows_where_they_start),
    };
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
