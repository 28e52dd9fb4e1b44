/*
 * json_memory.h - reading JSON texts, and knowing when memory ran out meanwhile.
 *
 * jansson's lexer goes on when an allocation failed, and so do those who put documents together:
 * bytes or members would be missing. Its allocations therefore go through a function of ours, which
 * notes in the calling thread that one failed; whatever was made meanwhile must be thrown away.
 */
#ifndef AMBER_JSON_MEMORY_H
#define AMBER_JSON_MEMORY_H

#include "amber/err.h"

struct json_t; /* jansson's value */

/* Where a text isn't JSON, and jansson's words for it, which may repeat some of the text. */
struct amber_json_where {
    int line, column, byte; /* byte: offset from 0 */
    char text[160];
};

/*
 * Parse a text of outside origin.
 *
 * shape   unique_keys: an object with the same key twice isn't taken; out_where may be NULL, and is
 *         written for CORRUPT only
 * owner   *out is the caller's (json_decref); NULL on failure
 * errors  CORRUPT not JSON: damaged or cut off; NOMEM
 * thread  any
 */
enum amber_rc amber_json_load(const char *text, size_t len, bool unique_keys, struct json_t **out,
                              struct amber_json_where *out_where,
                              struct amber_err *err) AMBER_MUST_CHECK;

/* Around the making of a document: forget earlier failures of this thread; then whether an
 * allocation of jansson's failed in it since. */
void amber_json_begin(void);
bool amber_json_starved(void);

#endif
