/*
 * unit_delete.c - take out of the tables exactly what was exported.
 *
 * Every deleted row comes back as (tableoid, ctid); the digest over a table's rows must equal the
 * export's. They come as binary COPY, which costs the server a third less than text:
 *
 *   header   "PGCOPY\n\377\r\n\0", flags, length of what follows it (0)
 *   a row    2 | 4, oid | 6, block (4), offset (2)     big-endian; counts of 2, lengths of 4 bytes
 *   end      -1
 *
 * Referencing tables first. Partitions to be dropped have been under a SHARE lock since
 * before the snapshot, so that reading their identities now tells all that is in them; they are
 * detached and dropped last, since that locks their parent until COMMIT.
 * source  PostgreSQL manual, COPY, "Binary Format"
 */
#include "unit_priv.h"

#include <stdio.h>

#include "amber/failpoint.h"

#include "pg_priv.h"

struct deletion {
    struct amber_unit *u;
    size_t table;
    struct amber_unit_table sum;
};

static const char copy_header[19] = "PGCOPY\n\377\r\n";

#define ROW_BYTES 20U

static uint32_t get_be(const unsigned char *p, size_t n)
{
    uint32_t v = 0;

    while (n-- > 0)
        v = v << 8 | *p++;
    return v;
}

void amber_unit_note_deleted(struct amber_unit *u, uint32_t oid, uint64_t rows)
{
    ptrdiff_t leaf = amber_family_leaf_find(u->cfg.family, oid);

    if (leaf >= 0 && rows > 0) {
        u->deleted[leaf] += rows;
        u->fp->dirty[leaf] = true;
    }
}

static void take_identity(struct deletion *d, const unsigned char *row, bool deleted)
{
    uint32_t oid = get_be(row + 6, 4);

    amber_set_digest_add(&d->sum.identity, oid, get_be(row + 14, 4), (uint16_t)get_be(row + 18, 2));
    d->sum.rows++;
    if (deleted)
        amber_unit_note_deleted(d->u, oid, 1);
}

/* One message of the COPY: the server is free to send the header with the first row, and the end
 * with the last. */
static enum amber_rc take_message(struct deletion *d, const char *data, size_t len, bool deleted,
                                  struct amber_err *err)
{
    const unsigned char *p = (const unsigned char *)data;

    if (len >= sizeof(copy_header) && memcmp(p, copy_header, sizeof(copy_header)) == 0) {
        p += sizeof(copy_header);
        len -= sizeof(copy_header);
    }
    for (; len >= ROW_BYTES && get_be(p, 2) == 2 && get_be(p + 2, 4) == 4 && get_be(p + 10, 4) == 6;
         p += ROW_BYTES, len -= ROW_BYTES)
        take_identity(d, p, deleted);
    if (len == 0 || (len == 2 && get_be(p, 2) == UINT16_MAX))
        return AMBER_OK;
    return amber_fail(err, AMBER_E_CORRUPT, "the server sent a deleted row without identity");
}

static enum amber_rc take_identities(struct deletion *d, const char *sql, bool deleted,
                                     struct amber_err *err)
{
    struct amber_pg *pg = d->u->cfg.pg;
    enum amber_rc rc = amber_pg_copy_out(pg, sql, err);

    while (rc == AMBER_OK) {
        char *data = NULL;
        size_t len = 0;
        rc = amber_unit_copy_next(d->u, &data, &len, err);
        if (rc != AMBER_OK || !data)
            break;
        rc = take_message(d, data, len, deleted, err);
        amber_pg_copy_free(data);
        if (rc != AMBER_OK)
            amber_pg_settle(pg);
    }
    return rc;
}

/* leaf NULL: the whole table in one statement. */
static enum amber_rc delete_from(struct deletion *d, const struct amber_leaf *leaf,
                                 struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    enum amber_rc rc;

    amber_sqltext_add(&sql, "COPY (DELETE FROM ");
    if (leaf)
        amber_sqltext_add(&sql, "ONLY %t", leaf->schema, leaf->name);
    else
        amber_selection_from(&sql, d->u->cfg.family, d->table);
    amber_sqltext_add(&sql, " AS %a WHERE ", 0U);
    amber_selection_where(&sql, &d->u->sel, d->table, 0);
    amber_sqltext_add(&sql, " RETURNING %a.tableoid::oid, %a.ctid) TO STDOUT (FORMAT binary)", 0U,
                      0U);
    rc = amber_sqltext_rc(&sql);
    return rc != AMBER_OK ? rc : take_identities(d, amber_sqltext_str(&sql), true, err);
}

/* What a partition that will be dropped holds. */
static enum amber_rc list_leaf(struct deletion *d, const struct amber_leaf *leaf,
                               struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    enum amber_rc rc;

    amber_sqltext_add(&sql,
                      "COPY (SELECT %a.tableoid::oid, %a.ctid FROM ONLY %t AS %a) TO STDOUT"
                      " (FORMAT binary)",
                      0U, 0U, leaf->schema, leaf->name, 0U);
    rc = amber_sqltext_rc(&sql);
    return rc != AMBER_OK ? rc : take_identities(d, amber_sqltext_str(&sql), false, err);
}

static enum amber_rc delete_table(struct amber_unit *u, size_t table,
                                  const struct amber_unit_table *exported, struct amber_err *err)
{
    const struct amber_table *t = &u->cfg.family->tables[table];
    struct deletion d = {.u = u, .table = table};
    if (table == 0)
        d.sum = u->taken;
    enum amber_rc rc = amber_failpoint("delete-table", err);

    /* Rows of different partitions may reference each other: one statement sees all of them gone.
     */
    bool at_once = t->partitioned && u->fp->self_ref[table];
    if (rc == AMBER_OK && at_once)
        rc = delete_from(&d, NULL, err);
    for (size_t l = 0; rc == AMBER_OK && !at_once && l < t->n_leaves; l++) {
        if (amber_unit_skips(u, table, l))
            continue;
        rc = table == 0 && u->drop[l] ? list_leaf(&d, &t->leaves[l], err)
                                      : delete_from(&d, &t->leaves[l], err);
    }
    if (rc != AMBER_OK)
        return amber_wrap(err, "deleting from \"%s\".\"%s\"", t->schema, t->name);
    if (d.sum.rows != exported->rows ||
        !amber_set_digest_equal(&d.sum.identity, &exported->identity))
        return amber_fail(err, AMBER_E_CORRUPT,
                          "\"%s\".\"%s\": the %llu rows deleted aren't the %llu rows exported; "
                          "nothing is moved. Please report this with the server's version",
                          t->schema, t->name, (unsigned long long)d.sum.rows,
                          (unsigned long long)exported->rows);
    return AMBER_OK;
}

static enum amber_rc drop_partition(struct amber_unit *u, const struct amber_leaf *leaf,
                                    struct amber_err *err)
{
    const struct amber_table *root = &u->cfg.family->tables[0];
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    enum amber_rc rc;

    amber_sqltext_add(&sql, "ALTER TABLE %t DETACH PARTITION %t; DROP TABLE %t", root->schema,
                      root->name, leaf->schema, leaf->name, leaf->schema, leaf->name);
    rc = amber_sqltext_exec(&sql, u->cfg.pg);
    return rc == AMBER_OK
               ? rc
               : amber_wrap(err, "dropping partition \"%s\".\"%s\"", leaf->schema, leaf->name);
}

enum amber_rc amber_unit_delete(struct amber_unit *u, const struct amber_unit_table *exported,
                                struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    amber_unit_helpers_end(u); /* their locks would stand in the way of a DROP */
    if (u->fp->defer)
        rc = amber_pg_exec(u->cfg.pg, err, "SET CONSTRAINTS ALL DEFERRED");
    for (size_t i = 0; rc == AMBER_OK && i < u->cfg.family->n_tables; i++) {
        size_t table = u->fp->delete_order[i];
        rc = delete_table(u, table, &exported[table], err);
    }
    return rc;
}

enum amber_rc amber_unit_drop(struct amber_unit *u, struct amber_err *err)
{
    const struct amber_table *root = &u->cfg.family->tables[0];
    enum amber_rc rc = AMBER_OK;

    for (size_t l = 0; rc == AMBER_OK && l < root->n_leaves; l++)
        if (u->drop[l])
            rc = drop_partition(u, &root->leaves[l], err);
    if (rc == AMBER_OK)
        rc = amber_failpoint("delete-done", err);
    return rc;
}
