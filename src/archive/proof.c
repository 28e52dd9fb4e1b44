/*
 * proof.c - that the medium holds what PostgreSQL sent, before a row is deleted.
 */
#include "proof_priv.h"

#include "amber/writer.h"
#include "check_priv.h"

void amber_proof_free(struct amber_proof *p)
{
    if (!p)
        return;
    free(p->digests);
    free(p);
}

enum amber_rc amber_proof_check(const struct amber_proof *proof, struct amber_store *store,
                                const struct amber_manifest *m, struct amber_pool *pool,
                                const struct amber_cancel *cancel, struct amber_err *err)
{
    const struct check_config cfg = {
        .store = store, .manifest = m, .pool = pool, .cancel = cancel, .proof = proof};

    return amber_check(&cfg, err);
}
