/*
 * jobdef_check.c - members of JSON objects against a table, with every finding kept.
 *
 * A finding is one line, "jobs[1].tables[0].name: what is wrong and what is allowed".
 */
#include "jobdef_priv.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "amber/nearest.h"

#define NAME_SHOWN 64U /* bytes of an unknown member's name in a message */

/* Bytes of s to show: at most max, not cutting a UTF-8 character. */
static int shown(const char *s, size_t max)
{
    size_t len = strlen(s);
    if (len > max) {
        len = max;
        while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80)
            len--;
    }
    return (int)len;
}

enum amber_rc amber_check_add(struct amber_check *k, struct amber_err *err, const char *path,
                              const char *member, const char *fmt, ...)
{
    struct amber_buf line AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    enum amber_rc rc =
        amber_buf_printf(&line, err, "%s%s%.*s: %.*s", path, *path && member ? "." : "",
                         member ? shown(member, NAME_SHOWN) : 0, member ? member : "",
                         shown(text, sizeof(text) - 8), text);
    if (rc)
        return rc;
    for (size_t i = 0; i < line.len; i++)
        if (iscntrl((unsigned char)line.data[i]))
            line.data[i] = ' ';
    if (k->n++ == 0)
        snprintf(k->first, sizeof(k->first), "%.*s", shown(line.data, sizeof(k->first) - 1),
                 line.data);
    rc = amber_buf_append(&line, "\n", 1, err);
    if (!rc)
        rc = amber_buf_append(k->findings, line.data, line.len, err);
    if (rc == AMBER_E_LIMIT) { /* a thousand wrong lines don't need the thousand and first */
        *err = (struct amber_err)AMBER_ERR_INIT;
        return AMBER_OK;
    }
    return rc;
}

const char *amber_json_kind(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "nothing known";
}

static bool has_kind(const json_t *value, enum amber_member_kind kind)
{
    switch (kind) {
    case AMBER_MEMBER_TEXT:
        return json_is_string(value);
    case AMBER_MEMBER_INT:
        return json_is_integer(value);
    case AMBER_MEMBER_BOOL:
        return json_is_boolean(value);
    case AMBER_MEMBER_ARRAY:
        return json_is_array(value);
    }
    return false;
}

static const char *kind_text(enum amber_member_kind kind)
{
    switch (kind) {
    case AMBER_MEMBER_TEXT:
        return "a string";
    case AMBER_MEMBER_INT:
        return "a whole number";
    case AMBER_MEMBER_BOOL:
        return "true or false";
    case AMBER_MEMBER_ARRAY:
        return "an array";
    }
    return "";
}

/* Check one value that is there; *ok tells whether it can be used. */
static enum amber_rc value_check(struct amber_check *k, const char *path,
                                 const struct amber_member *m, const json_t *value, bool *ok,
                                 struct amber_err *err)
{
    *ok = false;
    if (!has_kind(value, m->kind))
        return amber_check_add(k, err, path, m->name, "must be %s, not %s", kind_text(m->kind),
                               amber_json_kind(value));
    int64_t size = 0;
    switch (m->kind) {
    case AMBER_MEMBER_TEXT:
        size = (int64_t)json_string_length(value);
        if (size < 1)
            return amber_check_add(k, err, path, m->name, "is empty");
        if (size > m->max)
            return amber_check_add(k, err, path, m->name, "is longer than %" PRId64 " bytes",
                                   m->max);
        break;
    case AMBER_MEMBER_INT:
        size = json_integer_value(value);
        if (size < m->min || size > m->max)
            return amber_check_add(k, err, path, m->name,
                                   "is %" PRId64 ": allowed are %" PRId64 " to %" PRId64, size,
                                   m->min, m->max);
        break;
    case AMBER_MEMBER_ARRAY:
        size = (int64_t)json_array_size(value);
        if (size < m->min || size > m->max)
            return amber_check_add(k, err, path, m->name,
                                   "has %" PRId64 " items: allowed are %" PRId64 " to %" PRId64,
                                   size, m->min, m->max);
        break;
    case AMBER_MEMBER_BOOL:
        break;
    }
    *ok = true;
    return AMBER_OK;
}

static enum amber_rc unknown_add(struct amber_check *k, const char *path, const char *name,
                                 const struct amber_member *members, size_t n,
                                 struct amber_err *err)
{
    const char *nearest =
        amber_nearest(name, &members[0].name, n, sizeof(members[0]), amber_nearest_limit(name));
    if (nearest)
        return amber_check_add(k, err, path, name, "unknown member: did you mean \"%s\"?", nearest);

    struct amber_buf known AMBER_AUTO_BUF = AMBER_BUF_INIT(1024);
    for (size_t i = 0; i < n; i++) {
        enum amber_rc rc = amber_buf_printf(&known, err, "%s%s", i ? ", " : "", members[i].name);
        if (rc)
            return rc;
    }
    return amber_check_add(k, err, path, name, "unknown member: known are %s", known.data);
}

enum amber_rc amber_check_members(struct amber_check *k, const char *path, const json_t *object,
                                  const struct amber_member *members, size_t n,
                                  const json_t **values, struct amber_err *err)
{
    for (size_t i = 0; i < n; i++)
        values[i] = NULL;
    if (!json_is_object(object))
        return amber_check_add(k, err, *path ? path : "document", NULL, "must be an object, not %s",
                               amber_json_kind(object));

    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        bool known = false;
        for (size_t i = 0; i < n && !known; i++)
            known = strcmp(members[i].name, name) == 0;
        enum amber_rc rc = known ? AMBER_OK : unknown_add(k, path, name, members, n, err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *found = json_object_get(object, members[i].name);
        bool ok = false;
        enum amber_rc rc = AMBER_OK;
        if (found)
            rc = value_check(k, path, &members[i], found, &ok, err);
        else if (members[i].required)
            rc = amber_check_add(k, err, path, members[i].name, "is missing");
        if (rc)
            return rc;
        values[i] = ok ? found : NULL;
    }
    return AMBER_OK;
}
