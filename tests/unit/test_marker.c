/*
 * test_marker.c - the commit marker and the store's identity.
 */
#include "archive_fixture.h"

#include "marker_priv.h"

#define RUN2 "99999999-2222-4333-8444-555555555555"

static void make(struct amber_marker *m, size_t n)
{
    struct amber_err err = AMBER_ERR_INIT;

    *m = (struct amber_marker){.run_id = FX_RUN, .committed_us = INT64_C(1733011200000000)};
    FX_OK(amber_strdup("log-archival", &m->job, &err));
    FX_OK(amber_calloc(n, sizeof(*m->entries), &m->entries, &err));
    m->n_entries = n;
    for (size_t i = 0; i < n; i++) {
        char key[48];
        /* Not in the order of their keys. */
        snprintf(key, sizeof(key), "flow/x%zu.json.gz", n - i);
        FX_OK(amber_manifest_key(key, FX_RUN, i, i, &m->entries[i].manifest_key, &err));
        m->entries[i].digest.b[0] = (uint8_t)i;
        m->entries[i].stored.b[31] = (uint8_t)i;
    }
}

static void put_then_get_gives_the_same_in_order(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0}, p = {0};
    struct amber_err err = AMBER_ERR_INIT;

    make(&m, 3);
    FX_OK(amber_marker_put(f->st, &m, &err));
    FX_OK(amber_marker_get(f->st, FX_RUN, &p, &err));
    assert_string_equal(p.run_id, FX_RUN);
    assert_string_equal(p.job, "log-archival");
    assert_int_equal(p.committed_us, m.committed_us);
    assert_int_equal(p.n_entries, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(p.entries[i].manifest_key, m.entries[2 - i].manifest_key);
        assert_true(amber_sha256_equal(&p.entries[i].digest, &m.entries[2 - i].digest));
        assert_true(amber_sha256_equal(&p.entries[i].stored, &m.entries[2 - i].stored));
    }
}

static void put_again_with_same_entries_is_ok(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    struct amber_err err = AMBER_ERR_INIT;

    make(&m, 3);
    FX_OK(amber_marker_put(f->st, &m, &err));
    struct amber_marker_entry e = m.entries[0];
    m.entries[0] = m.entries[1];
    m.entries[1] = e;
    m.committed_us++;
    FX_OK(amber_marker_put(f->st, &m, &err));
}

static void put_again_with_other_entries_is_exists(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    struct amber_err err = AMBER_ERR_INIT;

    make(&m, 3);
    FX_OK(amber_marker_put(f->st, &m, &err));
    m.entries[2].digest.b[5] = 1;
    assert_int_equal(amber_marker_put(f->st, &m, &err), AMBER_E_EXISTS);
    m.entries[2].digest.b[5] = 0;
    m.entries[1].stored.b[5] = 1;
    assert_int_equal(amber_marker_put(f->st, &m, &err), AMBER_E_EXISTS);
    m.entries[1].stored.b[5] = 0;
    free(m.entries[2].manifest_key);
    m.n_entries = 2;
    assert_int_equal(amber_marker_put(f->st, &m, &err), AMBER_E_EXISTS);
}

static void put_of_another_runs_manifest_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    struct amber_err err = AMBER_ERR_INIT;

    make(&m, 1);
    memcpy(m.run_id, RUN2, sizeof(m.run_id));
    assert_int_equal(amber_marker_put(f->st, &m, &err), AMBER_E_CORRUPT);
}

static void get_of_missing_is_not_found_and_of_no_run_invalid(void **state)
{
    struct fx *f = *state;
    struct amber_marker p;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_marker_get(f->st, FX_RUN, &p, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(amber_marker_get(f->st, "../../store", &p, &err), AMBER_E_INVALID);
}

static void get_of_damaged_or_renamed_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0}, p = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    make(&m, 1);
    FX_OK(amber_marker_put(f->st, &m, &err));
    FX_OK(amber_store_get(f->st, ".amberfs/commits/" FX_RUN ".json", &b, &err));
    FX_OK(amber_store_put(f->st, ".amberfs/commits/" RUN2 ".json", b.data, b.len, &err));
    assert_int_equal(amber_marker_get(f->st, RUN2, &p, &err), AMBER_E_CORRUPT);
    FX_OK(amber_store_remove(f->st, ".amberfs/commits/" RUN2 ".json", &err));
    FX_OK(amber_store_put(f->st, ".amberfs/commits/" RUN2 ".json", "", 0, &err));
    assert_int_equal(amber_marker_get(f->st, RUN2, &p, &err), AMBER_E_CORRUPT);
    assert_null(p.job);
}

static bool same_markers(const struct amber_marker *a, const struct amber_marker *b)
{
    bool same = strcmp(a->run_id, b->run_id) == 0 && strcmp(a->job, b->job) == 0 &&
                a->committed_us == b->committed_us && a->n_entries == b->n_entries;

    for (size_t i = 0; same && i < a->n_entries; i++)
        same = strcmp(a->entries[i].manifest_key, b->entries[i].manifest_key) == 0 &&
               amber_sha256_equal(&a->entries[i].digest, &b->entries[i].digest) &&
               amber_sha256_equal(&a->entries[i].stored, &b->entries[i].stored);
    return same;
}

/* What the quick reader takes of this text; it must be what the parser makes of it. */
static bool scans(const char *text, size_t len)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker quick = {0}, slow = {0};
    struct amber_err err = AMBER_ERR_INIT;

    if (!amber_marker_scan(text, len, &quick)) {
        assert_null(quick.job);
        return false;
    }
    FX_OK(amber_marker_parse(text, len, &slow, &err));
    assert_true(same_markers(&quick, &slow));
    return true;
}

/* Each byte of the document changed into several others, and left out, the text cut there, and
 * several bytes put before it and behind the end. */
static void quick_reader_takes_what_is_written_and_nothing_else_otherwise(void **state)
{
    static const char others[] = {'\0', '\n', ' ', '"', ',', '\\', ']', '}', '0', 'f', (char)0xc3};
    struct fx *f = *state;
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    size_t taken = 0;

    make(&m, 2);
    FX_OK(amber_marker_put(f->st, &m, &err));
    FX_OK(amber_store_get(f->st, ".amberfs/commits/" FX_RUN ".json", &b, &err));
    assert_true(scans(b.data, b.len));
    for (size_t i = 0; i < b.len; i++) {
        char was = b.data[i];
        for (size_t k = 0; k < sizeof(others); k++) {
            b.data[i] = others[k];
            taken += scans(b.data, b.len);
        }
        b.data[i] = was;
        assert_false(scans(b.data, i));
        memmove(b.data + i, b.data + i + 1, b.len - i - 1);
        scans(b.data, b.len - 1);
        memmove(b.data + i + 1, b.data + i, b.len - i - 1);
        b.data[i] = was;
    }
    FX_OK(amber_buf_reserve(&b, 1, &err));
    for (size_t i = 0; i <= b.len; i++) {
        memmove(b.data + i + 1, b.data + i, b.len - i);
        for (size_t k = 0; k < sizeof(others); k++) {
            b.data[i] = others[k];
            scans(b.data, b.len + 1);
        }
        memmove(b.data + i, b.data + i + 1, b.len - i);
    }
    assert_in_range(taken, 100, b.len * sizeof(others) / 2); /* digits of digests, letters of names */
}

static void identity_put_once_then_get_gives_the_same(void **state)
{
    struct fx *f = *state;
    struct amber_store_identity id = {.store_id = FX_RUN, .catalog_id = RUN2}, p;
    struct amber_err err = AMBER_ERR_INIT;

    assert_int_equal(amber_store_identity_get(f->st, &p, &err), AMBER_E_NOT_FOUND);
    FX_OK(amber_store_identity_put(f->st, &id, &err));
    FX_OK(amber_store_identity_get(f->st, &p, &err));
    assert_string_equal(p.store_id, FX_RUN);
    assert_string_equal(p.catalog_id, RUN2);
    assert_false(p.read_only);
    assert_int_equal(amber_store_identity_put(f->st, &id, &err), AMBER_E_EXISTS);
}

static void identity_without_catalog_is_empty(void **state)
{
    struct fx *f = *state;
    struct amber_store_identity id = {.store_id = FX_RUN}, p;
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(amber_store_identity_put(f->st, &id, &err));
    FX_OK(amber_store_identity_get(f->st, &p, &err));
    assert_string_equal(p.catalog_id, "");
    id.store_id[0] = 'x';
    assert_int_equal(amber_store_identity_put(f->st, &id, &err), AMBER_E_INVALID);
}

static void identity_with_unknown_flags_is_read_only_or_unsupported(void **state)
{
    static const char text[] =
        "{\"format\":\"amberfs-store\",\"version\":1,\"compat\":[],"
        "\"read_incompat\":[%s],\"write_incompat\":[%s],\"store_id\":\"" FX_RUN
        "\",\"catalog_id\":null}";
    struct fx *f = *state;
    struct amber_store_identity p;
    struct amber_err err = AMBER_ERR_INIT;
    char doc[512];

    snprintf(doc, sizeof(doc), text, "", "\"ledger\"");
    FX_OK(amber_store_put(f->st, ".amberfs/store.json", doc, strlen(doc), &err));
    FX_OK(amber_store_identity_get(f->st, &p, &err));
    assert_true(p.read_only);
    FX_OK(amber_store_remove(f->st, ".amberfs/store.json", &err));
    snprintf(doc, sizeof(doc), text, "\"sharded\"", "");
    FX_OK(amber_store_put(f->st, ".amberfs/store.json", doc, strlen(doc), &err));
    assert_int_equal(amber_store_identity_get(f->st, &p, &err), AMBER_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(put_then_get_gives_the_same_in_order),
        T(put_again_with_same_entries_is_ok),
        T(put_again_with_other_entries_is_exists),
        T(put_of_another_runs_manifest_is_corrupt),
        T(get_of_missing_is_not_found_and_of_no_run_invalid),
        T(get_of_damaged_or_renamed_is_corrupt),
        T(quick_reader_takes_what_is_written_and_nothing_else_otherwise),
        T(identity_put_once_then_get_gives_the_same),
        T(identity_without_catalog_is_empty),
        T(identity_with_unknown_flags_is_read_only_or_unsupported),
    };
    return cmocka_run_group_tests_name("marker", tests, NULL, NULL);
}
