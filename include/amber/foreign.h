/*
 * foreign.h - archives that amberfs didn't write: gzip and zstd files of any program, read at any
 * offset through the same reader as our own.
 *
 * At first use a file is decoded once, from start to end: that gives its exact size and an *index*
 * of blocks of about 1 MiB, kept in the cache folder (docs/foreign.md). A block has the SHA-256 of
 * its stored bytes, a digest of its text, and how to begin decoding there: at a member or frame; or
 * with the 32 KiB before it (gzip); or not at all, for zstd frames that are too large, whose text
 * is kept in the cache folder itself.
 *
 * A file that is cut off reads up to there; one that is damaged reads up to the member or frame
 * that is: nothing of it is proven. Behind that its size has one byte more, which can't be read.
 */
#ifndef AMBER_FOREIGN_H
#define AMBER_FOREIGN_H

#include "amber/reader.h"

struct amber_foreign;
struct amber_foreign_config {
    struct amber_store *store; /* borrowed */
    const char *store_name;    /* tells its files from another store's in the folder; copied */
    const char *cache_path;    /* ARCHIVAL_CACHE_PATH; made at first need; copied */
    uint64_t disk_bytes;       /* that all indexes may take, and one archive's */
    uint64_t memory_bytes;     /* that a zstd window may take */
};
enum amber_rc amber_foreign_new(const struct amber_foreign_config *cfg, struct amber_foreign **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_foreign_free(struct amber_foreign *f); /* all readers closed before; NULL allowed */
/* Indexing that runs or is begun ends with CANCELED. Any thread; async-signal-safe. */
void amber_foreign_stop(struct amber_foreign *f);

/*
 * Open a gzip or zstd file by its suffix: with the index that is there, if it is whole and of this
 * very object, else with one made now. That takes as long as decoding it does; as many are made at
 * once as there are processors.
 * errors  NOT_FOUND, DENIED, IO, NET of the store; BUSY it changes while it is read; LIMIT index or
 *         window larger than allowed; UNSUPPORTED an archive of amberfs, but without manifest, or a
 *         dictionary; CANCELED. A damaged file is no error here, see amber_foreign_fault.
 */
enum amber_rc amber_foreign_open(struct amber_foreign *f, const char *key,
                                 struct amber_cache *cache, struct amber_reader **out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* What is wrong with a file opened so; NULL: nothing. Valid while the reader is open. */
const char *amber_foreign_fault(const struct amber_reader *r);
/* The version of the object (amber_object_info) that the reader reads. */
const char *amber_foreign_version(const struct amber_reader *r);

/*
 * Decode a file from the medium, from start to end, whatever index there is.
 * errors  CORRUPT what is wrong, and how much could be read; else as amber_foreign_open
 */
enum amber_rc amber_foreign_verify(struct amber_foreign *f, const char *key,
                                   uint64_t *out_raw_bytes,
                                   struct amber_err *err) AMBER_MUST_CHECK;

/* Whether an object begins as archives of amberfs do: header units, which no other program makes.
 * errors as amber_object_open */
enum amber_rc amber_foreign_is_ours(struct amber_store *store, const char *key, bool *out,
                                    struct amber_err *err) AMBER_MUST_CHECK;

#endif
