/*
 * restore.c - rows back into their table, as a stream of COPY lines.
 *
 * Each line is decoded into the fields of the columns that it has. COPY goes straight into the
 * table where that is enough; it goes through a staging table where a key may be taken and the
 * outcome isn't simply an error (restore_merge.c). With can_repeat the direct way is tried first,
 * behind a savepoint.
 *
 * PostgreSQL counts the rows of a COPY; `steps` turn its count into lines of the file, in which
 * there may be blank lines and rows of other sets of columns.
 */
#include "amber/restore.h"

#include <inttypes.h>
#include <stdio.h>

#include "amber/count.h"
#include "amber/family.h"
#include "restore_priv.h"

#define SEND_BYTES ((size_t)128 << 10) /* rows are sent when this many bytes wait */
#define KEEP_BYTES ((size_t)4 << 20)   /* a larger buffer is given back after a huge row */
#define ROW_MAX_BYTES ((size_t)2 << 30)
#define SETS_MAX 10000

bool amber_conflict_parse(const char *word, enum amber_conflict *out)
{
    static const struct {
        const char *word;
        enum amber_conflict mode;
    } words[] = {{"error", AMBER_CONFLICT_ERROR},
                 {"skip", AMBER_CONFLICT_SKIP},
                 {"replace", AMBER_CONFLICT_REPLACE}};
    for (size_t i = 0; i < amber_countof(words); i++)
        if (strcmp(word, words[i].word) == 0) {
            *out = words[i].mode;
            return true;
        }
    return false;
}

void amber_restore_note(struct amber_restore *r, const char *fmt, ...)
{
    size_t used = strlen(r->stats.notes), room = sizeof(r->stats.notes) - used;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(r->stats.notes + used, room, fmt, ap);
    va_end(ap);
    bool fits = n >= 0 && (size_t)n + 2 <= room;
    memcpy(r->stats.notes + used + (fits ? n : 0), fits ? "\n" : "", fits ? 2 : 1);
}

ptrdiff_t amber_restore_emitted(const struct amber_restore *r, const char *name)
{
    for (size_t i = 0; i < r->n_emit; i++)
        if (strcmp(r->names[i], name) == 0)
            return (ptrdiff_t)i;
    return -1;
}

/* ---- errors in the file's terms ---- */

static bool is_duplicate(const char *sqlstate)
{
    return strcmp(sqlstate, "23505") == 0 || strcmp(sqlstate, "23P01") == 0;
}

enum amber_rc amber_restore_explain(struct amber_restore *r, uint64_t line, struct amber_err *err)
{
    if (err->code != AMBER_E_DB)
        return err->code;
    const struct amber_pg_diag d = r->pg->diag;
    char at[AMBER_PG_NAME_MAX + 48] = "";
    if (line && *d.column)
        snprintf(at, sizeof(at), "line %" PRIu64 ", column %s: ", line, d.column);
    else if (line)
        snprintf(at, sizeof(at), "line %" PRIu64 ": ", line);
    bool again = is_duplicate(d.sqlstate) && r->savepoint && !r->staged;
    enum amber_rc rc;
    if (is_duplicate(d.sqlstate))
        rc = amber_fail(err, again ? AMBER_E_EXISTS : AMBER_E_DB,
                        "%sa row with the same key is there already (constraint \"%s\" of %s.%s; "
                        "SQLSTATE %s)",
                        at, d.constraint, d.schema, d.table, d.sqlstate);
    else if (strcmp(d.sqlstate, "23503") == 0)
        rc = amber_fail(err, AMBER_E_DB,
                        "%sthe row that foreign key \"%s\" of %s.%s asks for isn't in its table "
                        "(SQLSTATE 23503): restore the parent's archive first, or the whole family "
                        "with `amberfs restore`",
                        at, d.constraint, d.schema, d.table);
    else
        rc = amber_fail(err, AMBER_E_DB, "%s%s (SQLSTATE %s)", at, d.text, d.sqlstate);
    memcpy(err->sqlstate, d.sqlstate, sizeof(err->sqlstate));
    return rc;
}

static uint64_t file_line(const struct amber_restore *r, uint64_t copy_row)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < r->n_steps && r->steps[i].row <= copy_row; i++)
        offset = r->steps[i].offset;
    return copy_row ? copy_row + offset : 0;
}

/* ---- opening ---- */

static const struct amber_target_column *find_column(const struct amber_restore *r,
                                                     const char *name)
{
    for (size_t i = 0; i < r->n_columns; i++)
        if (strcmp(r->columns[i].name, name) == 0)
            return &r->columns[i];
    return NULL;
}

/* Columns that both have are emitted; what one side lacks is told. */
static enum amber_rc match_columns(struct amber_restore *r, struct amber_err *err)
{
    const struct amber_schema *s = r->source;
    enum amber_rc rc = amber_calloc(s->n_columns + 1, sizeof(*r->emit), &r->emit, err);
    if (!rc)
        rc = amber_calloc(s->n_columns + 1, sizeof(*r->names), &r->names, err);
    for (size_t i = 0; !rc && i < s->n_columns; i++) {
        const struct amber_target_column *c = find_column(r, s->columns[i].name);
        if (!c) {
            amber_restore_note(r, "column %s is no longer in the table and was left out",
                               s->columns[i].name);
            continue;
        }
        if (c->generated)
            continue;
        const char *was = s->columns[i].type.name;
        if (was && *was && strcmp(c->type, was) != 0)
            amber_restore_note(r, "column %s is now %s, and was %s", c->name, c->type, was);
        r->emit[r->n_emit] = i;
        r->names[r->n_emit++] = c->name;
    }
    return rc;
}

static enum amber_rc check_gained(struct amber_restore *r, struct amber_err *err)
{
    for (size_t i = 0; !r->any_keys && i < r->n_columns; i++) {
        const struct amber_target_column *c = &r->columns[i];
        if (c->generated || amber_schema_find(r->source, c->name, strlen(c->name)) >= 0)
            continue;
        if (c->not_null && !c->has_default)
            return amber_fail(err, AMBER_E_INVALID,
                              "%s.%s has a column %s since, NOT NULL and without a default: give "
                              "it a default for the restore (ALTER TABLE ... ALTER COLUMN ... SET "
                              "DEFAULT ...)",
                              r->schema, r->table, c->name);
        amber_restore_note(r, "column %s is new in the table and takes its default", c->name);
    }
    return AMBER_OK;
}

static enum amber_rc check_repeat(const struct amber_restore *r,
                                  const struct amber_restore_config *cfg, struct amber_err *err)
{
    if (!cfg->restored_before || cfg->force || amber_target_sees_doubles(r))
        return AMBER_OK;
    return amber_fail(err, AMBER_E_INVALID,
                      "this archive was restored into %s.%s before, and the table has no unique "
                      "key by which its rows would be known: they would be there twice. Force it "
                      "(amberfs restore --force) if they are gone from the table",
                      r->schema, r->table);
}

/* A name for one of the staging table's own columns that no column of the target has. */
static enum amber_rc own_name(struct amber_restore *r, const char *base, char **out,
                              struct amber_err *err)
{
    char name[64];
    snprintf(name, sizeof(name), "%s", base);
    for (unsigned n = 2; find_column(r, name); n++)
        snprintf(name, sizeof(name), "%s_%u", base, n);
    return amber_strdup(name, out, err);
}

static enum amber_rc open_decoder(struct amber_restore *r, struct amber_err *err)
{
    struct amber_row_decoder_config cfg = {
        .schema = r->source,
        .emit = r->emit,
        .n_emit = r->n_emit,
        .any_keys = r->any_keys,
    };
    enum amber_rc rc =
        amber_calloc(r->source->n_columns + 1, sizeof(*r->present), &r->present, err);
    return rc ? rc : amber_row_decoder_new(&cfg, &r->decoder, err);
}

/* Straight into the table if that can't go wrong, or if it may be tried. */
static enum amber_rc choose_way(struct amber_restore *r, struct amber_err *err)
{
    if (!r->n_keys || r->mode == AMBER_CONFLICT_ERROR)
        return AMBER_OK;
    if (r->can_repeat) {
        r->savepoint = true;
        return amber_pg_exec(r->pg, err, "SAVEPOINT amberfs_restore");
    }
    r->staged = true;
    return amber_staging_make(r, err);
}

static enum amber_rc open_target(struct amber_restore *r, const struct amber_restore_config *cfg,
                                 struct amber_err *err)
{
    enum amber_rc rc = amber_strdup(cfg->table_schema, &r->schema, err);
    if (!rc)
        rc = amber_strdup(cfg->table_name, &r->table, err);
    if (!rc)
        rc = amber_target_inspect(r, err);
    if (!rc && r->any_keys)
        rc = amber_table_schema(r->pg, r->schema, r->table, &r->own, err);
    if (!rc)
        rc = match_columns(r, err);
    if (!rc)
        rc = check_gained(r, err);
    if (!rc)
        rc = check_repeat(r, cfg, err);
    if (!rc)
        rc = amber_target_partitions(r, cfg->partitions, cfg->n_partitions, err);
    if (!rc)
        rc = own_name(r, "amberfs_line", &r->line_col, err);
    if (!rc)
        rc = own_name(r, "amberfs_set", &r->set_col, err);
    if (!rc)
        rc = open_decoder(r, err);
    return rc ? rc : choose_way(r, err);
}

enum amber_rc amber_restore_open(struct amber_pg *pg, const struct amber_restore_config *cfg,
                                 struct amber_restore **out, struct amber_err *err)
{
    struct amber_restore *r = NULL;
    enum amber_rc rc = amber_calloc(1, sizeof(*r), &r, err);
    if (rc)
        return rc;
    r->pg = pg;
    r->mode = cfg->on_conflict;
    r->can_repeat = cfg->can_repeat;
    r->allow_triggers = cfg->allow_triggers;
    r->any_keys = !cfg->schema;
    r->source = cfg->schema ? cfg->schema : &r->own;
    amber_buf_init(&r->copy, ROW_MAX_BYTES);
    amber_buf_init(&r->scratch, ROW_MAX_BYTES);
    rc = open_target(r, cfg, err);
    if (rc) {
        amber_restore_free(r);
        return rc;
    }
    *out = r;
    return AMBER_OK;
}

/* ---- the running COPY ---- */

static enum amber_rc start_copy(struct amber_restore *r, struct amber_err *err)
{
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    if (r->staged)
        amber_sqltext_add(&sql, "COPY pg_temp.amberfs_staging (%i, %i", r->line_col, r->set_col);
    else
        amber_sqltext_add(&sql, "COPY %t (", r->schema, r->table);
    for (size_t i = 0, n = r->staged; i < r->n_emit; i++)
        if (r->staged || r->sets[r->set].has[i])
            amber_sqltext_add(&sql, "%s%i", n++ ? ", " : "", r->names[i]);
    amber_sqltext_add(&sql, ") FROM STDIN");
    enum amber_rc rc = amber_sqltext_rc(&sql);
    if (!rc)
        rc = amber_pg_copy_in(r->pg, amber_sqltext_str(&sql), err);
    if (rc)
        return rc;
    r->copying = true;
    r->copy_rows = 0;
    r->n_steps = 0;
    return AMBER_OK;
}

static enum amber_rc end_copy(struct amber_restore *r, struct amber_err *err)
{
    if (!r->copying)
        return AMBER_OK;
    r->copying = false;
    uint64_t rows = 0, line = 0;
    enum amber_rc rc = amber_pg_copy_end(r->pg, &rows, &line, err);
    if (rc)
        return amber_restore_explain(r, file_line(r, line), err);
    if (!r->staged)
        r->stats.rows_inserted += rows;
    return AMBER_OK;
}

/* Send the first len bytes that wait. When the server speaks up, the COPY is ended to hear it; if
 * all is well, the next row starts another one. */
static enum amber_rc send_rows(struct amber_restore *r, size_t len, struct amber_err *err)
{
    if (!len)
        return AMBER_OK;
    enum amber_rc rc = amber_pg_copy_send(r->pg, r->copy.data, len, err);
    if (rc)
        return rc;
    memmove(r->copy.data, r->copy.data + len, r->copy.len - len);
    r->copy.len -= len;
    if (r->copy.cap > KEEP_BYTES && !r->copy.len)
        amber_buf_clear(&r->copy);
    return amber_pg_copy_stirred(r->pg) ? end_copy(r, err) : AMBER_OK;
}

/* ---- rows ---- */

static enum amber_rc add_set(struct amber_restore *r, const bool *has, struct amber_err *err)
{
    if (r->n_sets == SETS_MAX)
        return amber_fail(err, AMBER_E_LIMIT,
                          "line %" PRIu64 ": the file's rows have more than %d different sets of "
                          "keys: give each row all keys (null where there is nothing)",
                          r->line, SETS_MAX);
    enum amber_rc rc = amber_grow(&r->sets, &r->cap_sets, r->n_sets + 1, sizeof(*r->sets), err);
    if (rc)
        return rc;
    struct amber_row_set *s = &r->sets[r->n_sets];
    *s = (struct amber_row_set){0};
    rc = amber_calloc(r->n_emit + 1, sizeof(*s->has), &s->has, err);
    for (size_t i = 0; !rc && i < r->n_emit; i++) {
        s->has[i] = !has || has[r->emit[i]];
        s->n += s->has[i];
    }
    if (!rc)
        r->n_sets++;
    return rc;
}

static bool set_is(const struct amber_restore *r, const struct amber_row_set *s, const bool *has)
{
    for (size_t i = 0; i < r->n_emit; i++)
        if (s->has[i] != has[r->emit[i]])
            return false;
    return true;
}

/* The set of the row just decoded; most rows have that of the row before. */
static enum amber_rc find_set(struct amber_restore *r, size_t *out, struct amber_err *err)
{
    const bool *has = r->any_keys ? r->present : NULL;
    if (r->n_sets && (!has || set_is(r, &r->sets[r->set], has))) {
        *out = r->set;
        return AMBER_OK;
    }
    for (size_t i = 0; has && i < r->n_sets; i++)
        if (set_is(r, &r->sets[i], has)) {
            *out = i;
            return AMBER_OK;
        }
    enum amber_rc rc = add_set(r, has, err);
    if (!rc)
        *out = r->n_sets - 1;
    return rc;
}

/* The scratch row goes to the staging table: line and set before it, \N for what it hasn't. */
static enum amber_rc put_staged(struct amber_restore *r, const struct amber_row_set *set,
                                size_t set_no, struct amber_err *err)
{
    enum amber_rc rc = amber_buf_printf(&r->copy, err, "%" PRIu64 "\t%zu", r->line, set_no);
    const char *p = r->scratch.data;
    size_t left = r->scratch.len;
    if (!rc && set->n == r->n_emit) {
        rc = amber_buf_append(&r->copy, "\t", 1, err);
        return rc ? rc : amber_buf_append(&r->copy, p, left, err);
    }
    for (size_t i = 0; !rc && i < r->n_emit; i++) {
        if (!set->has[i]) {
            rc = amber_buf_append(&r->copy, "\t\\N", 3, err);
            continue;
        }
        size_t len = 0;
        while (p[len] != '\t' && p[len] != '\n') /* neither stands unescaped in a field */
            len++;
        rc = amber_buf_append(&r->copy, "\t", 1, err);
        if (!rc)
            rc = amber_buf_append(&r->copy, p, len, err);
        p += len + 1;
    }
    return rc ? rc : amber_buf_append(&r->copy, "\n", 1, err);
}

static enum amber_rc note_step(struct amber_restore *r, struct amber_err *err)
{
    uint64_t offset = r->line - r->copy_rows;
    if (r->n_steps && r->steps[r->n_steps - 1].offset == offset)
        return AMBER_OK;
    enum amber_rc rc = amber_grow(&r->steps, &r->cap_steps, r->n_steps + 1, sizeof(*r->steps), err);
    if (!rc)
        r->steps[r->n_steps++] = (struct amber_line_step){r->copy_rows, offset};
    return rc;
}

/* The row lies in copy from `at` on (direct), or in scratch (staged). */
static enum amber_rc put_row(struct amber_restore *r, size_t at, struct amber_err *err)
{
    size_t set_no = 0;
    enum amber_rc rc = find_set(r, &set_no, err);
    if (rc)
        return rc;
    struct amber_row_set *set = &r->sets[set_no];
    set->rows++;
    if (!set->n) {
        r->n_empty++;
        if (!r->staged)
            r->copy.len = at;
        return AMBER_OK;
    }
    if (!r->staged && r->copying && set_no != r->set) { /* another list of columns */
        rc = send_rows(r, at, err);
        if (!rc)
            rc = end_copy(r, err);
    }
    r->set = set_no;
    if (!rc && !r->copying)
        rc = start_copy(r, err);
    if (!rc && r->staged)
        rc = put_staged(r, set, set_no, err);
    if (rc)
        return rc;
    r->copy_rows++;
    rc = note_step(r, err);
    if (!rc && r->copy.len >= SEND_BYTES)
        rc = send_rows(r, r->copy.len, err);
    return rc;
}

static enum amber_rc take_row(struct amber_restore *r, const char *line, size_t len,
                              const char *overlay, size_t overlay_len, struct amber_err *err)
{
    r->line++;
    if (r->any_keys && !len)
        return AMBER_OK;
    r->stats.rows_in++;
    struct amber_buf *out = r->staged ? &r->scratch : &r->copy;
    if (r->staged)
        r->scratch.len = 0;
    size_t at = out->len;
    if (r->any_keys)
        memset(r->present, 0, r->source->n_columns * sizeof(*r->present));
    enum amber_rc rc = amber_row_decode(r->decoder, line, len, overlay, overlay_len, out,
                                        r->any_keys ? r->present : NULL, err);
    if (rc)
        return amber_wrap(err, "line %" PRIu64, r->line);
    rc = put_row(r, at, err);
    if (r->scratch.cap > KEEP_BYTES)
        amber_buf_clear(&r->scratch);
    return rc;
}

static enum amber_rc check_usable(const struct amber_restore *r, struct amber_err *err)
{
    if (!r->failed)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_INVALID, "this restore of %s.%s has failed before", r->schema,
                      r->table);
}

enum amber_rc amber_restore_row(struct amber_restore *r, const char *line, size_t len,
                                const char *overlay, size_t overlay_len, struct amber_err *err)
{
    enum amber_rc rc = check_usable(r, err);
    if (!rc)
        rc = take_row(r, line, len, overlay, overlay_len, err);
    r->failed = rc != AMBER_OK;
    return rc;
}

/* ---- the end ---- */

static void forget_sets(struct amber_restore *r)
{
    for (size_t i = 0; i < r->n_sets; i++)
        free(r->sets[i].has);
    r->n_sets = 0;
    r->set = 0;
}

enum amber_rc amber_restore_again(struct amber_restore *r, struct amber_err *err)
{
    if (r->copying)
        amber_pg_copy_abort(r->pg);
    r->copying = false;
    enum amber_rc rc = amber_pg_exec(r->pg, err, "ROLLBACK TO SAVEPOINT amberfs_restore");
    if (rc)
        return rc;
    r->failed = false;
    r->staged = true;
    r->copy.len = 0;
    r->line = r->n_empty = 0;
    r->stats.rows_in = r->stats.rows_inserted = 0;
    forget_sets(r);
    return amber_staging_make(r, err);
}

/* Rows that take the default of every column. */
static enum amber_rc insert_empty(struct amber_restore *r, struct amber_err *err)
{
    if (!r->n_empty)
        return AMBER_OK;
    char n[24];
    snprintf(n, sizeof(n), "%" PRIu64, r->n_empty);
    AMBER_AUTO_SQLTEXT struct amber_sqltext sql = AMBER_SQLTEXT_INIT(err);
    amber_sqltext_add(&sql, "INSERT INTO %t SELECT FROM generate_series(1, %s)", r->schema,
                      r->table, n);
    enum amber_rc rc = amber_sqltext_exec(&sql, r->pg);
    if (rc)
        return amber_restore_explain(r, 0, err);
    r->stats.rows_inserted += r->n_empty;
    return AMBER_OK;
}

static enum amber_rc close_rows(struct amber_restore *r, struct amber_err *err)
{
    enum amber_rc rc = r->copying ? send_rows(r, r->copy.len, err) : AMBER_OK;
    if (!rc)
        rc = end_copy(r, err);
    if (!rc && r->staged)
        rc = amber_staging_merge(r, err);
    if (!rc)
        rc = insert_empty(r, err);
    if (!rc)
        rc = amber_target_settle(r, err);
    if (!rc && r->stats.rows_inserted)
        rc = amber_target_sequences(r, err);
    if (!rc && r->staged)
        rc = amber_pg_exec(r->pg, err,
                           "DROP TABLE pg_temp.amberfs_staging, pg_temp.amberfs_conflict");
    if (!rc && r->savepoint)
        rc = amber_pg_exec(r->pg, err, "RELEASE SAVEPOINT amberfs_restore");
    return rc;
}

enum amber_rc amber_restore_close(struct amber_restore *r, struct amber_restore_stats *out,
                                  struct amber_err *err)
{
    enum amber_rc rc = check_usable(r, err);
    if (!rc)
        rc = close_rows(r, err);
    r->failed = rc != AMBER_OK;
    if (rc)
        return rc;
    struct amber_restore_stats *s = &r->stats;
    s->rows_skipped = s->rows_in - s->rows_inserted - s->rows_replaced;
    if (s->rows_skipped && !r->staged)
        amber_restore_note(r, "a trigger kept %s out", AMBER_COUNT(s->rows_skipped, "row"));
    *out = *s;
    return AMBER_OK;
}

void amber_restore_free(struct amber_restore *r)
{
    if (!r)
        return;
    if (r->copying)
        amber_pg_copy_abort(r->pg);
    amber_row_decoder_free(r->decoder);
    amber_target_clear(r);
    forget_sets(r);
    free(r->sets);
    free(r->names);
    free(r->emit);
    free(r->present);
    free(r->steps);
    free(r->line_col);
    free(r->set_col);
    amber_buf_clear(&r->copy);
    amber_buf_clear(&r->scratch);
    amber_schema_clear(&r->own);
    free(r->schema);
    free(r->table);
    free(r);
}
