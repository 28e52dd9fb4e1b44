/*
 * repair.h - one archive in one copy of the store: is it whole there, and made whole from another.
 *
 * Repair never puts a bad copy in place of a good one: an object is replaced only after it was found
 * missing or damaged there, by bytes that have the manifest's digests, and it is read back. Local
 * folders replace in one step (rename); in a bucket with versioning or Object Lock the damaged
 * object stays as an old version.
 */
#ifndef AMBER_REPAIR_H
#define AMBER_REPAIR_H

#include "amber/copies.h"
#include "amber/verify.h"

enum amber_copy_state {
    AMBER_COPY_SOUND,
    AMBER_COPY_ABSENT,  /* an async replica without anything of the run: not copied yet, or lost */
    AMBER_COPY_MISSING, /* an object that must be there isn't */
    AMBER_COPY_DAMAGED, /* an object has other bytes, or can't be read */
    AMBER_COPY_AWAY,    /* the copy can't be reached: nothing is known */
};
#define AMBER_COPY_STATES 5
const char *amber_copy_state_name(enum amber_copy_state s); /* "sound", "absent", ... */

struct amber_copy_check {
    struct amber_store *store; /* all copies */
    unsigned copy;             /* the one that is checked */
    const char *manifest_key;
    const struct amber_sha256 *digest; /* of the manifest; NULL: not known */
    bool repair;
    struct amber_pool *pool;
    const struct amber_cancel *cancel;
    void (*progress)(void *arg, uint64_t stored_bytes_done); /* may be NULL */
    void *arg;
};

struct amber_copy_result {
    enum amber_copy_state state;       /* as it was found */
    bool repaired;                     /* it wasn't sound and is now */
    struct amber_verify_report report; /* of the check that found it so */
    char fault[600];                   /* why it isn't sound, or why it couldn't be repaired; "" */
};

/*
 * Check archive, attachments, manifest and (if the store has several copies) the run's commit marker
 * in one copy, from its medium, and repair what isn't sound if that was asked for. Nothing is repaired
 * in a primary without store.json, whose disk may not be mounted: that is said in fault.
 * errors  NOMEM, CANCELED; everything else is a result
 */
enum amber_rc amber_copy_verify(const struct amber_copy_check *check, struct amber_copy_result *out,
                                struct amber_err *err) AMBER_MUST_CHECK;

/* The same of the store's own document, store.json; manifest_key and digest aren't looked at. */
enum amber_rc amber_copy_verify_identity(const struct amber_copy_check *check,
                                         struct amber_copy_result *out,
                                         struct amber_err *err) AMBER_MUST_CHECK;

/* What came of several archives in one copy. */
struct amber_copy_tally {
    uint64_t n[AMBER_COPY_STATES]; /* that are so now: repaired ones are sound */
    uint64_t repaired;
};
void amber_copy_tally_add(struct amber_copy_tally *t, const struct amber_copy_result *r);
/* Whether the result, repaired or not, is one to be alarmed of. */
bool amber_copy_result_bad(const struct amber_copy_result *r);
/* "12 sound, 1 of them repaired, 2 absent": what isn't 0. errors NOMEM, LIMIT */
enum amber_rc amber_copy_tally_text(const struct amber_copy_tally *t, struct amber_buf *out,
                                    struct amber_err *err) AMBER_MUST_CHECK;

#endif
