/*
 * fuzz_env_file.c - libFuzzer target for env files.
 *
 * What parses is written again, every value in double quotes with its escapes, and must come back
 * name for name and value for value.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/env_file.
 */
#include "env_file.h"
#include "fuzz.h"

/* A value in double quotes. A carriage return is escaped too: before a line break it would go. */
static void put_value(struct amber_buf *out, const char *value, struct amber_err *err)
{
    check(!amber_buf_puts(out, "\"", err));
    for (; *value; value++) {
        if (*value == '\r')
            check(!amber_buf_puts(out, "\\r", err));
        else
            check(!amber_buf_printf(out, err, strchr("\"\\$`", *value) ? "\\%c" : "%c", *value));
    }
    check(!amber_buf_puts(out, "\"\n", err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(16U << 20);
    struct amber_env first AMBER_CLEANUP(amber_env_clear) = {0};
    struct amber_env second AMBER_CLEANUP(amber_env_clear) = {0};

    if (amber_env_parse((const char *)data, size, "input", &first, &warnings, &err)) {
        check(err.code != AMBER_OK && err.text[0]);
        return 0;
    }
    for (size_t i = 0; i < first.n; i++) {
        check(!amber_buf_printf(&text, &err, "%s=", first.items[i].name));
        put_value(&text, first.items[i].value, &err);
    }
    if (text.len > AMBER_ENV_FILE_MAX)
        return 0;
    amber_buf_clear(&warnings);
    check(!amber_env_parse(text.data, text.len, "again", &second, &warnings, &err));
    check(second.n == first.n && warnings.len == 0);
    for (size_t i = 0; i < first.n; i++) {
        check(strcmp(first.items[i].name, second.items[i].name) == 0);
        check(strcmp(first.items[i].value, second.items[i].value) == 0);
        check(amber_env_find(&second, first.items[i].name) == &second.items[i]);
    }
    return 0;
}
