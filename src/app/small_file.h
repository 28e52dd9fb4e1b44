/*
 * small_file.h - a configuration file's whole text.
 */
#ifndef AMBER_SMALL_FILE_H
#define AMBER_SMALL_FILE_H

#include "amber/err.h"
#include "amber/mem.h"

/*
 * Append the file's bytes to out, whose ceiling is the largest size allowed.
 * errors  NOT_FOUND, DENIED, IO with the path; LIMIT larger than the ceiling; NOMEM
 */
enum amber_rc amber_small_file_read(const char *path, struct amber_buf *out,
                                    struct amber_err *err) AMBER_MUST_CHECK;

#endif
