/*
 * fuzz_manifest.c - libFuzzer target for the manifest, the header unit's text and manifest keys.
 *
 * Every input is given to all three. What parses must hold what the header promises, and encode to
 * a text that parses to the same text.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/manifest.
 */
#include "amber/manifest.h"
#include "fuzz.h"

static void manifest(const char *text, size_t len)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, again = {0};
    AMBER_AUTO_BUF struct amber_buf a = AMBER_BUF_INIT(AMBER_MANIFEST_MAX),
                                    b = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_manifest_parse(text, len, &m, &err) != AMBER_OK) {
        check(err.text[0] && !m.archive.key && !m.schema.columns && !m.attachments);
        return;
    }
    check(amber_part_check(&m.archive, "archive", &err) == AMBER_OK);
    for (size_t i = 0; i < m.n_attachments; i++)
        check(amber_part_check(&m.attachments[i].part, "attachment", &err) == AMBER_OK);
    check(amber_manifest_encode(&m, &a, &err) == AMBER_OK);
    check(amber_manifest_parse(a.data, a.len, &again, &err) == AMBER_OK);
    check(amber_manifest_encode(&again, &b, &err) == AMBER_OK);
    check(a.len == b.len && !memcmp(a.data, b.data, a.len));
}

static void header(const char *text, size_t len)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0}, again = {0};
    AMBER_AUTO_BUF struct amber_buf a = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    struct amber_err err = AMBER_ERR_INIT;

    if (amber_manifest_meta_parse(text, len, &m, &err) != AMBER_OK) {
        check(err.text[0] && !m.job && !m.schema.columns);
        return;
    }
    check(!m.archive.key && m.n_attachments == 0);
    if (amber_manifest_meta_encode(&m, &a, &err) == AMBER_OK)
        check(amber_manifest_meta_parse(a.data, a.len, &again, &err) == AMBER_OK);
}

static void key(const char *text, size_t len)
{
    AMBER_AUTO_FREE char *given = strndup(text, len), *archive = NULL, *made = NULL;
    struct amber_manifest_name n;
    struct amber_err err = AMBER_ERR_INIT;

    check(given);
    if (amber_manifest_key_parse(given, &n, &err) != AMBER_OK)
        return;
    check(n.archive_key > given && n.archive_key_len < strlen(given));
    check(amber_uuid_valid(n.run_id));
    archive = strndup(n.archive_key, n.archive_key_len);
    check(archive);
    if (amber_manifest_key(archive, n.run_id, n.rows, n.raw_bytes, &made, &err) == AMBER_OK)
        check(strcmp(made, given) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    manifest(text, size);
    header(text, size);
    key(text, size);
    return 0;
}
