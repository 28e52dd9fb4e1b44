/*
 * fuzz_rebuild.c - libFuzzer target for making a manifest from an archive alone: the first byte
 * chooses the codec, the rest is the stored file.
 *
 * What can be rebuilt keeps what a manifest promises, encodes to a document that parses, and its
 * archive verifies.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/rebuild.
 */
#include "amber/verify.h"
#include "fuzz.h"

static const char *const keys[] = {"flow/a.json", "flow/a.json.gz", "flow/a.json.zst"};

static void sound(struct amber_store *st, const struct amber_manifest *m)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest parsed = {0};
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    struct amber_verify_report report;
    struct amber_err err = AMBER_ERR_INIT;

    check(m->rebuilt && !amber_part_check(&m->archive, "archive", &err));
    enum amber_rc rc = amber_verify(st, m, NULL, NULL, NULL, &report, &err);
    /* A header's types may be any that the rows don't have. */
    check(!rc || (rc == AMBER_E_CORRUPT && m->typed));
    check(report.bad_blocks == 0 || m->typed);
    if (!amber_manifest_encode(m, &text, &err))
        check(!amber_manifest_parse(text.data, text.len, &parsed, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    struct amber_err err = AMBER_ERR_INIT;

    if (size < 1)
        return 0;
    const struct memory_object object = {keys[data[0] % 3], data + 1, size - 1};
    struct amber_store *st = memory_store(&object, 1);
    enum amber_rc rc = amber_rebuild(st, object.key, &m, &err);
    if (rc)
        check((rc == AMBER_E_CORRUPT || rc == AMBER_E_UNSUPPORTED || rc == AMBER_E_LIMIT) &&
              err.text[0] && !m.archive.blocks);
    else
        sound(st, &m);
    amber_store_free(st);
    return 0;
}
