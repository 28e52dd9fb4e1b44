/*
 * test_format_v1.c - frozen stores of format version 1, one for each codec: whatever is changed,
 * they must verify, and their rows come back as PostgreSQL wrote them.
 *
 * tests/data/v1/<codec> was written by the first amberfs; ev.copy and evc.copy are its tables as
 * COPY gave them, in the order of their lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "amber/reader.h"
#include "amber/row.h"
#include "amber/verify.h"

#define FOLDER AMBER_SOURCE_ROOT "/tests/data/v1/"
#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != AMBER_OK)                                                                    \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

struct frozen {
    struct amber_store *st;
    struct amber_pool *pool;
    struct amber_cache *cache;
    char run_id[AMBER_UUID_LEN];
};

static enum amber_rc note_run(void *arg, const char *key, const struct amber_object_info *info,
                              struct amber_err *err)
{
    struct frozen *f = arg;

    (void)info;
    (void)err;
    memcpy(f->run_id, strrchr(key, '/') + 1, AMBER_UUID_LEN - 1);
    return AMBER_OK;
}

static void frozen_open(struct frozen *f, const char *codec)
{
    struct amber_err err = AMBER_ERR_INIT;
    char path[512];

    snprintf(path, sizeof(path), FOLDER "%s", codec);
    struct amber_store_config cfg = {
        .type = "local", .path = path, .dir_fd = -1, .read_only = true};
    *f = (struct frozen){0};
    OK(amber_store_open(&cfg, &f->st, &err));
    OK(amber_pool_new(2, &f->pool, &err));
    OK(amber_cache_new(1U << 20, f->pool, &f->cache, &err));
    OK(amber_store_list(f->st, AMBER_META_DIR "/commits", note_run, f, &err));
}

static void frozen_close(struct frozen *f)
{
    amber_cache_free(f->cache);
    amber_pool_free(f->pool);
    amber_store_free(f->st);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The rows' COPY lines, sorted, are the lines of the table's file. */
static void compare_with_table(struct amber_buf *copy, const char *table)
{
    char path[512], *lines[64], want[1024];
    size_t n = 0;

    for (char *p = copy->data; p < copy->data + copy->len; p += strlen(p) + 1) {
        assert_true(n < amber_countof(lines));
        lines[n++] = p;
        *strchr(p, '\n') = '\0';
    }
    qsort(lines, n, sizeof(*lines), compare_lines);
    snprintf(path, sizeof(path), FOLDER "%s.copy", table);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(fgets(want, sizeof(want), f));
        want[strcspn(want, "\n")] = '\0';
        assert_string_equal(lines[i], want);
    }
    assert_null(fgets(want, sizeof(want), f));
    fclose(f);
}

static void read_rows(struct frozen *f, struct amber_manifest *m)
{
    const struct amber_row_decoder_config cfg = {.schema = &m->schema};
    AMBER_AUTO_BUF struct amber_buf copy = AMBER_BUF_INIT(1U << 20);
    struct amber_reader *archive, *overlay = NULL;
    struct amber_row_decoder *dec;
    struct amber_rows *rows;
    struct amber_err err = AMBER_ERR_INIT;
    const char *line, *exact;
    size_t len, exact_len;

    assert_int_equal(m->n_attachments, 1);
    OK(amber_reader_open(f->st, &m->archive, f->cache, &archive, &err));
    OK(amber_reader_open(f->st, &m->attachments[0].part, f->cache, &overlay, &err));
    OK(amber_rows_open(archive, overlay, &rows, &err));
    OK(amber_row_decoder_new(&cfg, &dec, &err));
    for (;;) {
        OK(amber_rows_next(rows, &line, &len, &exact, &exact_len, &err));
        if (!line)
            break;
        OK(amber_row_decode(dec, line, len, exact, exact_len, &copy, NULL, &err));
    }
    compare_with_table(&copy, m->table_name);
    amber_row_decoder_free(dec);
    amber_rows_close(rows);
    amber_reader_close(overlay);
    amber_reader_close(archive);
}

/* A lost manifest is made anew with the same parts; without a header (codec none) untyped. */
static void rebuild(struct frozen *f, const struct amber_manifest *m)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest again = {0};
    struct amber_err err = AMBER_ERR_INIT;

    OK(amber_rebuild(f->st, m->archive.key, &again, &err));
    assert_int_equal(again.typed, m->archive.codec != AMBER_CODEC_NONE);
    assert_int_equal(again.archive.rows, m->archive.rows);
    assert_true(amber_sha256_equal(&again.archive.stored_sha256, &m->archive.stored_sha256));
    assert_true(amber_sha256_equal(&again.archive.raw_sha256, &m->archive.raw_sha256));
}

static void check_codec(const char *codec)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker marker = {0};
    struct amber_store_identity id;
    struct amber_err err = AMBER_ERR_INIT;
    struct frozen f;

    frozen_open(&f, codec);
    OK(amber_store_identity_get(f.st, &id, &err));
    OK(amber_marker_get(f.st, f.run_id, &marker, &err));
    assert_int_equal(marker.n_entries, 2);
    for (size_t i = 0; i < marker.n_entries; i++) {
        AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
        const struct amber_marker_entry *e = &marker.entries[i];
        struct amber_verify_report report;
        OK(amber_manifest_get(f.st, e->manifest_key, &e->digest, &m, &err));
        assert_string_equal(m.store_id, id.store_id);
        assert_string_equal(amber_codec_info(m.archive.codec)->name, codec);
        OK(amber_verify(f.st, &m, NULL, NULL, NULL, &report, &err));
        rebuild(&f, &m);
        read_rows(&f, &m);
    }
    frozen_close(&f);
}

static void store_without_compression_reads(void **state)
{
    (void)state;
    check_codec("none");
}

static void store_of_gzip_reads(void **state)
{
    (void)state;
    check_codec("gzip");
}

static void store_of_zstd_reads(void **state)
{
    (void)state;
    check_codec("zstd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_without_compression_reads),
        cmocka_unit_test(store_of_gzip_reads),
        cmocka_unit_test(store_of_zstd_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
