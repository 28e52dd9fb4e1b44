/*
 * fuzz_foreign.c - libFuzzer target for files of other programs: the first byte chooses what the rest
 * is, a gzip file, a zstd file, or the index of one.
 *
 * A file decodes to its end or is told to be damaged, with the offset; nothing else. An index that
 * parses encodes to the same bytes. (Its digest is put right first: no input would pass otherwise.)
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/foreign.
 */
#include "amber/digest.h"
#include "amber/foreign.h"
#include "fuzz.h"

#include "../../src/archive/foreign_priv.h"

#define DIGEST_AT 8U
#define HEAD_BYTES (DIGEST_AT + sizeof(struct amber_sha256))

static void decode(const char *key, const uint8_t *data, size_t size)
{
    const struct memory_object object = {key, data, size};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_foreign_config cfg = {.store = memory_store(&object, 1),
                                       .store_name = "fuzz",
                                       .cache_path = "/nonexistent",
                                       .disk_bytes = 1U << 20,
                                       .memory_bytes = 8U << 20};
    struct amber_foreign *f;
    uint64_t raw = 0;

    check(amber_foreign_new(&cfg, &f, &err) == AMBER_OK);
    enum amber_rc rc = amber_foreign_verify(f, key, &raw, &err);
    check(!rc || ((rc == AMBER_E_CORRUPT || rc == AMBER_E_LIMIT || rc == AMBER_E_UNSUPPORTED) &&
                  err.text[0]));
    amber_foreign_free(f);
    amber_store_free(cfg.store);
}

static void parse_index(const uint8_t *data, size_t size)
{
    AMBER_CLEANUP(amber_part_clear) struct amber_part p = {0};
    AMBER_AUTO_BUF struct amber_buf again = AMBER_BUF_INIT(16U << 20);
    AMBER_AUTO_FREE uint8_t *doc = malloc(size + 1);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_sha256 digest;

    check(doc != NULL);
    memcpy(doc, data, size);
    if (size >= HEAD_BYTES) {
        check(amber_sha256(doc + HEAD_BYTES, size - HEAD_BYTES, &digest, &err) == AMBER_OK);
        memcpy(doc + DIGEST_AT, digest.b, sizeof(digest.b));
    }
    enum amber_rc rc = amber_foreign_parse(doc, size, &p, &err);
    if (rc) {
        check(rc == AMBER_E_CORRUPT && err.text[0] && !p.blocks && !p.foreign);
        return;
    }
    check(amber_foreign_encode(&p, &again, &err) == AMBER_OK);
    check(again.len == size && memcmp(again.data, doc, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] % 3 == 0)
        decode("d/a.json.gz", data + 1, size - 1);
    else if (data[0] % 3 == 1)
        decode("d/a.json.zst", data + 1, size - 1);
    else
        parse_index(data + 1, size - 1);
    return 0;
}
