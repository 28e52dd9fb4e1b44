/*
 * cut_priv.h - where the text of rows is cut into blocks.
 */
#ifndef AMBER_CUT_PRIV_H
#define AMBER_CUT_PRIV_H

#include "amber/manifest.h"

/*
 * Bytes of text that make the next block, 1 .. AMBER_BLOCK_MAX.
 *
 * shape   text: len >= 1 bytes of whole rows, or of rows whose end isn't seen yet. within: it
 *         starts inside a row that a block before could not hold
 *         want: about so many, 1 .. AMBER_BLOCK_MAX
 */
size_t amber_rows_cut(const char *text, size_t len, bool within, size_t want);
/* Rows that start in a block: line breaks, and one for a row that goes on behind it. */
uint32_t amber_rows_count(const char *text, size_t len, bool within);
/* Line breaks in text. */
size_t amber_lines_count(const char *text, size_t len);

#endif
