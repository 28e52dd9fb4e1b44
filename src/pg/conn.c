/*
 * conn.c - connecting, the session's settings, cancel requests, closing.
 *
 *   1 check the connection string      a secret in a malformed one never reaches a message
 *   2 connect, within 10 s             several hosts: each gets its share of that time; one that
 *                                      is deaf is left behind, which libpq wouldn't do by itself
 *   3 check the server's version
 *   4 set and read back the settings   values that text <-> row and our SQL rely on
 *
 * The socket is non-blocking. A cancel request needs a connection of its own, which may hang: it
 * runs on a thread that is waited for a little and then left behind, so that struct
 * amber_canceler is counted.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "amber/calendar.h"
#include "pg_priv.h"

#define CONNECT_US INT64_C(10000000)
#define CANCEL_JOIN_S 1
#define VERSION_MIN 120000

/* ---- cancel requests ---- */

struct amber_canceler {
    PGcancel *pg; /* owned; never changed */
    atomic_int refs;
};

static struct amber_canceler *canceler_new(PGconn *conn)
{
    struct amber_canceler *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->pg = PQgetCancel(conn);
    atomic_init(&c->refs, 1);
    if (!c->pg) {
        free(c);
        return NULL;
    }
    return c;
}

static void canceler_release(struct amber_canceler *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    PQfreeCancel(c->pg);
    free(c);
}

static void *canceler_run(void *arg)
{
    struct amber_canceler *c = arg;
    char why[256];
    (void)PQcancel(c->pg, why, sizeof(why)); /* if it fails, the caller's deadline ends the wait */
    canceler_release(c);
    return NULL;
}

void amber_canceler_fire(struct amber_canceler *c)
{
    if (!c)
        return;
    atomic_fetch_add(&c->refs, 1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, canceler_run, c)) {
        canceler_run(c);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CANCEL_JOIN_S;
    if (pthread_timedjoin_np(thread, NULL, &until))
        pthread_detach(thread);
}

void amber_pg_interrupt(struct amber_pg *pg)
{
    amber_canceler_fire(pg->canceler);
}

/* ---- 1: the connection string ---- */

static enum amber_rc check_conninfo(const char *conninfo, struct amber_err *err)
{
    bool uri =
        strncmp(conninfo, "postgresql://", 13) == 0 || strncmp(conninfo, "postgres://", 11) == 0;
    if (!uri && strstr(conninfo, "://") && !strchr(conninfo, '='))
        return amber_fail(err, AMBER_E_INVALID,
                          "the database's address (DATABASE_URL) has an unknown scheme: it must "
                          "begin with postgresql://");
    if (!uri && !strchr(conninfo, '='))
        return AMBER_OK; /* the name of a database */
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &why);
    if (options) {
        PQconninfoFree(options);
        return AMBER_OK;
    }
    char text[256];
    snprintf(text, sizeof(text), "%s", why ? why : "out of memory");
    PQfreemem(why);
    text[strcspn(text, "\n")] = '\0';
    amber_pg_hide_quoted(text);
    return amber_fail(err, AMBER_E_INVALID,
                      "the database's address (DATABASE_URL) can't be read: %s; it looks like "
                      "postgresql://user:password@host:5432/database (special characters in a "
                      "password as %%XX)",
                      text);
}

/* ---- 2: connecting ---- */

/* Hosts, addresses and ports as libpq has them, lists separated by commas; NULL: not given. */
struct hosts {
    char *host, *hostaddr, *port; /* owned */
    size_t n;
};

static void hosts_clear(struct hosts *h)
{
    free(h->host);
    free(h->hostaddr);
    free(h->port);
    *h = (struct hosts){0};
}

static size_t count_items(const char *list)
{
    size_t n = 1;
    for (; *list; list++)
        n += *list == ',';
    return n;
}

/* The list behind its first n items; a list of one item holds for all hosts. */
static void drop_items(char *list, size_t n)
{
    if (!list || count_items(list) == 1)
        return;
    char *rest = list;
    while (n--)
        rest = strchr(rest, ',') + 1;
    memmove(list, rest, strlen(rest) + 1);
}

static enum amber_rc hosts_read(PGconn *conn, struct hosts *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    PQconninfoOption *options = PQconninfo(conn);
    out->n = 1;
    for (PQconninfoOption *o = options; !rc && o && o->keyword; o++) {
        char **to = strcmp(o->keyword, "host") == 0       ? &out->host
                    : strcmp(o->keyword, "hostaddr") == 0 ? &out->hostaddr
                    : strcmp(o->keyword, "port") == 0     ? &out->port
                                                          : NULL;
        if (!to || !o->val || !*o->val)
            continue;
        rc = amber_strdup(o->val, to, err);
        if (!rc && to != &out->port && count_items(o->val) > out->n)
            out->n = count_items(o->val);
    }
    PQconninfoFree(options);
    return rc;
}

/* hosts: NULL, or what is left of the list. */
static PGconn *start(const struct amber_pg_config *cfg, const struct hosts *hosts)
{
    char name[64];
    snprintf(name, sizeof(name), "amberfs: %s", cfg->purpose ? cfg->purpose : "?");
    /* What stands before dbname is a default that the connection string may change: a dead network
     * is noticed after about a minute. What stands behind wins over the string. */
    struct {
        const char *key, *value;
    } all[] = {
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "60000"},
        {"dbname", cfg->conninfo},
        {"application_name", name},
        {"client_encoding", "UTF8"},
        {"host", hosts ? hosts->host : NULL},
        {"hostaddr", hosts ? hosts->hostaddr : NULL},
        {"port", hosts ? hosts->port : NULL},
    };
    const char *keys[amber_countof(all) + 1] = {NULL}, *values[amber_countof(all) + 1] = {NULL};
    for (size_t i = 0, n = 0; i < amber_countof(all); i++) {
        if (!all[i].value || !*all[i].value)
            continue;
        keys[n] = all[i].key;
        values[n++] = all[i].value;
    }
    return PQconnectStartParams(keys, values, 1);
}

static void format_where(const PGconn *conn, char *out, size_t len)
{
    const char *db = PQdb(conn), *host = PQhost(conn), *port = PQport(conn);
    snprintf(out, len, "database %s at %s:%s", db ? db : "?", host && *host ? host : "?",
             port && *port ? port : "?");
}

static enum amber_rc connect_failed(PGconn *conn, struct amber_err *err)
{
    char why[768], state[6], where[512];
    amber_pg_connect_message(PQerrorMessage(conn), why, sizeof(why), state);
    format_where(conn, where, sizeof(where));
    if (strncmp(state, "28", 2) == 0 || PQconnectionNeedsPassword(conn))
        return amber_fail(
            err, AMBER_E_DENIED,
            "%s refuses the login: %s; check user and password in DATABASE_URL, PGPASSFILE or "
            "the PG variables, and the server's pg_hba.conf",
            where, why);
    if (strncmp(why, "invalid ", 8) == 0) {
        amber_pg_hide_quoted(why);
        return amber_fail(err, AMBER_E_INVALID, "the database's address: %s", why);
    }
    if (strcmp(state, "3D000") == 0) {
        enum amber_rc rc = amber_fail(err, AMBER_E_DB,
                                      "%s: %s; correct the name in DATABASE_URL or "
                                      "PGDATABASE, or make it with createdb",
                                      where, why);
        memcpy(err->sqlstate, state, sizeof(err->sqlstate));
        return rc;
    }
    if (strcmp(state, "53300") == 0)
        return amber_fail(err, AMBER_E_NET,
                          "can't connect to %s: %s; end sessions that idle, or raise the limit of the "
                          "server (max_connections), the database or the role",
                          where, why);
    return amber_fail(err, AMBER_E_NET, "can't connect to %s: %s", where, why);
}

/* Poll until connected. errors  TIMEOUT the host with index *out_host took longer than its share */
static enum amber_rc connect_poll(struct amber_pg *pg, int64_t share_us, size_t *out_host,
                                  struct amber_err *err)
{
    PGconn *conn = pg->conn;
    char where[512] = "", now[512];
    struct amber_turn turn = AMBER_PG_TURN;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    *out_host = 0;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED || PQstatus(conn) == CONNECTION_BAD)
            return connect_failed(conn, err);
        format_where(conn, now, sizeof(now));
        if (strcmp(now, where) != 0) { /* libpq went on by itself: that host refused */
            *out_host += *where != '\0';
            memcpy(where, now, sizeof(where));
            turn.deadline_us = amber_mono_us() + share_us;
        }
        enum amber_rc rc =
            amber_pg_wait(pg, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, &turn, err);
        if (rc == AMBER_E_TIMEOUT)
            return amber_fail(err, rc,
                              "can't connect to %s: no answer in time; check host, port "
                              "and firewall",
                              where);
        if (rc)
            return rc;
        next = PQconnectPoll(conn);
    }
    return AMBER_OK;
}

/* Notices are counted and dropped: their text may hold rows' values. */
static void on_notice(void *arg, const PGresult *res)
{
    (void)res;
    struct amber_pg *pg = arg;
    pg->notices++;
}

/* Try the hosts; hosts is what is left of them after a deaf one. */
static enum amber_rc connect_hosts(struct amber_pg *pg, const struct amber_pg_config *cfg,
                                   struct hosts *hosts, struct amber_err *err)
{
    int64_t share_us = 0;
    for (;;) {
        pg->conn = start(cfg, share_us ? hosts : NULL);
        if (!pg->conn)
            return amber_fail_nomem(err, "a database connection", 0);
        if (PQstatus(pg->conn) == CONNECTION_BAD)
            return connect_failed(pg->conn, err);
        PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE); /* SQLSTATE in a refusal's text */
        PQsetNoticeReceiver(pg->conn, on_notice, pg);
        enum amber_rc rc = share_us ? AMBER_OK : hosts_read(pg->conn, hosts, err);
        if (!share_us)
            share_us = CONNECT_US / (int64_t)hosts->n;
        size_t deaf = 0;
        if (!rc)
            rc = connect_poll(pg, share_us, &deaf, err);
        if (rc != AMBER_E_TIMEOUT)
            return rc;
        if (deaf + 1 >= hosts->n) {
            err->code = AMBER_E_NET;
            return err->code;
        }
        drop_items(hosts->host, deaf + 1);
        drop_items(hosts->hostaddr, deaf + 1);
        drop_items(hosts->port, deaf + 1);
        hosts->n -= deaf + 1;
        PQfinish(amber_steal(&pg->conn));
    }
}

static enum amber_rc connect_server(struct amber_pg *pg, const struct amber_pg_config *cfg,
                                    struct amber_err *err)
{
    struct hosts hosts = {0};
    enum amber_rc rc = connect_hosts(pg, cfg, &hosts, err);
    hosts_clear(&hosts);
    if (rc)
        return rc;
    if (PQsetnonblocking(pg->conn, 1))
        return connect_failed(pg->conn, err);
    char where[512];
    format_where(pg->conn, where, sizeof(where));
    rc = amber_strdup(where, &pg->where, err);
    if (rc)
        return rc;
    pg->canceler = canceler_new(pg->conn);
    if (!pg->canceler)
        return amber_fail_nomem(err, "a cancel handle", sizeof(struct amber_canceler));
    int v = PQserverVersion(pg->conn);
    if (v < VERSION_MIN)
        return amber_fail(err, AMBER_E_UNSUPPORTED,
                          "%s runs PostgreSQL %d.%d; amberfs needs version 12 or newer", pg->where,
                          v / 10000, v % 10000);
    return AMBER_OK;
}

/* ---- 4: settings ---- */

enum setting_rule {
    SET,    /* set, and must read back the same */
    EXPECT, /* must have this value already: setting it takes rights that we shouldn't have */
};
struct setting_def {
    const char *name, *value;
    int from_version;
    enum setting_rule rule;
};
/* What the text of values depends on, what our own SQL depends on, and what would end a long
 * transaction. lock_timeout is the caller's. */
static const struct setting_def setting_defs[] = {
    {"search_path", "pg_catalog, pg_temp", 0, SET},
    {"extra_float_digits", "3", 0, SET},
    {"DateStyle", "ISO, YMD", 0, SET},
    {"IntervalStyle", "postgres", 0, SET},
    {"TimeZone", "UTC", 0, SET},
    {"bytea_output", "hex", 0, SET},
    {"lc_monetary", "C", 0, SET},
    {"xmlbinary", "base64", 0, SET},
    {"xmloption", "content", 0, SET},
    {"client_encoding", "UTF8", 0, SET},
    {"array_nulls", "on", 0, SET},
    {"quote_all_identifiers", "off", 0, SET},
    {"standard_conforming_strings", "on", 0, SET},
    {"transform_null_equals", "off", 0, SET},
    {"row_security", "off", 0, SET},
    {"client_min_messages", "warning", 0, SET},
    {"default_transaction_isolation", "read committed", 0, SET},
    {"default_transaction_deferrable", "off", 0, SET},
    {"statement_timeout", "0", 0, SET},
    {"idle_in_transaction_session_timeout", "0", 0, SET},
    {"idle_session_timeout", "0", 140000, SET},
    {"transaction_timeout", "0", 170000, SET},
    {"session_replication_role", "origin", 0, EXPECT},
};

static enum amber_rc set_settings(struct amber_pg *pg, bool read_only, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf sql = AMBER_BUF_INIT(1U << 16);
    /* A stronger guarantee than "on" stays. */
    enum amber_rc rc = amber_buf_puts(
        &sql,
        "SELECT pg_catalog.set_config('synchronous_commit', CASE"
        " WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=)"
        " 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)",
        err);
    for (size_t i = 0; !rc && i < amber_countof(setting_defs); i++) {
        const struct setting_def *s = &setting_defs[i];
        if (s->rule == SET && amber_pg_version(pg) >= s->from_version)
            rc = amber_buf_printf(&sql, err, ", pg_catalog.set_config('%s', '%s', false)", s->name,
                                  s->value);
    }
    if (!rc && read_only)
        rc = amber_buf_puts(
            &sql, ", pg_catalog.set_config('default_transaction_read_only', 'on', false)", err);
    return rc ? rc : amber_pg_exec(pg, err, sql.data);
}

/* Keep one setting; expected NULL: any value. */
static enum amber_rc keep_setting(struct amber_pg *pg, const char *name, const char *value,
                                  const char *expected, struct amber_err *err)
{
    if (expected && strcmp(value, expected) != 0)
        return amber_fail(err, AMBER_E_DB,
                          "%s: the setting %s is '%s' and not '%s'; look for ALTER ROLE or ALTER "
                          "DATABASE ... SET, or a connection pooler that doesn't keep settings",
                          pg->where, name, value, expected);
    struct amber_setting *s = &pg->settings[pg->n_settings++]; /* clear frees NULLs too */
    enum amber_rc rc = amber_strdup(name, &s->name, err);
    return rc ? rc : amber_strdup(value, &s->value, err);
}

static enum amber_rc read_settings(struct amber_pg *pg, bool read_only, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf sql = AMBER_BUF_INIT(1U << 16);
    enum amber_rc rc = amber_buf_puts(&sql,
                                      "SELECT current_setting('lc_messages'),"
                                      " current_setting('default_transaction_read_only'),"
                                      " current_setting('synchronous_commit')",
                                      err);
    for (size_t i = 0; !rc && i < amber_countof(setting_defs); i++)
        if (amber_pg_version(pg) >= setting_defs[i].from_version)
            rc = amber_buf_printf(&sql, err, ", current_setting('%s')", setting_defs[i].name);
    if (!rc)
        rc = amber_calloc(amber_countof(setting_defs) + 2, sizeof(*pg->settings), &pg->settings,
                          err);
    AMBER_CLEANUP(amber_res_free_p) struct amber_res *res = NULL;
    if (!rc)
        rc = amber_pg_query(pg, &res, err, sql.data, 0, NULL);
    if (rc)
        return rc;
    const char *messages = amber_res_get(res, 0, 0);
    pg->english = strncmp(messages, "en", 2) == 0 || strncmp(messages, "C", 1) == 0 ||
                  strcmp(messages, "POSIX") == 0;
    rc = keep_setting(pg, "default_transaction_read_only", amber_res_get(res, 0, 1),
                      read_only ? "on" : NULL, err);
    if (!rc)
        rc = keep_setting(pg, "synchronous_commit", amber_res_get(res, 0, 2), NULL, err);
    size_t col = 3;
    for (size_t i = 0; !rc && i < amber_countof(setting_defs); i++)
        if (amber_pg_version(pg) >= setting_defs[i].from_version)
            rc = keep_setting(pg, setting_defs[i].name, amber_res_get(res, 0, col++),
                              setting_defs[i].value, err);
    return rc;
}

/* ---- open and close ---- */

enum amber_rc amber_pg_open(const struct amber_pg_config *cfg, struct amber_pg **out,
                            struct amber_err *err)
{
    enum amber_rc rc = cfg->conninfo ? check_conninfo(cfg->conninfo, err) : AMBER_OK;
    struct amber_pg *pg = NULL;
    if (!rc)
        rc = amber_calloc(1, sizeof(*pg), &pg, err);
    if (rc)
        return rc;
    pg->cancel = cfg->cancel;
    rc = amber_cancel_check(pg->cancel, err);
    if (!rc)
        rc = connect_server(pg, cfg, err);
    if (!rc)
        rc = set_settings(pg, cfg->read_only, err);
    if (!rc)
        rc = read_settings(pg, cfg->read_only, err);
    if (rc) {
        amber_pg_close(pg);
        return rc;
    }
    *out = pg;
    return AMBER_OK;
}

void amber_pg_close(struct amber_pg *pg)
{
    if (!pg)
        return;
    /* A server that is busy notices a closed socket late: it is told to stop first. */
    if (pg->canceler && !pg->broken && PQtransactionStatus(pg->conn) == PQTRANS_ACTIVE)
        amber_pg_settle(pg);
    PQfinish(pg->conn);
    canceler_release(pg->canceler);
    for (size_t i = 0; i < pg->n_settings; i++) {
        free(pg->settings[i].name);
        free(pg->settings[i].value);
    }
    free(pg->settings);
    free(pg->where);
    free(pg);
}

int amber_pg_version(const struct amber_pg *pg)
{
    return PQserverVersion(pg->conn);
}

const char *amber_pg_database(const struct amber_pg *pg)
{
    const char *db = PQdb(pg->conn);
    return db ? db : "";
}

bool amber_pg_alive(const struct amber_pg *pg)
{
    return !pg->broken && PQstatus(pg->conn) == CONNECTION_OK;
}

const struct amber_setting *amber_pg_settings(const struct amber_pg *pg, size_t *out_n)
{
    *out_n = pg->n_settings;
    return pg->settings;
}
