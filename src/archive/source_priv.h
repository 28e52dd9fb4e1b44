/*
 * source_priv.h - a part's stored object in all its copies, and the verified blocks in it.
 *
 *   disk cache ──┐
 *   copy 0 ──────┼──▶ SHA-256 ──▶ a verified stored block
 *   copy 1 ... ──┘
 *
 * The digest decides here which copy is good: one that can't be opened or read, has another size,
 * or holds other bytes is passed over for the next. The proof of a run and verify read one copy by
 * amber_block_fetch instead, from the medium.
 */
#ifndef AMBER_SOURCE_PRIV_H
#define AMBER_SOURCE_PRIV_H

#include "amber/copies.h"
#include "amber/disk_cache.h"
#include "amber/manifest.h"

struct block_source;
/*
 * Open the object in the first copy that has it with the part's size.
 * owner   store, part and disk are borrowed until the close; disk may be NULL, and is used only if
 *         the store is remote and flags don't say MEDIUM
 * errors  NOT_FOUND; CORRUPT another size; IO, NET: what the primary said
 */
enum amber_rc amber_source_open(struct amber_store *store, const struct amber_part *part, int flags,
                                struct amber_disk_cache *disk, struct block_source **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_source_close(struct block_source *s); /* NULL allowed */
/*
 * Block i's stored bytes, whose digest matched, into buf (stored_len bytes).
 * errors  CORRUPT, IO, NET, ... of the primary, if no copy has them; buf is undefined then
 * thread  any
 */
enum amber_rc amber_source_fetch(struct block_source *s, size_t i, void *buf,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/* Log that a copy of set was passed over, unless it is the only one, or just can't be reached
 * (which copies.c logs once for all objects). */
void amber_copy_warn(const struct amber_store *set, unsigned copy, const struct amber_err *err);

#endif
