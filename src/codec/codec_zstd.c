/*
 * codec_zstd.c - blocks as independent zstd frames (RFC 8878) with the seekable format's table.
 *
 * A block is one frame with content size and checksum. Header and trailer are skippable frames:
 *
 *     header   184D2A50 | size (4) | "AMBR" | payload
 *     trailer  184D2A5E | size (4) | stored_len (4) raw_len (4) ... | n (4) | flags 0 | 8F92EAB1
 *
 * The table lists every unit before it, the header with raw_len 0; all numbers are little-endian.
 * source  zstd contrib/seekable_format, version 0.1.0
 */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_d_forceIgnoreChecksum: a parameter, no new symbol */
#include <zstd.h>
#include <zstd_errors.h>

#include "codec_priv.h"

#define HEADER_MAGIC 0x184D2A50U
#define TABLE_MAGIC 0x184D2A5EU
#define TABLE_FOOTER_MAGIC 0x8F92EAB1U
#define SKIPPABLE_HEAD 8
#define TABLE_ENTRY 8
#define TABLE_FOOTER 9
#define TABLE_UNITS_MAX 0x8000000U /* the seekable format's limit */

static const char header_tag[4] = {'A', 'M', 'B', 'R'};

struct zstd_codec {
    struct amber_codec base;
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
};

static void zstd_clear(struct amber_codec *c)
{
    struct zstd_codec *z = (struct zstd_codec *)c;

    ZSTD_freeCCtx(z->compressor);
    ZSTD_freeDCtx(z->decompressor);
}

static enum amber_rc need_compressor(struct zstd_codec *z, struct amber_err *err)
{
    if (z->compressor)
        return AMBER_OK;
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    if (!cctx ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, z->base.level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1))) {
        ZSTD_freeCCtx(cctx);
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a zstd compressor");
    }
    z->compressor = cctx;
    return AMBER_OK;
}

static enum amber_rc need_decompressor(struct zstd_codec *z, struct amber_err *err)
{
    if (z->decompressor)
        return AMBER_OK;
    z->decompressor = ZSTD_createDCtx();
    if (!z->decompressor)
        return amber_fail(err, AMBER_E_NOMEM, "out of memory for a zstd decompressor");
    /* A library that doesn't know the parameter checks as always. */
    if (z->base.trusted)
        (void)ZSTD_DCtx_setParameter(z->decompressor, ZSTD_d_forceIgnoreChecksum,
                                     ZSTD_d_ignoreChecksum);
    return AMBER_OK;
}

static enum amber_rc append_skippable_head(uint32_t magic, size_t content_len,
                                           struct amber_buf *out, struct amber_err *err)
{
    uint8_t head[SKIPPABLE_HEAD];

    put_le32(head, magic);
    put_le32(head + 4, (uint32_t)content_len);
    return amber_buf_append(out, head, sizeof(head), err);
}

static enum amber_rc zstd_header(struct amber_codec *c, const uint8_t *payload, size_t len,
                                 struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = append_skippable_head(HEADER_MAGIC, sizeof(header_tag) + len, out, err);

    (void)c;
    if (!rc)
        rc = amber_buf_append(out, header_tag, sizeof(header_tag), err);
    if (!rc)
        rc = amber_buf_append(out, payload, len, err);
    return rc;
}

static enum amber_rc zstd_compress(struct amber_codec *c, const void *raw, size_t len,
                                   struct amber_buf *out, struct amber_err *err)
{
    struct zstd_codec *z = (struct zstd_codec *)c;
    enum amber_rc rc = need_compressor(z, err);

    if (rc)
        return rc;
    size_t room = ZSTD_compressBound(len);
    rc = amber_buf_reserve(out, room, err);
    if (rc)
        return rc;
    size_t n = ZSTD_compress2(z->compressor, out->data + out->len, room, raw, len);
    if (ZSTD_isError(n)) {
        bool nomem = ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation;
        return amber_fail(err, nomem ? AMBER_E_NOMEM : AMBER_E_INVALID,
                          "zstd can't compress %zu bytes at level %d: %s", len, c->level,
                          ZSTD_getErrorName(n));
    }
    out->len += n;
    out->data[out->len] = '\0';
    return AMBER_OK;
}

static enum amber_rc zstd_trailer(struct amber_codec *c, const struct amber_unit_lens *units,
                                  size_t n_units, struct amber_buf *out, struct amber_err *err)
{
    (void)c;
    if (n_units > TABLE_UNITS_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "%zu blocks: a zstd seek table holds at most %u",
                          n_units, TABLE_UNITS_MAX);
    size_t len = n_units * TABLE_ENTRY + TABLE_FOOTER;
    enum amber_rc rc = amber_buf_reserve(out, SKIPPABLE_HEAD + len, err);
    if (!rc)
        rc = append_skippable_head(TABLE_MAGIC, len, out, err);
    for (size_t i = 0; i < n_units && !rc; i++) {
        uint8_t entry[TABLE_ENTRY];
        put_le32(entry, units[i].stored_len);
        put_le32(entry + 4, units[i].raw_len);
        rc = amber_buf_append(out, entry, sizeof(entry), err);
    }
    uint8_t footer[TABLE_FOOTER] = {0}; /* flags 0: no checksums in the table */
    put_le32(footer, (uint32_t)n_units);
    put_le32(footer + 5, TABLE_FOOTER_MAGIC);
    if (!rc)
        rc = amber_buf_append(out, footer, sizeof(footer), err);
    return rc;
}

static bool is_skippable(uint32_t magic)
{
    return (magic & 0xFFFFFFF0U) == HEADER_MAGIC;
}

/* Decode one frame of exactly stored_len bytes. errors LIMIT it has more than room; CORRUPT; NOMEM
 */
static enum amber_rc decode_frame(struct zstd_codec *z, const void *stored, size_t stored_len,
                                  void *raw, size_t room, size_t *out_len, struct amber_err *err)
{
    enum amber_rc rc = need_decompressor(z, err);

    if (rc)
        return rc;
    size_t n = ZSTD_decompressDCtx(z->decompressor, raw, room, stored, stored_len);
    if (ZSTD_isError(n)) {
        ZSTD_ErrorCode code = ZSTD_getErrorCode(n);
        rc = code == ZSTD_error_memory_allocation  ? AMBER_E_NOMEM
             : code == ZSTD_error_dstSize_tooSmall ? AMBER_E_LIMIT
                                                   : AMBER_E_CORRUPT;
        return amber_fail(err, rc, "a zstd frame of %zu bytes doesn't decode into %zu: %s",
                          stored_len, room, ZSTD_getErrorName(n));
    }
    *out_len = n;
    return AMBER_OK;
}

static enum amber_rc zstd_decompress(struct amber_codec *c, const void *stored, size_t stored_len,
                                     void *raw, size_t raw_len, struct amber_err *err)
{
    size_t n = 0;

    /* ZSTD_decompressDCtx also takes several frames in a row, skippable and older ones: not here.
     */
    if (stored_len < 4 || get_le32(stored) != ZSTD_MAGICNUMBER ||
        ZSTD_findFrameCompressedSize(stored, stored_len) != stored_len)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%zu stored bytes are not one zstd frame: damaged or cut off",
                          stored_len);
    enum amber_rc rc =
        decode_frame((struct zstd_codec *)c, stored, stored_len, raw, raw_len, &n, err);
    if (rc == AMBER_E_LIMIT) /* the manifest knows the length: a longer block is a wrong one */
        rc = err->code = AMBER_E_CORRUPT;
    if (!rc && n != raw_len)
        rc =
            amber_fail(err, AMBER_E_CORRUPT, "a zstd frame has %zu raw bytes, not %zu", n, raw_len);
    return rc;
}

static enum amber_rc scan_skippable(const uint8_t *stored, size_t len, size_t room,
                                    struct amber_scanned *unit, struct amber_buf *out,
                                    struct amber_err *err)
{
    if (len < SKIPPABLE_HEAD || get_le32(stored + 4) > len - SKIPPABLE_HEAD)
        return amber_fail(err, AMBER_E_CORRUPT, "a skippable zstd frame is cut off");
    size_t content_len = get_le32(stored + 4);
    const uint8_t *content = stored + SKIPPABLE_HEAD;

    unit->stored_len = SKIPPABLE_HEAD + content_len;
    unit->type = AMBER_UNIT_OTHER;
    if (get_le32(stored) != HEADER_MAGIC || content_len < sizeof(header_tag) ||
        memcmp(content, header_tag, sizeof(header_tag)) != 0)
        return AMBER_OK;
    unit->type = AMBER_UNIT_HEADER;
    if (content_len - sizeof(header_tag) > room)
        return amber_fail(err, AMBER_E_LIMIT, "a zstd header of %zu bytes: the limit is %zu",
                          content_len, room);
    return amber_buf_append(out, content + sizeof(header_tag), content_len - sizeof(header_tag),
                            err);
}

static enum amber_rc zstd_scan(struct amber_codec *c, const uint8_t *stored, size_t len,
                               size_t room, struct amber_scanned *unit, struct amber_buf *out,
                               struct amber_err *err)
{
    if (len >= 4 && is_skippable(get_le32(stored)))
        return scan_skippable(stored, len, room, unit, out, err);
    if (len < 4 || get_le32(stored) != ZSTD_MAGICNUMBER)
        return amber_fail(err, AMBER_E_CORRUPT, "no zstd frame starts here");

    unsigned long long size = ZSTD_getFrameContentSize(stored, len);
    size_t frame_len = ZSTD_findFrameCompressedSize(stored, len);
    bool known = size != ZSTD_CONTENTSIZE_UNKNOWN && size != ZSTD_CONTENTSIZE_ERROR;
    /* A frame that doesn't end within the room of a block is larger than a block. */
    if ((known && size > room) || (ZSTD_isError(frame_len) && len >= AMBER_BLOCK_STORED_MAX))
        return amber_fail(err, AMBER_E_LIMIT,
                          "a zstd frame decodes to more than the %zu bytes of a block", room);
    if (ZSTD_isError(frame_len))
        return amber_fail(err, AMBER_E_CORRUPT, "a zstd frame is damaged or cut off: %s",
                          ZSTD_getErrorName(frame_len));
    enum amber_rc rc =
        decode_frame((struct zstd_codec *)c, stored, frame_len, out->data, room, &out->len, err);
    unit->type = out->len > 0 ? AMBER_UNIT_BLOCK : AMBER_UNIT_OTHER;
    unit->stored_len = frame_len;
    return rc;
}

const struct codec_ops amber_codec_zstd_ops = {
    .info = {.kind = AMBER_CODEC_ZSTD,
             .name = "zstd",
             .suffix = ".zst",
             .level_min = 1,
             .level_max = 19,
             .level_default = 3},
    .state_bytes = sizeof(struct zstd_codec),
    .clear = zstd_clear,
    .header = zstd_header,
    .compress = zstd_compress,
    .trailer = zstd_trailer,
    .decompress = zstd_decompress,
    .scan = zstd_scan,
};
