/*
 * family_priv.h - what the pg layer knows about a family beyond amber/family.h: foreign keys with
 * their operators, the order of deletion, which partitions may be dropped, and the facts by which a
 * unit notices that a table changed since.
 */
#ifndef AMBER_FAMILY_PRIV_H
#define AMBER_FAMILY_PRIV_H

#include "amber/family.h"

#include "sqltext_priv.h"

struct amber_fk_column {
    char *fk, *pk;                 /* owned; column names */
    char *op_schema, *op_name;     /* owned; pk OP fk, as the constraint itself compares */
    char *coll_schema, *coll_name; /* owned; the pk's collation if the two differ, else NULL */
};
/* A foreign key that references a table of the family (or a partition of it). */
struct amber_fk {
    uint32_t oid;
    char *name;                    /* owned */
    char *from_schema, *from_name; /* owned; the referencing relation as declared */
    bool from_partitioned;
    int from;                  /* its table in the family, -1: outside */
    char *to_schema, *to_name; /* owned; the referenced relation */
    bool to_partitioned;
    int to;
    bool tree_edge; /* child to parent: the family is made of these */
    bool whole;     /* from and to are the family's tables, not partitions of them */
    char on_delete; /* pg_constraint.confdeltype */
    bool validated, deferrable, indexed;
    bool readable;                   /* we may SELECT from the referencing relation */
    struct amber_fk_column *columns; /* owned */
    size_t n_columns;
};

struct amber_leaf_ref {
    uint32_t oid;
    size_t table, leaf;
};

struct amber_family_priv {
    struct amber_fk *fks; /* owned */
    size_t n_fks;
    size_t *edge;         /* owned; per table: its tree edge in fks; unused for the root */
    size_t *delete_order; /* owned; table indexes: a referencing table before the referenced one */
    bool defer;           /* the order needs constraints deferred (a deferrable cycle) */
    bool *self_ref;       /* owned; per table: it references itself */
    bool *droppable; /* owned; per leaf of the root: DETACH + DROP is safe as far as DDL goes */
    bool *dirty;     /* owned; per entry of by_oid: deleted from since the last vacuum */
    struct amber_leaf_ref *by_oid; /* owned; all leaves, sorted by oid */
    size_t n_by_oid;
    char **table_facts; /* owned; per table: its facts (see below); n_table_facts of them */
    size_t n_table_facts;
    char **leaf_facts; /* owned; per entry of by_oid */
};

static inline struct amber_family_priv *amber_family_priv(const struct amber_family *f)
{
    return (struct amber_family_priv *)f->priv;
}
void amber_family_priv_free(struct amber_family_priv *p); /* NULL allowed */

/* Index in by_oid, or -1. */
ptrdiff_t amber_family_leaf_find(const struct amber_family *f, uint32_t oid);

/* family_facts.c: what decides whether rows can move as planned (columns, foreign keys, triggers,
 * rules, ...), as one digest text a relation. Remember them at load. */
enum amber_rc amber_family_remember_facts(struct amber_pg *pg, struct amber_family *f,
                                          struct amber_err *err) AMBER_MUST_CHECK;
/*
 * Compare them with what the server has now, for all tables and for the leaves that use says
 * (an entry per by_oid). A family with children must also have gained no partitions: rows in them
 * would be parents or children that nobody looks at.
 * errors  DB a table was changed since the family was loaded (named)
 */
enum amber_rc amber_family_check_facts(struct amber_pg *pg, const struct amber_family *f,
                                       const bool *use, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_family_check_partitions(struct amber_pg *pg, const struct amber_family *f,
                                            struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Findings of the preflight: collected, then told all at once.
 */
struct amber_findings {
    struct amber_buf text; /* joined by "; " */
    size_t n, n_untold;    /* found; of these, not in text since it is full */
    bool missing;          /* one of them is a missing table or column */
};
void amber_findings_clear(struct amber_findings *f);
enum amber_rc amber_finding(struct amber_findings *f, struct amber_err *err, const char *fmt, ...)
    AMBER_PRINTF(3, 4) AMBER_MUST_CHECK;
/* OK if there are none, else the failure that tells them. */
enum amber_rc amber_findings_rc(const struct amber_findings *f, const char *job,
                                struct amber_err *err) AMBER_MUST_CHECK;

/* preflight.c: every check that reads the server's catalogs; needs tables, leaves and fks. */
enum amber_rc amber_preflight_shapes(struct amber_pg *pg, const struct amber_family *f,
                                     struct amber_findings *found,
                                     struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_preflight_fks(const struct amber_family *f, struct amber_findings *found,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/* Validate the condition and give its canonical form in out (owned by the caller). Aborts the
 * transaction if it is wrong: the last check. */
enum amber_rc amber_preflight_where(struct amber_pg *pg, const struct amber_family *f,
                                    const char *where, char **out, struct amber_findings *found,
                                    struct amber_err *err) AMBER_MUST_CHECK;

/* family_fk.c: resolve foreign keys, choose the tree edges, order the deletion. */
enum amber_rc amber_family_load_fks(struct amber_pg *pg, const struct amber_family_spec *spec,
                                    struct amber_family *f, struct amber_findings *found,
                                    struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_family_order(struct amber_family *f, struct amber_findings *found,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/* family_leaf.c: leaves of each table, their ranges, which may be dropped (none if a condition
 * keeps rows back). */
enum amber_rc amber_family_load_leaves(struct amber_pg *pg, struct amber_family *f,
                                       struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_family_load_ranges(struct amber_pg *pg, struct amber_family *f,
                                       bool conditional, struct amber_err *err) AMBER_MUST_CHECK;

/* Columns and types of a table by its oid (table_types.c). unsafe: NULL, or gets the columns whose
 * type can't be vouched for, "" if none (owned by the caller). */
enum amber_rc amber_table_columns(struct amber_pg *pg, uint32_t oid, struct amber_schema *out,
                                  char **unsafe, struct amber_err *err) AMBER_MUST_CHECK;

/* "{1,2,3}" of all relations of the family's partition trees, with their table's index. */
enum amber_rc amber_family_members(struct amber_pg *pg, const struct amber_family *f,
                                   char **out_oids, char **out_tables,
                                   struct amber_err *err) AMBER_MUST_CHECK;

#endif
