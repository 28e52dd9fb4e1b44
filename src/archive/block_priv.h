/*
 * block_priv.h - one block of a part: finding it, reading it, checking it, decoding it.
 */
#ifndef AMBER_BLOCK_PRIV_H
#define AMBER_BLOCK_PRIV_H

#include "amber/manifest.h"

struct foreign_scratch;
/* What decoding a block needs beside the place to decode to; reused from block to block. */
struct block_scratch {
    struct block_scratch *next;                    /* the keeper's */
    struct amber_codec *codecs[AMBER_CODEC_COUNT]; /* made when first needed */
    char *stored;                                  /* owned; stored_cap bytes */
    size_t stored_cap;
    struct foreign_scratch *foreign; /* owned; made when first needed */
};
enum amber_rc amber_block_scratch_new(struct block_scratch **out,
                                      struct amber_err *err) AMBER_MUST_CHECK;
void amber_block_scratch_free(struct block_scratch *s); /* NULL allowed */
/* Room for len stored bytes in s->stored. errors NOMEM. */
enum amber_rc amber_block_scratch_room(struct block_scratch *s, size_t len,
                                       struct amber_err *err) AMBER_MUST_CHECK;

/* Index of the block that holds the raw or stored byte at off; n_blocks if none does. */
size_t amber_block_at_raw(const struct amber_part *p, uint64_t off);
size_t amber_block_at_stored(const struct amber_part *p, uint64_t off);

/*
 * Read block i's stored bytes into buf (stored_len bytes) and compare their digest.
 * errors  CORRUPT with key, block and offset; IO, NET, ... of the store
 */
enum amber_rc amber_block_fetch(struct amber_object *o, const struct amber_part *p, size_t i,
                                void *buf, struct amber_err *err) AMBER_MUST_CHECK;
/* Decode block i, whose verified stored bytes are at stored, into raw (raw_len bytes). Codec none
 * copies. errors CORRUPT as above, NOMEM. */
enum amber_rc amber_block_decode(struct block_scratch *s, const struct amber_part *p, size_t i,
                                 const void *stored, void *raw,
                                 struct amber_err *err) AMBER_MUST_CHECK;

#endif
