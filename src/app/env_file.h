/*
 * env_file.h - files of NAME=VALUE lines, as docker, systemd and dotenv libraries read them.
 *
 *   # comment                          export NAME=value
 *   NAME=0 2 1 * *   # comment         NAME='as it stands, $ and \ too'
 *   NAME="with \n \t \" \\ \$ escapes" NAME=
 *
 * A '#' behind white space starts a comment in an unquoted value, a quoted value may run over
 * several lines, nothing is ever expanded; CRLF and a byte order mark are taken.
 */
#ifndef AMBER_ENV_FILE_H
#define AMBER_ENV_FILE_H

#include "amber/err.h"
#include "amber/mem.h"

#define AMBER_ENV_FILE_MAX (1024U * 1024U) /* bytes */
#define AMBER_ENV_NAMES_MAX 10000U

struct amber_env_entry {
    char *name, *value; /* owned */
    unsigned line;      /* where it stands, from 1 */
};
/* Each name once. */
struct amber_env {
    struct amber_env_entry *items; /* owned */
    size_t n, cap;
};

/*
 * Parse a whole file's text.
 * shape   file: its name, for messages; warnings gets a line for each name that is set twice (the
 *         last one counts), as far as its ceiling goes; out is set only on success
 * errors  INVALID "file:line: what is wrong"; never a value. LIMIT, NOMEM
 */
enum amber_rc amber_env_parse(const char *text, size_t len, const char *file, struct amber_env *out,
                              struct amber_buf *warnings, struct amber_err *err) AMBER_MUST_CHECK;
/* The same for a file. errors NOT_FOUND, DENIED, IO too. */
enum amber_rc amber_env_load(const char *file, struct amber_env *out, struct amber_buf *warnings,
                             struct amber_err *err) AMBER_MUST_CHECK;
void amber_env_clear(struct amber_env *env);
/* NULL if there is none of that name. */
const struct amber_env_entry *amber_env_find(const struct amber_env *env, const char *name);

#endif
