/*
 * disk_cache.h - stored blocks of remote stores on a local disk, named by their SHA-256.
 *
 * A block is kept as it is stored, after its digest matched, and its digest is compared again each
 * time it is read: a damaged file goes, and the block is fetched anew. So the folder may be deleted
 * at any time and shared by processes, stores and restarts. Nothing here ever fails a read: without
 * room, or without the folder, blocks just aren't kept.
 *
 * The bytes stay within the bound, least recently used blocks go first; every process that shares
 * the folder may exceed it by an eighth until it looks again.
 * thread  any number
 */
#ifndef AMBER_DISK_CACHE_H
#define AMBER_DISK_CACHE_H

#include "amber/cache_dir.h"
#include "amber/digest.h"

struct amber_disk_cache;
/* path as of amber_cache_dir_open. bytes: of all blocks. errors as amber_cache_dir_open */
enum amber_rc amber_disk_cache_new(const char *path, uint64_t bytes, struct amber_disk_cache **out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
void amber_disk_cache_free(struct amber_disk_cache *d); /* NULL allowed */

/* The block of len bytes with this digest into buf, verified; false: it isn't there, and buf is
 * undefined. d NULL: never there. */
bool amber_disk_cache_get(struct amber_disk_cache *d, const struct amber_sha256 *digest, void *buf,
                          size_t len);
/* Keep a block whose digest was just compared. d NULL: nothing happens. */
void amber_disk_cache_put(struct amber_disk_cache *d, const struct amber_sha256 *digest,
                          const void *data, size_t len);

struct amber_disk_cache_stats {
    uint64_t hits, misses, damaged; /* damaged: files whose digest differed */
};
/* d NULL: all zero. */
void amber_disk_cache_stats(struct amber_disk_cache *d, struct amber_disk_cache_stats *out);

#endif
