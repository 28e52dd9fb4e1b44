/*
 * table_types.c - a table's columns and the tree of types behind them.
 *
 * Two catalog queries: all types reachable from the table's columns (array elements, attributes of
 * composites, bases of domains), and the attributes of its composites. The kinds follow
 * json_categorize_type() of PostgreSQL as the manual describes row_to_json: a type made by a user
 * with a cast function to json uses it, arrays and composites recurse, everything unknown is a
 * string of its text form.
 * source  PostgreSQL manual, "JSON Creation Functions"; system catalogs pg_type, pg_cast
 */
#include "family_priv.h"

#include <stdio.h>

#define TYPE_DEPTH_MAX 64U /* composites in arrays in composites ... */

/* Built-in types whose oids are part of PostgreSQL's stable interface (pg_type.dat). */
enum { OID_INT2VECTOR = 22, OID_OIDVECTOR = 30 };

/* The rows of the two queries. */
struct catalog {
    struct amber_res *types; /* see TYPES_SQL; sorted by oid */
    struct amber_res *attrs; /* see ATTRS_SQL; sorted by (relation, attnum) */
};

static const char TYPES_SQL[] =
    "WITH RECURSIVE need(oid) AS ("
    " SELECT a.atttypid FROM pg_attribute a"
    " WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped"
    " UNION"
    " SELECT x.oid FROM need n JOIN pg_type t ON t.oid = n.oid CROSS JOIN LATERAL ("
    "  SELECT t.typbasetype AS oid WHERE t.typtype = 'd'"
    "  UNION ALL SELECT t.typelem WHERE t.typelem <> 0"
    "  UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typrelid <> 0"
    "   AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) x) "
    "SELECT t.oid, t.typtype, t.typbasetype, t.typelem, t.typrelid, format_type(t.oid, NULL),"
    /* a true array, as get_element_type() sees it (typsubscript is new in 14) */
    " t.typelem <> 0 AND t.typlen = -1 AND coalesce(to_jsonb(t) ->> 'typsubscript',"
    "  'array_subscript_handler') = 'array_subscript_handler',"
    " coalesce(e.typdelim, ','),"
    " t.oid >= 16384 AND EXISTS (SELECT 1 FROM pg_cast k WHERE k.castsource = t.oid"
    "  AND k.casttarget = 114 AND k.castmethod = 'f'),"
    " t.typname = 'hstore' AND EXISTS (SELECT 1 FROM pg_depend d JOIN pg_extension x"
    "  ON x.oid = d.refobjid WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid"
    "  AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'hstore'),"
    " format_type(t.typbasetype, t.typtypmod) "
    "FROM need JOIN pg_type t USING (oid) LEFT JOIN pg_type e ON e.oid = t.typelem ORDER BY t.oid";
enum {
    T_OID,
    T_TYPTYPE,
    T_BASE,
    T_ELEM,
    T_RELID,
    T_NAME,
    T_ARRAY,
    T_DELIM,
    T_CAST,
    T_HSTORE,
    T_BASE_NAME,
};

static const char ATTRS_SQL[] =
    "SELECT a.attrelid, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " a.attgenerated <> '', a.attidentity "
    "FROM pg_attribute a WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0"
    " AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";
enum { A_RELID, A_NAME, A_TYPE, A_TYPE_NAME, A_NOT_NULL, A_GENERATED, A_IDENTITY };

/* Row of the sorted first column with this oid, or -1; with the first of equal ones. */
static ptrdiff_t find_oid(const struct amber_res *r, int64_t oid)
{
    size_t lo = 0, hi = amber_res_rows(r);

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (amber_res_int(r, mid, 0) < oid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < amber_res_rows(r) && amber_res_int(r, lo, 0) == oid ? (ptrdiff_t)lo : -1;
}

/* The kinds of built-in scalars that aren't text. */
static enum amber_kind scalar_kind(int64_t oid)
{
    switch (oid) {
    case 16:
        return AMBER_KIND_BOOL;
    case 20:   /* int8 */
    case 21:   /* int2 */
    case 23:   /* int4 */
    case 700:  /* float4 */
    case 701:  /* float8 */
    case 1700: /* numeric */
        return AMBER_KIND_NUMBER;
    case 114:  /* json */
    case 3802: /* jsonb */
        return AMBER_KIND_JSON;
    case 1082:
        return AMBER_KIND_DATE;
    case 1114:
        return AMBER_KIND_TIMESTAMP;
    case 1184:
        return AMBER_KIND_TIMESTAMPTZ;
    default:
        return AMBER_KIND_TEXT;
    }
}

static enum amber_rc resolve(const struct catalog *cat, int64_t oid, const char *name,
                             unsigned depth, struct amber_type *out, struct amber_err *err);

/* "numeric(12,6)[]" -> "numeric(12,6)"; a domain's array has no such name: the element's own. */
static enum amber_rc element_name(const char *array, const char *elem, char **out,
                                  struct amber_err *err)
{
    size_t len = strlen(array);

    if (len > 2 && strcmp(array + len - 2, "[]") == 0)
        return amber_asprintf(out, err, "%.*s", (int)(len - 2), array);
    return amber_strdup(elem, out, err);
}

static enum amber_rc resolve_array(const struct catalog *cat, size_t row, const char *text_name,
                                   unsigned depth, struct amber_type *out, struct amber_err *err)
{
    int64_t oid = amber_res_int(cat->types, row, T_OID);
    int64_t elem = amber_res_int(cat->types, row, T_ELEM);
    ptrdiff_t elem_row = find_oid(cat->types, elem);
    bool vector = oid == OID_INT2VECTOR || oid == OID_OIDVECTOR;
    AMBER_AUTO_FREE char *name = NULL;
    enum amber_rc rc;

    if (elem_row < 0)
        return amber_fail(err, AMBER_E_DB, "type %s: its element type is gone", text_name);
    rc = element_name(text_name, amber_res_get(cat->types, (size_t)elem_row, T_NAME), &name, err);
    if (rc == AMBER_OK)
        rc = amber_calloc(1, sizeof(*out->elem), &out->elem, err);
    if (rc == AMBER_OK)
        rc = resolve(cat, elem, name, depth + 1, out->elem, err);
    if (rc != AMBER_OK)
        return rc;
    out->kind = vector ? AMBER_KIND_VECTOR : AMBER_KIND_ARRAY;
    out->delim = amber_res_get(cat->types, row, T_DELIM)[0];
    /* A value that only the server can turn into JSON makes the whole column such a one. */
    if (out->elem->kind == AMBER_KIND_SERVER)
        out->kind = AMBER_KIND_SERVER;
    return AMBER_OK;
}

static enum amber_rc resolve_composite(const struct catalog *cat, int64_t relid, unsigned depth,
                                       struct amber_type *out, struct amber_err *err)
{
    ptrdiff_t first = find_oid(cat->attrs, relid);
    size_t n = 0, rows = amber_res_rows(cat->attrs);
    enum amber_rc rc;

    out->kind = AMBER_KIND_COMPOSITE;
    if (first < 0)
        return AMBER_OK; /* a composite without attributes */
    while ((size_t)first + n < rows &&
           amber_res_int(cat->attrs, (size_t)first + n, A_RELID) == relid)
        n++;
    rc = amber_calloc(n, sizeof(*out->fields), &out->fields, err);
    if (rc != AMBER_OK)
        return rc;
    out->n_fields = n;
    for (size_t i = 0; i < n; i++) {
        size_t row = (size_t)first + i;
        rc = amber_strdup(amber_res_get(cat->attrs, row, A_NAME), &out->fields[i].name, err);
        if (rc == AMBER_OK)
            rc = resolve(cat, amber_res_int(cat->attrs, row, A_TYPE),
                         amber_res_get(cat->attrs, row, A_TYPE_NAME), depth + 1,
                         &out->fields[i].type, err);
        if (rc != AMBER_OK)
            return rc;
        if (out->fields[i].type.kind == AMBER_KIND_SERVER)
            out->kind = AMBER_KIND_SERVER;
    }
    return AMBER_OK;
}

/* name: the type's text in its column, with modifiers. out is all zero, and cleared by the caller
 * whatever happens. */
static enum amber_rc resolve(const struct catalog *cat, int64_t oid, const char *name,
                             unsigned depth, struct amber_type *out, struct amber_err *err)
{
    ptrdiff_t found = find_oid(cat->types, oid);
    const char *array_name = name;
    enum amber_rc rc;

    if (depth > TYPE_DEPTH_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "type %s is nested more than %u levels deep", name,
                          TYPE_DEPTH_MAX);
    rc = amber_strdup(name, &out->name, err);
    if (rc != AMBER_OK)
        return rc;
    /* 1. domains are their base type; the name stays the column's */
    while (found >= 0 && amber_res_get(cat->types, (size_t)found, T_TYPTYPE)[0] == 'd') {
        array_name = amber_res_get(cat->types, (size_t)found, T_BASE_NAME);
        oid = amber_res_int(cat->types, (size_t)found, T_BASE);
        found = find_oid(cat->types, oid);
    }
    if (found < 0)
        return amber_fail(err, AMBER_E_DB, "type %s is gone from the server's catalog", name);
    size_t row = (size_t)found;
    /* 2. by what it is made of, in the order in which the server looks at it */
    out->kind = scalar_kind(oid);
    if (out->kind != AMBER_KIND_TEXT)
        return AMBER_OK;
    if (amber_res_bool(cat->types, row, T_ARRAY))
        return resolve_array(cat, row, array_name, depth, out, err);
    if (amber_res_get(cat->types, row, T_TYPTYPE)[0] == 'c')
        return resolve_composite(cat, amber_res_int(cat->types, row, T_RELID), depth, out, err);
    if (amber_res_bool(cat->types, row, T_HSTORE))
        out->kind = AMBER_KIND_HSTORE;
    else if (amber_res_bool(cat->types, row, T_CAST))
        out->kind = AMBER_KIND_SERVER;
    return AMBER_OK;
}

/* A SERVER type needs no tree: the server makes its JSON. */
static void prune(struct amber_type *t)
{
    if (t->kind == AMBER_KIND_SERVER) {
        AMBER_AUTO_FREE char *name = amber_steal(&t->name);
        amber_type_clear(t);
        t->kind = AMBER_KIND_SERVER;
        t->name = amber_steal(&name);
    }
}

static enum amber_rc load_catalog(struct amber_pg *pg, uint32_t oid, struct catalog *cat,
                                  struct amber_err *err)
{
    struct amber_buf list AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    char text[16];
    const char *param = text;
    enum amber_rc rc;

    snprintf(text, sizeof(text), "%u", oid);
    rc = amber_pg_query(pg, &cat->types, err, TYPES_SQL, 1, &param);
    if (rc == AMBER_OK)
        rc = amber_buf_printf(&list, err, "{%u", oid);
    for (size_t i = 0; rc == AMBER_OK && i < amber_res_rows(cat->types); i++)
        rc = amber_buf_printf(&list, err, ",%s", amber_res_get(cat->types, i, T_RELID));
    if (rc == AMBER_OK)
        rc = amber_buf_puts(&list, "}", err);
    if (rc != AMBER_OK)
        return rc;
    param = list.data;
    return amber_pg_query(pg, &cat->attrs, err, ATTRS_SQL, 1, &param);
}

/* Whether a pseudo-type hides somewhere in the column's type. */
static bool is_pseudo(const struct catalog *cat, int64_t oid, unsigned depth)
{
    ptrdiff_t found = find_oid(cat->types, oid);
    const char *typtype = found < 0 ? "p" : amber_res_get(cat->types, (size_t)found, T_TYPTYPE);

    if (typtype[0] == 'p' || depth > TYPE_DEPTH_MAX)
        return true;
    if (typtype[0] == 'd')
        return is_pseudo(cat, amber_res_int(cat->types, (size_t)found, T_BASE), depth + 1);
    if (amber_res_bool(cat->types, (size_t)found, T_ARRAY))
        return is_pseudo(cat, amber_res_int(cat->types, (size_t)found, T_ELEM), depth + 1);
    return false;
}

static enum amber_rc load_column(const struct catalog *cat, size_t row, struct amber_column *c,
                                 struct amber_buf *unsafe, struct amber_err *err)
{
    const char *name = amber_res_get(cat->attrs, row, A_NAME);
    const char *type = amber_res_get(cat->attrs, row, A_TYPE_NAME);
    int64_t type_oid = amber_res_int(cat->attrs, row, A_TYPE);
    enum amber_rc rc;

    rc = amber_strdup(name, &c->name, err);
    if (rc == AMBER_OK)
        rc = resolve(cat, type_oid, type, 0, &c->type, err);
    if (rc == AMBER_OK && is_pseudo(cat, type_oid, 0))
        rc =
            amber_buf_printf(unsafe, err, "%s\"%s\" (%s)", unsafe->len > 0 ? ", " : "", name, type);
    prune(&c->type);
    c->not_null = amber_res_bool(cat->attrs, row, A_NOT_NULL);
    c->generated = amber_res_bool(cat->attrs, row, A_GENERATED);
    c->identity = amber_res_get(cat->attrs, row, A_IDENTITY)[0];
    return rc;
}

enum amber_rc amber_table_columns(struct amber_pg *pg, uint32_t oid, struct amber_schema *out,
                                  char **unsafe, struct amber_err *err)
{
    struct amber_res *types AMBER_CLEANUP(amber_res_free_p) = NULL;
    struct amber_res *attrs AMBER_CLEANUP(amber_res_free_p) = NULL;
    struct amber_buf bad AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    struct amber_schema made = {0};
    struct catalog cat = {0};
    size_t n = 0;
    enum amber_rc rc = load_catalog(pg, oid, &cat, err);

    types = cat.types;
    attrs = cat.attrs;
    for (size_t row = 0; rc == AMBER_OK && row < amber_res_rows(attrs); row++)
        n += amber_res_int(attrs, row, A_RELID) == (int64_t)oid;
    if (rc == AMBER_OK)
        rc = amber_calloc(n, sizeof(*made.columns), &made.columns, err);
    if (rc == AMBER_OK)
        made.n_columns = n;
    ptrdiff_t first = rc == AMBER_OK ? find_oid(attrs, oid) : -1;
    for (size_t i = 0; rc == AMBER_OK && i < made.n_columns; i++)
        rc = load_column(&cat, (size_t)first + i, &made.columns[i], &bad, err);
    if (rc == AMBER_OK && unsafe)
        rc = amber_strdup(bad.data ? bad.data : "", unsafe, err);
    else if (rc == AMBER_OK && bad.len > 0)
        rc = amber_fail(err, AMBER_E_UNSUPPORTED, "columns of a pseudo-type: %s", bad.data);
    if (rc != AMBER_OK) {
        amber_schema_clear(&made);
        return rc;
    }
    *out = made;
    return AMBER_OK;
}

enum amber_rc amber_table_schema(struct amber_pg *pg, const char *schema, const char *name,
                                 struct amber_schema *out, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    const char *params[] = {schema, name};
    enum amber_rc rc =
        amber_pg_query(pg, &r, err,
                       "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f')",
                       2, params);

    if (rc != AMBER_OK)
        return rc;
    if (amber_res_rows(r) == 0)
        return amber_fail(err, AMBER_E_NOT_FOUND,
                          "table \"%s\".\"%s\" does not exist in database %s", schema, name,
                          amber_pg_database(pg));
    return amber_table_columns(pg, (uint32_t)amber_res_int(r, 0, 0), out, NULL, err);
}
