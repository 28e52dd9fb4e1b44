/*
 * fuzz_gunzip.c - libFuzzer target for gzip files of any program, decoded as a stream: three bytes
 * that choose the pieces, then the file.
 *
 * However a file is parted, the text is the same; a decoder that goes on at a point gives the same
 * from there; and zlib has the same opinion of every whole file. A point that no decoder ever gave
 * (the third byte is odd: the file's first bytes are taken for one) is refused, or does no harm.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/gunzip.
 */
#include <zlib.h>

#include "amber/gunzip.h"
#include "fuzz.h"

#define TEXT_MAX (256U * 1024U)
#define ROOM (AMBER_GUNZIP_WINDOW + TEXT_MAX + AMBER_GUNZIP_SLACK)

/* What one decoding gave: text behind a window's room, and where it came to an end. */
struct run {
    uint8_t *mem; /* ROOM bytes; text begins at AMBER_GUNZIP_WINDOW */
    size_t len;
    bool bad, whole; /* whole: the last member ended with the input */
};

/* The decoder's place at one moment. */
struct place {
    struct amber_gunzip_point point;
    size_t window, in, out;
    bool set;
};

static void run_init(struct run *r)
{
    *r = (struct run){.mem = malloc(ROOM)};
    check(r->mem != NULL);
}

/* Decode from in[from] on; at the stop numbered mark the place is noted. */
static void decode(struct amber_gunzip *g, const uint8_t *in, size_t len, size_t from,
                   size_t in_step, size_t out_step, unsigned mark, struct place *place,
                   struct run *r)
{
    uint8_t *text = r->mem + AMBER_GUNZIP_WINDOW;
    struct amber_gunzip_io io = {.in = in + from, .in_end = in + from, .out = text};
    enum amber_gunzip_stop stop = AMBER_GUNZIP_NEEDS_INPUT;
    struct amber_err err = AMBER_ERR_INIT;

    while ((size_t)(io.out - text) < TEXT_MAX) {
        size_t room = TEXT_MAX - (size_t)(io.out - text), left = len - (size_t)(io.in - in);
        const uint8_t *before = io.in_end;
        if (stop == AMBER_GUNZIP_NEEDS_INPUT) {
            size_t more = len - (size_t)(io.in_end - in);
            io.in_end += more < in_step ? more : in_step;
            if (io.in_end == before && left == (size_t)(io.in_end - io.in))
                break;
        }
        io.limit = io.out + (room < out_step ? room : out_step);
        r->whole = false;
        if (amber_gunzip_run(g, &io, &stop, &err)) {
            check(err.code == AMBER_E_CORRUPT && err.text[0]);
            r->bad = true;
            break;
        }
        check(io.in <= io.in_end && io.out <= io.limit + AMBER_GUNZIP_SLACK);
        r->whole = stop == AMBER_GUNZIP_MEMBER_END && io.in == in + len;
        if (place && !place->set && mark-- == 0) {
            *place = (struct place){.window = amber_gunzip_window(g),
                                    .in = (size_t)(io.in - in),
                                    .out = (size_t)(io.out - text),
                                    .set = true};
            amber_gunzip_point(g, &place->point);
        }
        if (r->whole)
            break;
    }
    r->len = (size_t)(io.out - text);
}

static struct amber_gunzip *decoder(void)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_gunzip *g;

    check(!amber_gunzip_new(&g, &err));
    amber_gunzip_start(g);
    return g;
}

static void same_text(const struct run *a, const uint8_t *b, size_t b_len)
{
    size_t n = a->len < b_len ? a->len : b_len;

    check(memcmp(a->mem + AMBER_GUNZIP_WINDOW, b, n) == 0);
}

/* Going on at a place gives what the first decoder gave behind it. */
static void resume(const uint8_t *in, size_t len, const struct place *p, const struct run *all)
{
    struct amber_gunzip *g = decoder();
    struct amber_err err = AMBER_ERR_INIT;
    struct run r;

    run_init(&r);
    memcpy(r.mem + AMBER_GUNZIP_WINDOW - p->window,
           all->mem + AMBER_GUNZIP_WINDOW + p->out - p->window, p->window);
    check(!amber_gunzip_resume(g, &p->point, p->window, &err));
    decode(g, in, len, p->in, len, TEXT_MAX, 0, NULL, &r);
    same_text(&r, all->mem + AMBER_GUNZIP_WINDOW + p->out, all->len - p->out);
    check(r.len >= all->len - p->out || r.bad);
    free(r.mem);
    amber_gunzip_free(g);
}

/* The file as zlib reads it; *out_whole: it is sound to its end. */
static size_t by_zlib(const uint8_t *in, size_t len, uint8_t *text, bool *out_whole)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)in,
                  .avail_in = (uInt)len,
                  .next_out = text,
                  .avail_out = TEXT_MAX};
    int rc = inflateInit2(&z, 31);

    check(rc == Z_OK);
    while ((rc = inflate(&z, Z_NO_FLUSH)) == Z_OK || (rc == Z_STREAM_END && z.avail_in > 0))
        if (rc == Z_STREAM_END)
            check(inflateReset(&z) == Z_OK);
    *out_whole = rc == Z_STREAM_END && z.avail_in == 0;
    size_t n = TEXT_MAX - z.avail_out;
    inflateEnd(&z);
    return n;
}

/* A point out of thin air, with a window of zeros. */
static void wild(const uint8_t *data, size_t size)
{
    struct amber_gunzip_point p;
    struct amber_gunzip *g = decoder();
    struct amber_err err = AMBER_ERR_INIT;
    struct run r;

    if (size > 8 + AMBER_GUNZIP_LENS) {
        p = (struct amber_gunzip_point){.where = (enum amber_gunzip_where)(data[0] % 5),
                                        .bit = data[1] % 9,
                                        .last = data[2] & 1,
                                        .left = data[3] | (unsigned)data[4] << 8};
        memcpy(p.lens, data + 8, AMBER_GUNZIP_LENS);
        run_init(&r);
        memset(r.mem, 0, AMBER_GUNZIP_WINDOW);
        if (!amber_gunzip_resume(
                g, &p, (data[5] | (size_t)data[6] << 8) % (AMBER_GUNZIP_WINDOW + 1), &err))
            decode(g, data, size, 8 + AMBER_GUNZIP_LENS, size, TEXT_MAX, 0, NULL, &r);
        free(r.mem);
    }
    amber_gunzip_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    size_t in_step = data[0] + 1U, out_step = (data[1] + 1U) * 16U;
    unsigned mark = data[2] / 2U;
    const uint8_t *in = data + 3;
    size_t len = size - 3;
    if (data[2] & 1) {
        wild(in, len);
        return 0;
    }
    struct amber_gunzip *g = decoder(), *h = decoder();
    struct place place = {0};
    struct run parted, at_once;
    bool zlib_whole;
    run_init(&parted);
    run_init(&at_once);
    decode(g, in, len, 0, in_step, out_step, mark, &place, &parted);
    decode(h, in, len, 0, len, TEXT_MAX, 0, NULL, &at_once);
    same_text(&parted, at_once.mem + AMBER_GUNZIP_WINDOW, at_once.len);
    check(parted.bad == at_once.bad || parted.len >= TEXT_MAX || at_once.len >= TEXT_MAX);
    check(parted.whole == at_once.whole || parted.len >= TEXT_MAX || at_once.len >= TEXT_MAX);
    if (place.set)
        resume(in, len, &place, &parted);
    uint8_t *text = malloc(TEXT_MAX);
    check(text != NULL);
    size_t n = by_zlib(in, len, text, &zlib_whole);
    if (zlib_whole || at_once.whole) {
        check(n >= TEXT_MAX || at_once.len >= TEXT_MAX ||
              (zlib_whole && at_once.whole && n == at_once.len));
        same_text(&at_once, text, n);
    }
    free(text);
    free(parted.mem);
    free(at_once.mem);
    amber_gunzip_free(g);
    amber_gunzip_free(h);
    return 0;
}
