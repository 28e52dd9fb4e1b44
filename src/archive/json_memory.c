/*
 * json_memory.c - jansson's allocator, which notes failures.
 */
#include "amber/json_memory.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local bool starved;

static void *take(size_t n)
{
    void *p = malloc(n);

    if (!p)
        starved = true;
    return p;
}

/* Before main: jansson reads its function pointers without a lock. */
__attribute__((constructor)) static void install(void)
{
    json_set_alloc_funcs(take, free);
}

void amber_json_begin(void)
{
    starved = false;
}

bool amber_json_starved(void)
{
    return starved;
}

enum amber_rc amber_json_load(const char *text, size_t len, bool unique_keys, struct json_t **out,
                              struct amber_json_where *out_where, struct amber_err *err)
{
    json_error_t why;

    amber_json_begin();
    *out = json_loadb(text, len, unique_keys ? JSON_REJECT_DUPLICATES : 0, &why);
    if (starved) {
        json_decref(*out);
        *out = NULL;
        return amber_fail_nomem(err, "a JSON document", len);
    }
    if (*out)
        return AMBER_OK;
    if (out_where) {
        *out_where =
            (struct amber_json_where){.line = why.line, .column = why.column, .byte = why.position};
        snprintf(out_where->text, sizeof(out_where->text), "%s", why.text);
    }
    return amber_fail(err, AMBER_E_CORRUPT, "not JSON at byte %d, line %d: damaged or cut off",
                      why.position, why.line);
}
