/*
 * unit_export.c - a table's rows as COPY lines, leaf by leaf, in the order of the heap.
 *
 * Each line starts with the row's ctid, which goes into the digest of identities; what is handed on
 * is the rest. A leaf of which most moves may be read by several connections (unit_lanes.c).
 */
#include "unit_priv.h"

#include "amber/failpoint.h"

#include "pg_priv.h"

const char *amber_ctid_parse(const char *p, const char *end, uint32_t *out_block, uint16_t *out_off)
{
    uint64_t block = 0, off = 0;
    const char *digits;

    if (p == end || *p++ != '(')
        return NULL;
    for (digits = p; p < end && *p >= '0' && *p <= '9' && block <= UINT32_MAX; p++)
        block = block * 10 + (uint64_t)(*p - '0');
    if (p == digits || block > UINT32_MAX || p == end || *p++ != ',')
        return NULL;
    for (digits = p; p < end && *p >= '0' && *p <= '9' && off <= UINT16_MAX; p++)
        off = off * 10 + (uint64_t)(*p - '0');
    if (p == digits || off > UINT16_MAX || p == end || *p++ != ')')
        return NULL;
    *out_block = (uint32_t)block;
    *out_off = (uint16_t)off;
    return p;
}

static void add_columns(struct amber_sqltext *sql, const struct amber_schema *s)
{
    amber_sqltext_add(sql, "%a.ctid", 0U);
    for (size_t c = 0; c < s->n_columns; c++) {
        amber_sqltext_add(sql, ", %a.%i", 0U, s->columns[c].name);
        if (s->columns[c].type.kind == AMBER_KIND_SERVER)
            amber_sqltext_add(sql, ", to_json(%a.%i)", 0U, s->columns[c].name);
    }
}

/* PostgreSQL ends a row that outgrows its buffer with program_limit_exceeded, and a value that
 * does with a failed allocation, whose text is never translated. */
static bool is_too_large(const struct amber_err *err)
{
    return strcmp(err->sqlstate, "54000") == 0 ||
           (strcmp(err->sqlstate, "XX000") == 0 && strstr(err->text, "invalid memory alloc"));
}

enum amber_rc amber_unit_export_failed(const struct amber_leaf *leaf, struct amber_err *err)
{
    if (is_too_large(err))
        return amber_fail(
            err, AMBER_E_LIMIT,
            "a row of \"%s\".\"%s\" is too large for COPY (its text passes 1 GiB): it "
            "has to stay",
            leaf->schema, leaf->name);
    return amber_wrap(err, "reading \"%s\".\"%s\"", leaf->schema, leaf->name);
}

enum amber_rc amber_unit_line(const struct amber_leaf *leaf, char *line, size_t len,
                              size_t *out_skip, size_t *out_len, struct amber_unit_table *sum,
                              struct amber_err *err)
{
    const char *end = line + len - (len > 0 && line[len - 1] == '\n');
    uint32_t block = 0;
    uint16_t off = 0;
    const char *p = amber_ctid_parse(line, end, &block, &off);

    if (!p || p == end || *p != '\t') {
        amber_pg_copy_free(line);
        return amber_fail(err, AMBER_E_CORRUPT,
                          "\"%s\".\"%s\": the server sent a row without identity", leaf->schema,
                          leaf->name);
    }
    p++;
    amber_set_digest_add(&sum->identity, leaf->oid, block, off);
    sum->rows++;
    *out_skip = (size_t)(p - line);
    *out_len = (size_t)(end - p);
    return AMBER_OK;
}

void amber_unit_copy_sql(struct amber_sqltext *sql, const struct amber_unit *u, size_t table,
                         const struct amber_leaf *leaf, const char *range, bool take)
{
    const struct amber_schema *columns = &u->cfg.family->tables[table].columns;

    amber_sqltext_add(sql, "COPY (%s ", take ? "DELETE" : "SELECT");
    if (!take)
        add_columns(sql, columns);
    amber_sqltext_add(sql, " FROM ONLY %t AS %a WHERE %s", leaf->schema, leaf->name, 0U, range);
    amber_selection_where(sql, &u->sel, table, 0);
    if (take) {
        amber_sqltext_add(sql, " RETURNING ");
        add_columns(sql, columns);
    }
    amber_sqltext_add(sql, ") TO STDOUT (FORMAT text)");
}

enum amber_rc amber_unit_copy_next(struct amber_unit *u, char **out_line, size_t *out_len,
                                   struct amber_err *err)
{
    if (u->cfg.breathe && u->cfg.breathe(u->cfg.breathe_arg, err)) {
        amber_pg_settle(u->cfg.pg); /* the rest of the COPY is of no use */
        return err->code;
    }
    return amber_pg_copy_next(u->cfg.pg, out_line, out_len, err);
}

/* The whole leaf by the unit's own connection. */
static enum amber_rc export_serial(struct amber_unit *u, size_t table,
                                   const struct amber_leaf *leaf, amber_unit_row_fn row, void *arg,
                                   struct amber_unit_table *sum, struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    enum amber_rc rc;

    amber_unit_copy_sql(&sql, u, table, leaf, "", false);
    rc = amber_sqltext_rc(&sql);
    if (rc == AMBER_OK)
        rc = amber_pg_copy_out(u->cfg.pg, amber_sqltext_str(&sql), err);
    if (rc != AMBER_OK)
        return amber_unit_export_failed(leaf, err);
    for (;;) {
        char *line = NULL;
        size_t len = 0, skip = 0;
        rc = amber_unit_copy_next(u, &line, &len, err);
        if (rc != AMBER_OK)
            return amber_unit_export_failed(leaf, err);
        if (!line)
            return AMBER_OK;
        rc = amber_unit_line(leaf, line, len, &skip, &len, sum, err);
        if (rc == AMBER_OK)
            rc = row(arg, line, skip, len, err);
        if (rc != AMBER_OK) {
            amber_pg_settle(u->cfg.pg); /* the rest of the COPY is of no use */
            return rc;
        }
    }
}

static enum amber_rc export_leaf(struct amber_unit *u, size_t table, const struct amber_leaf *leaf,
                                 amber_unit_row_fn row, void *arg, struct amber_unit_table *sum,
                                 struct amber_err *err)
{
    uint64_t blocks = 0;
    enum amber_rc rc = amber_failpoint("export-leaf", err);

    if (rc == AMBER_OK)
        rc = amber_unit_lanes_pay(u, leaf, &blocks, err);
    if (rc != AMBER_OK)
        return rc;
    return blocks > 0 ? amber_unit_export_lanes(u, table, leaf, blocks, row, arg, sum, err)
                      : export_serial(u, table, leaf, row, arg, sum, err);
}

enum amber_rc amber_unit_export(struct amber_unit *u, size_t table,
                                amber_unit_row_fn row, void *arg, struct amber_unit_table *out, struct amber_err *err)
{
    const struct amber_table *t = &u->cfg.family->tables[table];
    struct amber_unit_table sum = {0};
    enum amber_rc rc = AMBER_OK;

    for (size_t l = 0; rc == AMBER_OK && l < t->n_leaves; l++)
        if (!amber_unit_skips(u, table, l))
            rc = export_leaf(u, table, &t->leaves[l], row, arg, &sum, err);
    if (rc == AMBER_OK)
        *out = sum;
    return rc;
}
