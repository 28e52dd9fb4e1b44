/*
 * verify_copies.h - `amberfs verify` of a store that has replicas.
 */
#ifndef AMBER_VERIFY_COPIES_H
#define AMBER_VERIFY_COPIES_H

#include "amber/repair.h"
#include "app.h"

struct copies_tally {
    size_t damaged, unchecked; /* archives and documents, counted for each copy */
    struct amber_copy_tally copies[AMBER_COPIES_MAX];
};
/* An archive in each copy, with a line for each that isn't sound. errors NOMEM, CANCELED */
enum amber_rc amber_verify_copies(struct app *app, const struct amber_tree_entry *e,
                                  struct copies_tally *n, struct amber_err *err) AMBER_MUST_CHECK;
/* store.json in each copy. errors as above */
enum amber_rc amber_verify_identities(struct app *app, struct copies_tally *n,
                                      struct amber_err *err) AMBER_MUST_CHECK;
/* A line for each copy. */
void amber_verify_copies_end(const struct app *app, const struct copies_tally *n);

#endif
