/*
 * give_way.c - what a unit does after it gave way to somebody who waited.
 */
#include "give_way_priv.h"

#define ROWS_MIN 1000U
#define PAUSE_MS 1000
#define PAUSE_MAX_MS 30000

bool amber_give_way(unsigned n, uint64_t rows, struct amber_give_way *out)
{
    int pause_ms = PAUSE_MS;

    if (n > AMBER_GIVE_WAYS_MAX)
        return false;
    for (unsigned i = 1; i < n && pause_ms < PAUSE_MAX_MS; i++)
        pause_ms *= 2;
    *out = (struct amber_give_way){
        .max_rows = rows / 2 > ROWS_MIN ? rows / 2 : ROWS_MIN,
        .pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS,
    };
    return true;
}
