/*
 * codec.h - compression of one block: a block goes in, an independently decodable unit comes out.
 *
 * An archive is the concatenation of [header unit] block units [trailer unit], and must be a
 * standard file that gunzip, zstd -d or cat turns into the raw text: header and trailer decode to
 * nothing (an empty gzip member with FEXTRA; skippable zstd frames).
 *
 *   gzip   header: empty members with an 'AM' extra subfield   block: one member    trailer: none
 *   zstd   header: skippable frame 0x184D2A50 "AMBR"           block: one frame     trailer: seek table
 *   none   header: none                                        block: the bytes     trailer: none
 *
 * A header's meta is stored behind its SHA-256 (codec.c), since neither container has a checksum.
 *
 * source  RFC 1952, RFC 8878, zstd seekable format 0.1.0; docs/format.md
 */
#ifndef AMBER_CODEC_H
#define AMBER_CODEC_H

#include "amber/err.h"
#include "amber/mem.h"

/* Raw bytes of one block: hard maximum, and the room its stored form may take. */
#define AMBER_BLOCK_MAX (4U * 1024U * 1024U)
#define AMBER_BLOCK_STORED_MAX (AMBER_BLOCK_MAX + AMBER_BLOCK_MAX / 64U + 4096U)

enum amber_codec_kind { AMBER_CODEC_NONE, AMBER_CODEC_GZIP, AMBER_CODEC_ZSTD };
#define AMBER_CODEC_COUNT 3

/* What a codec is; one static const table of these. */
struct amber_codec_info {
    enum amber_codec_kind kind;
    const char *name;   /* "gzip": configuration and manifest */
    const char *suffix; /* ".gz"; "" for none */
    int level_min, level_max, level_default;
};
const struct amber_codec_info *amber_codec_info(enum amber_codec_kind kind);
/* By configuration name. NULL if unknown. */
const struct amber_codec_info *amber_codec_by_name(const char *name);
/* By the end of a file name; the entry of "none" if no suffix is known. */
const struct amber_codec_info *amber_codec_by_suffix(const char *file_name);

/* Compressor and decompressor state: reusable, one thread at a time. */
struct amber_codec;
/* The library's own state is made at the first compression or decompression, so a reader pays for
 * no compressor. errors INVALID level out of range (give level_default for reading); NOMEM */
enum amber_rc amber_codec_new(enum amber_codec_kind kind, int level, struct amber_codec **out,
                              struct amber_err *err) AMBER_MUST_CHECK;
void amber_codec_free(struct amber_codec *c); /* NULL allowed */
/* From now on decompress is given bytes whose digest was checked: it leaves out the codec's own
 * checksum where it can (zstd: an eighth of the time, gzip: a tenth). Not for scan. */
void amber_codec_trust(struct amber_codec *c);

/* Append the header unit that carries meta (len bytes; 0: nothing is written). Codec none writes
 * nothing. errors NOMEM, LIMIT. */
enum amber_rc amber_codec_header(struct amber_codec *c, const void *meta, size_t len,
                                 struct amber_buf *out, struct amber_err *err) AMBER_MUST_CHECK;
/* Append one block unit holding raw (1..AMBER_BLOCK_MAX bytes). errors NOMEM, LIMIT. */
enum amber_rc amber_codec_compress(struct amber_codec *c, const void *raw, size_t len,
                                   struct amber_buf *out, struct amber_err *err) AMBER_MUST_CHECK;

/* Sizes of one block unit as the trailer lists them. */
struct amber_unit_lens {
    uint32_t stored_len, raw_len;
};
/* Append the trailer unit for these units in file order (header included, with raw_len 0).
 * errors NOMEM, LIMIT. */
enum amber_rc amber_codec_trailer(struct amber_codec *c, const struct amber_unit_lens *units,
                                  size_t n_units, struct amber_buf *out, struct amber_err *err)
    AMBER_MUST_CHECK;

/*
 * Decode one block unit.
 * shape   raw: raw_len bytes, and the unit must decode to exactly that many
 * errors  CORRUPT wrong checksum, wrong length, not such a unit; NOMEM. raw is undefined then
 */
enum amber_rc amber_codec_decompress(struct amber_codec *c, const void *stored, size_t stored_len,
                                     void *raw, size_t raw_len, struct amber_err *err)
    AMBER_MUST_CHECK;

/* One unit found in a stored file by reading it from its start (rebuilding a manifest). */
enum amber_unit_type { AMBER_UNIT_BLOCK, AMBER_UNIT_HEADER, AMBER_UNIT_OTHER /* trailer, padding */ };
struct amber_scanned {
    enum amber_unit_type type;
    size_t stored_len; /* bytes of the unit */
};
/*
 * Identify and decode the unit at the start of stored. For none: up to AMBER_BLOCK_MAX bytes.
 * shape   stored: the rest of the file, or at least its next AMBER_BLOCK_STORED_MAX bytes, else a
 *         whole unit may look cut off; out: the raw bytes of a BLOCK, the meta of a HEADER, nothing
 *         for OTHER (replaced, not appended to); ceiling AMBER_BLOCK_MAX
 * errors  CORRUPT not a whole unit or damaged; LIMIT the unit is larger than a block may be (a
 *         file by another program); INVALID len 0; NOMEM. out is empty then
 */
enum amber_rc amber_codec_scan(struct amber_codec *c, const void *stored, size_t len,
                               struct amber_scanned *out_unit, struct amber_buf *out,
                               struct amber_err *err) AMBER_MUST_CHECK;

#endif
