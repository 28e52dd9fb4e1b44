/*
 * fuzz_documents.c - libFuzzer target for the small documents of a store: the commit marker and
 * store.json. Every input is read as both.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/documents.
 */
#include "amber/manifest.h"
#include "fuzz.h"
#include "marker_priv.h"

#define RUN "11111111-2222-4333-8444-555555555555"

static void marker(struct amber_store *st)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker m = {0};
    struct amber_manifest_name name;
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = amber_marker_get(st, RUN, &m, &err);

    if (rc) {
        check((rc == AMBER_E_CORRUPT || rc == AMBER_E_UNSUPPORTED || rc == AMBER_E_LIMIT) &&
              err.text[0] && !m.entries && !m.job);
        return;
    }
    check(strcmp(m.run_id, RUN) == 0 && m.job);
    for (size_t i = 0; i < m.n_entries; i++) {
        const char *key = m.entries[i].manifest_key;
        check(!amber_key_check(key, &err) && !amber_manifest_key_parse(key, &name, &err));
        check(strcmp(name.run_id, RUN) == 0);
        check(i == 0 || strcmp(m.entries[i - 1].manifest_key, key) < 0);
    }
}

/* What the quick reader takes, the parser takes as well. */
static void quick_marker(const uint8_t *data, size_t size)
{
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker quick = {0}, slow = {0};
    struct amber_err err = AMBER_ERR_INIT;

    if (!amber_marker_scan((const char *)data, size, &quick))
        return;
    check(!amber_marker_parse((const char *)data, size, &slow, &err));
    check(strcmp(quick.run_id, slow.run_id) == 0 && strcmp(quick.job, slow.job) == 0);
    check(quick.committed_us == slow.committed_us && quick.n_entries == slow.n_entries);
    for (size_t i = 0; i < quick.n_entries; i++) {
        const struct amber_marker_entry *a = &quick.entries[i], *b = &slow.entries[i];
        check(strcmp(a->manifest_key, b->manifest_key) == 0);
        check(amber_sha256_equal(&a->digest, &b->digest));
        check(amber_sha256_equal(&a->stored, &b->stored));
    }
}

static void identity(struct amber_store *st)
{
    struct amber_store_identity id = {0};
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = amber_store_identity_get(st, &id, &err);

    if (rc) {
        check((rc == AMBER_E_CORRUPT || rc == AMBER_E_UNSUPPORTED || rc == AMBER_E_LIMIT) &&
              err.text[0] && !id.store_id[0]);
        return;
    }
    check(amber_uuid_valid(id.store_id));
    check(!id.catalog_id[0] || amber_uuid_valid(id.catalog_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct memory_object objects[] = {
        {AMBER_META_DIR "/commits/" RUN ".json", data, size},
        {AMBER_META_DIR "/store.json", data, size},
    };
    struct amber_store *st = memory_store(objects, amber_countof(objects));

    marker(st);
    quick_marker(data, size);
    identity(st);
    amber_store_free(st);
    return 0;
}
