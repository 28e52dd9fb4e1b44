/*
 * reader.h - verified bytes of one part, at any offset, for any number of threads.
 *
 *   store -> stored block -> SHA-256 -> codec -> cache -> pin
 *
 * No byte leaves here before its whole block's digest matched. The cache holds verified decoded
 * blocks only, is shared by all readers of a process, and bounds memory: least recently used
 * blocks go first, pinned ones stay. A block is decoded once however many threads want it
 * (EMPTY -> LOADING -> READY or FAILED, with waiters). A failed block is tried again at its next
 * use and is logged once per failure.
 */
#ifndef AMBER_READER_H
#define AMBER_READER_H

#include "amber/manifest.h"
#include "amber/pool.h"

struct amber_cache;
/* bytes: decoded bytes that may be kept, pinned ones included where possible. pool: prefetch runs
 * there; borrowed. */
enum amber_rc amber_cache_new(size_t bytes, struct amber_pool *pool, struct amber_cache **out,
                              struct amber_err *err) AMBER_MUST_CHECK;
/* Keep stored blocks of remote stores on disk too: for readers that are opened from now on. disk is
 * borrowed until the cache is freed; NULL: none. */
struct amber_disk_cache;
void amber_cache_use_disk(struct amber_cache *c, struct amber_disk_cache *disk);
struct amber_disk_cache *amber_cache_disk(const struct amber_cache *c); /* borrowed; NULL: none */
void amber_cache_free(struct amber_cache *c); /* all readers closed before; NULL allowed */
struct amber_cache_stats {
    uint64_t hits, misses, evictions, failures, bytes, blocks_decoded;
};
void amber_cache_stats(struct amber_cache *c, struct amber_cache_stats *out);

struct amber_reader;
/*
 * owner   part goes over to the reader on success (its content is moved out)
 * errors  NOT_FOUND; CORRUPT the object's size isn't the part's; IO, NET
 */
enum amber_rc amber_reader_open(struct amber_store *store, struct amber_part *part,
                                struct amber_cache *cache, struct amber_reader **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* All streams closed and pins released before. NULL allowed. Waits for blocks that a closed stream
 * still loads ahead: not to be called by a task of the cache's pool. */
void amber_reader_close(struct amber_reader *r);
uint64_t amber_reader_size(const struct amber_reader *r); /* raw bytes */
const struct amber_part *amber_reader_part(const struct amber_reader *r);

/*
 * Read len bytes at off of the raw text into buf; less only at the end (*out_len).
 * errors  CORRUPT digest differs; IO, NET, TIMEOUT. buf is undefined on failure
 * thread  any
 */
enum amber_rc amber_reader_read(struct amber_reader *r, uint64_t off, void *buf, size_t len,
                                size_t *out_len, struct amber_err *err) AMBER_MUST_CHECK;
/* The same for the stored bytes (.raw): the blocks that the range touches are verified whole. */
enum amber_rc amber_reader_read_stored(struct amber_reader *r, uint64_t off, void *buf, size_t len,
                                       size_t *out_len, struct amber_err *err) AMBER_MUST_CHECK;

/* A verified decoded block that stays in memory until released. */
struct amber_pin {
    const char *data; /* borrowed until release */
    size_t len;
    uint64_t raw_off; /* of data[0] */
    void *entry;      /* the cache's */
};
void amber_pin_release(struct amber_pin *pin);

/* One sequential or random consumer of a reader (an open file): knows where it was last, and lets
 * blocks ahead be decoded on the pool while it goes on sequentially. One thread at a time would
 * be usual, but calls from several are safe. */
struct amber_stream;
enum amber_rc amber_stream_open(struct amber_reader *r, struct amber_stream **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_stream_close(struct amber_stream *s); /* NULL allowed; its pins released before */
/* Pin the block that holds off. errors as amber_reader_read; INVALID off beyond the end. */
enum amber_rc amber_stream_pin(struct amber_stream *s, uint64_t off, struct amber_pin *out,
                               struct amber_err *err) AMBER_MUST_CHECK;

/* Whether all blocks of [off, off + len) are in memory now, so that pinning them waits for nothing. */
bool amber_stream_ready(struct amber_stream *s, uint64_t off, size_t len);

/*
 * Rows of an archive with their overlay, in order: what restore and `amberfs cat` use.
 */
struct amber_rows;
/* overlay NULL: none. Both readers are borrowed. */
enum amber_rc amber_rows_open(struct amber_reader *archive, struct amber_reader *overlay,
                              struct amber_rows **out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_rows_close(struct amber_rows *rows); /* NULL allowed */
/* The next line without its line break, valid until the next call; *out_line NULL at the end.
 * *out_overlay: its overlay object or NULL. errors as amber_reader_read; CORRUPT no final '\n'. */
enum amber_rc amber_rows_next(struct amber_rows *rows, const char **out_line, size_t *out_len,
                              const char **out_overlay, size_t *out_overlay_len,
                              struct amber_err *err) AMBER_MUST_CHECK;

#endif
