/*
 * text_json.c - raw text of a value -> JSON, by the rules of row_to_json.
 *
 *   array       {1,NULL,"a \"b\""}   [0:1]={1,2}   {{1,2},{3,4}}       -> [1,null,"a \"b\""]
 *   composite   (1,"a ""b""",)                                         -> {"f1":1,...}
 *   hstore      "k"=>"v", "n"=>NULL                                    -> {"k": "v", "n": null}
 *
 * The text is taken apart in place: a quoted part is never shorter than what it stands for, so
 * it is unquoted over itself, and the unquoted part is then converted the same way. Array bounds
 * are dropped here; the encoder sees from the way back that they belong into the overlay.
 */
#include "row_priv.h"

static enum amber_rc bad_literal(struct amber_err *err, const char *what)
{
    return amber_fail(err, AMBER_E_CORRUPT, "the value isn't %s as PostgreSQL writes it", what);
}

/* Unquote in place from *p, which is behind an opening quote: backslash takes the next byte, and
 * with doubled a quote stands for itself when it comes twice. Returns the length, *p behind the
 * closing quote; SIZE_MAX if there is none. */
static size_t unquote(char **p, const char *end, bool doubled)
{
    char *s = *p, *d = s, *start = s;

    while (s < end) {
        if (*s == '"') {
            if (!(doubled && s + 1 < end && s[1] == '"')) {
                *p = s + 1;
                return (size_t)(d - start);
            }
            s++;
        } else if (*s == '\\' && ++s == end) {
            break;
        }
        *d++ = *s++;
    }
    return SIZE_MAX;
}

static enum amber_rc number_to_json(const char *s, size_t len, struct row_out *o,
                                    struct amber_err *err)
{
    if (amber_json_number_end(s, s + len) == s + len)
        return row_out_put(o, s, len, err);
    return amber_raw_to_string(s, len, o, err);
}

static enum amber_rc bool_to_json(const char *s, size_t len, struct row_out *o,
                                  struct amber_err *err)
{
    if (len == 1 && *s == 't')
        return row_out_put(o, "true", 4, err);
    if (len == 1 && *s == 'f')
        return row_out_put(o, "false", 5, err);
    return bad_literal(err, "a boolean");
}

static enum amber_rc timestamp_to_json(const char *s, size_t len, bool zone, struct row_out *o,
                                       struct amber_err *err)
{
    char text[128]; /* the longest timestamp has about 35 bytes */

    if (len > sizeof(text) - 3)
        return bad_literal(err, "a timestamp");
    len = amber_timestamp_to_json(text, s, len, zone);
    return amber_raw_to_string(text, len, o, err);
}

/* Verbatim, but on one line. */
static enum amber_rc json_to_json(struct amber_json_stack *stack, const char *s, size_t len,
                                  struct row_out *o, struct amber_err *err)
{
    struct amber_json_fault f;
    const char *end = s + len, *p = amber_json_value_end(stack, s, end, &f);
    enum amber_rc rc;

    if (!p && f.too_deep)
        return amber_fail(err, AMBER_E_LIMIT, "json is nested more than %u levels deep",
                          AMBER_JSON_DEPTH_MAX);
    if (!p || amber_json_space(p, end) != end)
        return bad_literal(err, "json");
    if ((rc = row_out_room(o, len, err)) != AMBER_OK)
        return rc;
    for (size_t i = 0; i < len; i++)
        o->p[i] = s[i] == '\n' || s[i] == '\r' ? ' ' : s[i];
    o->p += len;
    return AMBER_OK;
}

/* One unquoted element: up to the delimiter or the closing brace. */
static enum amber_rc plain_element(struct amber_json_stack *stack, const struct row_type *t,
                                   char **p, const char *end, struct row_out *o,
                                   struct amber_err *err)
{
    char *s = *p, *e = s;

    while (e < end && *e != t->delim && *e != '}' && *e != '{' && *e != '"' && *e != '\\')
        e++;
    *p = e;
    if (e - s == 4 && !memcmp(s, "NULL", 4))
        return row_out_put(o, "null", 4, err);
    if (e == s)
        return bad_literal(err, "an array");
    return amber_text_to_json(stack, t->elem, s, (size_t)(e - s), o, err);
}

/* One level of braces, *p at the opening one. */
static enum amber_rc braces_to_json(struct amber_json_stack *stack, const struct row_type *t,
                                    char **p, const char *end, unsigned dims, struct row_out *o,
                                    struct amber_err *err)
{
    char *s = *p + 1;
    enum amber_rc rc = row_out_char(o, '[', err);

    if (dims > AMBER_ARRAY_DIMS_MAX)
        return bad_literal(err, "an array");
    if (rc == AMBER_OK && s < end && *s == '}' && dims == 1) {
        *p = s + 1;
        return row_out_char(o, ']', err);
    }
    while (rc == AMBER_OK) {
        if (s < end && *s == '{') {
            rc = braces_to_json(stack, t, &s, end, dims + 1, o, err);
        } else if (s < end && *s == '"') {
            char *text = ++s;
            size_t len = unquote(&s, end, false);
            rc = len == SIZE_MAX ? bad_literal(err, "an array")
                                 : amber_text_to_json(stack, t->elem, text, len, o, err);
        } else {
            rc = plain_element(stack, t, &s, end, o, err);
        }
        if (rc != AMBER_OK)
            return rc;
        if (s == end || (*s != t->delim && *s != '}'))
            return bad_literal(err, "an array");
        bool last = *s++ == '}';
        rc = row_out_char(o, last ? ']' : ',', err);
        if (last)
            break;
    }
    *p = s;
    return rc;
}

static enum amber_rc array_to_json(struct amber_json_stack *stack, const struct row_type *t,
                                   char *s, size_t len, struct row_out *o, struct amber_err *err)
{
    const char *end = s + len;
    char *p = s;
    enum amber_rc rc;

    if (len && *p == '[') { /* [lower:upper]...= */
        char *equals = memchr(p, '=', len);
        p = equals ? equals + 1 : p;
    }
    if (p == end || *p != '{')
        return bad_literal(err, "an array");
    if ((rc = braces_to_json(stack, t, &p, end, 1, o, err)) != AMBER_OK)
        return rc;
    return p == end ? AMBER_OK : bad_literal(err, "an array");
}

static enum amber_rc vector_to_json(struct amber_json_stack *stack, const struct row_type *t,
                                    char *s, size_t len, struct row_out *o, struct amber_err *err)
{
    char *end = s + len;
    enum amber_rc rc = row_out_char(o, '[', err);

    while (rc == AMBER_OK && s < end) {
        char *space = memchr(s, ' ', (size_t)(end - s));
        char *e = space ? space : end;
        if (e == s || e + 1 == end)
            return bad_literal(err, "a vector");
        rc = amber_text_to_json(stack, t->elem, s, (size_t)(e - s), o, err);
        if (rc == AMBER_OK && space)
            rc = row_out_char(o, ',', err);
        s = space ? space + 1 : end;
    }
    return rc == AMBER_OK ? row_out_char(o, ']', err) : rc;
}

/* One field of a composite up to ',' or ')'. */
static enum amber_rc field_to_json(struct amber_json_stack *stack, const struct row_type *t,
                                   char **p, const char *end, struct row_out *o,
                                   struct amber_err *err)
{
    char *s = *p, *e = s;

    if (s < end && *s == '"') {
        e = ++s;
        size_t len = unquote(&e, end, true);
        *p = e;
        return len == SIZE_MAX ? bad_literal(err, "a composite")
                               : amber_text_to_json(stack, t, s, len, o, err);
    }
    while (e < end && *e != ',' && *e != ')' && *e != '(' && *e != '"' && *e != '\\')
        e++;
    *p = e;
    if (e == s)
        return row_out_put(o, "null", 4, err);
    return amber_text_to_json(stack, t, s, (size_t)(e - s), o, err);
}

static enum amber_rc composite_to_json(struct amber_json_stack *stack, const struct row_type *t,
                                       char *s, size_t len, struct row_out *o,
                                       struct amber_err *err)
{
    const char *end = s + len;
    enum amber_rc rc = row_out_char(o, '{', err);

    if (len < 2 || *s != '(')
        return bad_literal(err, "a composite");
    s++;
    for (size_t i = 0; i < t->n_fields && rc == AMBER_OK; i++) {
        const struct row_field *f = &t->fields[i];
        if (i > 0 && (s == end || *s++ != ','))
            return bad_literal(err, "a composite of this type");
        if ((rc = row_out_put(o, f->key + (i == 0), f->key_len - (i == 0), err)) == AMBER_OK)
            rc = field_to_json(stack, &f->type, &s, end, o, err);
    }
    if (rc != AMBER_OK)
        return rc;
    if (s == end || *s != ')' || s + 1 != end)
        return bad_literal(err, "a composite of this type");
    return row_out_char(o, '}', err);
}

/* A quoted string of hstore -> JSON string. */
static enum amber_rc hstore_string(char **p, const char *end, struct row_out *o,
                                   struct amber_err *err)
{
    char *s = *p;

    if (s == end || *s != '"')
        return bad_literal(err, "an hstore");
    char *text = ++s;
    size_t len = unquote(&s, end, false);
    *p = s;
    return len == SIZE_MAX ? bad_literal(err, "an hstore") : amber_raw_to_string(text, len, o, err);
}

static enum amber_rc hstore_to_json(char *s, size_t len, struct row_out *o, struct amber_err *err)
{
    const char *end = s + len;
    enum amber_rc rc = row_out_char(o, '{', err);

    while (rc == AMBER_OK && s < end) {
        if ((rc = hstore_string(&s, end, o, err)) != AMBER_OK)
            break;
        if (end - s < 3 || memcmp(s, "=>", 2))
            return bad_literal(err, "an hstore");
        s += 2;
        if ((rc = row_out_put(o, ": ", 2, err)) != AMBER_OK)
            break;
        if (end - s >= 4 && !memcmp(s, "NULL", 4)) {
            s += 4;
            rc = row_out_put(o, "null", 4, err);
        } else {
            rc = hstore_string(&s, end, o, err);
        }
        if (rc != AMBER_OK || s == end)
            break;
        if (end - s < 3 || memcmp(s, ", ", 2))
            return bad_literal(err, "an hstore");
        s += 2;
        rc = row_out_put(o, ", ", 2, err);
    }
    return rc == AMBER_OK ? row_out_char(o, '}', err) : rc;
}

enum amber_rc amber_text_to_json(struct amber_json_stack *stack, const struct row_type *t, char *s,
                                 size_t len, struct row_out *o, struct amber_err *err)
{
    switch (t->kind) {
    case AMBER_KIND_TEXT:
    case AMBER_KIND_DATE:
        return amber_raw_to_string(s, len, o, err);
    case AMBER_KIND_NUMBER:
        return number_to_json(s, len, o, err);
    case AMBER_KIND_BOOL:
        return bool_to_json(s, len, o, err);
    case AMBER_KIND_JSON:
        return json_to_json(stack, s, len, o, err);
    case AMBER_KIND_TIMESTAMP:
    case AMBER_KIND_TIMESTAMPTZ:
        return timestamp_to_json(s, len, t->kind == AMBER_KIND_TIMESTAMPTZ, o, err);
    case AMBER_KIND_ARRAY:
        return array_to_json(stack, t, s, len, o, err);
    case AMBER_KIND_VECTOR:
        return vector_to_json(stack, t, s, len, o, err);
    case AMBER_KIND_COMPOSITE:
        return composite_to_json(stack, t, s, len, o, err);
    case AMBER_KIND_HSTORE:
        return hstore_to_json(s, len, o, err);
    case AMBER_KIND_SERVER: /* never nested, see row_plan.c; as a column it has its own way */
        break;
    }
    return amber_fail(err, AMBER_E_INVALID, "a type that only the server converts");
}
