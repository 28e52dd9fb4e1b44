/*
 * fuzz_cron.c - libFuzzer target for cron expressions: eight bytes of time, then the text.
 *
 * What parses fires; next is after the time and prev at or before it; prev of what next gave is
 * that again, and next leads from the one to the other without a run between.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/cron.
 */
#include "amber/calendar.h"
#include "amber/cron.h"
#include "amber/mem.h"
#include "fuzz.h"

/* Within these the calendar has room on both sides: years 0 to 9999. */
#define FIRST_US (INT64_C(-62167219200) * 1000000)
#define LAST_US (INT64_C(253402300800) * 1000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cron c;
    int64_t at;

    if (size < sizeof(at))
        return 0;
    memcpy(&at, data, sizeof(at));
    AMBER_AUTO_FREE char *text = strndup((const char *)data + sizeof(at), size - sizeof(at));
    check(text != NULL);
    if (amber_cron_parse(text, &c, &err)) {
        check(err.code == AMBER_E_INVALID && err.text[0]);
        return 0;
    }
    int64_t next = amber_cron_next(&c, at), prev = amber_cron_prev(&c, at);
    if (at < FIRST_US || at > LAST_US)
        return 0; /* near the ends it is enough to have come back */
    check(next > at && next < INT64_MAX && next % 60000000 == 0);
    check(prev <= at && prev > INT64_MIN && prev % 60000000 == 0);
    check(amber_cron_prev(&c, next) == next);
    check(amber_cron_prev(&c, next - 1) == prev);
    check(amber_cron_next(&c, prev) == next);
    return 0;
}
