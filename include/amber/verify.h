/*
 * verify.h - checking archives against their manifests, and making a lost manifest anew.
 */
#ifndef AMBER_VERIFY_H
#define AMBER_VERIFY_H

#include "amber/cancel.h"
#include "amber/manifest.h"
#include "amber/pool.h"

struct amber_verify_report {
    uint64_t blocks, bad_blocks, stored_bytes, raw_bytes, rows;
    char first_fault[512]; /* "" if all is well: which block, offset, what differs */
};
/*
 * Read every part of m from the medium: block digests, whole digests, decode, row counts, schema
 * of the rows. Goes on behind a bad block to count them all.
 * errors  CORRUPT something differs (the report is filled); NOT_FOUND a part is missing; IO, NET;
 *         CANCELED. progress may be NULL: called with stored bytes done
 */
enum amber_rc amber_verify(struct amber_store *st, const struct amber_manifest *m,
                           const struct amber_cancel *cancel,
                           void (*progress)(void *arg, uint64_t stored_bytes_done), void *arg,
                           struct amber_verify_report *out, struct amber_err *err)
    AMBER_MUST_CHECK;

/*
 * Make a manifest from a stored archive alone: blocks found by scanning, digests computed,
 * schema from the header unit where the codec has one (else typed false and names from the first
 * row). Table, dates and run come from the header unit too if it is there.
 * shape   out: rebuilt true; not yet written to the store
 * errors  CORRUPT the archive is damaged, with the offset; NOT_FOUND; UNSUPPORTED
 */
enum amber_rc amber_rebuild(struct amber_store *st, const char *archive_key,
                            struct amber_manifest *out, struct amber_err *err) AMBER_MUST_CHECK;

#endif
