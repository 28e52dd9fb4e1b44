/*
 * document.c - reading JSON documents of outside origin, with the path of what is wrong.
 *
 * jansson keeps about 40 bytes for each value, so a small text of many tiny values could take much
 * memory: values are counted before anything is parsed. Duplicate keys and NUL in strings are
 * refused by the parser, depth is limited by it.
 */
#include "document_priv.h"

#include <inttypes.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/json_memory.h"

#define VALUES_MAX (8U * 1024U * 1024U) /* in one document */
#define FLAGS_MAX 256U

/* Flags that this version knows; none yet. */
static const char *const read_flags[] = {NULL};
static const char *const write_flags[] = {NULL};

void amber_doc_free(json_t **doc)
{
    json_decref(*doc);
}

/* Write the path of n behind *len; stops where the room ends. */
static void path_text(const struct doc_node *n, char *out, size_t room, size_t *len)
{
    if (n->up)
        path_text(n->up, out, room, len);
    int add = 0;
    if (*len >= room)
        return;
    if (n->key)
        add = snprintf(out + *len, room - *len, "%s%.64s", *len > 0 ? "." : "", n->key);
    else if (n->up)
        add = snprintf(out + *len, room - *len, "[%zu]", n->index);
    if (add > 0)
        *len += (size_t)add;
}

enum amber_rc amber_doc_fail(const struct doc_node *n, struct amber_err *err, enum amber_rc code,
                             const char *fmt, ...)
{
    char path[256] = "", text[512];
    size_t len = 0;
    va_list args;

    path_text(n, path, sizeof(path), &len);
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return amber_fail(err, code, "%s: %s", len > 0 ? path : "the document", text);
}

static const char *type_word(json_type type)
{
    switch (type) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "a value";
}

static enum amber_rc check_type(const struct doc_node *n, json_type type, struct amber_err *err)
{
    json_type found = json_typeof(n->value);

    if (found == type || (type == JSON_TRUE && found == JSON_FALSE))
        return AMBER_OK;
    return amber_doc_fail(n, err, AMBER_E_CORRUPT, "expected %s, found %s", type_word(type),
                          type_word(found));
}

enum amber_rc amber_doc_get(const struct doc_node *obj, const char *key, json_type type,
                            struct doc_node *out, struct amber_err *err)
{
    *out = (struct doc_node){.up = obj, .key = key, .value = json_object_get(obj->value, key)};
    if (!out->value)
        return amber_doc_fail(out, err, AMBER_E_CORRUPT, "is missing");
    return check_type(out, type, err);
}

enum amber_rc amber_doc_item(const struct doc_node *array, size_t i, json_type type,
                             struct doc_node *out, struct amber_err *err)
{
    *out = (struct doc_node){.up = array, .index = i, .value = json_array_get(array->value, i)};
    if (!out->value)
        return amber_doc_fail(out, err, AMBER_E_CORRUPT, "is missing");
    return check_type(out, type, err);
}

enum amber_rc amber_doc_to_uint(const struct doc_node *n, uint64_t max, uint64_t *out,
                                struct amber_err *err)
{
    json_int_t v = json_integer_value(n->value);

    if (v < 0 || (uint64_t)v > max)
        return amber_doc_fail(n, err, AMBER_E_CORRUPT,
                              "%" JSON_INTEGER_FORMAT " is not in 0..%" PRIu64, v, max);
    *out = (uint64_t)v;
    return AMBER_OK;
}

enum amber_rc amber_doc_string(const struct doc_node *obj, const char *key, char **out,
                               struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_STRING, &n, err);

    if (rc)
        return rc;
    if (json_string_length(n.value) > DOC_TEXT_MAX)
        return amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is longer than %u bytes", DOC_TEXT_MAX);
    return amber_strdup(json_string_value(n.value), out, err);
}

enum amber_rc amber_doc_string_or_null(const struct doc_node *obj, const char *key, char **out,
                                       struct amber_err *err)
{
    if (json_is_null(json_object_get(obj->value, key))) {
        *out = NULL;
        return AMBER_OK;
    }
    return amber_doc_string(obj, key, out, err);
}

enum amber_rc amber_doc_uuid(const struct doc_node *obj, const char *key, char out[AMBER_UUID_LEN],
                             struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_STRING, &n, err);

    if (rc)
        return rc;
    if (!amber_uuid_valid(json_string_value(n.value)))
        return amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is not a UUID in lower case");
    memcpy(out, json_string_value(n.value), AMBER_UUID_LEN);
    return AMBER_OK;
}

enum amber_rc amber_doc_uint(const struct doc_node *obj, const char *key, uint64_t max,
                             uint64_t *out, struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_INTEGER, &n, err);

    return rc ? rc : amber_doc_to_uint(&n, max, out, err);
}

enum amber_rc amber_doc_int(const struct doc_node *obj, const char *key, int64_t *out,
                            struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_INTEGER, &n, err);

    if (!rc)
        *out = json_integer_value(n.value);
    return rc;
}

enum amber_rc amber_doc_bool(const struct doc_node *obj, const char *key, bool *out,
                             struct amber_err *err)
{
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_TRUE, &n, err);

    if (!rc)
        *out = json_is_true(n.value);
    return rc;
}

enum amber_rc amber_doc_time(const struct doc_node *obj, const char *key, int64_t *out_us,
                             struct amber_err *err)
{
    struct amber_err why = AMBER_ERR_INIT;
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_STRING, &n, err);

    if (!rc && amber_timestamp_parse(json_string_value(n.value), out_us, &why))
        rc = amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is not a time: %s", why.text);
    return rc;
}

enum amber_rc amber_doc_digest(const struct doc_node *obj, const char *key,
                               struct amber_sha256 *out, struct amber_err *err)
{
    struct amber_err why = AMBER_ERR_INIT;
    struct doc_node n;
    enum amber_rc rc = amber_doc_get(obj, key, JSON_STRING, &n, err);

    if (rc)
        return rc;
    const char *text = json_string_value(n.value);
    if (strncmp(text, "sha256:", 7) != 0 || amber_sha256_parse(text + 7, out, &why))
        return amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is not \"sha256:\" and 64 hex digits");
    return AMBER_OK;
}

/* Values are parted by commas and opened by brackets, so this is never less than their number. */
static bool too_many_values(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += text[i] == ',' || text[i] == '[' || text[i] == '{' || text[i] == ':';
    return n > VALUES_MAX;
}

/* The first flag of the list that isn't known; NULL if all are. */
static enum amber_rc unknown_flag(const struct doc_node *root, const char *list,
                                  const char *const *known, const char **out, struct amber_err *err)
{
    struct doc_node flags, flag;
    enum amber_rc rc = amber_doc_get(root, list, JSON_ARRAY, &flags, err);

    *out = NULL;
    if (rc)
        return rc;
    size_t n = json_array_size(flags.value);
    if (n > FLAGS_MAX)
        return amber_doc_fail(&flags, err, AMBER_E_CORRUPT, "has more than %u flags", FLAGS_MAX);
    for (size_t i = 0; i < n; i++) {
        if ((rc = amber_doc_item(&flags, i, JSON_STRING, &flag, err)))
            return rc;
        const char *const *k = known;
        while (*k && strcmp(*k, json_string_value(flag.value)) != 0)
            k++;
        if (!*k && !*out)
            *out = json_string_value(flag.value);
    }
    return AMBER_OK;
}

static enum amber_rc check_head(const struct doc_node *root, const char *format,
                                bool *out_write_unknown, struct amber_err *err)
{
    struct doc_node n;
    const char *unknown;
    uint64_t version;
    enum amber_rc rc = amber_doc_get(root, "format", JSON_STRING, &n, err);

    if (rc)
        return rc;
    if (strcmp(json_string_value(n.value), format) != 0)
        return amber_doc_fail(&n, err, AMBER_E_CORRUPT, "is not \"%s\"", format);
    if ((rc = amber_doc_uint(root, "version", UINT32_MAX, &version, err)))
        return rc;
    if (version != 1)
        return amber_fail(err, AMBER_E_UNSUPPORTED,
                          "version %" PRIu64 " of %s was written by another amberfs; this one "
                          "reads version 1: use a newer amberfs",
                          version, format);
    if ((rc = unknown_flag(root, "read_incompat", read_flags, &unknown, err)))
        return rc;
    if (unknown)
        return amber_fail(err, AMBER_E_UNSUPPORTED,
                          "read_incompat: feature \"%.64s\" is not known here: use a newer amberfs",
                          unknown);
    if ((rc = unknown_flag(root, "write_incompat", write_flags, &unknown, err)))
        return rc;
    *out_write_unknown = unknown != NULL;
    /* Whatever stands in "compat" may be ignored, but it must be a list of flags. */
    return unknown_flag(root, "compat", read_flags, &unknown, err);
}

enum amber_rc amber_doc_open(const char *text, size_t len, const char *format, json_t **out_doc,
                             struct doc_node *out_root, bool *out_write_unknown,
                             struct amber_err *err)
{
    if (too_many_values(text, len))
        return amber_fail(err, AMBER_E_LIMIT, "the document has more than %u values", VALUES_MAX);
    AMBER_CLEANUP(amber_doc_free)
    json_t *doc = NULL;
    enum amber_rc rc = amber_json_load(text, len, true, &doc, NULL, err);
    if (rc)
        return rc;
    struct doc_node root = {.value = doc};
    rc = check_type(&root, JSON_OBJECT, err);
    if (!rc)
        rc = check_head(&root, format, out_write_unknown, err);
    if (rc)
        return rc;
    *out_root = root;
    *out_doc = amber_steal(&doc);
    return AMBER_OK;
}

enum amber_rc amber_doc_head(struct amber_buf *out, const char *format, struct amber_err *err)
{
    return amber_buf_printf(out, err,
                            "{\n\"format\":\"%s\",\n\"version\":1,\n\"compat\":[],\n"
                            "\"read_incompat\":[],\n\"write_incompat\":[]",
                            format);
}

enum amber_rc amber_doc_put(struct amber_buf *out, const char *key, const char *text,
                            struct amber_err *err)
{
    enum amber_rc rc = amber_buf_printf(out, err, ",\n\"%s\":", key);

    if (!rc)
        rc = text ? amber_buf_json(out, text, strlen(text), err) : amber_buf_puts(out, "null", err);
    return rc;
}

enum amber_rc amber_doc_put_digest(struct amber_buf *out, const char *key,
                                   const struct amber_sha256 *d, struct amber_err *err)
{
    char hex[AMBER_SHA256_HEX];

    amber_sha256_hex(d, hex);
    return amber_buf_printf(out, err, ",\n\"%s\":\"sha256:%s\"", key, hex);
}

enum amber_rc amber_doc_put_time(struct amber_buf *out, const char *key, int64_t us,
                                 struct amber_err *err)
{
    char text[AMBER_TIMESTAMP_MAX];

    amber_timestamp_format(us, text);
    return amber_buf_printf(out, err, ",\n\"%s\":\"%s\"", key, text);
}
