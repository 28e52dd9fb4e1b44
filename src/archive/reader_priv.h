/*
 * reader_priv.h - the reader's inside, as streams need it.
 */
#ifndef AMBER_READER_PRIV_H
#define AMBER_READER_PRIV_H

#include "cache_priv.h"
#include "source_priv.h"

struct amber_reader {
    struct amber_part part;      /* owned */
    struct block_source *source; /* owned */
    struct amber_cache *cache;
    size_t first_data, end_data;       /* data blocks: [first, end) */
    struct cache_entry **slots;        /* owned; n_blocks, guarded by the cache's lock */
    struct cache_entry **stored_slots; /* the same for stored bytes; made when first needed */
    unsigned n_streams;                /* open, or closed and still loading; the cache's lock */
};

/* As amber_reader_open, with enum amber_open_flags. */
enum amber_rc amber_reader_open_flags(struct amber_store *store, struct amber_part *part, int flags,
                                      struct amber_cache *cache, struct amber_reader **out,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* What fills the slot of data block i. */
struct cache_load amber_reader_load_of(struct amber_reader *r, size_t i);

#endif
