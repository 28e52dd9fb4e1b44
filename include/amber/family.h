/*
 * family.h - the tables of one job as the server has them, and the checks before any row moves.
 *
 * A family is a tree of tables: a root with a time column, and children that reference their
 * parent by a foreign key, to any depth. A row of a child moves with the parent row that it
 * references. Tables may be partitioned: rows live in leaves.
 */
#ifndef AMBER_FAMILY_H
#define AMBER_FAMILY_H

#include "amber/pg.h"
#include "amber/schema.h"

/* What a job says about one table. Strings are borrowed. Index 0 is the root. */
struct amber_table_spec {
    const char *schema, *name;
    int parent; /* index of the parent's spec (smaller than its own); root: -1 */
    const char *const *fk_columns;  /* children: the referencing columns, or NULL: the only foreign
                                       key from this table to its parent */
    size_t n_fk_columns;
};
struct amber_family_spec {
    const char *job;
    const struct amber_table_spec *tables;
    size_t n_tables;
    const char *time_column; /* of the root: timestamptz, timestamp or date */
    const char *zone;        /* how timestamp and date are read; NULL: UTC */
    const char *where; /* extra condition on the root's columns; NULL: none. Must be immutable */
};

enum amber_time_kind { AMBER_TIME_TIMESTAMPTZ, AMBER_TIME_TIMESTAMP, AMBER_TIME_DATE };

struct amber_leaf {
    uint32_t oid;
    char *schema, *name;   /* owned */
    char *bound;           /* owned; pg_get_expr(relpartbound), NULL for a plain table */
    bool is_default;
    bool has_range;        /* the root's: bounded by one range on the time column, in one level */
    int64_t from_us, to_us; /* that range; INT64_MIN/MAX for MINVALUE/MAXVALUE */
};
struct amber_table {
    uint32_t oid;
    char *schema, *name; /* owned */
    int parent;
    bool partitioned;
    struct amber_leaf *leaves; /* owned; by time, then name; a plain table is its own only leaf */
    size_t n_leaves;
    struct amber_schema columns;
    char **fk_columns, **pk_columns; /* owned; fk_columns[i] references the parent's pk_columns[i] */
    size_t n_fk;
    bool has_key; /* a primary key or unique index over NOT NULL columns */
};
struct amber_family {
    char *job; /* owned */
    struct amber_table *tables; /* owned; parents before children */
    size_t n_tables;
    char *time_column; /* owned */
    char *zone;        /* owned; "UTC" by default */
    char *where;       /* owned; the server's own form of the condition, NULL: none */
    enum amber_time_kind time_kind;
    bool may_stay; /* a foreign key other than the tree's own references a table of the family, so
                      that rows may have to stay */
    void *priv;    /* the pg layer's */
};

/*
 * Resolve a family on the server and run the preflight, in a transaction of its own that is rolled
 * back (the temporary table by which the condition is checked included). pg must be idle.
 *
 * errors  NOT_FOUND table or column missing; INVALID the shape can't be moved safely; each text
 *         names the object and the remedy. All findings are reported at once, joined by "; ";
 *         those for which the error's text has no room are counted. BUSY somebody alters a table
 *   Refused: foreign keys from outside the job that CASCADE, SET NULL or SET DEFAULT into it, also
 *   self-CASCADE; foreign keys without an index, a child's and others' (the CREATE INDEX is
 *   printed); a child's foreign key that is missing, ambiguous or not validated; a circle of
 *   foreign keys that can't be deferred; foreign keys whose triggers are disabled; user DELETE
 *   triggers and rules; row security that would hide rows from this user; views, foreign tables,
 *   temporary tables, other access methods than heap, a partition named by itself, inheritance
 *   children that aren't partitions, partitions half detached; publications with deletes and no
 *   replica identity; a database encoding that can't become UTF-8; columns of a pseudo-type; a
 *   condition that isn't immutable; a time column of another type, an unknown zone; no right to
 *   SELECT or DELETE, none to make temporary tables where one is needed; track_counts off; a
 *   standby.
 */
enum amber_rc amber_family_load(struct amber_pg *pg, const struct amber_family_spec *spec,
                                struct amber_family *out, struct amber_err *err) AMBER_MUST_CHECK;
void amber_family_clear(struct amber_family *f);

/* The schema of one table as restore and `.restore/TABLE/` need it. errors NOT_FOUND. */
enum amber_rc amber_table_schema(struct amber_pg *pg, const char *schema, const char *name,
                                 struct amber_schema *out, struct amber_err *err) AMBER_MUST_CHECK;

/* Today's UTC day on the server, minus days or months of retention: rows older than the start of
 * the returned day are due. */
enum amber_rc amber_family_cutoff(struct amber_pg *pg, int days, int months, int64_t *out_day,
                                  struct amber_err *err) AMBER_MUST_CHECK;

/* The time of the oldest due root row at or behind from_us and before cutoff_day, that no pin
 * keeps; *out_found false if there is none. */
struct amber_day_range {
    int64_t from_day, to_day; /* both included */
};
enum amber_rc amber_family_oldest(struct amber_pg *pg, const struct amber_family *f,
                                  int64_t from_us, int64_t cutoff_day,
                                  const struct amber_day_range *pins, size_t n_pins,
                                  int64_t *out_us, bool *out_found, struct amber_err *err)
    AMBER_MUST_CHECK;

/* Root rows that can never move because their time is NULL or infinite. */
enum amber_rc amber_family_timeless(struct amber_pg *pg, const struct amber_family *f,
                                    uint64_t *out_null, uint64_t *out_infinite,
                                    struct amber_err *err) AMBER_MUST_CHECK;

#endif
