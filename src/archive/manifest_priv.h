/*
 * manifest_priv.h - what the manifest's writing and reading halves share.
 */
#ifndef AMBER_MANIFEST_PRIV_H
#define AMBER_MANIFEST_PRIV_H

#include "amber/manifest.h"

#define MANIFEST_FORMAT "amberfs-manifest"
#define META_FORMAT "amberfs-header"

/* The words of the block table's first column. */
extern const char *const amber_block_words[3];

/* Deep copy. errors NOMEM; out is cleared on failure. */
enum amber_rc amber_part_copy(const struct amber_part *from, struct amber_part *out,
                              struct amber_err *err) AMBER_MUST_CHECK;

#endif
