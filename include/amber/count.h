/*
 * count.h - counts as people read them: "1 archive", "1,234 archives".
 */
#ifndef AMBER_COUNT_H
#define AMBER_COUNT_H

#include <stdint.h>

#define AMBER_COUNT_BYTES 96 /* bytes of a count with its noun */

/* "1,234,567" into out (32 bytes). */
void amber_human_count(uint64_t n, char *out);

/*
 * n and its noun, which is given for one: "s" is put behind it for others, and a "y" behind a consonant
 * becomes "ies".
 * shape   out: AMBER_COUNT_BYTES bytes; a longer noun is cut
 * owner   out is returned
 */
const char *amber_count_text(uint64_t n, const char *noun, char *out);

/* The same for an argument of printf and the like: the text lives until the block around it ends. */
#define AMBER_COUNT(n, noun) amber_count_text((n), (noun), (char[AMBER_COUNT_BYTES]){""})

#endif
