/*
 * marker_priv.h - the two readers of commit markers.
 */
#ifndef AMBER_MARKER_PRIV_H
#define AMBER_MARKER_PRIV_H

#include "amber/manifest.h"

#define MARKER_FORMAT "amberfs-commit"
/* What amber_doc_head makes of it, and what comes behind that. */
#define MARKER_HEAD                                                                                \
    "{\n\"format\":\"" MARKER_FORMAT "\",\n\"version\":1,\n\"compat\":[],\n\"read_incompat\":[],\n" \
    "\"write_incompat\":[],\n"

/* The document by its meaning. errors CORRUPT, UNSUPPORTED, NOMEM; out is empty then */
enum amber_rc amber_marker_parse(const char *text, size_t len, struct amber_marker *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
/* The same by its layout, as marker.c writes it; false, and out is untouched: it isn't quite that, or
 * memory ran out. What this reads, amber_marker_parse reads alike. */
bool amber_marker_scan(const char *text, size_t len, struct amber_marker *out);
/* Whether entry i, the ones before it being right, may stand in m. errors CORRUPT, with the reason */
enum amber_rc amber_marker_entry_check(const struct amber_marker *m, size_t i,
                                       struct amber_err *err) AMBER_MUST_CHECK;

#endif
