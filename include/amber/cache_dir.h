/*
 * cache_dir.h - the folder of what can be had again (ARCHIVAL_CACHE_PATH): stored blocks of remote
 * stores, indexes of foreign archives. Nothing of value is only here: it may be deleted at any
 * time, also while it is used, and may be shared by processes.
 *
 * A file has a name of parts between slashes ("blocks/3f/3f9a..."); its folders come and go by
 * themselves. A file is written whole under a name of its own and then renamed, so that a reader
 * sees the old content, the new one or none; nothing is fsynced, so after a crash of the machine a
 * file may hold anything: who reads one checks it by a digest, and removes it when that differs.
 *
 * The folder is 0700 when we make it. One that belongs to somebody else, or that group or others
 * may write to, is refused: they could feed us content, or learn it.
 * thread  any number
 */
#ifndef AMBER_CACHE_DIR_H
#define AMBER_CACHE_DIR_H

#include "amber/mem.h"

#define AMBER_CACHE_NAME_MAX 255 /* bytes of a name */

struct amber_cache_dir;
/*
 * Make the folder and those above it if they are missing, and check it.
 * errors  INVALID path isn't absolute, or no folder; DENIED somebody else owns it or may write to
 *         it; IO
 */
enum amber_rc amber_cache_dir_open(const char *path, struct amber_cache_dir **out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
void amber_cache_dir_free(struct amber_cache_dir *d); /* NULL allowed */
const char *amber_cache_dir_path(const struct amber_cache_dir *d);

/* Append the whole file to out, which is unchanged on failure. The file counts as used now (see
 * trim). errors NOT_FOUND; LIMIT larger than out's ceiling; IO; DENIED as of open */
enum amber_rc amber_cache_dir_get(const struct amber_cache_dir *d, const char *name,
                                  struct amber_buf *out, struct amber_err *err) AMBER_MUST_CHECK;
/* The same for a file of exactly len bytes, into buf; another size is CORRUPT. */
enum amber_rc amber_cache_dir_read(const struct amber_cache_dir *d, const char *name, void *buf,
                                   size_t len, struct amber_err *err) AMBER_MUST_CHECK;
/* Write or replace a file (0600). errors IO with sys_errno ENOSPC, ...; DENIED as of open */
enum amber_rc amber_cache_dir_put(const struct amber_cache_dir *d, const char *name,
                                  const void *data, size_t len,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/* What is damaged goes. One that isn't there is no error. */
void amber_cache_dir_remove(const struct amber_cache_dir *d, const char *name);
/* The room that a file of so many bytes takes: small ones take a block of the disk too. */
uint64_t amber_cache_dir_room(uint64_t bytes);
/*
 * If the files below folder ("blocks") take more than max_bytes of room, remove those that were used least
 * recently until they take at most keep_bytes; unfinished files of dead writers go the same way.
 * shape   *out_bytes: what is left
 * errors  IO, NOMEM, DENIED as of open
 */
enum amber_rc amber_cache_dir_trim(const struct amber_cache_dir *d, const char *folder,
                                   uint64_t max_bytes, uint64_t keep_bytes,
                                   uint64_t *out_bytes, struct amber_err *err) AMBER_MUST_CHECK;

#endif
