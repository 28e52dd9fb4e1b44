/*
 * fuzz_codec.c - libFuzzer target for gzip and zstd reading: units of damaged or foreign files.
 *
 * The first byte chooses codec and use, the two behind it a length; the rest is the stored bytes:
 *   0 decompress one unit to exactly that length, as a reader does
 *   1 scan the file unit by unit, as rebuild-manifest does; a block that scans decodes to the same
 *   2 compress them as one block, which must come back and scan as one
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/codec.
 */
#include "amber/codec.h"
#include "fuzz.h"

static struct amber_codec *codecs[AMBER_CODEC_COUNT];
static struct amber_buf out, again;

static void set_up(void)
{
    struct amber_err err = AMBER_ERR_INIT;

    amber_buf_init(&out, AMBER_BLOCK_MAX);
    amber_buf_init(&again, AMBER_BLOCK_STORED_MAX);
    for (int i = 0; i < AMBER_CODEC_COUNT; i++) {
        enum amber_codec_kind kind = (enum amber_codec_kind)i;
        check(!amber_codec_new(kind, amber_codec_info(kind)->level_min, &codecs[i], &err));
    }
}

static void decompress(struct amber_codec *c, const uint8_t *data, size_t len, size_t raw_len)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE uint8_t *raw = malloc(raw_len + 1); /* exact, so that any overrun is seen */

    check(raw != NULL);
    enum amber_rc rc = amber_codec_decompress(c, data, len, raw, raw_len, &err);
    check(!rc || (rc == AMBER_E_CORRUPT && err.text[0]));
}

static void scan(struct amber_codec *c, const uint8_t *data, size_t len)
{
    for (size_t off = 0; off < len;) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_scanned unit;
        enum amber_rc rc = amber_codec_scan(c, data + off, len - off, &unit, &out, &err);
        if (rc) {
            check((rc == AMBER_E_CORRUPT || rc == AMBER_E_LIMIT) && err.text[0] && out.len == 0);
            return;
        }
        check(unit.stored_len > 0 && unit.stored_len <= len - off && out.len <= AMBER_BLOCK_MAX);
        if (unit.type == AMBER_UNIT_BLOCK && out.len > 0) {
            AMBER_AUTO_FREE uint8_t *raw = malloc(out.len);
            check(raw &&
                  !amber_codec_decompress(c, data + off, unit.stored_len, raw, out.len, &err));
            check(memcmp(raw, out.data, out.len) == 0);
        }
        off += unit.stored_len;
    }
}

static void round_trip(struct amber_codec *c, const uint8_t *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_scanned unit;

    if (len == 0 || len > AMBER_BLOCK_MAX)
        return;
    again.len = 0;
    check(!amber_codec_compress(c, data, len, &again, &err));
    AMBER_AUTO_FREE uint8_t *raw = malloc(len);
    check(raw && !amber_codec_decompress(c, again.data, again.len, raw, len, &err));
    check(memcmp(raw, data, len) == 0);
    check(!amber_codec_scan(c, again.data, again.len, &unit, &out, &err));
    check(unit.type == AMBER_UNIT_BLOCK && unit.stored_len == again.len);
    check(out.len == len && memcmp(out.data, data, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    if (!codecs[0])
        set_up();
    struct amber_codec *c = codecs[data[0] % AMBER_CODEC_COUNT];
    size_t raw_len = data[1] | (size_t)data[2] << 8;
    data += 3;
    size -= 3;
    switch (data[-3] / AMBER_CODEC_COUNT % 3) {
    case 0:
        decompress(c, data, size, raw_len);
        break;
    case 1:
        scan(c, data, size);
        break;
    default:
        round_trip(c, data, size);
    }
    return 0;
}
