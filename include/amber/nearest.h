/*
 * nearest.h - which known name a mistyped one may have meant.
 *
 * Edit distance with insertions, deletions, replacements and swaps of neighbours, upper and lower
 * case alike.
 */
#ifndef AMBER_NEAREST_H
#define AMBER_NEAREST_H

#include <stddef.h>

/* Longer words are compared by their first so many bytes. */
#define AMBER_NEAREST_WORD_MAX 64U

/* Edits that make b out of a. */
size_t amber_edit_distance(const char *a, const char *b);

/*
 * The name nearest to word, the first of several; NULL if none is within max_distance edits.
 * shape   first_name: the name member of the first of n table rows, each stride_bytes long; rows
 *         whose name is NULL are passed over
 * owner   the table's
 */
const char *amber_nearest(const char *word, const char *const *first_name, size_t n,
                          size_t stride_bytes, size_t max_distance);

/* Edits within which a suggestion helps rather than puzzles. */
size_t amber_nearest_limit(const char *word);

#endif
