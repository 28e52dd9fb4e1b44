/*
 * restore.h - rows back into their table: one transaction, all rows or none.
 *
 *   JSON line + overlay -> row decoder -> COPY text -> the table, or a staging table where
 *   conflicts must be looked at
 *
 * A restore covers one or several tables (a family, parents before children) on one connection:
 * begin, then for each table open, rows, close, then commit. Any failure: roll back.
 *
 * Two rows are the same if each column that the file has has the same text. A row replaces another
 * by UPDATE, never by DELETE, which could cascade. Of several rows of one file with one key the
 * first is kept, or the last with AMBER_CONFLICT_REPLACE.
 */
#ifndef AMBER_RESTORE_H
#define AMBER_RESTORE_H

#include "amber/pg.h"
#include "amber/row.h"

enum amber_conflict {
    AMBER_CONFLICT_DEFAULT, /* identical row: skipped; same key, other content: error */
    AMBER_CONFLICT_ERROR,   /* any duplicate key: error */
    AMBER_CONFLICT_SKIP,    /* the table's row stays */
    AMBER_CONFLICT_REPLACE, /* the file's row wins */
};
bool amber_conflict_parse(const char *word, enum amber_conflict *out); /* error, skip, replace */

struct amber_restore_config {
    const char *table_schema, *table_name; /* the target */
    const struct amber_schema *schema; /* the archive's; NULL: a person's file, the table's own
                                          columns, keys in any order, missing ones default */
    const struct amber_partition *partitions; /* made anew if missing and nothing else covers them */
    size_t n_partitions;
    enum amber_conflict on_conflict;
    bool can_repeat;      /* the caller can give the rows a second time: COPY goes straight into the
                             table first and falls back to staging on a duplicate key */
    bool allow_triggers;  /* fire enabled INSERT triggers instead of refusing */
    bool force;           /* allow a repeat into a table without a unique key */
    bool restored_before; /* the catalog knows an earlier restore of the same archive */
};

struct amber_restore_stats {
    uint64_t rows_in, rows_inserted, rows_skipped, rows_replaced;
    char notes[1024]; /* columns lost or gained since, partitions made, sequences set; one a line */
};

struct amber_restore;
/*
 * Inspect the target and start. The transaction must be open. Enabled INSERT triggers and rules
 * are named and refused; columns lost since are left out and noted, those gained take their
 * default and are noted (NOT NULL without a default: refused, named).
 * owner   pg and cfg->schema are borrowed until free, the rest of cfg for the call
 * errors  NOT_FOUND no such table; INVALID, DB
 */
enum amber_rc amber_restore_open(struct amber_pg *pg, const struct amber_restore_config *cfg,
                                 struct amber_restore **out, struct amber_err *err)
    AMBER_MUST_CHECK;
/*
 * One row. overlay: its overlay object or NULL. An empty line of a person's file counts as a line
 * and is no row, so that numbers in messages are those of the file.
 * errors  INVALID "line N, column C: ..." for a row that isn't right; DB with the line and column
 *         that PostgreSQL named, a duplicate key (23505) that is final among them; EXISTS a
 *         duplicate key while can_repeat: roll back to the savepoint by amber_restore_again and
 *         give all rows once more. A row's failure may be told by a later row, or by close
 */
enum amber_rc amber_restore_row(struct amber_restore *r, const char *line, size_t len,
                                const char *overlay, size_t overlay_len, struct amber_err *err)
    AMBER_MUST_CHECK;
/* After EXISTS from row or close: start this table anew through staging. */
enum amber_rc amber_restore_again(struct amber_restore *r, struct amber_err *err) AMBER_MUST_CHECK;
/* End the rows: flush COPY, merge staging, set sequences (never lowered). r stays until free.
 * errors as amber_restore_row. */
enum amber_rc amber_restore_close(struct amber_restore *r, struct amber_restore_stats *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;
void amber_restore_free(struct amber_restore *r); /* NULL allowed; doesn't end the transaction */

#endif
