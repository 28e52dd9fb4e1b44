/*
 * rows.c - the rows of an archive in order, each with its overlay.
 *
 * A line within one block is given out where it lies, pinned until the next call; one that spans
 * blocks is put together. The overlay is read along: its lines are in row order, so one line of
 * it is held until its row comes. A line of the overlay that finds no row is damage.
 */
#include <inttypes.h>

#include "amber/reader.h"
#include "amber/row.h"
#include "amber/writer.h"

#define JOINED_KEEP (16U * 1024U * 1024U) /* bytes kept for the next line that spans blocks */

/* Lines of one part. */
struct line_source {
    struct amber_reader *reader;
    struct amber_stream *stream;
    struct amber_pin pin; /* holds off or what was given out last; data NULL: none */
    uint64_t off;         /* of the next line */
    struct amber_buf joined;
};

struct amber_rows {
    struct line_source archive, overlay;
    uint64_t row; /* number of the next row */
    bool held;    /* a line of the overlay waits for its row */
    uint64_t held_row;
    const char *held_text; /* into the overlay's source */
    size_t held_len;
};

static enum amber_rc source_open(struct line_source *s, struct amber_reader *r,
                                 struct amber_err *err)
{
    s->reader = r;
    amber_buf_init(&s->joined, AMBER_ROW_JSON_MAX);
    return amber_stream_open(r, &s->stream, err);
}

static void source_close(struct line_source *s)
{
    amber_pin_release(&s->pin);
    amber_stream_close(s->stream);
    amber_buf_clear(&s->joined);
}

/* Have the block that holds off pinned. */
static enum amber_rc pin_next(struct line_source *s, struct amber_err *err)
{
    if (s->pin.data && s->off < s->pin.raw_off + s->pin.len)
        return AMBER_OK;
    amber_pin_release(&s->pin);
    return amber_stream_pin(s->stream, s->off, &s->pin, err);
}

static enum amber_rc no_line_break(const struct line_source *s, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_CORRUPT,
                      "%s: the last line has no line break: the archive is cut off",
                      amber_reader_part(s->reader)->key);
}

static enum amber_rc source_next(struct line_source *s, const char **out, size_t *out_len,
                                 struct amber_err *err)
{
    uint64_t size = amber_reader_size(s->reader);

    if (s->joined.cap > JOINED_KEEP)
        amber_buf_clear(&s->joined);
    s->joined.len = 0;
    *out = NULL;
    *out_len = 0;
    if (s->off == size)
        return AMBER_OK;
    while (s->off < size) {
        enum amber_rc rc = pin_next(s, err);
        if (rc)
            return rc;
        const char *p = s->pin.data + (s->off - s->pin.raw_off);
        size_t left = s->pin.len - (size_t)(s->off - s->pin.raw_off);
        const char *end = memchr(p, '\n', left);
        size_t n = end ? (size_t)(end - p) : left;
        s->off += n + (end ? 1 : 0);
        if (end && s->joined.len == 0) {
            *out = p;
            *out_len = n;
            return AMBER_OK;
        }
        rc = amber_buf_append(&s->joined, p, n, err);
        if (rc)
            return rc;
        if (end) {
            *out = s->joined.data;
            *out_len = s->joined.len;
            return AMBER_OK;
        }
    }
    return no_line_break(s, err);
}

enum amber_rc amber_rows_open(struct amber_reader *archive, struct amber_reader *overlay,
                              struct amber_rows **out, struct amber_err *err)
{
    struct amber_rows *rows;
    enum amber_rc rc = amber_calloc(1, sizeof(*rows), &rows, err);

    if (rc)
        return rc;
    rc = source_open(&rows->archive, archive, err);
    if (!rc && overlay)
        rc = source_open(&rows->overlay, overlay, err);
    if (rc) {
        amber_rows_close(rows);
        return rc;
    }
    *out = rows;
    return AMBER_OK;
}

void amber_rows_close(struct amber_rows *rows)
{
    if (!rows)
        return;
    source_close(&rows->archive);
    source_close(&rows->overlay);
    free(rows);
}

/* Have the overlay's next line held, if there is one. */
static enum amber_rc hold_overlay(struct amber_rows *rows, struct amber_err *err)
{
    const char *line;
    size_t len;

    if (rows->held || !rows->overlay.stream)
        return AMBER_OK;
    enum amber_rc rc = source_next(&rows->overlay, &line, &len, err);
    if (rc || !line)
        return rc;
    const char *key = amber_reader_part(rows->overlay.reader)->key;
    rc = amber_overlay_parse(line, len, &rows->held_row, &rows->held_text, &rows->held_len, err);
    if (rc)
        return amber_wrap(err, "%s: before row %" PRIu64, key, rows->row);
    if (rows->held_row < rows->row)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: row %" PRIu64 " comes again or too late, at row %" PRIu64, key,
                          rows->held_row, rows->row);
    rows->held = true;
    return AMBER_OK;
}

/* All rows were given: their number must be the manifest's, and the overlay must be used up. */
static enum amber_rc check_end(const struct amber_rows *rows, struct amber_err *err)
{
    const struct amber_part *p = amber_reader_part(rows->archive.reader);

    if (rows->row != p->rows)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: it has %" PRIu64 " rows, its manifest says %" PRIu64, p->key,
                          rows->row, p->rows);
    if (rows->held)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s: has a line for row %" PRIu64 " of an archive of %" PRIu64 " rows",
                          amber_reader_part(rows->overlay.reader)->key, rows->held_row, p->rows);
    return AMBER_OK;
}

enum amber_rc amber_rows_next(struct amber_rows *rows, const char **out_line, size_t *out_len,
                              const char **out_overlay, size_t *out_overlay_len,
                              struct amber_err *err)
{
    *out_overlay = NULL;
    *out_overlay_len = 0;
    enum amber_rc rc = hold_overlay(rows, err);
    if (!rc)
        rc = source_next(&rows->archive, out_line, out_len, err);
    if (rc)
        return rc;
    if (!*out_line)
        return check_end(rows, err);
    if (rows->held && rows->held_row == rows->row) {
        *out_overlay = rows->held_text;
        *out_overlay_len = rows->held_len;
        rows->held = false; /* the text stays until the next line is asked of the overlay */
    }
    rows->row++;
    return AMBER_OK;
}
