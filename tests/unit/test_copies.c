/*
 * test_copies.c - several copies of each object: what one can't give right comes from another, and
 * wrong bytes come from none.
 *
 * Two folders, each behind a fault decorator of its own.
 */
#include "archive_fixture.h"

#include "amber/copies.h"

#define KEY "flow/a.json.zst"
#define ROWS 4000

struct cx {
    struct fx fx[2]; /* of each, the folder; [0].st is the set */
    struct amber_fault_plan plan[2];
    struct amber_manifest m;
    char *manifest_key;
    struct amber_sha256 digest;
    struct amber_buf text;
    struct amber_cache *cache;
};

static int setup(void **state)
{
    static struct cx c;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_copy_config copies[2] = {{.name = "primary"}, {.name = "west"}};
    char command[200];

    c = (struct cx){.text = AMBER_BUF_INIT(1U << 24)};
    for (int i = 0; i < 2; i++)
        fx_open(&c.fx[i]);
    fx_write(&c.fx[0], KEY, AMBER_CODEC_ZSTD, ROWS, &c.m, NULL, &c.text);
    FX_OK(amber_manifest_put(c.fx[0].st, &c.m, &c.manifest_key, &c.digest, &err));
    struct amber_marker_entry e = {
        .manifest_key = c.manifest_key, .digest = c.digest, .stored = c.m.archive.stored_sha256};
    struct amber_marker marker = {.run_id = FX_RUN, .entries = &e, .n_entries = 1};
    char job[] = "log-archival";
    marker.job = job;
    FX_OK(amber_marker_put(c.fx[0].st, &marker, &err));
    snprintf(command, sizeof(command), "cp -a %s/. %s/", c.fx[0].dir, c.fx[1].dir);
    assert_int_equal(system(command), 0);
    for (int i = 0; i < 2; i++) {
        c.plan[i] = (struct amber_fault_plan){.code = AMBER_E_NET};
        FX_OK(amber_store_fault_new(c.fx[i].st, &c.plan[i], &copies[i].store, &err));
    }
    FX_OK(amber_copies_new(copies, 2, &c.fx[0].st, &err));
    FX_OK(amber_cache_new(1U << 24, c.fx[0].pool, &c.cache, &err));
    *state = &c;
    return 0;
}

static int teardown(void **state)
{
    struct cx *c = *state;

    amber_cache_free(c->cache);
    amber_manifest_clear(&c->m);
    free(c->manifest_key);
    amber_buf_clear(&c->text);
    fx_close(&c->fx[0]); /* the set, and with it both stores */
    c->fx[1].st = NULL;
    fx_close(&c->fx[1]);
    return 0;
}

/* Read all in one go; the text is right, or the code comes. */
static enum amber_rc read_all(struct cx *c, struct amber_err *err)
{
    AMBER_AUTO_FREE char *buf = malloc(c->text.len);
    struct amber_part part = fx_part(&c->m.archive);
    struct amber_reader *r;
    size_t n;
    enum amber_rc rc = amber_reader_open(c->fx[0].st, &part, c->cache, &r, err);

    if (rc) {
        amber_part_clear(&part);
        return rc;
    }
    rc = amber_reader_read(r, 0, buf, c->text.len, &n, err);
    if (!rc) {
        assert_int_equal(n, c->text.len);
        assert_memory_equal(buf, c->text.data, n);
    }
    amber_reader_close(r);
    return rc;
}

static void assert_reads(struct cx *c)
{
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(read_all(c, &err));
}

static uint64_t replica_reads(struct cx *c)
{
    struct amber_copy_stats s;

    amber_copies_stats(c->fx[0].st, 1, &s);
    return s.reads;
}

static uint64_t primary_failures(struct cx *c)
{
    struct amber_copy_stats s;

    amber_copies_stats(c->fx[0].st, 0, &s);
    return s.failures;
}

static void flip_block(struct cx *c, int copy, size_t block)
{
    fx_flip(&c->fx[copy], KEY, (c->m.archive.blocks[block].stored_off + 5) * 8);
}

static unsigned lines_with(uint64_t from, const char *what)
{
    AMBER_AUTO_BUF struct amber_buf log = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    unsigned n = 0;

    FX_OK(amber_log_read(&from, 1U << 18, &log, &err));
    for (const char *s = log.data; s && (s = strstr(s, what)); s++)
        n++;
    return n;
}

static void sound_primary_is_all_that_is_read(void **state)
{
    struct cx *c = *state;

    assert_reads(c);
    assert_int_equal(c->plan[1].n_ops, 0);
    assert_int_equal(replica_reads(c), 0);
    assert_int_equal(primary_failures(c), 0);
}

static void damaged_blocks_come_from_the_other_copy(void **state)
{
    struct cx *c = *state;
    uint64_t from = amber_log_end();

    /* Every block is damaged in one of the two. */
    for (size_t i = 0; i < c->m.archive.n_blocks; i++)
        flip_block(c, i % 2, i);
    assert_reads(c);
    assert_true(replica_reads(c) > 2);
    assert_int_equal(replica_reads(c), primary_failures(c));
    assert_int_equal(lines_with(from, "storage copy primary is passed over"), 1);
}

static void block_damaged_in_all_copies_is_corrupt(void **state)
{
    struct cx *c = *state;
    struct amber_err err = AMBER_ERR_INIT;

    flip_block(c, 0, 3);
    flip_block(c, 1, 3);
    assert_int_equal(read_all(c, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(err.text, "block 3 "));
}

static void missing_or_cut_object_comes_from_the_other_copy(void **state)
{
    struct cx *c = *state;
    struct amber_err err = AMBER_ERR_INIT;
    char path[256];

    snprintf(path, sizeof(path), "%s/" KEY, c->fx[0].dir);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, (off_t)c->m.archive.stored_bytes - 1), 0);
    assert_reads(c);
    assert_int_equal(unlink(path), 0);
    assert_reads(c);
    snprintf(path, sizeof(path), "%s/" KEY, c->fx[1].dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(read_all(c, &err), AMBER_E_NOT_FOUND);
}

/* Fail each operation on the primary in turn, at the open and at each read. */
static void any_failing_operation_is_made_up_for(void **state)
{
    struct cx *c = *state;
    static const enum amber_rc codes[] = {AMBER_E_IO, AMBER_E_CORRUPT};

    for (size_t k = 0; k < amber_countof(codes); k++) {
        for (unsigned nth = 1;; nth++) {
            c->plan[0] = (struct amber_fault_plan){.code = codes[k], .fail_nth = nth};
            assert_reads(c);
            if (c->plan[0].n_ops < nth)
                break;
        }
    }
    assert_true(replica_reads(c) >= 2 * 3);
}

static void copy_that_cannot_be_reached_is_tried_last(void **state)
{
    struct cx *c = *state;
    struct amber_copy_stats stats;
    uint64_t from = amber_log_end();

    c->plan[0].fail_nth = 1;
    assert_reads(c);
    assert_int_equal(c->plan[0].n_ops, 1); /* it failed once, and wasn't asked again */
    amber_copies_stats(c->fx[0].st, 0, &stats);
    assert_true(stats.away);
    assert_reads(c);
    assert_int_equal(c->plan[0].n_ops, 1);
    assert_int_equal(lines_with(from, "primary can't be reached"), 1);
    /* The other one fails: then it is asked all the same, and answers again. */
    c->plan[1].fail_nth = c->plan[1].n_ops + 1;
    assert_reads(c);
    amber_copies_stats(c->fx[0].st, 0, &stats);
    assert_false(stats.away);
    assert_int_equal(lines_with(from, "primary answers again"), 1);
}

static void damaged_documents_come_from_the_other_copy(void **state)
{
    struct cx *c = *state;
    struct amber_err err = AMBER_ERR_INIT;
    char path[300];

    fx_flip(&c->fx[0], c->manifest_key, 4000);
    fx_flip(&c->fx[0], ".amberfs/commits/" FX_RUN ".json", 3);
    for (int missing = 0; missing < 2; missing++) {
        struct amber_manifest m = {0};
        struct amber_marker marker = {0};
        FX_OK(amber_manifest_get(c->fx[0].st, c->manifest_key, &c->digest, &m, &err));
        assert_int_equal(m.archive.rows, ROWS);
        amber_manifest_clear(&m);
        FX_OK(amber_marker_get(c->fx[0].st, FX_RUN, &marker, &err));
        assert_int_equal(marker.n_entries, 1);
        amber_marker_clear(&marker);
        if (missing)
            break;
        snprintf(path, sizeof(path), "%s/%s", c->fx[0].dir, c->manifest_key);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s/.amberfs/commits/" FX_RUN ".json", c->fx[0].dir);
        assert_int_equal(unlink(path), 0);
    }
    struct amber_manifest m = {0};
    fx_flip(&c->fx[1], c->manifest_key, 4000);
    assert_int_equal(amber_manifest_get(c->fx[0].st, c->manifest_key, &c->digest, &m, &err),
                     AMBER_E_NOT_FOUND);
}

static enum amber_rc count_key(void *arg, const char *key, const struct amber_object_info *info,
                               struct amber_err *err)
{
    (void)key;
    (void)info;
    (void)err;
    ++*(unsigned *)arg;
    return AMBER_OK;
}

static void listing_is_the_union(void **state)
{
    struct cx *c = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    unsigned n = 0;

    FX_OK(amber_store_put(amber_copies_store(c->fx[0].st, 1), "only/there", "x", 1, &err));
    FX_OK(amber_store_put(c->fx[0].st, "only/here", "x", 1, &err));
    FX_OK(amber_store_list(c->fx[0].st, "", count_key, &n, &err));
    assert_int_equal(n, 3); /* the archive and these; what is below .amberfs has its own listing */
    FX_OK(amber_store_stat(c->fx[0].st, "only/there", &info, &err));
    assert_int_equal(amber_store_stat(amber_copies_store(c->fx[0].st, 1), "only/here", &info, &err),
                     AMBER_E_NOT_FOUND);
    /* One that can't be listed leaves what the other has; none is an error. */
    n = 0;
    c->plan[0].fail_nth = c->plan[0].n_ops + 1;
    FX_OK(amber_store_list(c->fx[0].st, "", count_key, &n, &err));
    assert_int_equal(n, 2);
    c->plan[0].fail_nth = c->plan[0].n_ops + 1;
    c->plan[1].fail_nth = c->plan[1].n_ops + 1;
    assert_int_equal(amber_store_list(c->fx[0].st, "", count_key, &n, &err), AMBER_E_NET);
}

static void remove_is_from_all_copies(void **state)
{
    struct cx *c = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;

    FX_OK(amber_store_remove(c->fx[0].st, KEY, &err));
    assert_int_equal(amber_store_stat(c->fx[0].st, KEY, &info, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_store_remove(c->fx[0].st, KEY, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(primary_failures(c), 0); /* what nobody has is missing nowhere */
    FX_OK(amber_store_put(amber_copies_store(c->fx[0].st, 1), "only/there", "x", 1, &err));
    FX_OK(amber_store_remove(c->fx[0].st, "only/there", &err));
    assert_int_equal(amber_store_stat(c->fx[0].st, "only/there", &info, &err), AMBER_E_NOT_FOUND);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sound_primary_is_all_that_is_read),
        T(damaged_blocks_come_from_the_other_copy),
        T(block_damaged_in_all_copies_is_corrupt),
        T(missing_or_cut_object_comes_from_the_other_copy),
        T(any_failing_operation_is_made_up_for),
        T(copy_that_cannot_be_reached_is_tried_last),
        T(damaged_documents_come_from_the_other_copy),
        T(listing_is_the_union),
        T(remove_is_from_all_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
