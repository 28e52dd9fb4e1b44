/*
 * statement.c - one exchange with the server: send, wait, take the results.
 *
 * A turn that is canceled sends the server a cancel request and gives it 3 s to answer; a server
 * that doesn't loses the connection, and its transaction with it. A COMMIT is never canceled: once it
 * is sent, only the answer counts. The cancel flag bounds how long that is waited for (a synchronous
 * standby that is away holds it back for good); then it is in doubt, as if the answer was lost.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/failpoint.h"
#include "amber/log.h"
#include "pg_priv.h"

#define CANCEL_ANSWER_US INT64_C(2000000)
#define COMMIT_ANSWER_US INT64_C(10000000) /* a stop that waits is better than a run in doubt */
#define SETTLE_US INT64_C(1000000)

/* ---- results ---- */

void amber_res_free(struct amber_res *r)
{
    if (!r)
        return;
    PQclear(r->pg);
    free(r);
}

void amber_res_free_p(struct amber_res **r)
{
    amber_res_free(*r);
    *r = NULL;
}

size_t amber_res_rows(const struct amber_res *r)
{
    return (size_t)PQntuples(r->pg);
}

const char *amber_res_get(const struct amber_res *r, size_t row, size_t col)
{
    if (PQgetisnull(r->pg, (int)row, (int)col))
        return NULL;
    return PQgetvalue(r->pg, (int)row, (int)col);
}

int64_t amber_res_int(const struct amber_res *r, size_t row, size_t col)
{
    const char *s = amber_res_get(r, row, col);
    return s ? strtoll(s, NULL, 10) : 0;
}

bool amber_res_bool(const struct amber_res *r, size_t row, size_t col)
{
    const char *s = amber_res_get(r, row, col);
    return s && *s == 't';
}

uint64_t amber_res_affected(const struct amber_res *r)
{
    return strtoull(PQcmdTuples(r->pg), NULL, 10);
}

const char *amber_res_tag(const struct amber_res *r)
{
    return PQcmdStatus(r->pg);
}

/* ---- waiting ---- */

enum amber_rc amber_pg_ready(struct amber_pg *pg, bool heed, struct amber_err *err)
{
    if (!amber_pg_alive(pg))
        return amber_fail(err, AMBER_E_NET, "the connection to %s was lost before",
                          pg->where ? pg->where : "the database");
    return heed ? amber_cancel_check(pg->cancel, err) : AMBER_OK;
}

enum amber_rc amber_pg_wait(struct amber_pg *pg, short events, struct amber_turn *turn,
                            struct amber_err *err)
{
    struct pollfd p[2] = {
        {.fd = PQsocket(pg->conn), .events = events},
        {.fd = turn->heed && pg->cancel ? pg->cancel->fd : -1, .events = POLLIN},
    };
    if (p[0].fd < 0)
        return AMBER_OK; /* libpq says what happened */
    for (;;) {
        int ms = -1;
        if (turn->deadline_us) {
            int64_t left = turn->deadline_us - amber_mono_us();
            ms = left > 0 ? (int)(left / 1000 + 1) : 0;
        }
        int n = poll(p, 2, ms);
        if (n < 0 && errno != EINTR)
            return amber_fail_errno(err, errno, "waiting for PostgreSQL");
        if (n > 0 && p[1].revents)
            return amber_fail(err, AMBER_E_CANCELED, "canceled");
        if (n > 0)
            return AMBER_OK;
        if (n == 0)
            return amber_fail(err, AMBER_E_TIMEOUT, "PostgreSQL didn't answer in time");
    }
}

/* What a wait that failed means: a first cancel is passed on to the server, the rest is final. */
static enum amber_rc wait_failed(struct amber_pg *pg, struct amber_turn *turn, enum amber_rc rc,
                                 struct amber_err *err)
{
    if (rc == AMBER_E_CANCELED && turn->heed) {
        bool commit = turn->commit;
        *turn = (struct amber_turn){.canceled = !commit};
        if (!commit)
            amber_canceler_fire(pg->canceler);
        turn->deadline_us = amber_mono_us() + (commit ? COMMIT_ANSWER_US : CANCEL_ANSWER_US);
        return AMBER_OK;
    }
    pg->broken = true;
    if (turn->canceled)
        return amber_fail(err, AMBER_E_CANCELED,
                          "canceled; %s didn't answer, so the connection is given up", pg->where);
    return rc;
}

enum amber_rc amber_pg_next_result(struct amber_pg *pg, struct amber_turn *turn, PGresult **out,
                                   struct amber_err *err)
{
    for (;;) {
        int unsent = PQflush(pg->conn);
        if (unsent < 0)
            return amber_pg_lost(pg, err);
        if (!PQisBusy(pg->conn))
            break;
        enum amber_rc rc =
            amber_pg_wait(pg, (short)(unsent ? POLLIN | POLLOUT : POLLIN), turn, err);
        if (rc)
            rc = wait_failed(pg, turn, rc, err);
        if (rc)
            return rc;
        /* A failure is left to PQgetResult, which may still have the server's last words. */
        if (!PQconsumeInput(pg->conn) && PQisBusy(pg->conn))
            return amber_pg_lost(pg, err);
    }
    *out = PQgetResult(pg->conn);
    return AMBER_OK;
}

static bool is_failure(const PGresult *res)
{
    ExecStatusType s = PQresultStatus(res);
    return s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE;
}

enum amber_rc amber_pg_finish(struct amber_pg *pg, struct amber_turn *turn, PGresult **out,
                              struct amber_err *err)
{
    PGresult *last = NULL;
    enum amber_rc failed = AMBER_OK;
    for (;;) {
        PGresult *res = NULL;
        struct amber_err lost = AMBER_ERR_INIT;
        enum amber_rc rc = amber_pg_next_result(pg, turn, &res, &lost);
        if (rc) {
            if (!failed || rc == AMBER_E_CANCELED)
                *err = lost;
            PQclear(last);
            return err->code;
        }
        if (!res)
            break;
        if (is_failure(res) && !failed)
            failed = amber_pg_fail(pg, res, err);
        PQclear(last);
        last = res;
        ExecStatusType s = PQresultStatus(res);
        if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT) {
            pg->copy = s == PGRES_COPY_IN ? AMBER_PG_COPY_IN : AMBER_PG_COPY_OUT;
            break;
        }
    }
    if (failed) {
        PQclear(last);
        return failed;
    }
    *out = last;
    return AMBER_OK;
}

/* ---- statements ---- */

enum amber_rc amber_pg_query(struct amber_pg *pg, struct amber_res **out, struct amber_err *err,
                             const char *sql, size_t n, const char *const *params)
{
    struct amber_turn turn = AMBER_PG_TURN;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    struct amber_res *r = NULL;
    if (!rc)
        rc = amber_calloc(1, sizeof(*r), &r, err);
    if (rc)
        return rc;
    if (!PQsendQueryParams(pg->conn, sql, (int)n, NULL, params, NULL, NULL, 0))
        rc = amber_pg_lost(pg, err);
    if (!rc)
        rc = amber_pg_finish(pg, &turn, &r->pg, err);
    if (rc) {
        free(r);
        return rc;
    }
    *out = r;
    return AMBER_OK;
}

enum amber_rc amber_pg_stream(struct amber_pg *pg, const char *sql, size_t n,
                              const char *const *params,
                              enum amber_rc (*each)(void *arg, const struct amber_res *row,
                                                    struct amber_err *err),
                              void *arg, struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    if (rc)
        return rc;
    if (!PQsendQueryParams(pg->conn, sql, (int)n, NULL, params, NULL, NULL, 0) ||
        !PQsetSingleRowMode(pg->conn))
        return amber_pg_lost(pg, err);
    while (!rc) {
        struct amber_res row = {NULL};
        rc = amber_pg_next_result(pg, &turn, &row.pg, err);
        if (rc || !row.pg)
            return rc;
        if (is_failure(row.pg))
            rc = amber_pg_fail(pg, row.pg, err);
        else if (PQresultStatus(row.pg) == PGRES_SINGLE_TUPLE)
            rc = each(arg, &row, err);
        PQclear(row.pg);
    }
    amber_pg_settle(pg);
    return rc;
}

/* Take what libpq has read so far off its queue; true if there was a notification. */
static bool take_notifications(struct amber_pg *pg)
{
    bool any = false;
    for (PGnotify *n; (n = PQnotifies(pg->conn)); any = true)
        PQfreemem(n);
    return any;
}

enum amber_rc amber_pg_wait_notify(struct amber_pg *pg, int timeout_ms, bool *out_notified,
                                   struct amber_err *err)
{
    struct amber_turn turn = AMBER_PG_TURN;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    turn.deadline_us = amber_mono_us() + (int64_t)timeout_ms * 1000;
    bool notified = !rc && take_notifications(pg);
    while (!rc && !notified) {
        rc = amber_pg_wait(pg, POLLIN, &turn, err);
        if (!rc && !PQconsumeInput(pg->conn))
            rc = amber_pg_lost(pg, err);
        notified = !rc && take_notifications(pg);
    }
    if (rc && rc != AMBER_E_TIMEOUT)
        return rc;
    *out_notified = notified;
    return AMBER_OK;
}

enum amber_rc amber_pg_exec(struct amber_pg *pg, struct amber_err *err, const char *sql)
{
    struct amber_turn turn = AMBER_PG_TURN;
    enum amber_rc rc = amber_pg_ready(pg, true, err);
    if (rc)
        return rc;
    if (!PQsendQuery(pg->conn, sql))
        return amber_pg_lost(pg, err);
    PGresult *res = NULL;
    rc = amber_pg_finish(pg, &turn, &res, err);
    PQclear(res);
    return rc;
}

enum amber_rc amber_pg_begin(struct amber_pg *pg, const char *mode, struct amber_err *err)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "BEGIN %s", mode);
    return amber_pg_exec(pg, err, sql);
}

enum amber_rc amber_pg_commit(struct amber_pg *pg, struct amber_err *err)
{
    enum amber_rc rc = amber_failpoint("commit-before", err);
    if (!rc)
        rc = amber_pg_ready(pg, false, err);
    if (rc)
        return rc;
    struct amber_turn turn = {.heed = true, .commit = true};
    PGresult *res = NULL;
    if (!PQsendQuery(pg->conn, "COMMIT"))
        return amber_pg_lost(pg, err);
    rc = amber_pg_finish(pg, &turn, &res, err);
    char tag[32] = "";
    if (!rc && res)
        snprintf(tag, sizeof(tag), "%s", PQcmdStatus(res));
    PQclear(res);
    if (rc == AMBER_E_NET || rc == AMBER_E_TIMEOUT) {
        char why[sizeof(err->text)];
        memcpy(why, err->text, sizeof(why));
        return amber_fail(err, AMBER_E_NET, "the answer to COMMIT was lost: %s", why);
    }
    if (rc == AMBER_E_BUSY || rc == AMBER_E_CANCELED) { /* refused by the server: rolled back */
        err->code = AMBER_E_DB;
        return amber_wrap(err, "COMMIT was refused, all is rolled back");
    }
    if (!rc && strcmp(tag, "COMMIT") != 0)
        return amber_fail(err, AMBER_E_DB,
                          "COMMIT was answered with %s: a statement before it had failed, and all "
                          "is rolled back",
                          *tag ? tag : "nothing");
    return rc ? rc : amber_failpoint("commit-after", err);
}

/* ---- ending things ---- */

/* Take and drop all that comes until the server is idle. */
static enum amber_rc drain(struct amber_pg *pg, int64_t us, struct amber_err *err)
{
    struct amber_turn turn = {.deadline_us = amber_mono_us() + us};
    for (;;) {
        int unsent = PQflush(pg->conn);
        if (unsent < 0)
            return amber_pg_lost(pg, err);
        bool more = pg->copy == AMBER_PG_COPY_OUT || PQisBusy(pg->conn);
        if (pg->copy == AMBER_PG_COPY_OUT) {
            char *line = NULL;
            int n = PQgetCopyData(pg->conn, &line, 1);
            PQfreemem(line);
            if (n > 0)
                continue;
            if (n < 0)
                pg->copy = AMBER_PG_COPY_NONE;
            more = n == 0;
        }
        if (!more) {
            PGresult *res = PQgetResult(pg->conn);
            ExecStatusType s = PQresultStatus(res);
            PQclear(res);
            if (!res)
                return AMBER_OK;
            if (s == PGRES_COPY_IN && PQputCopyEnd(pg->conn, "given up") < 0)
                return amber_pg_lost(pg, err);
            if (s == PGRES_COPY_OUT)
                pg->copy = AMBER_PG_COPY_OUT;
            continue;
        }
        enum amber_rc rc =
            amber_pg_wait(pg, (short)(unsent ? POLLIN | POLLOUT : POLLIN), &turn, err);
        if (rc)
            return rc;
        if (!PQconsumeInput(pg->conn) && PQisBusy(pg->conn))
            return amber_pg_lost(pg, err);
    }
}

void amber_pg_settle(struct amber_pg *pg)
{
    struct amber_err err = AMBER_ERR_INIT;
    if (!amber_pg_alive(pg))
        return;
    if (pg->copy == AMBER_PG_COPY_IN) {
        pg->copy = AMBER_PG_COPY_NONE;
        if (PQputCopyEnd(pg->conn, "given up") < 0) {
            pg->broken = true;
            return;
        }
    } else if (pg->copy == AMBER_PG_COPY_OUT) {
        amber_canceler_fire(pg->canceler); /* there may be gigabytes to come */
    }
    enum amber_rc rc = drain(pg, SETTLE_US, &err);
    if (rc == AMBER_E_TIMEOUT) {
        amber_canceler_fire(pg->canceler);
        rc = drain(pg, CANCEL_ANSWER_US, &err);
    }
    if (rc)
        pg->broken = true;
    pg->copy = AMBER_PG_COPY_NONE;
}

void amber_pg_rollback(struct amber_pg *pg)
{
    if (!pg)
        return;
    amber_pg_settle(pg);
    if (!amber_pg_alive(pg) || PQtransactionStatus(pg->conn) == PQTRANS_IDLE)
        return;
    struct amber_turn turn = {.deadline_us = amber_mono_us() + CANCEL_ANSWER_US};
    struct amber_pg_diag diag = pg->diag; /* the failure's that is rolled back */
    struct amber_err err = AMBER_ERR_INIT;
    PGresult *res = NULL;
    enum amber_rc rc = PQsendQuery(pg->conn, "ROLLBACK") ? amber_pg_finish(pg, &turn, &res, &err)
                                                         : amber_pg_lost(pg, &err);
    PQclear(res);
    pg->diag = diag;
    if (!rc && PQtransactionStatus(pg->conn) == PQTRANS_IDLE)
        return;
    pg->broken = true; /* the server rolls back when it sees the connection end */
    if (rc != AMBER_E_NET)
        amber_warn("%s: ROLLBACK failed, so the connection is closed instead: %s", pg->where,
                   rc ? err.text : "a transaction is open still");
}
