/*
 * restore_fixture.h - what the tests of restoring share: the rows of a table as an archive has
 * them, and a whole restore from begin to COMMIT. Tables are in the fixture's schema app.
 */
#ifndef RESTORE_FIXTURE_H
#define RESTORE_FIXTURE_H

#include "unit_fixture.h"

#include "amber/restore.h"

struct rs_dump {
    struct amber_schema schema;
    char **json, **overlay; /* overlay NULL: none */
    size_t n, cap;
};
void rs_clear(struct rs_dump *d);
#define RS_AUTO_DUMP AMBER_CLEANUP(rs_clear)

void rs_add(struct rs_dump *d, const char *json, const char *overlay);
/* All rows of a table, encoded. */
void rs_table(const char *schema, const char *table, struct rs_dump *d);
/* Lines as they are given, with the table's own schema as the archive's. */
void rs_lines(const char *schema, const char *table, const char *const *lines, size_t n,
              struct rs_dump *d);

/* A restore into app.table: of an archive that can be given twice, or (d NULL) of a file by hand.
 */
struct amber_restore_config rs_into(const char *table, const struct rs_dump *d);
enum amber_rc rs_give(struct amber_restore *r, const struct rs_dump *d, struct amber_err *err);
/* A whole restore as its callers do it: committed, or rolled back. */
enum amber_rc rs_restore(struct amber_pg *pg, const struct amber_restore_config *cfg,
                         const struct rs_dump *d, struct amber_restore_stats *stats,
                         struct amber_err *err);
/* Must succeed. */
struct amber_restore_stats rs_restored(const struct amber_restore_config *cfg,
                                       const struct rs_dump *d);
/* Must fail with this code, and with this in its text. */
void rs_refused(const struct amber_restore_config *cfg, const struct rs_dump *d, enum amber_rc rc,
                const char *told);
void rs_assert_stats(struct amber_restore_stats s, uint64_t in, uint64_t inserted, uint64_t skipped,
                     uint64_t replaced);
/* Archive a table, empty it, restore it: each column must have the same text. */
void rs_round_trip(const char *table, bool can_repeat);

#endif
