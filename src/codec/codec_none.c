/*
 * codec_none.c - plain storage: a block is its bytes, there is neither header nor trailer.
 *
 * Nothing in the bytes tells whether they are right; only the digests of the manifest do. A scan
 * therefore cuts the file into full blocks wherever they end.
 */
#include "codec_priv.h"

static enum amber_rc none_compress(struct amber_codec *c, const void *raw, size_t len,
                                   struct amber_buf *out, struct amber_err *err)
{
    (void)c;
    return amber_buf_append(out, raw, len, err);
}

static enum amber_rc none_decompress(struct amber_codec *c, const void *stored, size_t stored_len,
                                     void *raw, size_t raw_len, struct amber_err *err)
{
    (void)c;
    if (stored_len != raw_len)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "a plain block has %zu stored bytes, %zu were expected", stored_len,
                          raw_len);
    memcpy(raw, stored, raw_len);
    return AMBER_OK;
}

static enum amber_rc none_scan(struct amber_codec *c, const uint8_t *stored, size_t len,
                               size_t room, struct amber_scanned *out_unit, struct amber_buf *out,
                               struct amber_err *err)
{
    (void)c;
    out_unit->type = AMBER_UNIT_BLOCK;
    out_unit->stored_len = len < room ? len : room;
    return amber_buf_append(out, stored, out_unit->stored_len, err);
}

const struct codec_ops amber_codec_none_ops = {
    .info = {.kind = AMBER_CODEC_NONE, .name = "none", .suffix = ""},
    .state_bytes = sizeof(struct amber_codec),
    .compress = none_compress,
    .decompress = none_decompress,
    .scan = none_scan,
};
