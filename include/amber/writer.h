/*
 * writer.h - rows in, one durable archive with its overlay out.
 *
 *   COPY lines -> batch (about one block of JSON) -> worker: JSON, digest of the lines, compress,
 *   SHA-256 -> in order -> store put
 *
 * The calling thread only copies lines into a batch; conversion and compression run on the pool.
 * At most a few batches are under way, so memory is bounded whatever the table's size: 48 MiB and
 * four times the largest row.
 * Nothing is visible in the store under the archive's key before finish.
 */
#ifndef AMBER_WRITER_H
#define AMBER_WRITER_H

#include "amber/manifest.h"
#include "amber/pool.h"
#include "amber/row.h"

#define AMBER_BLOCK_MIN (64U * 1024U)
#define AMBER_ROW_JSON_MAX UINT32_MAX /* bytes of one row's JSON */

struct amber_writer_config {
    struct amber_store *store;         /* borrowed */
    struct amber_pool *pool;           /* borrowed */
    const struct amber_schema *schema; /* borrowed until finish or abort */
    const char *key;                   /* archive's store key, with the codec's suffix */
    const char *run_id;                /* names the overlay attachment */
    enum amber_codec_kind codec;
    int level;
    size_t block_bytes; /* raw text a block, AMBER_BLOCK_MIN .. AMBER_BLOCK_MAX */
    const char *meta;   /* the header unit's text (amber_manifest_meta_encode); NULL: no header */
    size_t meta_len;    /* at most AMBER_META_MAX */
};

/* What the COPY stream was, batch by batch: read-back must give the same. */
struct amber_proof;
void amber_proof_free(struct amber_proof *p); /* NULL allowed */

struct amber_writer;
enum amber_rc amber_writer_open(const struct amber_writer_config *cfg, struct amber_writer **out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Add one row: a COPY text line without line break. May wait for the pool or the store.
 * errors  what encoding or the store reported, also for earlier rows; sticky */
enum amber_rc amber_writer_row(struct amber_writer *w, const char *line, size_t len,
                               struct amber_err *err) AMBER_MUST_CHECK;
/* As amber_writer_row for a row of any size whose memory (malloc) goes over to the writer; skip
 * bytes at its start are not part of the line. line is freed in every case. */
enum amber_rc amber_writer_row_take(struct amber_writer *w, char *line, size_t skip, size_t len,
                                    struct amber_err *err) AMBER_MUST_CHECK;
/* Rows added and raw bytes made so far (the latter trails behind). */
void amber_writer_progress(struct amber_writer *w, uint64_t *out_rows, uint64_t *out_raw_bytes);
/*
 * Write what is left and commit the objects: durable under their keys.
 * shape   out: archive, attachments and typed are set; the other members are untouched
 * owner   w is gone in every case; out_proof and the manifest's parts are the caller's
 * errors  EXISTS the key is taken; IO, NET, ...: nothing is left under the key, or, if only the
 *         overlay failed, the archive object is (it has no manifest: invisible)
 */
enum amber_rc amber_writer_finish(struct amber_writer *w, struct amber_manifest *out,
                                  struct amber_proof **out_proof, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_writer_abort(struct amber_writer *w); /* NULL allowed */

/*
 * Prove that what the medium holds is what PostgreSQL sent: every part is read with
 * AMBER_OPEN_MEDIUM; stored digests of each block and of the whole; decoded; the raw digest; and
 * the restore parser over the rows with their overlay gives each batch's digest.
 * errors  CORRUPT with block and offset; IO, NET; CANCELED
 */
struct amber_cancel;
enum amber_rc amber_proof_check(const struct amber_proof *proof, struct amber_store *store,
                                const struct amber_manifest *m, struct amber_pool *pool,
                                const struct amber_cancel *cancel, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
