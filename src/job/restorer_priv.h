/*
 * restorer_priv.h - what whole-family restore and the .restore sink share.
 */
#ifndef AMBER_RESTORER_PRIV_H
#define AMBER_RESTORER_PRIV_H

#include "amber/reader.h"
#include "amber/restorer.h"

/* An archive opened for its rows: the parts went over to the readers. */
struct amber_opened {
    struct amber_manifest manifest; /* without its parts */
    uint64_t n_rows, raw_bytes;
    struct amber_reader *archive, *overlay; /* overlay NULL: none */
    struct amber_rows *rows;
};
enum amber_rc amber_opened_open(const struct amber_context *ctx,
                                const struct amber_tree_entry *entry, struct amber_opened *out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Back to the first row. */
enum amber_rc amber_opened_rewind(struct amber_opened *o, struct amber_err *err) AMBER_MUST_CHECK;
void amber_opened_clear(struct amber_opened *o);

/* Insert the restore, of an archive (m) or of a person's file (m NULL), and with pin the archive's
 * pin. In the open transaction. */
enum amber_rc amber_restore_record(const struct amber_context *ctx, struct amber_pg *pg,
                                   const struct amber_manifest *m, bool pin, const char *path,
                                   const char *schema, const char *table,
                                   const struct amber_restore_stats *stats, struct amber_err *err)
    AMBER_MUST_CHECK;
/* Append notes (one a line) with the table before each. */
void amber_notes_add(struct amber_restore_result *r, const char *table, const char *notes);

#endif
