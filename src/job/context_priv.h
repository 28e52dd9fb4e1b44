/*
 * context_priv.h - how lists of entries are made.
 */
#ifndef AMBER_CONTEXT_PRIV_H
#define AMBER_CONTEXT_PRIV_H

#include "amber/context.h"

/* Append a copy of e. errors NOMEM */
enum amber_rc amber_entry_list_add(struct amber_entry_list *l, const struct amber_tree_entry *e,
                                   struct amber_err *err) AMBER_MUST_CHECK;

#endif
