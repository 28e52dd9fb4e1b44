/*
 * test_entries.c - which archives the commit markers show.
 */
#include "amber/context.h"
#include "amber/log.h"
#include "archive_fixture.h"
#include "commits_priv.h"

#define RUNS 40U /* more than there are threads */

static void run_name(char out[AMBER_UUID_LEN], unsigned run)
{
    snprintf(out, AMBER_UUID_LEN, "%08x-2222-4333-8444-555555555555", run);
}

/* A committed run with one archive, whose object has stored bytes; 0: it has none. */
static void commit(struct fx *f, unsigned run, const char *key, size_t stored)
{
    static const char bytes[256];
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {.committed_us = 1000000};

    run_name(m.run_id, run);
    FX_OK(amber_strdup("job", &m.job, &err));
    FX_OK(amber_calloc(1, sizeof(*m.entries), &m.entries, &err));
    m.n_entries = 1;
    FX_OK(amber_manifest_key(key, m.run_id, run + 1, run * 10, &m.entries[0].manifest_key, &err));
    m.entries[0].digest.b[0] = (uint8_t)run;
    FX_OK(amber_marker_put(f->st, &m, &err));
    if (stored)
        FX_OK(amber_store_put(f->st, key, bytes, stored, &err));
}

static void load(struct fx *f, struct amber_entry_list *l)
{
    struct amber_context ctx = {.store = f->st};
    struct amber_err err = AMBER_ERR_INIT;
    FX_OK(amber_entries_from_markers(&ctx, l, &err));
}

static void many_runs_are_listed_in_order_with_their_sizes(void **state)
{
    struct fx *f = *state;
    struct amber_entry_list l = {0};
    for (unsigned i = RUNS; i-- > 0;) {
        char key[64];
        snprintf(key, sizeof(key), "t%u/%02u.json.gz", i / 10, i);
        commit(f, i, key, i + 1);
    }
    load(f, &l);
    assert_int_equal(l.n, RUNS);
    for (unsigned i = 0; i < RUNS; i++) {
        const struct amber_tree_entry *e = &l.items[i];
        char path[64];
        snprintf(path, sizeof(path), "t%u/%02u.json", i / 10, i);
        assert_string_equal(e->path, path);
        assert_int_equal(e->stored_size, i + 1);
        assert_int_equal(e->rows, i + 1);
        assert_int_equal(e->size, i * 10);
        assert_int_equal(e->mtime_us, 1000000);
        assert_true(e->has_digest && e->manifest_sha256[0] == i);
    }
    amber_entry_list_clear(&l);
}

static void sizes_are_found_at_the_top_and_deep_below(void **state)
{
    struct fx *f = *state;
    struct amber_entry_list l = {0};
    commit(f, 1, "a/b/c/x.json.zst", 7);
    commit(f, 2, "top.json", 8);
    commit(f, 3, "a/x.json", 9);
    commit(f, 4, "ab/x.json", 10);
    load(f, &l);
    assert_int_equal(l.n, 4);
    assert_int_equal(amber_entries_find(&l, "a/b/c/x.json")->stored_size, 7);
    assert_int_equal(amber_entries_find(&l, "top.json")->stored_size, 8);
    assert_int_equal(amber_entries_find(&l, "a/x.json")->stored_size, 9);
    assert_int_equal(amber_entries_find(&l, "ab/x.json")->stored_size, 10);
    amber_entry_list_clear(&l);
}

static void what_is_missing_is_shown_without_size(void **state)
{
    struct fx *f = *state;
    struct amber_entry_list l = {0};
    commit(f, 1, "a/gone.json", 0);
    commit(f, 2, "gone.json", 0);
    commit(f, 3, "a/there.json", 5);
    load(f, &l);
    assert_int_equal(l.n, 3);
    assert_int_equal(amber_entries_find(&l, "a/gone.json")->stored_size, 0);
    assert_int_equal(amber_entries_find(&l, "gone.json")->stored_size, 0);
    assert_int_equal(amber_entries_find(&l, "a/there.json")->stored_size, 5);
    amber_entry_list_clear(&l);
}

/* What the listing lacks is looked up; where that is much, the first hundred stand for the others. */
static void missing_is_what_is_neither_listed_nor_there(void **state)
{
    struct fx *f = *state;
    struct amber_context ctx = {.store = f->st};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_entry_list l = {0};
    struct amber_elsewhere before = {0}, now = {0};
    struct amber_missing m;
    for (unsigned i = 0; i < 10; i++)
        commit(f, i, (const char[]){'t', '/', (char)('a' + i), 0}, i % 3 == 0 ? 0 : 5);
    load(f, &l);
    FX_OK(amber_elsewhere_list(&ctx, &now, &err));
    assert_int_equal(now.n, 6);
    FX_OK(amber_missing_find(&ctx, &now, &l, &m, &err));
    assert_int_equal(m.archives, 4);
    assert_string_equal(m.first, "t/a");
    FX_OK(amber_missing_find(&ctx, &before, &l, &m, &err)); /* younger than the listing */
    assert_int_equal(m.archives, 4);
    for (unsigned i = 10; i < 260; i++) {
        char key[16];
        snprintf(key, sizeof(key), "s/%03u", i);
        commit(f, i, key, 0);
    }
    amber_entry_list_clear(&l);
    load(f, &l);
    FX_OK(amber_missing_find(&ctx, &now, &l, &m, &err));
    assert_int_equal(m.archives, 254);
    assert_string_equal(m.first, "s/010");
    FX_OK(amber_store_put(f->st, "s/020", "found", 5, &err));
    FX_OK(amber_missing_find(&ctx, &now, &l, &m, &err)); /* such a listing proves nothing */
    assert_int_equal(m.archives, 99);
    amber_elsewhere_clear(&now);
    amber_entry_list_clear(&l);
}

static void superseded_and_damaged_markers_show_nothing(void **state)
{
    struct fx *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_entry_list l = {0};
    char run[AMBER_UUID_LEN];
    char key[128];
    commit(f, 1, "a/old.json", 5);
    commit(f, 2, "a/there.json", 5);
    run_name(run, 1);
    FX_OK(amber_commit_supersede(f->st, run, &err));
    run_name(run, 3);
    snprintf(key, sizeof(key), AMBER_META_DIR "/commits/%s.json", run);
    FX_OK(amber_store_put(f->st, key, "{", 1, &err));
    load(f, &l);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.items[0].path, "a/there.json");
    amber_entry_list_clear(&l);
}

static void store_without_runs_has_none(void **state)
{
    struct amber_entry_list l = {0};
    load(*state, &l);
    assert_int_equal(l.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(many_runs_are_listed_in_order_with_their_sizes),
        T(sizes_are_found_at_the_top_and_deep_below),
        T(what_is_missing_is_shown_without_size),
        T(missing_is_what_is_neither_listed_nor_there),
        T(superseded_and_damaged_markers_show_nothing),
        T(store_without_runs_has_none),
    };
    return cmocka_run_group_tests_name("entries", tests, NULL, NULL);
}
