/*
 * pg_error.c - what the server says of a failure, without a row's values.
 *
 * Only the primary message, the SQLSTATE and the names of schema, table, column and constraint are
 * kept; DETAIL, HINT and CONTEXT are dropped, but for "line N, column C" of a COPY. Some primary
 * messages quote a value ('invalid input syntax for type integer: "..."'): of those classes the
 * quoted part is cut, and where messages are translated, so that the quotation marks aren't known,
 * the whole text. What a function raised by itself may hold anything and is left out as well.
 */
#include <stdio.h>

#include "pg_priv.h"

static void copy_field(const PGresult *res, int field, char *out, size_t out_len)
{
    const char *s = res ? PQresultErrorField(res, field) : NULL;
    snprintf(out, out_len, "%s", s ? s : "");
}

void amber_pg_hide_quoted(char *text)
{
    char *first = strchr(text, '"');
    char *last = strrchr(text, '"');
    if (!first)
        return;
    /* One mark only: the text was cut within the quoted part. */
    const char *rest = first == last ? text + strlen(text) : last + 1;
    while (first > text && (first[-1] == ' ' || first[-1] == ':'))
        first--;
    memmove(first, rest, strlen(rest) + 1);
}

/* Classes whose messages may quote a row's value. */
static bool may_quote_values(const char *sqlstate)
{
    static const char *const classes[] = {"22", "38", "39", "HV", "P0"};
    for (size_t i = 0; i < amber_countof(classes); i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    return false;
}

/* A message of a user's RAISE (or of another language's like) rather than of the server. */
static bool is_raised(const PGresult *res, const char *sqlstate)
{
    const char *fn = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
    static const char *const raisers[] = {"exec_stmt_raise", "exec_stmt_assert", "do_util_elog",
                                          "PLy_output",      "PLy_elog_impl",    "pltcl_elog"};
    for (size_t i = 0; fn && i < amber_countof(raisers); i++)
        if (strcmp(fn, raisers[i]) == 0)
            return true;
    return strncmp(sqlstate, "P0", 2) == 0;
}

/* "PL/pgSQL function public.check_it() line 3 at RAISE" -> "public.check_it" */
static void raised_text(const PGresult *res, char *out, size_t out_len)
{
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
    static const char intro[] = "PL/pgSQL function ";
    const char *name = context ? strstr(context, intro) : NULL;
    int len = 0;
    if (name) {
        name += sizeof(intro) - 1;
        len = (int)strcspn(name, "(\n\"");
    }
    snprintf(
        out, out_len,
        "a trigger or function%s%.*s raised an exception (its text is left out, as it may hold "
        "values of the row; see the server's log)",
        len ? " " : "", len < 128 ? len : 128, name ? name : "");
}

static void primary_text(const struct amber_pg *pg, const PGresult *res, const char *sqlstate,
                         char *out, size_t out_len)
{
    if (is_raised(res, sqlstate)) {
        raised_text(res, out, out_len);
        return;
    }
    copy_field(res, PG_DIAG_MESSAGE_PRIMARY, out, out_len);
    if (!may_quote_values(sqlstate))
        return;
    if (strlen(out) + 1 == out_len) /* cut, maybe in the middle of a value */
        out[strcspn(out, "\"")] = '\0';
    /* 22P04 names columns only: "missing data for column". */
    if (!pg->english)
        snprintf(out, out_len, "a value isn't what its type asks for");
    else if (strcmp(sqlstate, "22P04") != 0)
        amber_pg_hide_quoted(out);
    char *bytes = strstr(out, ": 0x"); /* invalid byte sequence: the bytes are the row's */
    if (bytes)
        *bytes = '\0';
}

/*
 * Find "COPY <table>, line <n>[, column <name>][: <value>]" in the context. The words are
 * translated on some servers, the order isn't. The name ends at the first colon.
 */
static void parse_copy_context(const PGresult *res, struct amber_pg_diag *d)
{
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
    if (!context)
        return;
    const char *p = strncmp(context, "COPY ", 5) == 0 ? context : strstr(context, "\nCOPY ");
    if (!p)
        return;
    const char *eol = p + 1 + strcspn(p + 1, "\n");
    const char *digits = NULL;
    while (!digits && (p = strstr(p, ", ")) && p < eol) {
        p += 2;
        const char *word_end = p + strcspn(p, " :,\n");
        if (*word_end == ' ' && word_end[1] >= '0' && word_end[1] <= '9')
            digits = word_end + 1;
    }
    if (!digits)
        return;
    char *end;
    d->line = strtoull(digits, &end, 10);
    if (strncmp(end, ", ", 2) != 0)
        return;
    const char *name = strchr(end + 2, ' ');
    if (!name || name >= eol)
        return;
    name++;
    size_t len = strcspn(name, ":\n");
    while (len && name[len - 1] == ' ')
        len--;
    snprintf(d->column, sizeof(d->column), "%.*s",
             (int)(len < sizeof(d->column) ? len : sizeof(d->column) - 1), name);
}

/* Append `, word "name"` unless the text has the name already. */
static void add_name(char *text, size_t size, const char *word, const char *name)
{
    size_t len = strlen(text);
    if (*name && !strstr(text, name))
        snprintf(text + len, size - len, ", %s \"%s\"", word, name);
}

static void diagnose(struct amber_pg *pg, const PGresult *res)
{
    struct amber_pg_diag *d = &pg->diag;
    *d = (struct amber_pg_diag){0};
    copy_field(res, PG_DIAG_SQLSTATE, d->sqlstate, sizeof(d->sqlstate));
    copy_field(res, PG_DIAG_SCHEMA_NAME, d->schema, sizeof(d->schema));
    copy_field(res, PG_DIAG_TABLE_NAME, d->table, sizeof(d->table));
    copy_field(res, PG_DIAG_COLUMN_NAME, d->column, sizeof(d->column));
    copy_field(res, PG_DIAG_CONSTRAINT_NAME, d->constraint, sizeof(d->constraint));
    primary_text(pg, res, d->sqlstate, d->text, sizeof(d->text));
    add_name(d->text, sizeof(d->text), "table", d->table);
    add_name(d->text, sizeof(d->text), "column", d->column);
    add_name(d->text, sizeof(d->text), "constraint", d->constraint);
    parse_copy_context(res, d);
}

static bool ends_connection(const PGresult *res, const char *sqlstate)
{
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    return strncmp(sqlstate, "08", 2) == 0 ||
           (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0));
}

enum amber_rc amber_pg_fail(struct amber_pg *pg, const PGresult *res, struct amber_err *err)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (!state || !*state) /* libpq's own: the connection broke, or memory ran out */
        return amber_pg_lost(pg, err);
    diagnose(pg, res);
    const struct amber_pg_diag *d = &pg->diag;
    if (ends_connection(res, d->sqlstate)) {
        pg->broken = true;
        return amber_fail(err, AMBER_E_NET, "lost the connection to %s: %s", pg->where, d->text);
    }
    if (strcmp(d->sqlstate, "57014") == 0) /* we have no statement_timeout: somebody asked for it */
        return amber_fail(err, AMBER_E_CANCELED, "canceled while PostgreSQL worked for us: %s",
                          d->text);
    char at[AMBER_PG_NAME_MAX + 64] = "";
    if (d->line && *d->column)
        snprintf(at, sizeof(at), "line %llu, column %s: ", (unsigned long long)d->line, d->column);
    else if (d->line)
        snprintf(at, sizeof(at), "line %llu: ", (unsigned long long)d->line);
    enum amber_rc rc = strcmp(d->sqlstate, "55P03") == 0 ? AMBER_E_BUSY : AMBER_E_DB;
    rc = amber_fail(err, rc, "%s%s (SQLSTATE %s)%s", at, d->text, d->sqlstate,
                    strcmp(d->sqlstate, "25006") == 0
                        ? ": this is a standby, whose primary must be named, or "
                          "default_transaction_read_only is on: ALTER ROLE or DATABASE ... RESET it"
                        : "");
    memcpy(err->sqlstate, d->sqlstate, sizeof(err->sqlstate));
    return rc;
}

enum amber_rc amber_pg_lost(struct amber_pg *pg, struct amber_err *err)
{
    char why[512], state[6];
    amber_pg_connect_message(PQerrorMessage(pg->conn), why, sizeof(why), state);
    pg->broken = true;
    return amber_fail(err, AMBER_E_NET, "lost the connection to %s: %s", pg->where,
                      *why ? why : "it is closed");
}

/* The SQLSTATE of a verbose message: "FATAL:  28P01: password ..." */
static void find_sqlstate(const char *line, size_t len, char sqlstate[6])
{
    for (const char *p = line; p + 9 <= line + len; p++)
        if (memcmp(p, ":  ", 3) == 0 && p[8] == ':' &&
            strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5) {
            memcpy(sqlstate, p + 3, 5);
            sqlstate[5] = '\0';
        }
}

void amber_pg_connect_message(const char *message, char *out, size_t out_len, char sqlstate[6])
{
    size_t used = 0;
    sqlstate[0] = out[0] = '\0';
    for (const char *line = message; *line;) {
        size_t len = strcspn(line, "\n");
        const char *next = line + len + (line[len] == '\n');
        while (len && (*line == ' ' || *line == '\t')) {
            line++;
            len--;
        }
        if (len && strncmp(line, "LOCATION:", 9) != 0 && strncmp(line, "CONTEXT:", 8) != 0) {
            find_sqlstate(line, len, sqlstate);
            if (used < out_len) {
                int n = snprintf(out + used, out_len - used, "%s%.*s", used ? "; " : "", (int)len,
                                 line);
                used += (size_t)n;
            }
        }
        line = next;
    }
}

bool amber_pg_unit_retryable(const struct amber_err *err)
{
    static const char *const states[] = {"40001", "40P01", "55P03", "23503"};
    if (err->code == AMBER_E_NET)
        return true;
    for (size_t i = 0; i < amber_countof(states); i++)
        if (strcmp(err->sqlstate, states[i]) == 0)
            return true;
    return false;
}
