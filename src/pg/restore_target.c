/*
 * restore_target.c - the table that rows go back into: what it is, and what must be put right.
 *
 * Before: lock it (ROW EXCLUSIVE: nobody adds a trigger or a key behind our back), read its
 * columns, refuse INSERT triggers and rules, make dropped partitions anew, and learn its unique
 * keys with their own operators and collations. After: sequences, never lowered.
 *
 * A partition's bound comes from a manifest, which is no SQL that we wrote: only the words and
 * literals of a bound pass.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "restore_priv.h"

static enum amber_rc dup_field(const struct amber_res *res, size_t row, size_t col, char **out,
                               struct amber_err *err)
{
    const char *s = amber_res_get(res, row, col);
    return s ? amber_strdup(s, out, err) : AMBER_OK;
}

static const char *oid_text(const struct amber_restore *r, char buf[16])
{
    snprintf(buf, 16, "%u", r->oid);
    return buf;
}

/* ---- the table and its columns ---- */

static enum amber_rc fail_rights(const struct amber_restore *r, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_DENIED,
                      "this database role may not write to %s.%s: GRANT SELECT, INSERT, DELETE ON "
                      "it to the role, or restore as its owner",
                      r->schema, r->table);
}

/* Lock it, and have the right to insert: the lock alone takes another. */
static enum amber_rc take_table(const struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    char oid[16];
    const char *params[] = {oid_text(r, oid)};
    amber_sqltext_add(&sql, "LOCK TABLE %t IN ROW EXCLUSIVE MODE", r->schema, r->table);
    enum amber_rc rc = amber_sqltext_exec(&sql, r->pg);
    if (rc)
        return strcmp(err->sqlstate, "42501") == 0 ? fail_rights(r, err) : rc;
    rc = amber_pg_query(r->pg, &res, err,
                        "SELECT has_any_column_privilege($1::oid, 'INSERT')"
                        " AND has_any_column_privilege($1::oid, 'SELECT')",
                        1, params);
    return rc || amber_res_bool(res, 0, 0) ? rc : fail_rights(r, err);
}

static enum amber_rc find_table(struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    const char *params[] = {r->schema, r->table};
    enum amber_rc rc = amber_pg_query(r->pg, &res, err,
                                      "SELECT c.oid, c.relkind FROM pg_class c"
                                      " JOIN pg_namespace n ON n.oid = c.relnamespace"
                                      " WHERE n.nspname = $1 AND c.relname = $2",
                                      2, params);
    if (rc)
        return rc;
    if (!amber_res_rows(res))
        return amber_fail(err, AMBER_E_NOT_FOUND,
                          "%s has no table %s.%s: make it (its columns stand in the archive's "
                          "manifest), or restore into another table",
                          r->pg->where, r->schema, r->table);
    char kind = amber_res_get(res, 0, 1)[0];
    if (kind != 'r' && kind != 'p')
        return amber_fail(err, AMBER_E_INVALID,
                          "%s.%s is no table but a view, foreign table or the like: restore into a "
                          "table",
                          r->schema, r->table);
    r->oid = (uint32_t)amber_res_int(res, 0, 0);
    r->partitioned = kind == 'p';
    return take_table(r, err);
}

static enum amber_rc load_columns(struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    char oid[16];
    const char *params[] = {oid_text(r, oid)};
    enum amber_rc rc = amber_pg_query(
        r->pg, &res, err,
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod),"
        " CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,"
        " a.attidentity, a.attnotnull,"
        " a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL"
        " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        1, params);
    size_t n = rc ? 0 : amber_res_rows(res);
    if (!rc)
        rc = amber_calloc(n + 1, sizeof(*r->columns), &r->columns, err);
    for (size_t i = 0; !rc && i < n; i++) {
        struct amber_target_column *c = &r->columns[r->n_columns++];
        const char *identity = amber_res_get(res, i, 3);
        c->identity = identity ? identity[0] : '\0';
        c->not_null = amber_res_bool(res, i, 4);
        c->has_default = amber_res_bool(res, i, 5);
        if ((rc = dup_field(res, i, 0, &c->name, err)) ||
            (rc = dup_field(res, i, 1, &c->type, err)) ||
            (rc = dup_field(res, i, 2, &c->generated, err)))
            break;
    }
    return rc;
}

/* ---- triggers and rules ---- */

/* Append row's first field to list, quoted, if it fits. */
static void list_name(char *list, size_t size, const char *name)
{
    size_t len = strlen(list);
    snprintf(list + len, size - len, "%s%s", len ? ", " : "", name);
}

static enum amber_rc check_triggers(struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    char oid[16];
    /* Bits of tgtype: 4 INSERT, 16 UPDATE (for rows that are replaced). Internal ones are foreign
     * keys, and the copies that partitions have of their parent's triggers. */
    const char *params[] = {oid_text(r, oid), r->mode == AMBER_CONFLICT_REPLACE ? "20" : "4"};
    enum amber_rc rc = amber_pg_query(
        r->pg, &res, err,
        "SELECT DISTINCT quote_ident(t.tgname) || ' on '"
        "  || quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
        " FROM (SELECT $1::oid AS relid UNION SELECT relid FROM pg_partition_tree($1::oid)) x"
        " JOIN pg_trigger t ON t.tgrelid = x.relid JOIN pg_class c ON c.oid = x.relid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & $2::integer <> 0"
        " ORDER BY 1",
        2, params);
    if (rc || !amber_res_rows(res))
        return rc;
    char list[512] = "";
    for (size_t i = 0; i < amber_res_rows(res); i++)
        list_name(list, sizeof(list), amber_res_get(res, i, 0));
    if (r->allow_triggers) {
        amber_restore_note(r, "triggers fired for each row: %s", list);
        return AMBER_OK;
    }
    return amber_fail(
        err, AMBER_E_INVALID,
        "%s.%s has enabled triggers that would fire for restored rows: %s. Disable "
        "them (ALTER TABLE ... DISABLE TRIGGER ...) for the restore, or allow them to "
        "fire (amberfs restore --allow-triggers)",
        r->schema, r->table, list);
}

static enum amber_rc check_rules(struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    char oid[16];
    const char *params[] = {oid_text(r, oid), r->mode == AMBER_CONFLICT_REPLACE ? "{2,3}" : "{3}"};
    enum amber_rc rc = amber_pg_query(r->pg, &res, err,
                                      "SELECT quote_ident(rulename) FROM pg_rewrite"
                                      " WHERE ev_class = $1::oid AND ev_enabled IN ('O', 'A')"
                                      " AND ev_type::text = ANY ($2::text[]) ORDER BY 1",
                                      2, params);
    if (rc || !amber_res_rows(res))
        return rc;
    char list[512] = "";
    for (size_t i = 0; i < amber_res_rows(res); i++)
        list_name(list, sizeof(list), amber_res_get(res, i, 0));
    return amber_fail(err, AMBER_E_INVALID,
                      "%s.%s has enabled rules that rewrite inserts: %s. Disable them (ALTER TABLE "
                      "... DISABLE RULE ...) for the restore",
                      r->schema, r->table, list);
}

/* ---- unique keys ---- */

static const char KEYS_SQL[] =
    "SELECT i.indexrelid, coalesce(con.conname, x.relname), n.nspname, c.relname,"
    " i.indrelid <> $1::oid, NOT i.indimmediate,"
    " coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'f')::boolean,"
    " i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS"
    "  (SELECT 1 FROM pg_attribute a WHERE a.attrelid = i.indrelid AND NOT a.attnotnull"
    "   AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])),"
    " pg_get_expr(i.indpred, i.indrelid),"
    " CASE WHEN i.indrelid <> $1::oid THEN"
    "  coalesce(pg_get_partition_constraintdef(i.indrelid), 'true') END,"
    " i.indnkeyatts "
    "FROM (SELECT $1::oid AS relid UNION SELECT relid FROM pg_partition_tree($1::oid)) t "
    "JOIN pg_index i ON i.indrelid = t.relid "
    "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.conrelid = i.indrelid"
    " AND con.contype IN ('p', 'u', 'x') "
    "WHERE (i.indisunique OR i.indisexclusion) AND i.indislive AND i.indisready"
    " AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) "
    "ORDER BY i.indrelid <> $1::oid, NOT i.indisprimary, 1";

/* The operator of a unique key is its operator class's equality (btree strategy 3). */
static const char PARTS_SQL[] =
    "SELECT pg_get_indexdef(i.indexrelid, k, false), opn.nspname, op.oprname,"
    " cn.nspname, co.collname "
    "FROM pg_index i CROSS JOIN generate_series(1, i.indnkeyatts) k "
    "JOIN pg_opclass oc ON oc.oid = i.indclass[k - 1] "
    "LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype = 'x' "
    "LEFT JOIN pg_amop am ON am.amopfamily = oc.opcfamily AND am.amoplefttype = oc.opcintype"
    " AND am.amoprighttype = oc.opcintype AND am.amopstrategy = 3 AND am.amoppurpose = 's' "
    "JOIN pg_operator op ON op.oid = coalesce(con.conexclop[k], am.amopopr) "
    "JOIN pg_namespace opn ON opn.oid = op.oprnamespace "
    "LEFT JOIN pg_collation co ON co.oid = i.indcollation[k - 1] "
    "LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace "
    "WHERE i.indexrelid = $1::oid ORDER BY k";

/* Columns that keys, expressions and predicate name. */
static const char KEY_COLUMNS_SQL[] =
    "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
    "WHERE i.indexrelid = $1::oid AND (a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])"
    " OR EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
    "  AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass"
    "  AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)) AND a.attnum > 0";

static enum amber_rc load_key_parts(struct amber_restore *r, const char *index,
                                    struct amber_target_key *key, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *parts = NULL;
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *columns = NULL;
    const char *params[] = {index};
    enum amber_rc rc = amber_pg_query(r->pg, &parts, err, PARTS_SQL, 1, params);
    if (!rc)
        rc = amber_pg_query(r->pg, &columns, err, KEY_COLUMNS_SQL, 1, params);
    if (!rc)
        rc = amber_calloc(amber_res_rows(parts) + 1, sizeof(*key->parts), &key->parts, err);
    if (!rc)
        rc = amber_calloc(amber_res_rows(columns) + 1, sizeof(*key->columns), &key->columns, err);
    for (size_t i = 0; !rc && i < amber_res_rows(parts); i++) {
        struct amber_key_part *p = &key->parts[key->n_parts++];
        if ((rc = dup_field(parts, i, 0, &p->expr, err)) ||
            (rc = dup_field(parts, i, 1, &p->op_schema, err)) ||
            (rc = dup_field(parts, i, 2, &p->op_name, err)) ||
            (rc = dup_field(parts, i, 3, &p->coll_schema, err)) ||
            (rc = dup_field(parts, i, 4, &p->coll_name, err)))
            break;
    }
    for (size_t i = 0; !rc && i < amber_res_rows(columns); i++)
        rc = dup_field(columns, i, 0, &key->columns[key->n_columns++], err);
    return rc;
}

static enum amber_rc load_keys(struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    char oid[16];
    const char *params[] = {oid_text(r, oid)};
    enum amber_rc rc = amber_pg_query(r->pg, &res, err, KEYS_SQL, 1, params);
    size_t n = rc ? 0 : amber_res_rows(res);
    if (!rc)
        rc = amber_calloc(n + 1, sizeof(*r->keys), &r->keys, err);
    for (size_t i = 0; !rc && i < n; i++) {
        struct amber_target_key *k = &r->keys[r->n_keys++];
        k->of_partition = amber_res_bool(res, i, 4);
        k->deferrable = amber_res_bool(res, i, 5);
        k->nulls_equal = amber_res_bool(res, i, 6);
        k->strict = amber_res_bool(res, i, 7);
        if ((rc = dup_field(res, i, 1, &k->name, err)) ||
            (rc = dup_field(res, i, 2, &k->schema, err)) ||
            (rc = dup_field(res, i, 3, &k->rel, err)) ||
            (rc = dup_field(res, i, 8, &k->predicate, err)) ||
            (rc = dup_field(res, i, 9, &k->routed, err)))
            break;
        rc = load_key_parts(r, amber_res_get(res, i, 0), k, err);
        if (!rc && k->n_parts != (size_t)amber_res_int(res, i, 10))
            rc = amber_fail(err, AMBER_E_UNSUPPORTED,
                            "%s.%s: the unique key %s has an operator class without equality",
                            k->schema, k->rel, k->name);
    }
    return rc;
}

bool amber_target_sees_doubles(const struct amber_restore *r)
{
    for (size_t i = 0; i < r->n_keys; i++) {
        const struct amber_target_key *k = &r->keys[i];
        bool all = k->strict && !k->of_partition;
        for (size_t c = 0; all && c < k->n_columns; c++)
            all = amber_restore_emitted(r, k->columns[c]) >= 0;
        if (all)
            return true;
    }
    return false;
}

enum amber_rc amber_target_inspect(struct amber_restore *r, struct amber_err *err)
{
    enum amber_rc rc = find_table(r, err);
    if (!rc)
        rc = load_columns(r, err);
    if (!rc)
        rc = check_rules(r, err);
    if (!rc)
        rc = check_triggers(r, err);
    if (!rc)
        rc = load_keys(r, err);
    return rc;
}

void amber_target_clear(struct amber_restore *r)
{
    for (size_t i = 0; i < r->n_columns; i++) {
        free(r->columns[i].name);
        free(r->columns[i].type);
        free(r->columns[i].generated);
    }
    free(r->columns);
    for (size_t i = 0; i < r->n_keys; i++) {
        struct amber_target_key *k = &r->keys[i];
        for (size_t p = 0; p < k->n_parts; p++) {
            free(k->parts[p].expr);
            free(k->parts[p].op_schema);
            free(k->parts[p].op_name);
            free(k->parts[p].coll_schema);
            free(k->parts[p].coll_name);
        }
        for (size_t c = 0; c < k->n_columns; c++)
            free(k->columns[c]);
        free(k->parts);
        free(k->columns);
        free(k->name);
        free(k->schema);
        free(k->rel);
        free(k->predicate);
        free(k->routed);
    }
    free(r->keys);
}

enum amber_rc amber_target_settle(struct amber_restore *r, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < r->n_keys; i++) {
        const struct amber_target_key *k = &r->keys[i];
        if (!k->deferrable)
            continue;
        AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
        amber_sqltext_add(&sql, "SET CONSTRAINTS %t IMMEDIATE", k->schema, k->name);
        rc = amber_sqltext_exec(&sql, r->pg);
    }
    return rc ? amber_restore_explain(r, 0, err) : AMBER_OK;
}

/* ---- partitions ---- */

/* The literal or number or word at p that a bound may have; NULL if it is something else. */
static const char *bound_token(const char *p)
{
    static const char *const words[] = {"MINVALUE", "MAXVALUE", "NULL", "true", "false"};
    if (*p == '\'') {
        for (p++; *p; p++)
            if (*p == '\'' && *++p != '\'')
                return p;
        return NULL;
    }
    size_t digits = strspn(p, "+-.0123456789eE");
    if (digits)
        return p + digits;
    for (size_t i = 0; i < amber_countof(words); i++)
        if (strncmp(p, words[i], strlen(words[i])) == 0)
            return p + strlen(words[i]);
    return NULL;
}

/* "(token, token, ...)" at p; returns what is behind it. */
static const char *bound_list(const char *p)
{
    if (*p++ != '(')
        return NULL;
    for (;;) {
        p = bound_token(p);
        if (!p)
            return NULL;
        if (*p == ')')
            return p + 1;
        if (*p != ',')
            return NULL;
        p += 1 + strspn(p + 1, " ");
    }
}

/* What pg_get_expr(relpartbound) writes, and nothing else. A backslash in a literal is plain text
 * with standard_conforming_strings, which this connection has. */
static bool bound_is_plain(const char *bound)
{
    unsigned modulus, remainder;
    int end = 0;
    if (strcmp(bound, "DEFAULT") == 0)
        return true;
    if (sscanf(bound, "FOR VALUES WITH (modulus %u, remainder %u)%n", &modulus, &remainder, &end) ==
        2)
        return end > 0 && bound[end] == '\0';
    if (strncmp(bound, "FOR VALUES IN ", 14) == 0) {
        const char *p = bound_list(bound + 14);
        return p && *p == '\0';
    }
    if (strncmp(bound, "FOR VALUES FROM ", 16) != 0)
        return false;
    const char *p = bound_list(bound + 16);
    if (!p || strncmp(p, " TO ", 4) != 0)
        return false;
    p = bound_list(p + 4);
    return p && *p == '\0';
}

enum existing { NOTHING, OURS, OTHERS };

static enum amber_rc find_partition(struct amber_restore *r, const struct amber_partition *p,
                                    enum existing *out, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    char oid[16];
    const char *params[] = {p->schema, p->name, oid_text(r, oid)};
    enum amber_rc rc =
        amber_pg_query(r->pg, &res, err,
                       "SELECT EXISTS (SELECT 1 FROM pg_partition_tree($3::oid) t"
                       "  WHERE t.relid = c.oid)"
                       " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = $2",
                       3, params);
    if (!rc)
        *out = !amber_res_rows(res) ? NOTHING : amber_res_bool(res, 0, 0) ? OURS : OTHERS;
    return rc;
}

/* Other partitions may cover the range by now, or the default one may hold rows of it: then it
 * isn't made, and the rows go where they belong today. */
static enum amber_rc make_partition(struct amber_restore *r, const struct amber_partition *p,
                                    struct amber_err *err)
{
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&sql, "CREATE TABLE %t PARTITION OF %t %s", p->schema, p->name, r->schema,
                      r->table, p->bound);
    enum amber_rc rc = amber_pg_exec(r->pg, err, "SAVEPOINT amberfs_partition");
    if (rc)
        return rc;
    rc = amber_sqltext_exec(&sql, r->pg);
    if (!rc) {
        amber_restore_note(r, "partition %s.%s was made anew, %s", p->schema, p->name, p->bound);
        return amber_pg_exec(r->pg, err, "RELEASE SAVEPOINT amberfs_partition");
    }
    if (rc != AMBER_E_DB)
        return rc;
    amber_restore_note(r, "partition %s.%s was not made anew: %s", p->schema, p->name, err->text);
    return amber_pg_exec(r->pg, err,
                         "ROLLBACK TO SAVEPOINT amberfs_partition;"
                         "RELEASE SAVEPOINT amberfs_partition");
}

enum amber_rc amber_target_partitions(struct amber_restore *r, const struct amber_partition *p,
                                      size_t n, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && r->partitioned && i < n; i++) {
        enum existing what;
        rc = find_partition(r, &p[i], &what, err);
        if (rc || what == OURS)
            continue;
        if (what == OTHERS)
            amber_restore_note(r, "%s.%s is there but is no partition of the table", p[i].schema,
                               p[i].name);
        else if (!bound_is_plain(p[i].bound))
            rc = amber_fail(err, AMBER_E_INVALID,
                            "the manifest's bound of partition %s.%s isn't one that PostgreSQL "
                            "writes: make the partition yourself, then restore",
                            p[i].schema, p[i].name);
        else
            rc = make_partition(r, &p[i], err);
    }
    return rc;
}

/* ---- sequences ---- */

/* Sequences that a restored column owns or takes its default from. */
static const char SEQUENCES_SQL[] =
    "SELECT n.nspname, c.relname, a.attname, q.seqincrement > 0, q.seqmin, q.seqmax,"
    " has_sequence_privilege(c.oid, 'UPDATE') AND has_sequence_privilege(c.oid, 'SELECT') "
    "FROM ("
    " SELECT d.objid AS seq, d.refobjsubid AS attnum FROM pg_depend d"
    " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass"
    "  AND d.refobjid = $1::oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')"
    " UNION"
    " SELECT d.refobjid, ad.adnum FROM pg_attrdef ad JOIN pg_depend d"
    "  ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid"
    "  AND d.refclassid = 'pg_class'::regclass WHERE ad.adrelid = $1::oid) s "
    "JOIN pg_class c ON c.oid = s.seq AND c.relkind = 'S' "
    "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence q ON q.seqrelid = c.oid "
    "JOIN pg_attribute a ON a.attrelid = $1::oid AND a.attnum = s.attnum "
    "JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE coalesce(nullif(t.typbasetype, 0), t.oid)"
    " IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'numeric'::regtype) "
    "ORDER BY 1, 2";

static enum amber_rc set_sequence(struct amber_restore *r, const struct amber_res *s, size_t row,
                                  struct amber_err *err)
{
    const char *schema = amber_res_get(s, row, 0), *name = amber_res_get(s, row, 1);
    bool up = amber_res_bool(s, row, 3);
    if (!amber_res_bool(s, row, 6)) {
        amber_restore_note(r,
                           "sequence %s.%s was not looked at: this user has no right to set it; "
                           "its owner should, by setval()",
                           schema, name);
        return AMBER_OK;
    }
    AMBER_AUTO_SQLTEXT struct amber_sqltext ident = AMBER_SQLTEXT_INIT(err);
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&ident, "%t", schema, name);
    amber_sqltext_add(&sql, "SELECT setval(%l::regclass, trunc(v.m)::bigint) FROM (SELECT %s(%i)",
                      amber_sqltext_str(&ident), up ? "max" : "min", amber_res_get(s, row, 2));
    amber_sqltext_add(&sql,
                      "::numeric AS m FROM %t) v, %t s WHERE v.m BETWEEN %s AND %s AND"
                      " (v.m %s s.last_value OR (v.m = s.last_value AND NOT s.is_called))",
                      r->schema, r->table, schema, name, amber_res_get(s, row, 4),
                      amber_res_get(s, row, 5), up ? ">" : "<");
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    enum amber_rc rc = amber_sqltext_rc(&ident);
    if (!rc)
        rc = amber_sqltext_query(&sql, r->pg, &res);
    if (!rc && amber_res_rows(res))
        amber_restore_note(r, "sequence %s.%s was set past the restored rows", schema, name);
    return rc;
}

enum amber_rc amber_target_sequences(struct amber_restore *r, struct amber_err *err)
{
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    char oid[16];
    const char *params[] = {oid_text(r, oid)};
    enum amber_rc rc = amber_pg_query(r->pg, &res, err, SEQUENCES_SQL, 1, params);
    for (size_t i = 0; !rc && i < amber_res_rows(res); i++)
        if (amber_restore_emitted(r, amber_res_get(res, i, 2)) >= 0)
            rc = set_sequence(r, res, i, err);
    return rc;
}
