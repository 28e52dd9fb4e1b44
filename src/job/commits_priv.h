/*
 * commits_priv.h - the listing of the store's commit markers: which runs were committed, and which
 * of them were superseded later (a second, empty marker beside the first).
 */
#ifndef AMBER_COMMITS_PRIV_H
#define AMBER_COMMITS_PRIV_H

#include "amber/digest.h"
#include "amber/manifest.h"
#include "amber/store.h"

#define AMBER_COMMITS_DIR AMBER_META_DIR "/commits"

struct amber_commit {
    char run_id[AMBER_UUID_LEN];
    bool superseded;
};
struct amber_commits {
    struct amber_commit *items; /* owned; sorted by run_id, one entry a run */
    size_t n;
};
/* errors as the store's. An empty store has no commits. */
enum amber_rc amber_commits_load(struct amber_store *st, struct amber_commits *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
void amber_commits_clear(struct amber_commits *c);
const struct amber_commit *amber_commits_find(const struct amber_commits *c, const char *run_id);

/* Mark a run's commit as superseded. errors as the store's put; twice is OK. */
enum amber_rc amber_commit_supersede(struct amber_store *st, const char *run_id,
                                     struct amber_err *err) AMBER_MUST_CHECK;

#endif
