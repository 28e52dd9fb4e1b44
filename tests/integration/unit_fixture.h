/*
 * unit_fixture.h - what the tests of families and units share: connections to the private server,
 * a fresh schema app for each test, and one unit run from begin to COMMIT with all that it exports.
 */
#ifndef UNIT_FIXTURE_H
#define UNIT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "amber/calendar.h"
#include "amber/unit.h"

#define DAY(y, m, d) amber_day_from_civil(y, m, d)
#define US(y, m, d) (DAY(y, m, d) * AMBER_DAY_US)

extern struct amber_pg *fx_pg; /* the connection under test */

/* cmocka group setup and teardown: open and close fx_pg. */
int fx_open(void **state);
int fx_close(void **state);
struct amber_pg *fx_connect(const char *conninfo);
/* Another session of our own; must succeed. */
void fx_sql(struct amber_pg *pg, const char *sql);
/* A new schema app, made by this SQL. */
void fx_schema(const char *sql);
/* First column of the first row, owned by the caller ("" for NULL or no row). */
char *fx_text(struct amber_pg *pg, const char *sql);
int64_t fx_int(const char *sql);
void fx_assert_text(const char *sql, const char *expected);

/* Tables by name, "parent" index and optional columns; a NULL name ends the list. */
struct fx_table {
    const char *name;
    int parent;
    const char *column; /* fk column, NULL: the only key */
};
struct fx_job {
    struct fx_table tables[4];
    const char *time, *zone, *where;
};
enum amber_rc fx_load(struct amber_pg *pg, const struct fx_job *job, struct amber_family *out,
                      struct amber_err *err);
/* Must succeed; the family is freed by fx_done or the next call. */
const struct amber_family *fx_family(const struct fx_job *job);
void fx_done(void);

/* What a unit exported, per table: payload lines, sorted, joined by '\n'. */
struct fx_export {
    struct amber_unit_table tables[4];
    char *lines[4];
};
void fx_export_clear(struct fx_export *e);
struct amber_unit_config fx_config(const struct amber_family *f, int64_t from_us, int64_t to_us);
struct amber_unit *fx_begin(const struct amber_unit_config *cfg);
void fx_export(struct amber_unit *u, size_t n_tables, struct fx_export *out);
/* Delete, check, commit and free. */
void fx_finish(struct amber_unit *u, const struct fx_export *e);
/* All of it. */
void fx_move(const struct amber_unit_config *cfg, struct fx_export *out);

#define fx_ok(call, err) fx_assert_ok((call), &(err), __FILE__, __LINE__)
void fx_assert_ok(enum amber_rc rc, const struct amber_err *err, const char *file, int line);
#define fx_contains(text, part) fx_assert_contains((text), (part), __FILE__, __LINE__)
void fx_assert_contains(const char *text, const char *part, const char *file, int line);

#endif
