/*
 * unit_priv.h - which rows move, as SQL, and the state of a unit shared by its files.
 *
 * A condition is built of nested EXISTS with one FROM item a scope (alias amber_<depth>), so that
 * the job's own condition, whose columns stand there unqualified, is never ambiguous:
 *
 *   root    amber_0.time >= lit AND amber_0.time < lit AND (where) AND NOT (a pin's range)
 *           AND NOT EXISTS (SELECT 1 FROM pg_temp.amberfs_stay AS s WHERE ...)
 *   child   EXISTS (SELECT 1 FROM parent AS amber_1 WHERE amber_1.pk = amber_0.fk AND <parent's>)
 */
#ifndef AMBER_UNIT_PRIV_H
#define AMBER_UNIT_PRIV_H

#include "amber/calendar.h"
#include "amber/unit.h"

#include "family_priv.h"

/* The start of a day, or the end of time on that side. */
static inline int64_t amber_day_us(int64_t day)
{
    if (day > INT64_MAX / AMBER_DAY_US)
        return INT64_MAX;
    return day < INT64_MIN / AMBER_DAY_US ? INT64_MIN : day * AMBER_DAY_US;
}

/* The rows of a range, resolved to literals of the time column's type. */
struct amber_selection {
    const struct amber_family *family; /* borrowed */
    char *from, *to;                   /* owned; typed literals */
    bool from_open;                    /* from is -infinity, which doesn't belong to the range */
    char **pins;                       /* owned; n_pins pairs of literals, [from, to) */
    size_t n_pins;
    bool stay; /* rows in pg_temp.amberfs_stay don't move */
};
#define AMBER_AUTO_SELECTION AMBER_CLEANUP(amber_selection_clear)
enum amber_rc amber_selection_init(struct amber_pg *pg, const struct amber_family *f,
                                   int64_t from_us, int64_t to_us,
                                   const struct amber_day_range *pins, size_t n_pins,
                                   struct amber_selection *out,
                                   struct amber_err *err) AMBER_MUST_CHECK;
void amber_selection_clear(struct amber_selection *s);

/* The condition under which a row of table, known by the alias of depth, moves. */
void amber_selection_where(struct amber_sqltext *sql, const struct amber_selection *sel,
                           size_t table, unsigned depth);
/* "[ONLY] schema.name" of a table of the family. */
void amber_selection_from(struct amber_sqltext *sql, const struct amber_family *f, size_t table);
/* A value of the time column's type as timestamptz; microseconds since the epoch of a timestamptz
 * (an expression that may be evaluated more than once). */
void amber_sql_instant_of(struct amber_sqltext *sql, const struct amber_family *f,
                          const char *expr);
void amber_sql_us_of(struct amber_sqltext *sql, const char *instant);
/* a.pk = b.fk for all columns of a foreign key, with the constraint's own operators. */
void amber_sql_fk_match(struct amber_sqltext *sql, const struct amber_fk *fk, const char *pk_alias,
                        const char *fk_alias);

/* Root rows that move, their oldest and newest times. */
struct unit_span {
    uint64_t rows;
    int64_t min_us, max_us;
};

struct amber_unit {
    struct amber_unit_config cfg;
    struct amber_family_priv *fp;
    struct amber_selection sel;
    int64_t from_us, to_us;
    struct amber_unit_stayed stayed;
    bool *drop; /* owned; per leaf of the root: to be dropped */
    bool *skip; /* owned; per leaf of the root: out of the range, holds nothing that moves */
    struct amber_partition *partitions; /* borrowed strings of the family; the array is owned */
    size_t n_partitions;
    uint64_t *deleted;        /* owned; per entry of fp->by_oid: rows deleted (not dropped) */
    struct amber_unit_table taken; /* of the only table's rows: deleted while they were read */
    struct amber_res *before; /* owned; transaction statistics at the start */
    bool began;               /* the transaction is ours to roll back */
    size_t n_helpers;         /* connections of cfg.helpers with a transaction on our snapshot */
    struct unit_span span;    /* from amber_unit_span on */
    bool span_known;          /* the cap's count has seen all rows; before it was known what stays */
};

/* Leaf holds nothing that moves, by its range. */
bool amber_unit_skips(const struct amber_unit *u, size_t table, size_t leaf);

/* unit_stay.c: fill pg_temp.amberfs_stay and u->stayed; sets u->sel.stay if anything stays. */
enum amber_rc amber_unit_find_stay(struct amber_unit *u, struct amber_err *err) AMBER_MUST_CHECK;

/* unit_check.c: remember the transaction's statistics. */
enum amber_rc amber_unit_remember(struct amber_unit *u, struct amber_err *err) AMBER_MUST_CHECK;

/* unit_export.c, for the others: the next row of the COPY on the unit's own connection, once
 * cfg.breathe lets it. As amber_pg_copy_next. */
enum amber_rc amber_unit_copy_next(struct amber_unit *u, char **out_line, size_t *out_len,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* The COPY of a leaf; range: "" or a condition with "AND " behind it; take: the rows are deleted. */
void amber_unit_copy_sql(struct amber_sqltext *sql, const struct amber_unit *u, size_t table,
                         const struct amber_leaf *leaf, const char *range, bool take);
/* A COPY line's identity into sum; where its payload lies. errors CORRUPT: line is freed. */
enum amber_rc amber_unit_line(const struct amber_leaf *leaf, char *line, size_t len,
                              size_t *out_skip, size_t *out_len, struct amber_unit_table *sum,
                              struct amber_err *err) AMBER_MUST_CHECK;
/* What a failed COPY means: LIMIT, or err as it is with the leaf's name. Returns err->code. */
enum amber_rc amber_unit_export_failed(const struct amber_leaf *leaf, struct amber_err *err);

/* unit_delete.c: note rows of a leaf that this transaction has deleted. */
void amber_unit_note_deleted(struct amber_unit *u, uint32_t oid, uint64_t rows);

/* unit_lanes.c: transactions of the helpers on the unit's snapshot; end them (any number of times). */
enum amber_rc amber_unit_helpers_begin(struct amber_unit *u, struct amber_err *err) AMBER_MUST_CHECK;
void amber_unit_helpers_end(struct amber_unit *u);
/* *out_blocks: of the leaf's heap if several connections should read it, else 0. */
enum amber_rc amber_unit_lanes_pay(struct amber_unit *u, const struct amber_leaf *leaf,
                                   uint64_t *out_blocks, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_unit_export_lanes(struct amber_unit *u, size_t table,
                                      const struct amber_leaf *leaf, uint64_t blocks,
                                      amber_unit_row_fn row, void *arg,
                                      struct amber_unit_table *sum,
                                      struct amber_err *err) AMBER_MUST_CHECK;

/* Read "(block,offset)" at p; returns the byte behind ')', or NULL. */
const char *amber_ctid_parse(const char *p, const char *end, uint32_t *out_block,
                             uint16_t *out_off);

#endif
