/*
 * pace.c - not more than so many rows a second.
 */
#include "pace_priv.h"

#define STEPS_A_SECOND 100U
#define SLACK_US 100000 /* of delay that is made up for: what the rows' own work takes */

int64_t amber_pace_row(struct amber_pace *p, int64_t now_us)
{
    if (p->rows_per_second == 0 || ++p->pending * STEPS_A_SECOND < p->rows_per_second)
        return 0;
    if (p->due_us < now_us - SLACK_US)
        p->due_us = now_us - SLACK_US;
    p->due_us += (int64_t)(p->pending * 1000000U / p->rows_per_second);
    p->pending = 0;
    return p->due_us > now_us ? p->due_us - now_us : 0;
}
