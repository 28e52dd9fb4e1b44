/*
 * replicate.h - an archive with all its objects from one store to another copy of it, verified.
 *
 * Bytes are judged while they are copied (each block's SHA-256, then the whole object's, before it
 * gets its name) and again when they are read back from the copy's medium. An object that is there
 * already is read and compared, not written. Memory: one block, and what reading back needs
 * (scan.c).
 */
#ifndef AMBER_REPLICATE_H
#define AMBER_REPLICATE_H

#include "amber/cancel.h"
#include "amber/copies.h"
#include "amber/manifest.h"
#include "amber/pool.h"

struct amber_replicate_config {
    struct amber_store *from; /* a set: any copy that has right bytes */
    struct amber_store *to;   /* one copy, not a set */
    struct amber_pool *pool;  /* reads back */
    const struct amber_cancel *cancel; /* may be NULL */
    bool repair; /* replace an object that is damaged in `to`; never one that is sound or that can't
                    be read for now */
    /* Called when an object was written (may be NULL); damaged: in place of a damaged one. */
    void (*wrote)(void *arg, const char *key, bool damaged);
    void *arg;
};

/*
 * Make sure that `to` has the archive, its attachments and its manifest.
 * shape   digest: of the manifest, as recorded; NULL: not known (its content is checked then)
 * errors  CORRUPT no copy has right bytes; EXISTS `to` has other bytes under a name (and not repair);
 *         NOT_FOUND; IO, NET, TIMEOUT, DENIED of either side; CANCELED
 */
enum amber_rc amber_replicate_archive(const struct amber_replicate_config *cfg,
                                      const char *manifest_key, const struct amber_sha256 *digest,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* The run's commit marker. errors as above; EXISTS other content, which nothing replaces. */
enum amber_rc amber_replicate_marker(const struct amber_replicate_config *cfg, const char *run_id,
                                     struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Make sure that `to` is a copy of the store: copy store.json, or compare.
 * errors  as above; DENIED it is another store
 */
enum amber_rc amber_replicate_identity(const struct amber_replicate_config *cfg,
                                       const char *store_id,
                                       struct amber_err *err) AMBER_MUST_CHECK;

#endif
