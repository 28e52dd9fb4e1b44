/*
 * part_writer_priv.h - units in order into one stored object, with its block table and digests.
 */
#ifndef AMBER_PART_WRITER_PRIV_H
#define AMBER_PART_WRITER_PRIV_H

#include "amber/manifest.h"

/* Entries whose manifest stays within AMBER_MANIFEST_MAX. */
#define PART_BLOCKS_MAX 500000U

struct part_writer {
    struct amber_put *put; /* NULL: not open */
    struct amber_hasher *raw, *stored;
    struct amber_part part; /* as far as written */
    size_t cap;             /* of part.blocks */
};

enum amber_rc amber_part_writer_open(struct part_writer *w, struct amber_store *store,
                                     const char *key, enum amber_codec_kind codec,
                                     struct amber_err *err) AMBER_MUST_CHECK;
/* Write one unit; b: kind, stored_len, raw_len, rows, sha256 (the offsets are set here). */
enum amber_rc amber_part_writer_unit(struct part_writer *w, const struct amber_block *b,
                                     const void *stored, struct amber_err *err) AMBER_MUST_CHECK;
/* The raw text in order, in any pieces. */
enum amber_rc amber_part_writer_raw(struct part_writer *w, const void *raw, size_t len,
                                    struct amber_err *err) AMBER_MUST_CHECK;
/* Write a header or trailer unit that codec made (len 0: nothing). */
enum amber_rc amber_part_writer_frame(struct part_writer *w, enum amber_block_kind kind,
                                      const struct amber_buf *unit,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* Trailer and commit. out is the caller's; w is closed in every case. */
enum amber_rc amber_part_writer_finish(struct part_writer *w, struct amber_codec *codec,
                                       struct amber_part *out,
                                       struct amber_err *err) AMBER_MUST_CHECK;
/* Nothing stays in the store. w may be closed. */
void amber_part_writer_abort(struct part_writer *w);

#endif
