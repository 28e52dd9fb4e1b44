/*
 * pace.c - not more than so many rows a second, and not all of the time.
 */
#include "pace_priv.h"

#define STEPS_A_SECOND 100U
#define WORK_US 10000 /* of work in one piece */
#define RESTS 4       /* for each piece as long a rest */
#define REST_MAX_US 1000000
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

int64_t amber_share_rest(struct amber_share *s, int64_t now_us)
{
    int64_t work_us = now_us - s->since_us;

    if (s->since_us == 0)
        s->since_us = now_us;
    if (s->since_us == now_us || work_us < WORK_US)
        return 0;
    int64_t rest_us = RESTS * work_us < REST_MAX_US ? RESTS * work_us : REST_MAX_US;
    s->since_us = now_us + rest_us;
    return rest_us;
}
