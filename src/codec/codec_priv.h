/*
 * codec_priv.h - what one codec implements; codec.c holds the list and checks every argument.
 *
 * The functions get valid ranges, append to out (the wrapper takes back what a failed call has
 * appended), and make their compressor or decompressor at its first use: a reader never pays for
 * a compressor. A member may be NULL where the comment says so.
 */
#ifndef AMBER_CODEC_PRIV_H
#define AMBER_CODEC_PRIV_H

#include "amber/codec.h"

struct codec_ops {
    struct amber_codec_info info;
    size_t state_bytes; /* of the struct that embeds struct amber_codec; zeroed by codec.c */
    void (*clear)(struct amber_codec *c); /* free what the state owns, not the state; may be NULL */
    /* payload: 32 bytes SHA-256 of the meta, then the meta. NULL: the codec has no header. */
    enum amber_rc (*header)(struct amber_codec *c, const uint8_t *payload, size_t len,
                            struct amber_buf *out, struct amber_err *err);
    enum amber_rc (*compress)(struct amber_codec *c, const void *raw, size_t len,
                              struct amber_buf *out, struct amber_err *err);
    /* NULL: the codec has no trailer. */
    enum amber_rc (*trailer)(struct amber_codec *c, const struct amber_unit_lens *units, size_t n_units,
                             struct amber_buf *out, struct amber_err *err);
    enum amber_rc (*decompress)(struct amber_codec *c, const void *stored, size_t stored_len,
                                void *raw, size_t raw_len, struct amber_err *err);
    /* out is empty and has room for room bytes. A HEADER gives its whole payload; codec.c checks
     * the digest and takes it off. */
    enum amber_rc (*scan)(struct amber_codec *c, const uint8_t *stored, size_t len, size_t room,
                          struct amber_scanned *out_unit, struct amber_buf *out,
                          struct amber_err *err);
};

/* First member of every codec's state. */
struct amber_codec {
    const struct codec_ops *ops;
    int level;
    bool trusted; /* amber_codec_trust */
};

extern const struct codec_ops amber_codec_none_ops;
extern const struct codec_ops amber_codec_gzip_ops;
extern const struct codec_ops amber_codec_zstd_ops;

/* Little-endian numbers of the formats. */
static inline void put_le16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v & 0xFFU);
    p[1] = (uint8_t)(v >> 8 & 0xFFU);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, v & 0xFFFFU);
    put_le16(p + 2, v >> 16);
}

static inline unsigned get_le16(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static inline uint32_t get_le32(const uint8_t *p)
{
    return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

#endif
