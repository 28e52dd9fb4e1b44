/*
 * restore_priv.h - one table's restore: what its target is, and what its three files share.
 *
 *   restore.c         rows in: decode, group by which columns they have, COPY
 *   restore_target.c  the target before (columns, triggers, partitions, keys) and after (sequences)
 *   restore_merge.c   the staging table and what becomes of its rows
 */
#ifndef AMBER_RESTORE_PRIV_H
#define AMBER_RESTORE_PRIV_H

#include "amber/restore.h"
#include "pg_priv.h"
#include "sqltext_priv.h"

/* A column of the target. */
struct amber_target_column {
    char *name, *type;     /* owned; type as format_type() has it */
    char *generated;       /* owned; the expression, NULL: not generated */
    char identity;         /* 0, 'a', 'd' */
    bool not_null, has_default;
};

struct amber_key_part {
    char *expr;                   /* owned; SQL over the table's columns */
    char *op_schema, *op_name;    /* owned; equality, or an exclusion's operator */
    char *coll_schema, *coll_name; /* owned; NULL: not collatable */
};

/* A unique index or exclusion constraint of the target or of a partition of it. */
struct amber_target_key {
    char *name;         /* owned; the constraint's, or the index's */
    char *schema, *rel; /* owned; the relation that has it */
    bool of_partition;  /* not the target's own */
    bool deferrable;    /* a constraint checked later: no ON CONFLICT */
    bool nulls_equal;   /* NULLS NOT DISTINCT */
    bool strict;        /* unique, no predicate, no expression, no nullable column */
    char *predicate;    /* owned; NULL: not partial */
    char *routed;       /* owned; the partition's constraint; NULL: the target's own key */
    char **columns;     /* owned; all that it depends on */
    size_t n_columns;
    struct amber_key_part *parts; /* owned */
    size_t n_parts;
};

/* Rows that have the same columns. An archive's are all in one; a person's file may have several. */
struct amber_row_set {
    bool *has;   /* owned; per emitted column */
    size_t n;    /* of them true */
    uint64_t rows;
};

/* The file's line of a COPY's row: rows from `row` on are `offset` further down in the file. */
struct amber_line_step {
    uint64_t row, offset;
};

struct amber_restore {
    struct amber_pg *pg; /* borrowed */
    char *schema, *table; /* owned; the target */
    uint32_t oid;
    bool partitioned;
    enum amber_conflict mode;
    bool can_repeat, allow_triggers;
    bool any_keys;                     /* a person's file */
    const struct amber_schema *source; /* the rows' */
    struct amber_schema own;           /* source of a person's file */

    struct amber_target_column *columns; /* owned */
    size_t n_columns;
    struct amber_target_key *keys; /* owned */
    size_t n_keys;
    const char **names; /* owned array; the emitted columns' names, in the rows' order */
    size_t *emit;       /* owned; their indexes in source */
    size_t n_emit;

    struct amber_row_decoder *decoder; /* owned */
    bool *present;                     /* owned; per column of source; any_keys */
    struct amber_row_set *sets;        /* owned */
    size_t n_sets, cap_sets;
    size_t set; /* that of the running COPY, and of the row before */

    bool staged;    /* rows go to the staging table */
    bool savepoint; /* "amberfs_restore" is set */
    bool failed;    /* only amber_restore_again or free may follow */
    char *line_col, *set_col; /* owned; the staging table's own columns */
    bool copying;
    struct amber_buf copy;    /* rows not sent yet */
    struct amber_buf scratch; /* one row, while its fields are put in place */
    uint64_t copy_rows;       /* given to the running COPY */
    struct amber_line_step *steps; /* owned; of the running COPY */
    size_t n_steps, cap_steps;

    uint64_t line;    /* of the file, from 1 */
    uint64_t n_empty; /* rows without any column: all defaults */
    struct amber_restore_stats stats;
};

/* Append one line to the notes; what doesn't fit is left out. */
void amber_restore_note(struct amber_restore *r, const char *fmt, ...) AMBER_PRINTF(2, 3);
/* Whether the target's column was emitted / is of the set. */
ptrdiff_t amber_restore_emitted(const struct amber_restore *r, const char *name);

/* restore_target.c */
enum amber_rc amber_target_inspect(struct amber_restore *r, struct amber_err *err)
    AMBER_MUST_CHECK;
enum amber_rc amber_target_partitions(struct amber_restore *r, const struct amber_partition *p,
                                      size_t n, struct amber_err *err) AMBER_MUST_CHECK;
/* Whether every row of the file that is in the table already would be seen. */
bool amber_target_sees_doubles(const struct amber_restore *r);
/* Check the constraints that are put off; a duplicate key is told now. */
enum amber_rc amber_target_settle(struct amber_restore *r, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_target_sequences(struct amber_restore *r, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_target_clear(struct amber_restore *r);

/* restore_merge.c */
enum amber_rc amber_staging_make(struct amber_restore *r, struct amber_err *err) AMBER_MUST_CHECK;
/* Move the staged rows into the target and count them in r->stats. */
enum amber_rc amber_staging_merge(struct amber_restore *r, struct amber_err *err)
    AMBER_MUST_CHECK;

/* The failure of a statement that inserts rows, told in the file's terms. line: 0 unknown. */
enum amber_rc amber_restore_explain(struct amber_restore *r, uint64_t line, struct amber_err *err);

#endif
