/*
 * test_rows.c - rows with their overlay, in order; and the order of parallel work.
 */
#include "archive_fixture.h"

#include "../../src/archive/ordered_priv.h"
#include "../../src/archive/part_writer_priv.h"

struct opened {
    struct amber_cache *cache;
    struct amber_reader *archive, *overlay;
    struct amber_rows *rows;
};

static void open_rows(struct fx *f, const struct amber_part *archive,
                      const struct amber_part *overlay, struct opened *o)
{
    struct amber_err err = AMBER_ERR_INIT;

    *o = (struct opened){0};
    FX_OK(amber_cache_new(4U << 20, f->pool, &o->cache, &err));
    o->archive = fx_reader(f->st, archive, o->cache);
    if (overlay)
        o->overlay = fx_reader(f->st, overlay, o->cache);
    FX_OK(amber_rows_open(o->archive, o->overlay, &o->rows, &err));
}

static void close_rows(struct opened *o)
{
    amber_rows_close(o->rows);
    amber_reader_close(o->overlay);
    amber_reader_close(o->archive);
    amber_cache_free(o->cache);
}

static void next_gives_each_row_with_its_overlay(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf want = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    const char *line, *overlay;
    size_t len, overlay_len;
    struct opened o;

    fx_write(f, "flow/a.json.zst", AMBER_CODEC_ZSTD, 5000, &m, NULL, NULL);
    open_rows(f, &m.archive, amber_manifest_attachment(&m, "overlay"), &o);
    for (uint64_t i = 0; i < 5000; i++) {
        want.len = 0;
        fx_row(i, NULL, &want);
        FX_OK(amber_rows_next(o.rows, &line, &len, &overlay, &overlay_len, &err));
        assert_int_equal(len, want.len - 1);
        assert_memory_equal(line, want.data, len);
        if (fx_in_overlay(i)) {
            assert_int_equal(overlay_len, strlen("{\"data\":\"null\"}"));
            assert_memory_equal(overlay, "{\"data\":\"null\"}", overlay_len);
        } else {
            assert_null(overlay);
        }
    }
    FX_OK(amber_rows_next(o.rows, &line, &len, &overlay, &overlay_len, &err));
    assert_null(line);
    FX_OK(amber_rows_next(o.rows, &line, &len, &overlay, &overlay_len, &err));
    assert_null(line);
    close_rows(&o);
}

/* Write text as a plain part of one-row blocks, the last of whatever is left. */
static void write_text(struct fx *f, const char *key, const char *text, uint32_t block,
                       struct amber_part *out)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_codec *c;
    struct part_writer w;
    size_t len = strlen(text);

    FX_OK(amber_codec_new(AMBER_CODEC_NONE, 0, &c, &err));
    FX_OK(amber_part_writer_open(&w, f->st, key, AMBER_CODEC_NONE, &err));
    for (size_t off = 0; off < len; off += block) {
        uint32_t n = len - off < block ? (uint32_t)(len - off) : block;
        struct amber_block b = {.kind = AMBER_BLOCK_DATA, .raw_len = n, .stored_len = n, .rows = 1};
        FX_OK(amber_sha256(text + off, n, &b.sha256, &err));
        FX_OK(amber_part_writer_unit(&w, &b, text + off, &err));
    }
    FX_OK(amber_part_writer_finish(&w, c, out, &err));
    amber_codec_free(c);
}

/* All rows, or the error that ends them. */
static enum amber_rc read_all(struct opened *o, size_t *n, struct amber_err *err)
{
    const char *line = "", *overlay;
    size_t len, overlay_len;
    enum amber_rc rc = AMBER_OK;

    for (*n = 0; !rc && line; *n += line != NULL && !rc)
        rc = amber_rows_next(o->rows, &line, &len, &overlay, &overlay_len, err);
    return rc;
}

static void check_rows(struct fx *f, const char *text, uint32_t block, const char *overlay_text,
                       enum amber_rc want, const char *reason)
{
    AMBER_CLEANUP(amber_part_clear) struct amber_part p = {0}, q = {0};
    struct amber_err err = AMBER_ERR_INIT;
    struct opened o;
    size_t n;

    write_text(f, "a.json", text, block, &p);
    if (overlay_text)
        write_text(f, "o", overlay_text, 1U << 20, &q);
    open_rows(f, &p, overlay_text ? &q : NULL, &o);
    if (read_all(&o, &n, &err) != want)
        fail_msg("%s %s: %s", text, overlay_text ? overlay_text : "", err.text);
    if (want)
        assert_non_null(strstr(err.text, reason));
    close_rows(&o);
    FX_OK(amber_store_remove(f->st, "a.json", &err));
    if (overlay_text)
        FX_OK(amber_store_remove(f->st, "o", &err));
}

static void next_joins_lines_over_blocks(void **state)
{
    /* 3 blocks of 8 bytes claim 3 rows; the lines lie across them. */
    check_rows(*state, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", 8, NULL, AMBER_OK, "");
    check_rows(*state, "{\"aaaaaaa\":1}\n{}\n{\"b\":2}\n", 9, NULL, AMBER_OK, "");
}

static void next_without_final_line_break_is_corrupt(void **state)
{
    check_rows(*state, "{\"a\":1}\n{\"a\":2}", 8, NULL, AMBER_E_CORRUPT, "no line break");
}

static void next_with_other_number_of_rows_is_corrupt(void **state)
{
    check_rows(*state, "{\"a\":1}\n{\"a\":2}\n", 16, NULL, AMBER_E_CORRUPT, "2 rows");
}

static void next_with_wrong_overlay_is_corrupt(void **state)
{
    struct fx *f = *state;
    const char *two = "{\"a\":1}\n{\"a\":2}\n";

    check_rows(f, two, 8, "[1,{\"a\":\"x\"}]\n", AMBER_OK, "");
    check_rows(f, two, 8, "[2,{\"a\":\"x\"}]\n", AMBER_E_CORRUPT, "row 2");
    check_rows(f, two, 8, "[1,{\"a\":\"x\"}]\n[0,{\"a\":\"x\"}]\n", AMBER_E_CORRUPT, "row 0");
    check_rows(f, two, 8, "[0,{\"a\":\"x\"}]\n[0,{\"a\":\"x\"}]\n", AMBER_E_CORRUPT, "row 0");
    check_rows(f, two, 8, "not an overlay\n", AMBER_E_CORRUPT, "o: ");
    check_rows(f, two, 8, "[1,{\"a\":\"x\"}]", AMBER_E_CORRUPT, "no line break");
}

/* --- ordered ----------------------------------------------------------------------------- */

struct job {
    struct ordered_item item;
    unsigned n;
};

static unsigned committed; /* in order only */
static unsigned fail_work_at, fail_commit_at;

static enum amber_rc job_work(struct ordered_item *item, struct amber_err *err)
{
    unsigned n = ((struct job *)item)->n;

    return n == fail_work_at ? amber_fail(err, AMBER_E_LIMIT, "work %u", n) : AMBER_OK;
}

static enum amber_rc job_commit(struct ordered_item *item, struct amber_err *err)
{
    unsigned n = ((struct job *)item)->n;

    if (n == fail_commit_at)
        return amber_fail(err, AMBER_E_BUSY, "commit %u", n);
    if (n != committed + 1)
        return amber_fail(err, AMBER_E_INVALID, "%u comes after %u", n, committed);
    committed = n;
    return AMBER_OK;
}

static enum amber_rc run_jobs(struct fx *f, unsigned n, struct amber_err *err)
{
    struct job jobs[5] = {0};
    struct ordered_item *item;
    struct ordered o;
    enum amber_rc rc = AMBER_OK;

    committed = 0;
    amber_ordered_init(&o, f->pool, 30, job_work, job_commit);
    for (size_t i = 0; i < amber_countof(jobs); i++)
        amber_ordered_give(&o, &jobs[i].item);
    for (unsigned i = 1; !rc && i <= n; i++) {
        rc = amber_ordered_take(&o, i % 40, &item, err);
        if (rc)
            break;
        ((struct job *)item)->n = i;
        amber_ordered_submit(&o, item);
    }
    rc = amber_ordered_wait(&o, err);
    amber_ordered_clear(&o);
    return rc;
}

static void ordered_commits_in_order_of_submission(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    fail_work_at = fail_commit_at = 0;
    FX_OK(run_jobs(*state, 5000, &err));
    assert_int_equal(committed, 5000);
}

static void ordered_stops_at_the_first_failure(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;

    fail_work_at = 100;
    fail_commit_at = 0;
    assert_int_equal(run_jobs(*state, 5000, &err), AMBER_E_LIMIT);
    assert_string_equal(err.text, "work 100");
    assert_true(committed < 100);
    fail_work_at = 0;
    fail_commit_at = 200;
    assert_int_equal(run_jobs(*state, 5000, &err), AMBER_E_BUSY);
    assert_int_equal(committed, 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(next_gives_each_row_with_its_overlay),     T(next_joins_lines_over_blocks),
        T(next_without_final_line_break_is_corrupt), T(next_with_other_number_of_rows_is_corrupt),
        T(next_with_wrong_overlay_is_corrupt),       T(ordered_commits_in_order_of_submission),
        T(ordered_stops_at_the_first_failure),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
