/*
 * row.h - the row format: PostgreSQL's COPY text line <-> one JSON object on one line.
 *
 *   COPY text   7\thello\t\\N\n                 fields as COPY ... TO STDOUT sends them, one field
 *                                               a column (two for AMBER_KIND_SERVER: text, JSON)
 *   JSON        {"id":7,"name":"hello","x":null}\n     equal to row_to_json(), keys in column order
 *   overlay     {"x":"exact text"}              the columns whose JSON can't be turned back into
 *                                               the very text: 'null'::jsonb, array bounds,
 *                                               json with line breaks, every SERVER column, ...
 *
 * The law that everything rests on:  decode(encode(line)) == line, byte for byte, for every line
 * that PostgreSQL can send. encode checks it itself for each value whose kind doesn't guarantee
 * it by construction, and puts the exact text into the overlay where it doesn't hold.
 *
 * source  PostgreSQL manual, COPY, "Text Format"; json.c's rules as documented for row_to_json
 * thread  encoders and decoders belong to one thread at a time; the schema must outlive them and
 *         not change
 */
#ifndef AMBER_ROW_H
#define AMBER_ROW_H

#include "amber/digest.h"
#include "amber/schema.h"

struct amber_row_encoder;
struct amber_row_decoder;

enum amber_rc amber_row_encoder_new(const struct amber_schema *schema,
                                    struct amber_row_encoder **out, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_row_encoder_free(struct amber_row_encoder *e); /* NULL allowed */

/*
 * Turn one COPY line into JSON.
 *
 * shape   line: without its line break, len bytes. json: the object and '\n' are appended.
 *         overlay: nothing, or one JSON object (no line break) is appended
 * errors  CORRUPT the line hasn't one field a column, isn't COPY text or isn't UTF-8, or a value
 *         isn't of its column's type; LIMIT (a buffer's ceiling, up to 7 KiB early), NOMEM.
 *         On failure json and overlay have their old lengths
 */
enum amber_rc amber_row_encode(struct amber_row_encoder *e, const char *line, size_t len,
                               struct amber_buf *json, struct amber_buf *overlay,
                               struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Feed the text fields of a COPY line to a digest: the whole line and '\n', without the second
 * fields of SERVER columns. encode's input and decode's output give the same digest.
 */
void amber_row_digest(struct amber_row_encoder *e, const char *line, size_t len,
                      struct amber_fast_hasher *h);

/* What decode does with a line's keys. */
struct amber_row_decoder_config {
    const struct amber_schema *schema;
    const size_t *emit; /* indexes of the columns to write, in this order; NULL: all, in order */
    size_t n_emit;
    bool any_keys; /* false: every column must be there and have its JSON type (an archive). true: a
                      person's file: keys may be missing (such columns are not written and not set
                      in `present`), numbers and booleans may stand for strings, and a string may
                      hold a value's PostgreSQL literal ("{1,2}"). Reordered keys are always fine */
};
enum amber_rc amber_row_decoder_new(const struct amber_row_decoder_config *cfg,
                                    struct amber_row_decoder **out, struct amber_err *err)
    AMBER_MUST_CHECK;
void amber_row_decoder_free(struct amber_row_decoder *d); /* NULL allowed */

/*
 * Turn one JSON object into a COPY text line.
 *
 * shape   json: one object, without line break. overlay: its overlay object or NULL/0.
 *         copy: the emitted columns' fields, tab-separated, and '\n' are appended (no second field
 *         for SERVER columns). present: NULL, or schema->n_columns flags, set for each key found
 * errors  INVALID with the byte column (1-based) in the text: not JSON, unknown or repeated key,
 *         missing key, a value that can't be of its column's type (an object for an integer);
 *         CORRUPT the same faults in the overlay; LIMIT (copy's ceiling, up to 7 KiB early, or
 *         json nested deeper than 65,536 levels), NOMEM. copy has its old length and present its
 *         old values on failure. The text names keys, never values
 */
enum amber_rc amber_row_decode(struct amber_row_decoder *d, const char *json, size_t len,
                               const char *overlay, size_t overlay_len, struct amber_buf *copy,
                               bool *present, struct amber_err *err) AMBER_MUST_CHECK;

/* One line of an overlay attachment: `[<row number from 0>,{...}]\n` */
enum amber_rc amber_overlay_format(uint64_t row, const char *overlay, size_t len,
                                   struct amber_buf *out, struct amber_err *err) AMBER_MUST_CHECK;
/* line: with or without its line break. The object itself is checked by decode.
 * errors CORRUPT. out_obj points into line. */
enum amber_rc amber_overlay_parse(const char *line, size_t len, uint64_t *out_row,
                                  const char **out_obj, size_t *out_obj_len,
                                  struct amber_err *err) AMBER_MUST_CHECK;

#endif
