/*
 * schema.c - columns and types of a table as JSON text, and back.
 *
 *   [{"name":"id","type":"bigint","kind":"number","not_null":true,"identity":"always"},
 *    {"name":"tags","type":"text[]","kind":"array","element":{"type":"text","kind":"text"}},
 *    {"name":"at","type":"app.point","kind":"composite","fields":[
 *        {"name":"x","type":"integer","kind":"number"}, ...]}]
 *
 * Members that say nothing (false, a comma as delimiter) are left out. Unknown members are
 * ignored; an unknown kind is refused, since values of it couldn't be read.
 */
#include "amber/schema.h"

#include <jansson.h>

#include "amber/json_memory.h"
#include "row_priv.h"

static const char *const kind_names[] = {
    [AMBER_KIND_TEXT] = "text",
    [AMBER_KIND_NUMBER] = "number",
    [AMBER_KIND_BOOL] = "bool",
    [AMBER_KIND_JSON] = "json",
    [AMBER_KIND_DATE] = "date",
    [AMBER_KIND_TIMESTAMP] = "timestamp",
    [AMBER_KIND_TIMESTAMPTZ] = "timestamptz",
    [AMBER_KIND_ARRAY] = "array",
    [AMBER_KIND_VECTOR] = "vector",
    [AMBER_KIND_COMPOSITE] = "composite",
    [AMBER_KIND_HSTORE] = "hstore",
    [AMBER_KIND_SERVER] = "server",
};

const char *amber_kind_name(enum amber_kind k)
{
    return kind_names[k];
}

bool amber_kind_parse(const char *word, enum amber_kind *out)
{
    for (size_t i = 0; i < amber_countof(kind_names); i++)
        if (!strcmp(word, kind_names[i])) {
            *out = (enum amber_kind)i;
            return true;
        }
    return false;
}

void amber_type_clear(struct amber_type *t)
{
    if (t->elem) {
        amber_type_clear(t->elem);
        free(t->elem);
    }
    for (size_t i = 0; i < t->n_fields; i++) {
        free(t->fields[i].name);
        amber_type_clear(&t->fields[i].type);
    }
    free(t->fields);
    free(t->name);
    memset(t, 0, sizeof(*t));
}

void amber_schema_clear(struct amber_schema *s)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        free(s->columns[i].name);
        amber_type_clear(&s->columns[i].type);
    }
    free(s->columns);
    memset(s, 0, sizeof(*s));
}

ptrdiff_t amber_schema_find(const struct amber_schema *s, const char *name, size_t len)
{
    for (size_t i = 0; i < s->n_columns; i++)
        if (strlen(s->columns[i].name) == len && !memcmp(s->columns[i].name, name, len))
            return (ptrdiff_t)i;
    return -1;
}

static enum amber_rc type_copy(const struct amber_type *from, struct amber_type *out,
                               struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    out->kind = from->kind;
    out->delim = from->delim;
    if (from->name && (rc = amber_strdup(from->name, &out->name, err)) != AMBER_OK)
        return rc;
    if (from->elem && ((rc = amber_calloc(1, sizeof(*out->elem), &out->elem, err)) != AMBER_OK ||
                       (rc = type_copy(from->elem, out->elem, err)) != AMBER_OK))
        return rc;
    if (from->n_fields == 0)
        return AMBER_OK;
    if ((rc = amber_calloc(from->n_fields, sizeof(*out->fields), &out->fields, err)) != AMBER_OK)
        return rc;
    out->n_fields = from->n_fields;
    for (size_t i = 0; rc == AMBER_OK && i < from->n_fields; i++) {
        rc = amber_strdup(from->fields[i].name, &out->fields[i].name, err);
        if (rc == AMBER_OK)
            rc = type_copy(&from->fields[i].type, &out->fields[i].type, err);
    }
    return rc;
}

enum amber_rc amber_schema_copy(const struct amber_schema *from, struct amber_schema *out,
                                struct amber_err *err)
{
    memset(out, 0, sizeof(*out));
    enum amber_rc rc = amber_calloc(from->n_columns, sizeof(*out->columns), &out->columns, err);

    if (rc != AMBER_OK)
        return rc;
    out->n_columns = from->n_columns;
    for (size_t i = 0; rc == AMBER_OK && i < from->n_columns; i++) {
        const struct amber_column *c = &from->columns[i];
        struct amber_column *o = &out->columns[i];
        o->not_null = c->not_null;
        o->generated = c->generated;
        o->identity = c->identity;
        if ((rc = amber_strdup(c->name, &o->name, err)) == AMBER_OK)
            rc = type_copy(&c->type, &o->type, err);
    }
    if (rc != AMBER_OK)
        amber_schema_clear(out);
    return rc;
}

/* ---- encode ----------------------------------------------------------------------------- */

/* `"key":"text"` with what comes before it. */
static enum amber_rc put_text(struct amber_buf *out, const char *before, const char *text,
                              struct amber_err *err)
{
    enum amber_rc rc = amber_buf_puts(out, before, err);

    return rc == AMBER_OK ? amber_buf_json(out, text, strlen(text), err) : rc;
}

/* Members of a type, without braces. */
static enum amber_rc put_type(struct amber_buf *out, const struct amber_type *t,
                              struct amber_err *err)
{
    enum amber_rc rc;
    char delim[2] = {t->delim, '\0'};

    if ((rc = put_text(out, "\"type\":", t->name ? t->name : "", err)) != AMBER_OK ||
        (rc = put_text(out, ",\"kind\":", amber_kind_name(t->kind), err)) != AMBER_OK)
        return rc;
    if (t->kind == AMBER_KIND_ARRAY && t->delim != ',' &&
        (rc = put_text(out, ",\"delim\":", delim, err)) != AMBER_OK)
        return rc;
    if (t->elem && ((rc = amber_buf_puts(out, ",\"element\":{", err)) != AMBER_OK ||
                    (rc = put_type(out, t->elem, err)) != AMBER_OK ||
                    (rc = amber_buf_puts(out, "}", err)) != AMBER_OK))
        return rc;
    if (t->kind != AMBER_KIND_COMPOSITE)
        return AMBER_OK;
    rc = amber_buf_puts(out, ",\"fields\":[", err);
    for (size_t i = 0; rc == AMBER_OK && i < t->n_fields; i++)
        if ((rc = put_text(out, i ? ",{\"name\":" : "{\"name\":", t->fields[i].name, err)) ==
                AMBER_OK &&
            (rc = amber_buf_puts(out, ",", err)) == AMBER_OK &&
            (rc = put_type(out, &t->fields[i].type, err)) == AMBER_OK)
            rc = amber_buf_puts(out, "}", err);
    return rc == AMBER_OK ? amber_buf_puts(out, "]", err) : rc;
}

static enum amber_rc put_column(struct amber_buf *out, const struct amber_column *c,
                                struct amber_err *err)
{
    enum amber_rc rc;

    if ((rc = put_text(out, "{\"name\":", c->name, err)) != AMBER_OK ||
        (rc = amber_buf_puts(out, ",", err)) != AMBER_OK ||
        (rc = put_type(out, &c->type, err)) != AMBER_OK)
        return rc;
    if (c->not_null)
        rc = amber_buf_puts(out, ",\"not_null\":true", err);
    if (rc == AMBER_OK && c->generated)
        rc = amber_buf_puts(out, ",\"generated\":true", err);
    if (rc == AMBER_OK && c->identity)
        rc = put_text(out, ",\"identity\":", c->identity == 'a' ? "always" : "by default", err);
    return rc == AMBER_OK ? amber_buf_puts(out, "}", err) : rc;
}

enum amber_rc amber_schema_encode(const struct amber_schema *s, struct amber_buf *out,
                                  struct amber_err *err)
{
    const size_t before = out->len;
    enum amber_rc rc = amber_buf_puts(out, "[", err);

    for (size_t i = 0; rc == AMBER_OK && i < s->n_columns; i++) {
        if (i > 0)
            rc = amber_buf_puts(out, ",", err);
        if (rc == AMBER_OK)
            rc = put_column(out, &s->columns[i], err);
    }
    if (rc == AMBER_OK)
        rc = amber_buf_puts(out, "]", err);
    if (rc != AMBER_OK && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    return rc;
}

/* ---- parse ------------------------------------------------------------------------------ */

static enum amber_rc get_text(const json_t *obj, const char *member, char **out,
                              struct amber_err *err)
{
    const char *text = json_string_value(json_object_get(obj, member));

    if (!text)
        return amber_fail(err, AMBER_E_CORRUPT, "\"%s\" is missing or isn't a string", member);
    return amber_strdup(text, out, err);
}

static enum amber_rc get_name(const json_t *obj, char **out, struct amber_err *err)
{
    enum amber_rc rc = get_text(obj, "name", out, err);

    if (rc == AMBER_OK && !**out)
        return amber_fail(err, AMBER_E_CORRUPT, "\"name\" is empty");
    return rc;
}

static enum amber_rc get_bool(const json_t *obj, const char *member, bool *out,
                              struct amber_err *err)
{
    const json_t *v = json_object_get(obj, member);

    if (v && !json_is_boolean(v))
        return amber_fail(err, AMBER_E_CORRUPT, "\"%s\" isn't true or false", member);
    *out = json_is_true(v);
    return AMBER_OK;
}

static enum amber_rc get_kind(const json_t *obj, enum amber_kind *out, struct amber_err *err)
{
    const char *word = json_string_value(json_object_get(obj, "kind"));

    if (!word)
        return amber_fail(err, AMBER_E_CORRUPT, "\"kind\" is missing or isn't a string");
    if (!amber_kind_parse(word, out))
        return amber_fail(err, AMBER_E_UNSUPPORTED,
                          "kind \"%.100s\" isn't known; use a newer amberfs", word);
    return AMBER_OK;
}

static enum amber_rc get_delim(const json_t *obj, char *out, struct amber_err *err)
{
    const json_t *v = json_object_get(obj, "delim");
    const char *text = json_string_value(v);

    if (v && (!text || strlen(text) != 1))
        return amber_fail(err, AMBER_E_CORRUPT, "\"delim\" isn't one character");
    *out = text ? *text : ',';
    return AMBER_OK;
}

static enum amber_rc parse_type(const json_t *obj, unsigned depth, struct amber_type *out,
                                struct amber_err *err);

static enum amber_rc parse_elem(const json_t *obj, unsigned depth, struct amber_type *out,
                                struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (out->kind == AMBER_KIND_ARRAY && (rc = get_delim(obj, &out->delim, err)) != AMBER_OK)
        return rc;
    if ((rc = amber_calloc(1, sizeof(*out->elem), &out->elem, err)) != AMBER_OK)
        return rc;
    rc = parse_type(json_object_get(obj, "element"), depth + 1, out->elem, err);
    return rc == AMBER_OK ? rc : amber_wrap(err, "element");
}

static enum amber_rc parse_fields(const json_t *obj, unsigned depth, struct amber_type *out,
                                  struct amber_err *err)
{
    const json_t *fields = json_object_get(obj, "fields");
    enum amber_rc rc;

    if (!json_is_array(fields))
        return amber_fail(err, AMBER_E_CORRUPT, "\"fields\" is missing or isn't an array");
    size_t n = json_array_size(fields);
    if ((rc = amber_calloc(n, sizeof(*out->fields), &out->fields, err)) != AMBER_OK)
        return rc;
    out->n_fields = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *f = json_array_get(fields, i);
        if ((rc = get_name(f, &out->fields[i].name, err)) != AMBER_OK ||
            (rc = parse_type(f, depth + 1, &out->fields[i].type, err)) != AMBER_OK)
            return amber_wrap(err, "fields[%zu]", i);
    }
    return AMBER_OK;
}

static enum amber_rc parse_type(const json_t *obj, unsigned depth, struct amber_type *out,
                                struct amber_err *err)
{
    enum amber_rc rc;

    if (!json_is_object(obj))
        return amber_fail(err, AMBER_E_CORRUPT, "a type that isn't an object");
    if (depth > AMBER_TYPE_DEPTH_MAX)
        return amber_fail(err, AMBER_E_CORRUPT, "types nested more than %u levels deep",
                          AMBER_TYPE_DEPTH_MAX);
    if ((rc = get_text(obj, "type", &out->name, err)) != AMBER_OK ||
        (rc = get_kind(obj, &out->kind, err)) != AMBER_OK)
        return rc;
    if (out->kind == AMBER_KIND_ARRAY || out->kind == AMBER_KIND_VECTOR)
        return parse_elem(obj, depth, out, err);
    if (out->kind == AMBER_KIND_COMPOSITE)
        return parse_fields(obj, depth, out, err);
    return AMBER_OK;
}

static enum amber_rc parse_identity(const json_t *obj, char *out, struct amber_err *err)
{
    const json_t *v = json_object_get(obj, "identity");
    const char *word = json_string_value(v);

    if (!v)
        return AMBER_OK;
    if (word && !strcmp(word, "always"))
        *out = 'a';
    else if (word && !strcmp(word, "by default"))
        *out = 'd';
    else
        return amber_fail(err, AMBER_E_CORRUPT,
                          "\"identity\" is neither \"always\" nor \"by default\"");
    return AMBER_OK;
}

static enum amber_rc parse_column(const json_t *obj, struct amber_column *out,
                                  struct amber_err *err)
{
    enum amber_rc rc;

    if ((rc = get_name(obj, &out->name, err)) != AMBER_OK ||
        (rc = parse_type(obj, 0, &out->type, err)) != AMBER_OK ||
        (rc = get_bool(obj, "not_null", &out->not_null, err)) != AMBER_OK ||
        (rc = get_bool(obj, "generated", &out->generated, err)) != AMBER_OK)
        return rc;
    return parse_identity(obj, &out->identity, err);
}

static enum amber_rc parse_columns(const json_t *columns, struct amber_schema *out,
                                   struct amber_err *err)
{
    enum amber_rc rc;

    if (!json_is_array(columns))
        return amber_fail(err, AMBER_E_CORRUPT, "columns: not an array");
    size_t n = json_array_size(columns);
    if (n > AMBER_COLUMNS_MAX)
        return amber_fail(err, AMBER_E_CORRUPT, "columns: %zu of them, %u are allowed", n,
                          AMBER_COLUMNS_MAX);
    if ((rc = amber_calloc(n, sizeof(*out->columns), &out->columns, err)) != AMBER_OK)
        return rc;
    out->n_columns = n;
    for (size_t i = 0; i < n; i++)
        if ((rc = parse_column(json_array_get(columns, i), &out->columns[i], err)) != AMBER_OK)
            return amber_wrap(err, "columns[%zu]", i);
    return AMBER_OK;
}

enum amber_rc amber_schema_parse(const char *text, size_t len, struct amber_schema *out,
                                 struct amber_err *err)
{
    json_t *doc;
    enum amber_rc rc = amber_json_load(text, len, true, &doc, NULL, err);

    memset(out, 0, sizeof(*out));
    if (rc)
        return amber_wrap(err, "columns");
    rc = parse_columns(doc, out, err);
    json_decref(doc);
    if (rc != AMBER_OK)
        amber_schema_clear(out);
    return rc;
}
