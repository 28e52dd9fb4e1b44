/*
 * check_priv.h - a whole archive against its manifest: what proof and verify have in common.
 */
#ifndef AMBER_CHECK_PRIV_H
#define AMBER_CHECK_PRIV_H

#include "amber/verify.h"

struct amber_proof;

struct check_config {
    struct amber_store *store;
    const struct amber_manifest *manifest;
    struct amber_pool *pool;
    const struct amber_cancel *cancel; /* may be NULL */
    const struct amber_proof
        *proof; /* what the rows must be; NULL: any rows that can be restored */
    struct amber_verify_report *report; /* NULL: the first fault is the error */
    void (*progress)(void *arg, uint64_t stored_bytes_done); /* may be NULL */
    void *arg;
};
/* errors  as amber_proof_check and amber_verify (which see); with report, CORRUPT is left to it */
enum amber_rc amber_check(const struct check_config *cfg, struct amber_err *err) AMBER_MUST_CHECK;

#endif
