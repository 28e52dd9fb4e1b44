/*
 * cache_priv.h - verified blocks in memory, each decoded once however many want it.
 *
 * A reader keeps a slot for each of its blocks; the cache fills and empties the slots. Everything
 * below is guarded by the cache's one lock, which is never held while a block is read, verified or
 * decoded.
 *
 *   slot NULL --acquire/ahead--> LOADING --> READY --(refs 0)--> in the LRU list --> free list
 *                                       `--> FAILED: slot NULL again, waiters get the error
 */
#ifndef AMBER_CACHE_PRIV_H
#define AMBER_CACHE_PRIV_H

#include <pthread.h>

#include "amber/reader.h"
#include "block_priv.h"

enum entry_state { ENTRY_LOADING, ENTRY_READY, ENTRY_FAILED };

struct cache_entry {
    struct amber_cache *cache;
    struct cache_entry **slot;       /* where the reader finds it; NULL once it left */
    struct cache_entry *prev, *next; /* LRU list (READY and refs 0), or next of the free list */
    pthread_cond_t done;             /* left LOADING */
    enum entry_state state;
    unsigned refs; /* pins, waiters and the loader */
    bool ahead;    /* decoded ahead of its use and not used yet: counted in ahead_bytes */
    bool cold;     /* a sequential reader is through with it: first to go */
    bool logged;   /* its failure */
    char *data;    /* owned; cap bytes, the first len are the block */
    size_t cap, len;
    struct amber_err err; /* FAILED */
};

struct amber_cache {
    pthread_mutex_t lock;
    pthread_cond_t idle; /* a reader's last stream went */
    struct amber_pool *pool;
    struct amber_disk_cache *disk; /* borrowed; NULL: none */
    size_t budget;                 /* bytes */
    size_t bytes;                  /* of all entries, free ones included */
    size_t ahead_bytes;            /* of entries that nobody used yet */
    struct cache_entry lru;        /* sentinel; next: hottest, prev: coldest */
    struct cache_entry *free;      /* buffers for the next blocks */
    struct block_scratch *scratch; /* decoders for the next blocks */
    uint64_t hits, misses, evictions, failures, loads;
};

/* How a slot is filled. */
struct cache_load {
    struct amber_reader *reader;
    size_t block;
    size_t len;  /* bytes that the block will have */
    bool stored; /* the verified stored bytes, not the decoded ones */
};
/* The reader's part of loading: bytes, digest, codec. */
enum amber_rc amber_reader_load(const struct cache_load *l, struct block_scratch *s, char *data,
                                struct amber_err *err) AMBER_MUST_CHECK;

/* Get the block with a reference, loading it or waiting for whoever does. The caller gives the
 * reference back by amber_cache_release. Failures are logged here, once each. */
enum amber_rc amber_cache_acquire(struct amber_cache *c, struct cache_entry **slot,
                                  const struct cache_load *l, struct cache_entry **out,
                                  struct amber_err *err) AMBER_MUST_CHECK;
void amber_cache_release(struct cache_entry *e);
/* Load the block if nobody has and there is room. False: no room for blocks ahead now. */
bool amber_cache_ahead(struct amber_cache *c, struct cache_entry **slot,
                       const struct cache_load *l);
/* A sequential reader is through with this slot. Called with the lock. */
void amber_cache_cool(struct amber_cache *c, struct cache_entry *const *slot);
/* Nobody waits for this slot, loaded ahead, any more. Called with the lock. */
void amber_cache_unwant(struct amber_cache *c, struct cache_entry *const *slot);
/* Empty a reader's slots; none is referenced. */
void amber_cache_drop(struct amber_cache *c, struct cache_entry **slots, size_t n);

#endif
