/*
 * restorer.h - archives and files of rows back into PostgreSQL: whole families by name, or the
 * bytes that somebody copies into the mount's .restore folder.
 *
 * All rows or none, in one transaction, which also records the restore and the pin that keeps
 * jobs from archiving the rows again.
 */
#ifndef AMBER_RESTORER_H
#define AMBER_RESTORER_H

#include "amber/context.h"
#include "amber/mount.h"
#include "amber/restore.h"

struct amber_restore_options {
    const char *into;          /* "schema.table" or "table" instead of the archive's own; only this
                                  archive, not its family. NULL: the family into its own tables */
    enum amber_conflict on_conflict;
    bool force;                /* a repeat into a table without a unique key */
    bool allow_triggers;
    const struct amber_cancel *cancel; /* may be NULL */
    void (*progress)(void *arg, const char *table, uint64_t rows_done, uint64_t rows_total);
    void *arg;
};
struct amber_restore_result {
    uint64_t archives, rows_inserted, rows_skipped, rows_replaced;
    char notes[2048]; /* one a line */
};

/*
 * Restore an archive (an entry's logical name) with its family: the archives of the same run,
 * parents before children.
 * errors  NOT_FOUND; CORRUPT the archive is damaged (nothing is restored); INVALID; EXISTS a row
 *         with the same key differs, or a repeat; DB; CANCELED
 */
enum amber_rc amber_restore_archive(const struct amber_context *ctx,
                                    const struct amber_tree_entry *entry,
                                    const struct amber_restore_options *opt,
                                    struct amber_restore_result *out, struct amber_err *err)
    AMBER_MUST_CHECK;

/*
 * A sink for one file copied into .restore/: entry not NULL, a known archive, whose bytes must be
 * exactly the archive's; else table ("Orders", "app.Orders"), any rows of that table. committed (may
 * be NULL) is called after the commit, before finish returns.
 * owner   the sink is the caller's until its close(); entry is copied
 */
enum amber_rc amber_restore_sink(const struct amber_context *ctx,
                                 const struct amber_tree_entry *entry, const char *table,
                                 void (*committed)(void *arg, const char *what), void *arg,
                                 struct amber_sink **out, struct amber_err *err) AMBER_MUST_CHECK;

/* Split "schema.table" or "table" (schema public) into two owned strings; %XX is decoded.
 * errors INVALID, NOMEM. */
enum amber_rc amber_table_name_split(const char *text, char **out_schema, char **out_name,
                                     struct amber_err *err) AMBER_MUST_CHECK;

#endif
