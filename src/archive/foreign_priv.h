/*
 * foreign_priv.h - archives by other programs: the index in memory, making it, reading by it.
 *
 *   foreign.c         the engine: finds, loads or makes an index; opens the reader
 *   foreign_doc.c     the index as a document of the cache folder
 *   foreign_build.c   what making an index takes, whatever the format: input, blocks, records
 *   foreign_gzip.c, foreign_zstd.c      decode a file once and cut it into blocks
 *   foreign_load.c    one block, later
 *
 * A *record* is what decoding a block takes besides its stored bytes. Windows lie WINDOWS_A_FILE
 * to a file, copies each in its own.
 */
#ifndef AMBER_FOREIGN_PRIV_H
#define AMBER_FOREIGN_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "amber/cache_dir.h"
#include "amber/foreign.h"
#include "amber/gunzip.h"
#include "block_priv.h"
#include "source_priv.h"

#define FOREIGN_RAW (1024U * 1024U - 1024U)    /* raw bytes at which a block is cut */
#define FOREIGN_STORED (1024U * 1024U)         /* stored bytes at which it is cut at the latest */
#define FOREIGN_FRAME_MAX (2U * 1024U * 1024U) /* raw bytes of a zstd frame that is one block */
#define FOREIGN_NAME_MAX 80
#define FOREIGN_INDEX_MAX (256U * 1024U * 1024U) /* bytes of an index document */
#define WINDOWS_A_FILE 32U
#define WINDOWS_FILE_MAX (2U * 1024U * 1024U)
/* A window's record, compressed by zstd: where (3 bits) bit (3) last (1), 0, left (2), bytes of
 * window (2), lens, and the window at the end of its room. */
#define RECORD_HEAD (6U + AMBER_GUNZIP_LENS)
#define RECORD_BYTES (RECORD_HEAD + AMBER_GUNZIP_WINDOW)

enum foreign_how {
    FOREIGN_START,  /* at a member's or frame's first byte */
    FOREIGN_WINDOW, /* between two symbols of a gzip member; the record is point and window */
    FOREIGN_COPY,   /* the record is its text, as a zstd frame; sha256 is the record's */
    FOREIGN_BAD,    /* the last block of a damaged file: can't be read */
};
#define FOREIGN_HOWS 4U

struct foreign_block {
    uint64_t raw_check; /* XXH3 of the text */
    uint32_t record_off, record_len;
    enum foreign_how how;
};

/* What a part of another program's file has besides blocks; amber_part.foreign. */
struct amber_foreign_part {
    struct amber_foreign *engine; /* borrowed; NULL in tests of the document */
    char name[FOREIGN_NAME_MAX];  /* of the index, without suffix */
    char version[64];             /* the object's */
    struct foreign_block *blocks; /* owned; as many as the part's */
    char *fault;                  /* owned; NULL: the file is sound */
};
void amber_foreign_part_free(struct amber_foreign_part *p); /* NULL allowed */

struct amber_foreign {
    struct amber_store *store;
    char *store_name, *cache_path;
    uint64_t disk_bytes, memory_bytes;
    atomic_bool stop;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t free_slot;
    unsigned n_builds, max_builds;
    struct amber_cache_dir *dir; /* owned; NULL until needed */
    uint64_t written;            /* bytes since the folder was looked at */
    bool looked;
};
/* The folder, made at first use. */
enum amber_rc amber_foreign_dir(struct amber_foreign *f, struct amber_cache_dir **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Make the index of p's part anew, whose record of a block is gone. */
enum amber_rc amber_foreign_again(const struct amber_part *p,
                                  struct amber_err *err) AMBER_MUST_CHECK;

/* ---- foreign_doc.c ---- */
/* The part with its index as a document, and back. errors of parse CORRUPT, LIMIT, NOMEM. */
enum amber_rc amber_foreign_encode(const struct amber_part *p, struct amber_buf *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_foreign_parse(const void *doc, size_t len, struct amber_part *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/* Name of the file with a block's record. */
void amber_foreign_record_name(const struct amber_foreign_part *p, enum foreign_how how,
                               size_t block, char out[AMBER_CACHE_NAME_MAX]);

/* ---- foreign_build.c ---- */
struct foreign_build {
    struct amber_foreign *f;
    struct amber_cache_dir *dir; /* NULL: nothing is kept, the file is only checked */
    struct amber_object *object;
    struct amber_part part; /* owned; grows */
    size_t blocks_cap, foreign_cap;
    /* Input: in[0] is at in_off of the file; the present block begins at block_pos, what is next
     * at pos. */
    uint8_t *in;          /* owned; FOREIGN_IN_MAX bytes */
    uint64_t in_off, end; /* end: of what is decoded, the file's or where only zeros follow */
    size_t in_len, block_pos, pos;
    /* Output: of the present block; the window's bytes before it. */
    uint8_t *out_mem, *out; /* owned; out is behind the window */
    size_t n_out;
    struct amber_codec *zstd; /* owned; compresses records */
    uint8_t record[RECORD_BYTES];
    struct amber_buf copy, windows;
    size_t windows_file; /* number of the file that is gathered in windows */
    uint64_t written;    /* bytes of records */
};
#define FOREIGN_IN_MAX (FOREIGN_FRAME_MAX + FOREIGN_STORED + 2U * 1024U * 1024U)
/* More input behind in_len, what is before block_pos being forgotten. *out_any false: the file ends
 * (amber_foreign_at_end) or there is no room. errors of the store, CANCELED */
enum amber_rc amber_foreign_fill(struct foreign_build *b, bool *out_any,
                                 struct amber_err *err) AMBER_MUST_CHECK;
bool amber_foreign_at_end(const struct foreign_build *b); /* all input is in, or decoded */
/* Forget everything, to decode the file once more, up to end. */
void amber_foreign_restart(struct foreign_build *b, uint64_t end);
/* Where the zeros begin that the file ends with. errors of the store, NOMEM */
enum amber_rc amber_foreign_zeros(const struct foreign_build *b, uint64_t *out_at,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/*
 * The first raw_len bytes of out become a block, made of the stored bytes from block_pos to end.
 * record: for WINDOW the point, whose window lies before out; else NULL.
 */
enum amber_rc amber_foreign_push(struct foreign_build *b, enum foreign_how how, size_t raw_len,
                                 size_t end, const struct amber_gunzip_point *record,
                                 size_t window_len, struct amber_err *err) AMBER_MUST_CHECK;
/* Forget the blocks from n on. */
void amber_foreign_drop(struct foreign_build *b, size_t n);
/* Note what is wrong with the file at in[at]. */
enum amber_rc amber_foreign_damaged(struct foreign_build *b, size_t at, const char *what,
                                    struct amber_err *err) AMBER_MUST_CHECK;

/* Decode b's file into blocks. A damaged file is no error. */
enum amber_rc amber_foreign_gzip(struct foreign_build *b, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_foreign_zstd(struct foreign_build *b, struct amber_err *err) AMBER_MUST_CHECK;
/* Make the index of an open object and write it to dir, if that isn't NULL. out: has the key; is
 * replaced. *out_written: bytes that went there, also if it fails. */
enum amber_rc amber_foreign_build(struct amber_foreign *f, struct amber_cache_dir *dir,
                                  const char *name, struct amber_object *object,
                                  const struct amber_object_info *info, struct amber_part *out,
                                  uint64_t *out_written, struct amber_err *err) AMBER_MUST_CHECK;

/* ---- foreign_load.c ---- */
/* Block i's text, raw_len bytes, verified. errors as amber_source_fetch; CORRUPT also what isn't as
 * it was indexed */
enum amber_rc amber_foreign_load(struct block_scratch *s, struct block_source *source,
                                 const struct amber_part *p, size_t i, void *raw,
                                 struct amber_err *err) AMBER_MUST_CHECK;
struct foreign_scratch;
void amber_foreign_scratch_free(struct foreign_scratch *s); /* NULL allowed */

#endif
