/*
 * describe.h - the lists of --help and of the man page, from one source text each.
 *
 * Terminal: indented, wrapped at 80 columns. roff (man macros): `.TP`, options bold, placeholders
 * italic.
 */
#ifndef AMBER_DESCRIBE_H
#define AMBER_DESCRIBE_H

#include "amber/err.h"
#include "amber/mem.h"

/*
 * Append one entry: what is typed, and what it means.
 * shape   name: typed as it stands ("-f, --foreground"); arg: placeholders and words behind it
 *         ("[--dry-run] JOB", "=FILE"), "" if none: words in capitals become italic in roff; text:
 *         a tab is a space at which no line may end
 * errors  NOMEM, LIMIT
 */
enum amber_rc amber_describe_item(bool roff, const char *name, const char *arg, const char *text,
                                  struct amber_buf *out, struct amber_err *err) AMBER_MUST_CHECK;
/* Append a paragraph for the terminal, wrapped, all lines but the first indented, and a line break.
 * errors NOMEM, LIMIT. */
enum amber_rc amber_describe_text(const char *text, size_t indent, struct amber_buf *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;

#endif
