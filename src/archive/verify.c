/*
 * verify.c - an archive against its manifest, to the end even if something differs.
 *
 * Runs on a pool of its own, so that the reads of a mount go first on theirs.
 */
#include "amber/verify.h"

#include "check_priv.h"

#define THREADS_MAX 4U

enum amber_rc amber_verify(struct amber_store *st, const struct amber_manifest *m,
                           const struct amber_cancel *cancel,
                           void (*progress)(void *arg, uint64_t stored_bytes_done), void *arg,
                           struct amber_verify_report *out, struct amber_err *err)
{
    struct amber_verify_report report = {0};
    struct amber_pool *pool;
    unsigned n = amber_cpu_count();
    enum amber_rc rc = amber_pool_new(n < THREADS_MAX ? n : THREADS_MAX, &pool, err);

    if (rc)
        return rc;
    const struct check_config cfg = {
        .store = st,
        .manifest = m,
        .pool = pool,
        .cancel = cancel,
        .report = &report,
        .progress = progress,
        .arg = arg,
    };
    rc = amber_check(&cfg, err);
    amber_pool_free(pool);
    if (!rc && report.first_fault[0])
        rc = amber_fail(err, AMBER_E_CORRUPT, "%s", report.first_fault);
    if (!rc || rc == AMBER_E_CORRUPT)
        *out = report;
    return rc;
}
