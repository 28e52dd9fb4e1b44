/*
 * proof_priv.h - what the COPY stream was and what text was made of it: one digest for each group of
 * blocks that can be parsed on its own (a block that starts with a row, and its followers that only
 * continue one), over the COPY lines and the JSON behind them.
 */
#ifndef AMBER_PROOF_PRIV_H
#define AMBER_PROOF_PRIV_H

#include "amber/digest.h"
#include "amber/mem.h"

struct amber_proof {
    struct amber_fast_digest *digests; /* owned; in the order of the groups */
    size_t n, cap;
};

#endif
