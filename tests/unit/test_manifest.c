/*
 * test_manifest.c - the manifest as document and object: round trip, keys, and each kind of damage
 * with the path that the error names.
 */
#include "archive_fixture.h"

#define KEY "flow/a.json.gz"

/* A manifest with an archive of rows and an overlay, and its text. */
static void make(struct fx *f, struct amber_manifest *m, struct amber_buf *text)
{
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY, AMBER_CODEC_GZIP, 600, m, NULL, NULL);
    FX_OK(amber_manifest_encode(m, text, &err));
}

static void assert_part_equal(const struct amber_part *a, const struct amber_part *b)
{
    assert_string_equal(a->key, b->key);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->raw_bytes, b->raw_bytes);
    assert_int_equal(a->stored_bytes, b->stored_bytes);
    assert_true(amber_sha256_equal(&a->raw_sha256, &b->raw_sha256));
    assert_true(amber_sha256_equal(&a->stored_sha256, &b->stored_sha256));
    assert_int_equal(a->n_blocks, b->n_blocks);
    for (size_t i = 0; i < a->n_blocks; i++) {
        assert_int_equal(a->blocks[i].kind, b->blocks[i].kind);
        assert_int_equal(a->blocks[i].stored_off, b->blocks[i].stored_off);
        assert_int_equal(a->blocks[i].stored_len, b->blocks[i].stored_len);
        assert_int_equal(a->blocks[i].raw_off, b->blocks[i].raw_off);
        assert_int_equal(a->blocks[i].raw_len, b->blocks[i].raw_len);
        assert_int_equal(a->blocks[i].first_row, b->blocks[i].first_row);
        assert_int_equal(a->blocks[i].rows, b->blocks[i].rows);
        assert_true(amber_sha256_equal(&a->blocks[i].sha256, &b->blocks[i].sha256));
    }
}

static void encode_then_parse_gives_the_same(void **state)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, p = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(1U << 20),
                                    again = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    make(*state, &m, &text);
    FX_OK(amber_manifest_parse(text.data, text.len, &p, &err));
    assert_string_equal(p.archive_id, m.archive_id);
    assert_string_equal(p.catalog_id, m.catalog_id);
    assert_string_equal(p.table_name, m.table_name);
    assert_string_equal(p.parent_table, m.parent_table);
    assert_int_equal(p.created_us, m.created_us);
    assert_int_equal(p.start_day, m.start_day);
    assert_int_equal(p.end_day, m.end_day);
    assert_true(p.typed);
    assert_false(p.rebuilt);
    assert_false(p.write_incompat_unknown);
    assert_int_equal(p.schema.n_columns, 3);
    assert_string_equal(p.schema.columns[2].name, "data");
    assert_string_equal(p.partitions[0].bound, m.partitions[0].bound);
    assert_string_equal(p.settings[0].value, "ISO, YMD");
    assert_part_equal(&p.archive, &m.archive);
    assert_non_null(amber_manifest_attachment(&p, "overlay"));
    assert_null(amber_manifest_attachment(&p, "bloom"));
    assert_part_equal(&p.attachments[0].part, &m.attachments[0].part);
    FX_OK(amber_manifest_encode(&p, &again, &err));
    assert_string_equal(again.data, text.data);
}

static void encode_without_parent_gives_null(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, p = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY, AMBER_CODEC_GZIP, 1, &m, NULL, NULL);
    free(amber_steal(&m.parent_table));
    m.start_day = m.end_day = -2440588; /* 4714 BC */
    FX_OK(amber_manifest_encode(&m, &text, &err));
    FX_OK(amber_manifest_parse(text.data, text.len, &p, &err));
    assert_null(p.parent_table);
    assert_int_equal(p.start_day, -2440588);
}

/* Text with the first `from` replaced by `to`. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    char *out;

    if (!at)
        fail_msg("\"%s\" isn't in the manifest", from);
    assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
    return out;
}

static void expect(const char *text, const char *from, const char *to, enum amber_rc rc,
                   const char *path)
{
    struct amber_manifest m;
    struct amber_err err = AMBER_ERR_INIT;
    char *broken = replaced(text, from, to);

    if (amber_manifest_parse(broken, strlen(broken), &m, &err) != rc)
        fail_msg("%s -> %s: %s %s", from, to, amber_rc_name(err.code), err.text);
    if (rc && strncmp(err.text, path, strlen(path)) != 0)
        fail_msg("%s -> %s: \"%s\" doesn't start with %s", from, to, err.text, path);
    amber_manifest_clear(&m);
    free(broken);
}

static void parse_damage_names_the_path(void **state)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    char old[128];

    make(*state, &m, &b);
    const char *t = b.data;
    static const struct {
        const char *from, *to, *path;
        enum amber_rc rc;
    } cases[] = {
        {"\"amberfs-manifest\"", "\"other\"", "format: ", AMBER_E_CORRUPT},
        {"\"version\":1", "\"version\":\"1\"", "version: ", AMBER_E_CORRUPT},
        {"\"version\":1", "\"version\":2", "version 2", AMBER_E_UNSUPPORTED},
        {"\"version\":1", "\"version\":-1", "version: ", AMBER_E_CORRUPT},
        {"\"version\":1,", "", "version: is missing", AMBER_E_CORRUPT},
        {"\"read_incompat\":[]", "\"read_incompat\":[\"parquet\"]",
         "read_incompat: ", AMBER_E_UNSUPPORTED},
        {"\"read_incompat\":[]", "\"read_incompat\":[7]", "read_incompat[0]: ", AMBER_E_CORRUPT},
        {"\"compat\":[]", "\"compat\":null", "compat: ", AMBER_E_CORRUPT},
        {"\"run_id\":\"1", "\"run_id\":\"x", "run_id: ", AMBER_E_CORRUPT},
        {"\"job\":\"log-archival\"", "\"job\":null", "job: ", AMBER_E_CORRUPT},
        {"\"job\":\"log-archival\"", "\"job\":\"a\",\"job\":\"b\"", "not JSON", AMBER_E_CORRUPT},
        {"\"job\":\"log-archival\"", "\"job\":\"a\\u0000b\"", "not JSON", AMBER_E_CORRUPT},
        {"2024-12-01T", "2024-13-01T", "created: ", AMBER_E_CORRUPT},
        {"\"end_day\":19813", "\"end_day\":19722", "end_day: ", AMBER_E_CORRUPT},
        {"\"end_day\":19813", "\"end_day\":9223372036854775807", "end_day: ", AMBER_E_CORRUPT},
        {"\"end_day\":19813", "\"end_day\":9223372036854775808", "not JSON", AMBER_E_CORRUPT},
        {"\"columns\":[", "\"columns\":[7,", "columns", AMBER_E_CORRUPT},
        {"\"columns\":[", "\"columns\":{},\"x\":[", "columns: ", AMBER_E_CORRUPT},
        {"\"bound\":", "\"bond\":", "partitions[0].bound: ", AMBER_E_CORRUPT},
        {"\"value\":\"ISO", "\"value\":7,\"x\":\"ISO", "settings[0].value: ", AMBER_E_CORRUPT},
        {"\"typed\":true", "\"typed\":1", "typed: ", AMBER_E_CORRUPT},
        {"\"crypto\":null", "\"crypto\":{}", "crypto: ", AMBER_E_UNSUPPORTED},
        {"\"archive\":{", "\"archive\":7,\"x\":{", "archive: ", AMBER_E_CORRUPT},
        {"\"key\":\"flow", "\"key\":\"../flow", "archive.key: ", AMBER_E_CORRUPT},
        {"\"key\":\"flow", "\"key\":\"/flow", "archive.key: ", AMBER_E_CORRUPT},
        {"\"codec\":\"gzip\"", "\"codec\":\"lzma\"", "archive.codec: ", AMBER_E_UNSUPPORTED},
        {"\"rows\":600", "\"rows\":601", "archive.rows: ", AMBER_E_CORRUPT},
        {"\"rows\":600", "\"rows\":9007199254740992", "archive.rows: ", AMBER_E_CORRUPT},
        {"\"rows\":600", "\"rows\":6e2", "archive.rows: ", AMBER_E_CORRUPT},
        {"\"raw_digest\":\"sha256:", "\"raw_digest\":\"md5:", "archive.raw_digest: ",
         AMBER_E_CORRUPT},
        {"\"stored_digest\":\"sha256:", "\"stored_digest\":\"sha256:0",
         "archive.stored_digest: ", AMBER_E_CORRUPT},
        {"\"block_digest\":\"sha256\"", "\"block_digest\":\"x\"",
         "archive.block_digest: ", AMBER_E_UNSUPPORTED},
        {"[\"header\",0,", "[\"footer\",0,", "archive.blocks[0][0]: ", AMBER_E_CORRUPT},
        {"[\"header\",0,", "[\"data\",0,", "archive.blocks[0].raw_len: ", AMBER_E_CORRUPT},
        {"[\"header\",0,", "[\"header\",1,", "archive.blocks[0].stored_off: ", AMBER_E_CORRUPT},
        {"[\"header\",0,", "[\"header\",0,0,", "archive.blocks[0]: ", AMBER_E_CORRUPT},
        {"[\"header\",0,", "[\"header\",-1,", "archive.blocks[0][1]: ", AMBER_E_CORRUPT},
        {"[\"data\",", "[\"header\",", "archive.blocks[1]: a header", AMBER_E_CORRUPT},
        {"[\"data\",", "[\"trailer\",", "archive.blocks[1]", AMBER_E_CORRUPT},
        {"\"kind\":\"overlay\"", "\"kind\":7", "attachments[0].kind: ", AMBER_E_CORRUPT},
        {"\"codec\":\"zstd\"", "\"codec\":null", "attachments[0].codec: ", AMBER_E_CORRUPT},
        {"\"key\":\".amberfs/att", "\"key\":\".amberfs//att",
         "attachments[0].key: ", AMBER_E_CORRUPT},
    };
    for (size_t i = 0; i < amber_countof(cases); i++)
        expect(t, cases[i].from, cases[i].to, cases[i].rc, cases[i].path);

    /* Numbers of the first data block, one by one. */
    const struct amber_block *d = &m.archive.blocks[1];
    snprintf(old, sizeof(old), "[\"data\",%u,%u,0,%u,0,%u,", (unsigned)d->stored_off, d->stored_len,
             d->raw_len, d->rows);
    static const struct {
        int v[6];
        const char *path;
    } numbers[] = {
        {{1, 0, 0, 0, 0, 0}, "archive.blocks[1].stored_off: "},
        {{0, 1, 0, 0, 0, 0}, "archive.blocks[2].stored_off: "},
        {{0, 0, 1, 0, 0, 0}, "archive.blocks[1].raw_off: "},
        {{0, 0, 0, 1, 0, 0}, "archive.blocks[2].raw_off: "},
        {{0, 0, 0, 0, 1, 0}, "archive.blocks[1].first_row: "},
        {{0, 0, 0, 0, 0, 1}, "archive.blocks[2].first_row: "},
        {{0, 9000000, 0, 0, 0, 0}, "archive.blocks[1].stored_len: "},
        {{0, 0, 0, 4194304, 0, 0}, "archive.blocks[1].raw_len: "},
        {{0, 0, 0, 0, 0, 70000}, "archive.blocks[1].rows: "},
    };
    for (size_t i = 0; i < amber_countof(numbers); i++) {
        char new[128];
        const int *v = numbers[i].v;
        snprintf(new, sizeof(new), "[\"data\",%u,%u,%d,%u,%d,%u,",
                 (unsigned)d->stored_off + (unsigned)v[0], d->stored_len + (unsigned)v[1], v[2],
                 d->raw_len + (unsigned)v[3], v[4], d->rows + (unsigned)v[5]);
        expect(t, old, new, AMBER_E_CORRUPT, numbers[i].path);
    }
}

static void parse_of_unknown_things_that_may_be_ignored_succeeds(void **state)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, p = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    make(*state, &m, &b);
    expect(b.data, "\"compat\":[]", "\"compat\":[\"bloom\"],\"new\":{\"x\":[1]}", AMBER_OK, "");
    char *t = replaced(b.data, "\"write_incompat\":[]", "\"write_incompat\":[\"ledger\"]");
    FX_OK(amber_manifest_parse(t, strlen(t), &p, &err));
    assert_true(p.write_incompat_unknown);
    free(t);
}

/* Whatever the text is cut to, parsing it is an error and leaves nothing. */
static void parse_of_cut_text_is_corrupt(void **state)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_manifest p;

    make(*state, &m, &b);
    for (size_t len = 0; len < b.len - 1; len += 7) {
        char *cut = malloc(len ? len : 1); /* its own, so that a read behind it is seen */
        memcpy(cut, b.data, len);
        assert_int_equal(amber_manifest_parse(cut, len, &p, &err), AMBER_E_CORRUPT);
        assert_null(p.archive.key);
        free(cut);
    }
}

static void parse_of_very_many_values_is_limit(void **state)
{
    const size_t len = 20U << 20;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_manifest p;
    char *text = malloc(len);

    (void)state;
    memset(text, ',', len);
    assert_int_equal(amber_manifest_parse(text, len, &p, &err), AMBER_E_LIMIT);
    assert_int_equal(amber_manifest_parse(text, (size_t)AMBER_MANIFEST_MAX + 1, &p, &err),
                     AMBER_E_LIMIT);
    free(text);
}

static void key_and_its_parts_agree(void **state)
{
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_manifest_name n;
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    FX_OK(amber_manifest_key("flow/x_2.json.gz", FX_RUN, 12, 0, &key, &err));
    assert_string_equal(key, ".amberfs/manifests/flow/x_2.json.gz/" FX_RUN ".12.0.json");
    FX_OK(amber_manifest_key_parse(key, &n, &err));
    assert_int_equal(n.archive_key_len, strlen("flow/x_2.json.gz"));
    assert_memory_equal(n.archive_key, "flow/x_2.json.gz", n.archive_key_len);
    assert_string_equal(n.run_id, FX_RUN);
    assert_int_equal(n.rows, 12);
    assert_int_equal(n.raw_bytes, 0);
}

static void key_parse_of_anything_else_is_invalid(void **state)
{
    static const char *const wrong[] = {
        "",
        "flow/x.json.gz",
        ".amberfs/manifests/" FX_RUN ".1.2.json",
        ".amberfs/manifests//" FX_RUN ".1.2.json",
        ".amberfs/manifests/x/" FX_RUN ".1.json",
        ".amberfs/manifests/x/" FX_RUN ".1.2.3.json",
        ".amberfs/manifests/x/" FX_RUN ".01.2.json",
        ".amberfs/manifests/x/" FX_RUN ".1.-2.json",
        ".amberfs/manifests/x/" FX_RUN ".1..json",
        ".amberfs/manifests/x/" FX_RUN ".1.99999999999999999999.json",
        ".amberfs/manifests/x/" FX_RUN ".1.9007199254740992.json",
        ".amberfs/manifests/x/" FX_RUN ".1.2.json.tmp",
        ".amberfs/manifests/x/11111111-2222-4333-8444-55555555555Z.1.2.json",
        ".amberfs/manifests/x/short.1.2.json",
    };
    struct amber_manifest_name n;
    struct amber_err err = AMBER_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < amber_countof(wrong); i++)
        if (amber_manifest_key_parse(wrong[i], &n, &err) != AMBER_E_INVALID)
            fail_msg("%s was taken", wrong[i]);
}

static void key_too_long_is_invalid(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    char name[AMBER_KEY_MAX];
    char *key;

    (void)state;
    memset(name, 'a', sizeof(name) - 1);
    for (size_t i = 200; i < sizeof(name); i += 200)
        name[i] = '/';
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(amber_manifest_key(name, FX_RUN, 1, 1, &key, &err), AMBER_E_INVALID);
}

static void put_then_get_gives_the_same(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, p = {0};
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_sha256 d, other = {{1}};
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY, AMBER_CODEC_GZIP, 600, &m, NULL, NULL);
    FX_OK(amber_manifest_put(f->st, &m, &key, &d, &err));
    FX_OK(amber_manifest_get(f->st, key, &d, &p, &err));
    assert_part_equal(&p.archive, &m.archive);
    amber_manifest_clear(&p);
    FX_OK(amber_manifest_get(f->st, key, NULL, &p, &err));
    amber_manifest_clear(&p);
    assert_int_equal(amber_manifest_get(f->st, key, &other, &p, &err), AMBER_E_CORRUPT);
    assert_non_null(strstr(err.text, key));
    assert_null(p.job);
    AMBER_AUTO_FREE char *again = NULL;
    assert_int_equal(amber_manifest_put(f->st, &m, &again, &d, &err), AMBER_E_EXISTS);
}

static void get_under_another_name_is_corrupt(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, p = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_err err = AMBER_ERR_INIT;

    make(f, &m, &b);
    FX_OK(amber_manifest_key("flow/other.json.gz", FX_RUN, m.archive.rows, m.archive.raw_bytes,
                             &key, &err));
    FX_OK(amber_store_put(f->st, key, b.data, b.len, &err));
    assert_int_equal(amber_manifest_get(f->st, key, NULL, &p, &err), AMBER_E_CORRUPT);
    free(amber_steal(&key));
    FX_OK(amber_manifest_key(KEY, FX_RUN, m.archive.rows + 1, m.archive.raw_bytes, &key, &err));
    FX_OK(amber_store_put(f->st, key, b.data, b.len, &err));
    assert_int_equal(amber_manifest_get(f->st, key, NULL, &p, &err), AMBER_E_CORRUPT);
    assert_int_equal(
        amber_manifest_get(f->st, ".amberfs/manifests/none/" FX_RUN ".1.2.json", NULL, &p, &err),
        AMBER_E_NOT_FOUND);
}

/* In place of the manifest under key: get it with the digest of the first one. */
static enum amber_rc get_instead(struct fx *f, const char *key, const struct amber_manifest *m,
                                 const struct amber_sha256 *recorded)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest p = {0};
    AMBER_AUTO_FREE char *again = NULL;
    struct amber_sha256 d;
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(amber_store_remove(f->st, key, &err));
    FX_OK(amber_manifest_put(f->st, m, &again, &d, &err));
    return amber_manifest_get(f->st, key, recorded, &p, &err);
}

static void get_of_rebuilt_counts_for_the_markers_bytes_only(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_sha256 d;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY, AMBER_CODEC_GZIP, 600, &m, NULL, NULL);
    FX_OK(amber_manifest_put(f->st, &m, &key, &d, &err));
    struct amber_marker_entry e = {
        .manifest_key = key, .digest = d, .stored = m.archive.stored_sha256};
    struct amber_marker marker = {.run_id = FX_RUN, .entries = &e, .n_entries = 1};
    FX_OK(amber_marker_put(f->st, &marker, &err));
    m.created_us++;
    assert_int_equal(get_instead(f, key, &m, &d), AMBER_E_CORRUPT);
    m.rebuilt = true;
    assert_int_equal(get_instead(f, key, &m, &d), AMBER_OK);
    m.archive.stored_sha256.b[5] ^= 1;
    assert_int_equal(get_instead(f, key, &m, &d), AMBER_E_CORRUPT);
}

static void put_of_what_could_not_be_read_back_writes_nothing(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_FREE char *key = NULL, *want = NULL;
    struct amber_object_info info;
    struct amber_sha256 d;
    struct amber_err err = AMBER_ERR_INIT;

    fx_write(f, KEY, AMBER_CODEC_GZIP, 60, &m, NULL, NULL);
    m.archive.blocks[1].rows++;
    assert_int_equal(amber_manifest_put(f->st, &m, &key, &d, &err), AMBER_E_CORRUPT);
    assert_null(key);
    FX_OK(amber_manifest_key(KEY, FX_RUN, 60, m.archive.raw_bytes, &want, &err));
    assert_int_equal(amber_store_stat(f->st, want, &info, &err), AMBER_E_NOT_FOUND);
}

static void meta_then_parse_gives_all_but_the_parts(void **state)
{
    struct fx *f = *state;
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, p = {0};
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;

    fx_describe(f, &m);
    FX_OK(amber_manifest_meta_encode(&m, &b, &err));
    FX_OK(amber_manifest_meta_parse(b.data, b.len, &p, &err));
    assert_string_equal(p.table_name, m.table_name);
    assert_int_equal(p.schema.n_columns, 3);
    assert_int_equal(p.n_partitions, 1);
    assert_null(p.archive.key);
    amber_manifest_clear(&p);
    assert_int_equal(amber_manifest_parse(b.data, b.len, &p, &err), AMBER_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
        T(encode_then_parse_gives_the_same),
        T(encode_without_parent_gives_null),
        T(parse_damage_names_the_path),
        T(parse_of_unknown_things_that_may_be_ignored_succeeds),
        T(parse_of_cut_text_is_corrupt),
        T(parse_of_very_many_values_is_limit),
        T(key_and_its_parts_agree),
        T(key_parse_of_anything_else_is_invalid),
        T(key_too_long_is_invalid),
        T(put_then_get_gives_the_same),
        T(get_under_another_name_is_corrupt),
        T(get_of_rebuilt_counts_for_the_markers_bytes_only),
        T(put_of_what_could_not_be_read_back_writes_nothing),
        T(meta_then_parse_gives_all_but_the_parts),
    };
    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
