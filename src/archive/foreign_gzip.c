/*
 * foreign_gzip.c - a gzip file of another program, cut into blocks while it is decoded once.
 *
 * A block holds whole members, or a piece of one: a member that doesn't end within a block begins
 * one, so that the blocks of a member that proves damaged can be taken back without its neighbours.
 *
 * What is decoded of a member isn't proven before its checksum: of 1,500 bits flipped at random in
 * deflate data 1,487 contradict nothing else. A member that the file ends in is told from a damaged
 * one whose end was missed by what a member ends with, and from zeros that stand for what was never
 * written, which are codes like any.
 *
 *     proven  text of the present block up to the last member that ended there
 *     spans   the present member began in an earlier block, first
 */
#include "foreign_priv.h"

#define ZEROS_MIN 16U              /* zeros at the end that no deflate data ends with */
#define MISSED_NEAR (1024U * 1024) /* by how much a missed end makes a member's length wrong */

struct gzip_build {
    struct foreign_build *b;
    struct amber_gunzip *gunzip;     /* owned */
    struct amber_gunzip_point start; /* of the present block */
    size_t start_window;
    size_t proven, proven_pos;
    bool spans;
    size_t first;
    uint64_t member_raw; /* where the present member's text begins */
};

static uint8_t *limit_of(const struct gzip_build *g)
{
    return g->b->out + FOREIGN_RAW;
}

/* The next block begins here. */
static void begin_block(struct gzip_build *g)
{
    struct foreign_build *b = g->b;

    amber_gunzip_point(g->gunzip, &g->start);
    g->start_window = amber_gunzip_window(g->gunzip);
    memmove(b->out - AMBER_GUNZIP_WINDOW, b->out + b->n_out - AMBER_GUNZIP_WINDOW,
            AMBER_GUNZIP_WINDOW);
    b->n_out = 0;
    b->block_pos = b->pos;
    g->proven = 0;
    g->proven_pos = b->pos;
}

static enum amber_rc push(struct gzip_build *g, size_t raw_len, size_t end, struct amber_err *err)
{
    enum foreign_how how = g->start.where == AMBER_GUNZIP_HEADER ? FOREIGN_START : FOREIGN_WINDOW;

    return raw_len == 0
               ? AMBER_OK
               : amber_foreign_push(g->b, how, raw_len, end, &g->start, g->start_window, err);
}

/* Cut here. A member that goes on must have begun with the block: else the block ends before it,
 * and it is decoded once more. */
static enum amber_rc cut(struct gzip_build *g, struct amber_err *err)
{
    struct foreign_build *b = g->b;
    struct amber_gunzip_point here;
    enum amber_rc rc;

    amber_gunzip_point(g->gunzip, &here);
    bool between = here.where == AMBER_GUNZIP_HEADER;
    if (!between && !g->spans && g->proven > 0) {
        rc = push(g, g->proven, g->proven_pos, err);
        b->pos = g->proven_pos;
        amber_gunzip_start(g->gunzip);
    } else {
        rc = push(g, b->n_out, b->pos + (here.bit > 0), err);
        if (!between && !g->spans && b->n_out > 0) {
            g->spans = true;
            g->first = b->part.n_blocks - 1;
        }
    }
    begin_block(g);
    return rc;
}

/* Nothing of the present member is proven. */
static enum amber_rc damaged(struct gzip_build *g, const char *what, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    if (g->spans)
        amber_foreign_drop(g->b, g->first);
    else
        rc = push(g, g->proven, g->proven_pos, err);
    return rc ? rc : amber_foreign_damaged(g->b, g->b->pos, what, err);
}

/* Whether the file's last bytes tell the length that the member has, or almost: it is all there,
 * and damage hid its end. */
static bool missed_end(const struct gzip_build *g)
{
    const struct foreign_build *b = g->b;
    struct amber_gunzip_point here;
    uint32_t told = 0, len = (uint32_t)(b->part.raw_bytes + b->n_out - g->member_raw);

    amber_gunzip_point(g->gunzip, &here);
    if (here.where == AMBER_GUNZIP_HEADER || here.where == AMBER_GUNZIP_TRAILER || b->in_len < 4)
        return false;
    for (size_t i = 1; i <= 4; i++)
        told = told << 8 | b->in[b->in_len - i];
    return len - told + MISSED_NEAR < 2 * MISSED_NEAR; /* modulo 2^32, as it is told */
}

static enum amber_rc begin(struct gzip_build *g, struct amber_err *err)
{
    bool any;
    enum amber_rc rc = amber_foreign_fill(g->b, &any, err);

    amber_gunzip_start(g->gunzip);
    g->spans = false;
    g->member_raw = 0;
    begin_block(g);
    return rc;
}

/* If from here on, and maybe from before, the file is zeros, decode it once more, up to them. */
static enum amber_rc leave_zeros(struct gzip_build *g, bool *out_again, struct amber_err *err)
{
    struct foreign_build *b = g->b;
    uint64_t at = b->end, here = b->in_off + b->pos;
    enum amber_rc rc = AMBER_OK;

    *out_again = false;
    if (b->end < b->part.stored_bytes)
        return AMBER_OK;
    for (size_t i = b->pos; i < b->in_len; i++)
        if (b->in[i] != 0)
            return AMBER_OK;
    rc = amber_foreign_zeros(b, &at, err);
    if (rc || at > here || b->end - at < ZEROS_MIN)
        return rc;
    *out_again = true;
    amber_foreign_restart(b, at);
    return begin(g, err);
}

/* Decoding can't go on: what contradicts itself, or NULL if the file ends. */
static enum amber_rc stopped(struct gzip_build *g, const char *what, bool *out_done,
                             struct amber_err *err)
{
    struct foreign_build *b = g->b;
    bool again;
    enum amber_rc rc = leave_zeros(g, &again, err);

    *out_done = !again;
    if (rc || again)
        return rc;
    if (!what && missed_end(g))
        what = "the end of a gzip member isn't where it should be";
    if (what)
        return damaged(g, what, err);
    rc = push(g, b->n_out, b->in_len, err); /* what was decoded is what was written */
    what = b->end < b->part.stored_bytes ? "the file is zeros from here on" : "the file is cut off";
    return rc ? rc : amber_foreign_damaged(b, b->in_len, what, err);
}

/* Behind a member may be zeros up to the end of the file. *out_done: so it was. */
static enum amber_rc skip_padding(struct gzip_build *g, bool *out_done, struct amber_err *err)
{
    struct foreign_build *b = g->b;
    enum amber_rc rc = push(g, b->n_out, b->pos, err);

    *out_done = true;
    b->n_out = 0;
    while (!rc) {
        while (b->pos < b->in_len && b->in[b->pos] == 0)
            b->pos++;
        if (b->pos < b->in_len)
            return amber_foreign_damaged(b, b->pos,
                                         "behind the last gzip member is neither "
                                         "another one nor zeros",
                                         err);
        b->block_pos = b->pos;
        bool any;
        rc = amber_foreign_fill(b, &any, err);
        if (!rc && !any)
            return AMBER_OK;
    }
    return rc;
}

static enum amber_rc member_ended(struct gzip_build *g, bool *out_done, struct amber_err *err)
{
    struct foreign_build *b = g->b;
    bool any = true;
    enum amber_rc rc = AMBER_OK;

    g->proven = b->n_out;
    g->proven_pos = b->pos;
    if (g->spans || b->n_out >= FOREIGN_RAW / 4 * 3 || b->n_out == 0 ||
        b->pos - b->block_pos >= FOREIGN_STORED)
        rc = cut(g, err);
    g->spans = false;
    g->member_raw = b->part.raw_bytes + b->n_out;
    if (!rc && b->pos == b->in_len) {
        rc = amber_foreign_fill(b, &any, err);
        g->proven_pos = b->pos;
    }
    if (rc)
        return rc;
    if (!any) {
        *out_done = true;
        return push(g, b->n_out, b->pos, err);
    }
    return b->in[b->pos] == 0 ? skip_padding(g, out_done, err) : AMBER_OK;
}

static enum amber_rc more_input(struct gzip_build *g, bool *out_done, struct amber_err *err)
{
    struct foreign_build *b = g->b;
    bool any;
    enum amber_rc rc = AMBER_OK;

    if (amber_foreign_at_end(b))
        return stopped(g, NULL, out_done, err);
    if (b->pos - b->block_pos >= FOREIGN_STORED)
        rc = cut(g, err);
    g->proven_pos -= b->block_pos; /* which moves to the front */
    if (!rc)
        rc = amber_foreign_fill(b, &any, err);
    if (rc)
        return rc;
    if (any)
        return AMBER_OK;
    return stopped(g, "the header of a gzip member is too long", out_done, err);
}

static enum amber_rc decode(struct gzip_build *g, struct amber_err *err)
{
    struct foreign_build *b = g->b;
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_OK;

    for (bool done = false; !rc && !done;) {
        enum amber_gunzip_stop stop;
        struct amber_gunzip_io io = {.in = b->in + b->pos,
                                     .in_end = b->in + b->in_len,
                                     .out = b->out + b->n_out,
                                     .limit = limit_of(g)};
        enum amber_rc bad = amber_gunzip_run(g->gunzip, &io, &stop, &why);
        b->pos = (size_t)(io.in - b->in);
        b->n_out = (size_t)(io.out - b->out);
        if (bad) {
            rc = stopped(g, why.text, &done, err);
            continue;
        }
        switch (stop) {
        case AMBER_GUNZIP_NEEDS_INPUT:
            rc = more_input(g, &done, err);
            break;
        case AMBER_GUNZIP_FULL:
            rc = cut(g, err);
            break;
        case AMBER_GUNZIP_MEMBER_END:
            rc = member_ended(g, &done, err);
            break;
        }
    }
    return rc;
}

enum amber_rc amber_foreign_gzip(struct foreign_build *b, struct amber_err *err)
{
    struct gzip_build g = {.b = b};
    enum amber_rc rc = amber_gunzip_new(&g.gunzip, err);

    if (!rc && b->part.stored_bytes > 0)
        rc = begin(&g, err);
    if (!rc && b->part.stored_bytes > 0)
        rc = decode(&g, err);
    amber_gunzip_free(g.gunzip);
    return rc;
}
