/*
 * copy.c - COPY in both directions.
 *
 * Out: libpq's own buffer of a row is handed over, nothing is copied. In: what is sent is flushed
 * before more is taken, so that memory stays bounded by one slice. While rows go in, libpq hands
 * out no error before the COPY is ended; whatever the server sends beside notices is therefore
 * remembered as "stirred", and the sender may end the COPY early and see. What arrives is seen by a
 * poll, with one exception: when libpq can't write it reads, and doesn't tell whether anything came.
 * From then on the COPY counts as stirred after UNHEARD_MAX bytes more.
 */
#include <poll.h>
#include <stdio.h>

#include "pg_priv.h"

#define SLICE ((size_t)256 << 10) /* bytes handed to libpq at once */
#define UNHEARD_MAX ((size_t)16 << 20)

static enum amber_rc start_copy(struct amber_pg *pg, const char *sql, enum amber_pg_copy want,
                                struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    if (rc)
        return rc;
    if (!PQsendQuery(pg->conn, sql))
        return amber_pg_lost(pg, err);
    pg->stirred = pg->overread = false;
    pg->unheard = 0;
    PGresult *res = NULL;
    rc = amber_pg_finish(pg, &turn, &res, err);
    PQclear(res);
    if (!rc && pg->copy != want) {
        amber_pg_settle(pg);
        return amber_fail(err, AMBER_E_INVALID,
                          "the statement isn't a COPY of the right direction");
    }
    return rc;
}

/* ---- out ---- */

enum amber_rc amber_pg_copy_out(struct amber_pg *pg, const char *sql, struct amber_err *err)
{
    return start_copy(pg, sql, AMBER_PG_COPY_OUT, err);
}

/* The rows have ended: well, or with an error. */
static enum amber_rc end_out(struct amber_pg *pg, char **out_line, size_t *out_len,
                             struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    PGresult *res = NULL;
    pg->copy = AMBER_PG_COPY_NONE;
    enum amber_rc rc = amber_pg_finish(pg, &turn, &res, err);
    PQclear(res);
    if (rc)
        return rc;
    *out_line = NULL;
    *out_len = 0;
    return AMBER_OK;
}

enum amber_rc amber_pg_copy_next(struct amber_pg *pg, char **out_line, size_t *out_len,
                                 struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    for (;;) {
        char *line = NULL;
        int n = PQgetCopyData(pg->conn, &line, 1);
        if (n > 0) {
            *out_line = line;
            *out_len = (size_t)n;
            return AMBER_OK;
        }
        if (n < 0)
            return end_out(pg, out_line, out_len, err);
        enum amber_rc rc = amber_pg_ready(pg, true, err);
        if (!rc)
            rc = amber_pg_wait(pg, POLLIN, &turn, err);
        if (rc) { /* the rest is dropped */
            amber_pg_settle(pg);
            return rc;
        }
        if (!PQconsumeInput(pg->conn))
            return amber_pg_lost(pg, err);
    }
}

void amber_pg_copy_free(char *line)
{
    PQfreemem(line);
}

/* ---- in ---- */

enum amber_rc amber_pg_copy_in(struct amber_pg *pg, const char *sql, struct amber_err *err)
{
    return start_copy(pg, sql, AMBER_PG_COPY_IN, err);
}

/* Read what the server sent while we send. Notices are handled by libpq at the next put. */
static enum amber_rc listen_in(struct amber_pg *pg, struct amber_err *err)
{
    unsigned before = pg->notices;
    if (!PQconsumeInput(pg->conn))
        return amber_pg_lost(pg, err);
    if (PQputCopyData(pg->conn, "", 0) < 0)
        return amber_pg_lost(pg, err);
    if (pg->notices == before)
        pg->stirred = true;
    return AMBER_OK;
}

/* Wait until everything handed to libpq is on its way. */
static enum amber_rc flush_all(struct amber_pg *pg, struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    for (;;) {
        int unsent = PQflush(pg->conn);
        if (unsent < 0)
            return amber_pg_lost(pg, err);
        if (unsent > 0)
            pg->overread = true;
        struct pollfd p = {.fd = PQsocket(pg->conn), .events = POLLIN};
        if (poll(&p, 1, 0) > 0 && !pg->stirred) {
            enum amber_rc rc = listen_in(pg, err);
            if (rc)
                return rc;
        }
        if (!unsent)
            return AMBER_OK;
        /* Once stirred, input stays unread, so that only room to write is waited for. */
        enum amber_rc rc =
            amber_pg_wait(pg, (short)(pg->stirred ? POLLOUT : POLLIN | POLLOUT), &turn, err);
        if (rc)
            return rc;
    }
}

enum amber_rc amber_pg_copy_send(struct amber_pg *pg, const void *data, size_t len,
                                 struct amber_err *err)
{
    const char *p = data;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    while (!rc && len) {
        size_t n = len < SLICE ? len : SLICE;
        int put = PQputCopyData(pg->conn, p, (int)n);
        if (put < 0)
            return amber_pg_lost(pg, err);
        if (put > 0) {
            p += n;
            len -= n;
        }
        rc = flush_all(pg, err);
        if (pg->overread && (pg->unheard += n) >= UNHEARD_MAX)
            pg->stirred = true;
    }
    return rc;
}

enum amber_rc amber_pg_copy_end(struct amber_pg *pg, uint64_t *out_rows, uint64_t *out_line,
                                struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    if (out_line)
        *out_line = 0;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    if (rc)
        return rc;
    int put;
    while ((put = PQputCopyEnd(pg->conn, NULL)) == 0) {
        rc = flush_all(pg, err);
        if (rc)
            return rc;
    }
    if (put < 0)
        return amber_pg_lost(pg, err);
    pg->copy = AMBER_PG_COPY_NONE;
    pg->diag = (struct amber_pg_diag){0};
    PGresult *res = NULL;
    rc = amber_pg_finish(pg, &turn, &res, err);
    if (!rc && out_rows)
        *out_rows = strtoull(PQcmdTuples(res), NULL, 10);
    else if (rc && out_line)
        *out_line = pg->diag.line;
    PQclear(res);
    return rc;
}

void amber_pg_copy_abort(struct amber_pg *pg)
{
    if (pg->copy == AMBER_PG_COPY_IN)
        amber_pg_settle(pg);
}

bool amber_pg_copy_stirred(const struct amber_pg *pg)
{
    return pg->stirred;
}
