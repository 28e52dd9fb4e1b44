/*
 * json_memory.c - jansson's allocator, which notes failures and keeps its lexer from harm.
 *
 * The lexer gathers a token's bytes in a buffer whose growth it takes for granted: without memory
 * it goes on with bytes missing and then reads past the buffer's end. All its other allocations are
 * looked at. So:
 *
 *   1 a spare block is taken before parsing, large enough for any growth of that buffer
 *   2 an allocation that fails gets the spare block, if it is small enough
 *   3 the text is given byte by byte, and after a failure it has ended: since a growth at least
 *     doubles the buffer, one byte can need no second one
 *   4 after a failure the document is thrown away, however it looks
 */
#include "amber/json_memory.h"

#include <jansson.h>
#include <stdio.h>

#include "amber/mem.h"

static _Thread_local bool starved;
static _Thread_local void *spare; /* owned; NULL: none, or given away */
static _Thread_local size_t spare_bytes;

static void *take(size_t n)
{
    void *p = malloc(n);

    if (!p) {
        starved = true;
        if (n <= spare_bytes)
            p = amber_steal(&spare);
    }
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

struct feed {
    const char *next, *end;
};

static size_t feed_byte(void *buffer, size_t room, void *arg)
{
    struct feed *f = arg;

    (void)room;
    if (starved || f->next == f->end)
        return 0;
    *(char *)buffer = *f->next++;
    return 1;
}

static json_t *load(const char *text, size_t len, bool unique_keys, json_error_t *why)
{
    struct feed f = {.next = text, .end = text + len};

    amber_json_begin();
    /* The buffer holds at most the text, was full when it grows, and doubles. */
    spare_bytes = 2 * len + 64;
    spare = malloc(spare_bytes);
    starved = !spare;
    json_t *doc =
        starved ? NULL
                : json_load_callback(feed_byte, &f, unique_keys ? JSON_REJECT_DUPLICATES : 0, why);
    free(amber_steal(&spare));
    spare_bytes = 0;
    return doc;
}

enum amber_rc amber_json_load(const char *text, size_t len, bool unique_keys, struct json_t **out,
                              struct amber_json_where *out_where, struct amber_err *err)
{
    json_error_t why;

    *out = load(text, len, unique_keys, &why);
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
