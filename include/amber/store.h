/*
 * store.h - where objects live: a local folder or S3; decorators have the same operations.
 *
 * A key is a relative path ("flow_logs/x.json.gz", ".amberfs/store.json") without "." or ".."
 * components, empty components, NUL or leading '/'; at most AMBER_KEY_MAX bytes, components at
 * most 255; not below ".amberfs/tmp", where the local driver keeps unfinished files. Objects are immutable: written once, whole, never overwritten. An object is seen by
 * `open` and `list` only after its put was committed.
 *
 * Drivers stand in one explicit array (store.c); callers use the functions below, which check
 * ranges and keys for all drivers.
 * thread  a store and an object may be used by any number of threads; a put by one.
 */
#ifndef AMBER_STORE_H
#define AMBER_STORE_H

#include "amber/err.h"
#include "amber/mem.h"

#define AMBER_KEY_MAX 1000 /* S3 allows 1,024 bytes with the prefix */

struct amber_store;
struct amber_object;
struct amber_put;

struct amber_object_info {
    uint64_t size;     /* bytes */
    int64_t mtime_us;  /* since 1970, UTC */
    char version[64];  /* opaque: changes when the object does (inode+mtime+size, ETag) */
};

/* What a driver tells the engine about itself. */
struct amber_store_traits {
    const char *scheme;       /* "local", "s3" */
    size_t best_read_bytes;   /* size of a read that gets full speed */
    unsigned prefetch_depth;  /* reads worth having under way for one sequential reader */
    bool can_remove;
    bool remote;              /* operations cross a network: they may take seconds, and verified
                                 blocks are worth a disk cache */
};

enum amber_open_flags {
    AMBER_OPEN_CACHED = 0,
    AMBER_OPEN_MEDIUM = 1, /* bytes come from the medium: no page cache, no cache of ours */
};

/* One driver. All operations are required unless noted; none is called with an invalid key. */
struct amber_store_ops {
    struct amber_store_traits traits;
    enum amber_rc (*open)(struct amber_store *st, const char *key, int flags,
                          struct amber_object **out, struct amber_object_info *out_info,
                          struct amber_err *err);
    /* Exactly len bytes, or an error: a short read is CORRUPT (the object was cut). */
    enum amber_rc (*read_at)(struct amber_object *o, uint64_t off, void *buf, size_t len,
                             struct amber_err *err);
    void (*close)(struct amber_object *o);
    enum amber_rc (*stat)(struct amber_store *st, const char *key, struct amber_object_info *out,
                          struct amber_err *err);
    /* Every object below prefix (a folder key without '/', or ""), any order, folders left out.
     * With "" those below .amberfs may be left out. */
    enum amber_rc (*list)(struct amber_store *st, const char *prefix,
                          enum amber_rc (*each)(void *arg, const char *key,
                                                const struct amber_object_info *info,
                                                struct amber_err *err),
                          void *arg, struct amber_err *err);
    /* Both optional: for drivers with folders. See amber_store_folders and _folder_mark. */
    enum amber_rc (*folders)(struct amber_store *st,
                             enum amber_rc (*each)(void *arg, const char *folder,
                                                   struct amber_err *err),
                             void *arg, struct amber_err *err);
    uint64_t (*folder_mark)(struct amber_store *st, const char *folder);
    enum amber_rc (*put_open)(struct amber_store *st, const char *key, struct amber_put **out,
                              struct amber_err *err);
    enum amber_rc (*put_write)(struct amber_put *p, const void *data, size_t len,
                               struct amber_err *err);
    /* Durable under its name, or an error and the name is as before. Ends the put either way. An
     * object that has the name is EXISTS, unless p->replace: then it gives way, in one step. */
    enum amber_rc (*put_commit)(struct amber_put *p, struct amber_object_info *out,
                                struct amber_err *err);
    void (*put_abort)(struct amber_put *p);
    enum amber_rc (*remove)(struct amber_store *st, const char *key, struct amber_err *err);
    void (*interrupt)(struct amber_store *st); /* optional: for drivers that wait for a peer */
    /* Optional: for drivers whose unfinished puts outlive their process and take room. */
    enum amber_rc (*clean_puts)(struct amber_store *st, bool (*is_dead)(void *arg, const char *key),
                                void *arg, unsigned *out_n, struct amber_err *err);
    void (*free)(struct amber_store *st);
};

struct amber_copies; /* copies.h */

/* Base of every driver's store, object and put; drivers embed these as first member. */
struct amber_store {
    const struct amber_store_ops *ops;
    struct amber_copies *copies; /* NULL: a store of one copy */
};
struct amber_object {
    struct amber_store *store;
    uint64_t size; /* set by amber_object_open */
};
struct amber_put {
    struct amber_store *store;
    bool replace; /* set by amber_put_replace */
};

enum amber_s3_addressing {
    AMBER_S3_AUTO,    /* path with an endpoint, virtual without */
    AMBER_S3_PATH,    /* https://HOST/BUCKET/KEY */
    AMBER_S3_VIRTUAL, /* https://BUCKET.HOST/KEY */
};
enum amber_s3_sse { AMBER_S3_SSE_NONE, AMBER_S3_SSE_AES256, AMBER_S3_SSE_KMS };

/* How an S3 bucket is reached. All strings are borrowed until amber_store_open returns; NULL: the
 * default (docs/operations.md). */
struct amber_s3_config {
    const char *region;
    const char *endpoint; /* https://HOST or http://HOST:PORT; NULL: Amazon's of the region */
    const char *access_key_id, *secret_access_key, *session_token; /* NULL: looked for elsewhere */
    const char *sse_kms_key_id;
    const char *storage_class;
    const char *ca_file;
    enum amber_s3_addressing addressing;
    enum amber_s3_sse sse;
    unsigned timeout_s; /* that one operation may take with all its tries; 0: 120 */
    bool may_be_away;   /* open the store though its server can't be reached now */
};

struct amber_store_config {
    const char *type; /* "local", "s3" */
    const char *path; /* local: a folder, which must exist unless create; s3://BUCKET/PREFIX */
    const struct amber_s3_config *s3; /* s3 only; NULL: all defaults */
    int dir_fd;       /* local: an open descriptor of the folder, used instead of path (-1: none);
                         dup'ed, so the caller keeps its own */
    bool create;      /* local: make the folder and those above it (0750) if missing */
    bool read_only;   /* put and remove fail with DENIED */
};

/* errors  INVALID type, bucket, region, settings; NOT_FOUND, DENIED, IO; NET, TIMEOUT */
enum amber_rc amber_store_open(const struct amber_store_config *cfg, struct amber_store **out,
                               struct amber_err *err) AMBER_MUST_CHECK;
void amber_store_free(struct amber_store *st); /* NULL allowed; all objects and puts closed before */
const struct amber_store_traits *amber_store_traits(const struct amber_store *st);
/* The process ends: operations that wait for a peer, and all to come, fail with CANCELED. */
void amber_store_interrupt(struct amber_store *st);

/* OK or INVALID with the reason. */
enum amber_rc amber_key_check(const char *key, struct amber_err *err) AMBER_MUST_CHECK;

/* errors  NOT_FOUND, DENIED, IO, INVALID key. out_info may be NULL. */
enum amber_rc amber_object_open(struct amber_store *st, const char *key, int flags,
                                struct amber_object **out, struct amber_object_info *out_info,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Exactly len bytes at off. errors IO; CORRUPT the object ends before; NET, TIMEOUT.
 * On failure buf's content is undefined and must not be used. */
enum amber_rc amber_object_read(struct amber_object *o, uint64_t off, void *buf, size_t len,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_object_close(struct amber_object *o); /* NULL allowed */
enum amber_rc amber_store_stat(struct amber_store *st, const char *key,
                               struct amber_object_info *out, struct amber_err *err)
    AMBER_MUST_CHECK;
/*
 * Call each for every object below prefix ("": in the whole store, where those below .amberfs may be
 * left out); its failure ends the listing and is returned. A prefix
 * that isn't there has no objects: that is no error. each may use the store.
 * owner   key and info live during the call
 * errors  DENIED, IO, INVALID prefix; what each returned
 */
enum amber_rc amber_store_list(struct amber_store *st, const char *prefix,
                               enum amber_rc (*each)(void *arg, const char *key,
                                                     const struct amber_object_info *info,
                                                     struct amber_err *err),
                               void *arg, struct amber_err *err) AMBER_MUST_CHECK;

/* Call each for every folder, "" too, but those below .amberfs. errors UNSUPPORTED the store has
 * none; else as amber_store_list */
enum amber_rc amber_store_folders(struct amber_store *st,
                                  enum amber_rc (*each)(void *arg, const char *folder,
                                                        struct amber_err *err),
                                  void *arg, struct amber_err *err) AMBER_MUST_CHECK;
/* A number that is another one once something came into a folder (a key, or ""), went or got
 * another name; what changes in place doesn't count. 0: that can't be known, at least now. */
uint64_t amber_store_folder_mark(struct amber_store *st, const char *folder);

/* Streaming write of a new object. After commit or abort (one of them exactly once) p is gone.
 * errors  DENIED the store is read-only or not ours; IO with sys_errno ENOSPC, EDQUOT, EIO, ...; after
 *         a failed write only abort makes sense, and commit refuses
 * errors of commit  EXISTS the name is taken; IO (after a failed fsync nothing is left under the
 * name, and the bytes must be written anew by a new put) */
enum amber_rc amber_put_open(struct amber_store *st, const char *key, struct amber_put **out,
                             struct amber_err *err) AMBER_MUST_CHECK;
/*
 * The one exception from "never overwritten": as amber_put_open, but the commit takes the place of
 * an object of that name, in one step. Only for repair, whose caller has found the object there
 * damaged and writes bytes that it has verified. With versioning or Object Lock the bucket keeps
 * the damaged one as an old version.
 */
enum amber_rc amber_put_replace(struct amber_store *st, const char *key, struct amber_put **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_put_write(struct amber_put *p, const void *data, size_t len,
                              struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_put_commit(struct amber_put *p, struct amber_object_info *out_info,
                               struct amber_err *err) AMBER_MUST_CHECK;
void amber_put_abort(struct amber_put *p); /* NULL allowed */

/* Whole small objects; get appends to out, which is unchanged on failure. errors as of open, read,
 * put; of get also LIMIT if larger than out's ceiling */
enum amber_rc amber_store_get(struct amber_store *st, const char *key, struct amber_buf *out,
                              struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_store_put(struct amber_store *st, const char *key, const void *data, size_t len,
                              struct amber_err *err) AMBER_MUST_CHECK;
/* errors  NOT_FOUND, DENIED, UNSUPPORTED, IO (removed, maybe not durably) */
enum amber_rc amber_store_remove(struct amber_store *st, const char *key, struct amber_err *err)
    AMBER_MUST_CHECK;

/*
 * Give up the unfinished puts that dead processes left: those of keys for which is_dead says that
 * nobody works on them. *out_n: how many; set on failure too.
 * errors  DENIED the store's account may not; as those of list
 */
enum amber_rc amber_store_clean_puts(struct amber_store *st,
                                     bool (*is_dead)(void *arg, const char *key), void *arg,
                                     unsigned *out_n, struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Fault decorator for tests: passes everything to inner, and the n-th operation (counting open,
 * read, stat, list, put_open, put_write, put_commit, remove from 1) fails with code; n 0: none
 * fails. With flip_bit nothing fails: the n-th read, counting reads only, has one bit flipped.
 * owner   inner goes over to the decorator, unless this fails; plan is borrowed until the free
 */
struct amber_fault_plan {
    unsigned fail_nth;
    bool (*fails)(void); /* asked at each operation instead, if set; thread any */
    enum amber_rc code;
    bool flip_bit;
    bool remote;    /* the store says that its reads cross a network */
    unsigned n_ops; /* out: operations seen so far */
};
enum amber_rc amber_store_fault_new(struct amber_store *inner, struct amber_fault_plan *plan,
                                    struct amber_store **out, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
