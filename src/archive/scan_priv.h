/*
 * scan_priv.h - every block of a part from the medium: verified, decoded, in groups that can be
 * parsed on their own, in parallel; then in order for what concerns the whole.
 */
#ifndef AMBER_SCAN_PRIV_H
#define AMBER_SCAN_PRIV_H

#include "amber/verify.h"

/* A block with the blocks behind it that only continue its last row. */
struct scan_group {
    size_t index;    /* among the part's groups of data */
    size_t first, n; /* blocks */
    const char *raw; /* the decoded text; valid during the call */
    size_t raw_len;
    uint64_t raw_off;
    uint64_t first_row, rows;
};

struct scan_config {
    struct amber_store *store;
    const struct amber_part *part;
    struct amber_pool *pool;
    const struct amber_cancel *cancel; /* may be NULL */
    /* A sound group of data; any thread, several at once. NULL: nothing to do. */
    enum amber_rc (*work)(void *arg, const struct scan_group *g, struct amber_err *err);
    /* The same, one at a time in order, the bad ones left out. NULL: nothing to do. */
    enum amber_rc (*commit)(void *arg, const struct scan_group *g, struct amber_err *err);
    void *arg;
    /* work compares each group's text with what was written: SHA-256 of all of it would find nothing
     * more. */
    bool raw_is_known;
    void (*progress)(void *arg, uint64_t stored_bytes_done); /* may be NULL; in order */
    void *progress_arg;
    /* NULL: the first fault ends the scan. Else CORRUPT is counted and noted here, and the scan
     * goes on; stored bytes, raw bytes, rows and blocks are added up. */
    struct amber_verify_report *report;
};

/*
 * errors  CORRUPT (without report): key, block, offset, or a digest of the whole; the callbacks';
 *         NOT_FOUND, IO, NET; CANCELED
 */
enum amber_rc amber_scan_part(const struct scan_config *cfg,
                              struct amber_err *err) AMBER_MUST_CHECK;
/* Groups of data that a part has. */
size_t amber_scan_groups(const struct amber_part *p);

#endif
