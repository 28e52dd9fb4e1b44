/*
 * batch_priv.h - some COPY lines become blocks: JSON, overlay, digests, stored units.
 */
#ifndef AMBER_BATCH_PRIV_H
#define AMBER_BATCH_PRIV_H

#include <pthread.h>

#include "amber/writer.h"
#include "ordered_priv.h"

struct encoder;

/* What is the same for all batches of an archive. */
struct batch_maker {
    const char *key;                   /* borrowed; for errors */
    const struct amber_schema *schema; /* borrowed */
    enum amber_codec_kind codec;
    int level;
    size_t block_bytes;
    pthread_mutex_t lock;     /* guards encoders */
    struct encoder *encoders; /* free ones; each thread at work has one */
};

/* One block of a batch, and the digest of the group that starts with it (proof_priv.h). */
struct piece {
    struct amber_block block; /* its offsets aren't set */
    struct amber_fast_digest digest;
};

struct batch {
    struct ordered_item item; /* first */
    struct amber_writer *writer;
    /* What goes in: */
    struct amber_buf copy; /* lines with their '\n' */
    char *big;             /* owned: the one row of this batch instead; NULL: lines in copy */
    size_t big_skip, big_len;
    uint64_t first_row;
    size_t rows;
    size_t estimate; /* bytes of JSON */
    /* What comes out: */
    struct amber_buf json, overlay, stored;
    struct piece *pieces; /* owned */
    size_t n_pieces, cap_pieces;
};

void amber_batch_maker_init(struct batch_maker *m, const struct amber_writer_config *cfg,
                            const char *key);
void amber_batch_maker_clear(struct batch_maker *m);

void amber_batch_init(struct batch *b, struct amber_writer *w);
void amber_batch_clear(struct batch *b);
/* Make it empty for rows from first_row on; its buffers stay, but for huge ones. */
void amber_batch_reset(struct batch *b, uint64_t first_row);
/*
 * Fill what comes out. b->big is freed.
 * errors  CORRUPT a line isn't a row of this schema (key and row number in the text); LIMIT, NOMEM
 * thread  any; several batches of one maker at once
 */
enum amber_rc amber_batch_make(struct batch_maker *m, struct batch *b,
                               struct amber_err *err) AMBER_MUST_CHECK;

#endif
