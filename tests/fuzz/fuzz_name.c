/*
 * fuzz_name.c - libFuzzer target for names: three lines, the table's name, a folder and a pattern.
 *
 * Whatever they hold, an archive's name is a key that stays inside the store.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/name.
 */
#include "amber/name.h"
#include "fuzz.h"

/* The text up to the line's end or a NUL; *p goes on behind it. */
static char *take_line(const uint8_t **p, const uint8_t *end)
{
    const uint8_t *start = *p;
    const uint8_t *nl = start < end ? memchr(start, '\n', (size_t)(end - start)) : NULL;
    char *line = strndup((const char *)start, (size_t)((nl ? nl : end) - start));

    check(line != NULL);
    *p = nl ? nl + 1 : end;
    return line;
}

static void stays_inside(const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;

    check(!amber_key_check(key, &err));
    check(key[0] != '/' && key[0] != '.' && !strstr(key, "/.") && !strstr(key, "//"));
    check(strcmp(key + strlen(key) - 5, ".json") == 0);
    check(amber_name_logical_len(key) == strlen(key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    AMBER_AUTO_FREE char *table = take_line(&data, end), *folder = take_line(&data, end),
                         *pattern = take_line(&data, end);
    AMBER_AUTO_BUF struct amber_buf part = AMBER_BUF_INIT(4096);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_name_fields f = {
        .table = table, .start_day = 19723, .end_day = 19813, .run_day = 20000, .run_ms = 1};

    check(!amber_name_escape(table, &part, &err));
    check(part.len <= 200 && (part.len > 0) == (table[0] != '\0'));
    check(part.len == 0 || (part.data[0] != '.' && !strpbrk(part.data, "/\n\x7f\x1f")));
    enum amber_rc sound = amber_name_pattern_check(pattern, &err);
    for (unsigned n = 1; n <= 2; n++) {
        AMBER_AUTO_FREE char *made = NULL;
        enum amber_rc rc = amber_name_format(folder, pattern, &f, n, &made, &err);
        check(!rc || err.text[0]);
        if (!rc) {
            check(!sound);
            stays_inside(made);
        }
    }
    return 0;
}
