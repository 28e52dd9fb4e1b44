/*
 * unit_lanes.c - several connections read one leaf, on one snapshot.
 *
 *   heap     |chunk 0|chunk 1|chunk 2|chunk 3|...      CHUNK_BLOCKS each, by ranges of ctid
 *   lanes     lane 0  lane 1  lane 0  lane 1           a connection and a thread each
 *   caller    takes chunk 0 from lane 0, chunk 1 from lane 1, ...: the order of the heap
 *
 * So the archive is the same, byte for byte, whatever the number of lanes. A lane that is ahead of the
 * caller waits when it holds LANE_BYTES, and PostgreSQL with it.
 *
 * Where cfg.take allows and nothing else of the family depends on the rows, lane 0, which has the
 * unit's transaction, deletes its chunks by the statement that reads them; amber_unit_delete deletes
 * the others. A condition on a row's own columns holds for the same rows, chunk by chunk, as at once.
 *
 * Lane 0 is the unit's own connection; the others import its snapshot and take their ACCESS SHARE
 * locks at once, with the unit's lock_timeout: should somebody's lock request have come in between,
 * the unit is given up instead of waiting for one who waits for us. Reading by ranges of ctid costs
 * the whole heap; where a smaller part of the table moves, one connection with an index is better.
 * The lock guards everything of a lane below it.
 */
#include "unit_priv.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "pg_priv.h"

#define CHUNK_BLOCKS 256U
#define LANES_BLOCKS_MIN (4U * CHUNK_BLOCKS) /* smaller heaps aren't worth it */
#define LANE_BYTES ((size_t)6 << 20)
#define SLAB_ROWS 512U
#define SLAB_BYTES ((size_t)256 << 10)
#define PART_MIN 4 /* lanes pay where at least a quarter of the rows move */

/* Rows on their way from a lane to the caller. */
struct slab {
    struct slab *next;
    bool last; /* of its chunk */
    size_t n, bytes;
    struct slab_row {
        char *line; /* owned until it is handed on */
        size_t skip, len;
    } rows[SLAB_ROWS];
};

struct lane {
    struct lanes *all;
    struct amber_pg *pg; /* borrowed */
    size_t first_chunk;
    pthread_t thread;
    struct amber_unit_table sum;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct slab *head, **tail;
    size_t bytes; /* in the list */
    bool ended, stop;
    struct amber_err err; /* code OK: none */
};

struct lanes {
    struct amber_unit *u;
    size_t table;
    const struct amber_leaf *leaf;
    size_t n_chunks, n;
    bool take;         /* lane 0 deletes what it reads */
    struct lane *lane; /* owned; n */
};

/* ---- the helpers' transactions ---- */

static enum amber_rc lock_leaves(struct amber_unit *u, struct amber_pg *pg, struct amber_err *err)
{
    const struct amber_family *f = u->cfg.family;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    size_t n = 0;

    amber_sqltext_add(&sql, "LOCK TABLE ");
    for (size_t t = 0; t < f->n_tables; t++)
        for (size_t l = 0; l < f->tables[t].n_leaves; l++)
            if (!amber_unit_skips(u, t, l))
                amber_sqltext_add(&sql, "%sONLY %t", n++ == 0 ? "" : ", ",
                                  f->tables[t].leaves[l].schema, f->tables[t].leaves[l].name);
    amber_sqltext_add(&sql, " IN ACCESS SHARE MODE");
    return n == 0 ? amber_sqltext_rc(&sql) : amber_sqltext_exec(&sql, pg);
}

static enum amber_rc begin_helper(struct amber_unit *u, struct amber_pg *pg, const char *snapshot,
                                  struct amber_err *err)
{
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    char timeout[64];
    enum amber_rc rc = amber_pg_begin(pg, "ISOLATION LEVEL REPEATABLE READ, READ ONLY", err);

    snprintf(timeout, sizeof(timeout), "SET LOCAL lock_timeout = %u", u->cfg.lock_wait_ms);
    amber_sqltext_add(&sql, "SET TRANSACTION SNAPSHOT %l", snapshot);
    if (rc == AMBER_OK)
        rc = amber_sqltext_exec(&sql, pg);
    if (rc == AMBER_OK)
        rc = amber_pg_exec(pg, err, timeout);
    return rc == AMBER_OK ? lock_leaves(u, pg, err) : rc;
}

enum amber_rc amber_unit_helpers_begin(struct amber_unit *u, struct amber_err *err)
{
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    enum amber_rc rc;

    /* Ranges of ctid are scanned as such from 14 on; the rows that stay stand in a temporary table
     * that only the unit's own session sees. */
    if (amber_pg_version(u->cfg.pg) < 140000 || u->sel.stay)
        u->n_helpers = 0;
    if (u->n_helpers == 0)
        return AMBER_OK;
    rc = amber_pg_query(u->cfg.pg, &r, err, "SELECT pg_export_snapshot()", 0, NULL);
    for (size_t i = 0; rc == AMBER_OK && i < u->n_helpers; i++)
        rc = begin_helper(u, u->cfg.helpers[i], amber_res_get(r, 0, 0), err);
    return rc == AMBER_OK ? rc : amber_wrap(err, "sharing the snapshot with more connections");
}

void amber_unit_helpers_end(struct amber_unit *u)
{
    for (size_t i = 0; i < u->n_helpers; i++)
        amber_pg_rollback(u->cfg.helpers[i]);
    u->n_helpers = 0;
}

enum amber_rc amber_unit_lanes_pay(struct amber_unit *u, const struct amber_leaf *leaf,
                                   uint64_t *out_blocks, struct amber_err *err)
{
    const struct amber_table *root = &u->cfg.family->tables[0];
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_res *r AMBER_CLEANUP(amber_res_free_p) = NULL;
    char text[32];

    *out_blocks = 0;
    if (u->n_helpers == 0)
        return AMBER_OK;
    snprintf(text, sizeof(text), "%" PRIu32, leaf->oid);
    amber_sqltext_add(&sql,
                      "SELECT pg_relation_size(%s::oid) / current_setting('block_size')::bigint,"
                      " (SELECT sum(reltuples)::bigint FROM pg_class WHERE oid IN (0",
                      text);
    for (size_t l = 0; l < root->n_leaves; l++) {
        snprintf(text, sizeof(text), ", %" PRIu32, root->leaves[l].oid);
        if (!u->skip[l])
            amber_sqltext_add(&sql, "%s", text);
    }
    amber_sqltext_add(&sql, "))");
    enum amber_rc rc = amber_sqltext_query(&sql, u->cfg.pg, &r);
    if (rc != AMBER_OK)
        return rc;
    int64_t blocks = amber_res_int(r, 0, 0), tuples = amber_res_int(r, 0, 1);
    if (blocks >= LANES_BLOCKS_MIN && tuples / PART_MIN <= (int64_t)u->span.rows)
        *out_blocks = (uint64_t)blocks;
    return AMBER_OK;
}

/* ---- a lane's thread ---- */

static void slab_free(struct slab *s)
{
    for (size_t i = 0; s && i < s->n; i++)
        amber_pg_copy_free(s->rows[i].line);
    free(s);
}

/* Hand a slab to the caller; false: the lane is to stop, and the slab is gone. */
static bool put_slab(struct lane *lane, struct slab *s)
{
    pthread_mutex_lock(&lane->lock);
    while (!lane->stop && lane->bytes > 0 && lane->bytes + s->bytes > LANE_BYTES)
        pthread_cond_wait(&lane->moved, &lane->lock);
    bool stop = lane->stop;
    if (!stop) {
        *lane->tail = s;
        lane->tail = &s->next;
        lane->bytes += s->bytes;
        pthread_cond_signal(&lane->moved);
    }
    pthread_mutex_unlock(&lane->lock);
    if (stop)
        slab_free(s);
    return !stop;
}

static enum amber_rc start_chunk(struct lane *lane, size_t chunk, struct amber_err *err)
{
    const struct lanes *all = lane->all;
    struct amber_sqltext sql AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    struct amber_sqltext range AMBER_AUTO_SQLTEXT = AMBER_SQLTEXT_INIT(err);
    char low[32], high[32];

    snprintf(low, sizeof(low), "(%zu,0)", chunk * CHUNK_BLOCKS);
    snprintf(high, sizeof(high), "(%zu,0)", (chunk + 1) * CHUNK_BLOCKS);
    amber_sqltext_add(&range, "%a.ctid >= tid %l AND ", 0U, low);
    if (chunk + 1 < all->n_chunks)
        amber_sqltext_add(&range, "%a.ctid < tid %l AND ", 0U, high);
    enum amber_rc rc = amber_sqltext_rc(&range);
    if (rc != AMBER_OK)
        return rc;
    amber_unit_copy_sql(&sql, all->u, all->table, all->leaf, amber_sqltext_str(&range),
                        all->take && lane == &all->lane[0]);
    rc = amber_sqltext_rc(&sql);
    return rc != AMBER_OK ? rc : amber_pg_copy_out(lane->pg, amber_sqltext_str(&sql), err);
}

/* Add the COPY's next rows to s until it is full or the COPY has ended (s->last). */
static enum amber_rc fill_slab(struct lane *lane, struct slab *s, struct amber_err *err)
{
    while (!s->last && s->n < SLAB_ROWS && s->bytes < SLAB_BYTES) {
        struct slab_row *row = &s->rows[s->n];
        size_t len = 0;
        enum amber_rc rc = amber_pg_copy_next(lane->pg, &row->line, &len, err);
        if (rc == AMBER_OK && row->line)
            rc = amber_unit_line(lane->all->leaf, row->line, len, &row->skip, &row->len, &lane->sum,
                                 err);
        if (rc != AMBER_OK)
            return rc;
        s->last = !row->line;
        s->n += !s->last;
        s->bytes += len;
    }
    return AMBER_OK;
}

static enum amber_rc read_chunk(struct lane *lane, size_t chunk, bool *out_stop,
                                struct amber_err *err)
{
    enum amber_rc rc = start_chunk(lane, chunk, err);

    for (bool last = false; rc == AMBER_OK && !last && !*out_stop;) {
        struct slab *s = NULL;
        rc = amber_calloc(1, sizeof(*s), &s, err);
        if (rc == AMBER_OK)
            rc = fill_slab(lane, s, err);
        if (rc == AMBER_OK) {
            last = s->last;
            *out_stop = !put_slab(lane, s);
        } else {
            slab_free(s);
        }
    }
    if (rc != AMBER_OK || *out_stop)
        amber_pg_settle(lane->pg); /* the rest of the COPY is of no use */
    return rc;
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_OK;
    bool stop = false;

    for (size_t i = lane->first_chunk; rc == AMBER_OK && !stop && i < lane->all->n_chunks;
         i += lane->all->n)
        rc = read_chunk(lane, i, &stop, &err);
    pthread_mutex_lock(&lane->lock);
    lane->ended = true;
    if (rc != AMBER_OK)
        lane->err = err;
    pthread_cond_signal(&lane->moved);
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

/* ---- the caller ---- */

/* The lane's next slab; NULL: it failed, or ended before its time, which is said in err. */
static struct slab *take_slab(struct lane *lane, struct amber_err *err)
{
    pthread_mutex_lock(&lane->lock);
    while (!lane->head && !lane->ended)
        pthread_cond_wait(&lane->moved, &lane->lock);
    struct slab *s = lane->head;
    if (s) {
        lane->head = s->next;
        if (!lane->head)
            lane->tail = &lane->head;
        lane->bytes -= s->bytes;
        pthread_cond_signal(&lane->moved);
    } else {
        *err = lane->err;
    }
    pthread_mutex_unlock(&lane->lock);
    return s;
}

static enum amber_rc give_chunk(struct lane *lane, amber_unit_row_fn row, void *arg,
                                struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;

    for (bool last = false; rc == AMBER_OK && !last;) {
        struct slab *s = take_slab(lane, err);
        if (!s)
            return amber_unit_export_failed(lane->all->leaf, err);
        last = s->last;
        for (size_t i = 0; rc == AMBER_OK && i < s->n; i++) {
            char *line = amber_steal(&s->rows[i].line);
            rc = row(arg, line, s->rows[i].skip, s->rows[i].len, err);
        }
        slab_free(s);
    }
    return rc;
}

static enum amber_rc start_lane(struct lanes *all, size_t i, struct amber_err *err)
{
    struct lane *lane = &all->lane[i];
    sigset_t every, before;

    *lane = (struct lane){.all = all,
                          .pg = i == 0 ? all->u->cfg.pg : all->u->cfg.helpers[i - 1],
                          .first_chunk = i,
                          .err = AMBER_ERR_INIT};
    lane->tail = &lane->head;
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->moved, NULL);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int errnum = pthread_create(&lane->thread, NULL, lane_main, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum == 0)
        return AMBER_OK;
    pthread_cond_destroy(&lane->moved);
    pthread_mutex_destroy(&lane->lock);
    amber_fail_errno(err, errnum, "can't start a thread to export with");
    err->code = AMBER_E_IO;
    return err->code;
}

/* Tell all to stop, those that wait for their server too, and wait for them. */
static void end_lanes(struct lanes *all, size_t n, bool failed)
{
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = &all->lane[i];
        pthread_mutex_lock(&lane->lock);
        lane->stop = true;
        bool busy = failed && !lane->ended;
        pthread_cond_signal(&lane->moved);
        pthread_mutex_unlock(&lane->lock);
        if (busy)
            amber_pg_interrupt(lane->pg);
    }
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = &all->lane[i];
        pthread_join(lane->thread, NULL);
        while (lane->head) {
            struct slab *s = lane->head;
            lane->head = s->next;
            slab_free(s);
        }
        pthread_cond_destroy(&lane->moved);
        pthread_mutex_destroy(&lane->lock);
    }
}

/* Deleted rows are gone for what the transaction does next: selections of children, references
 * among rows, the listing of a partition to be dropped. */
static bool may_take(const struct amber_unit *u, const struct amber_leaf *leaf)
{
    const struct amber_family *f = u->cfg.family;

    return u->cfg.take && f->n_tables == 1 && !u->fp->self_ref[0] &&
           !u->drop[leaf - f->tables[0].leaves];
}

enum amber_rc amber_unit_export_lanes(struct amber_unit *u, size_t table,
                                      const struct amber_leaf *leaf, uint64_t blocks,
                                      amber_unit_row_fn row, void *arg,
                                      struct amber_unit_table *sum, struct amber_err *err)
{
    struct lanes all = {.u = u,
                        .table = table,
                        .leaf = leaf,
                        .n_chunks = (size_t)((blocks + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS),
                        .n = 1 + u->n_helpers,
                        .take = may_take(u, leaf)};
    AMBER_AUTO_FREE struct lane *lane = NULL;
    size_t started = 0;
    enum amber_rc rc = amber_calloc(all.n, sizeof(*lane), &lane, err);

    all.lane = lane;
    while (rc == AMBER_OK && started < all.n) {
        rc = start_lane(&all, started, err);
        started += rc == AMBER_OK;
    }
    for (size_t i = 0; rc == AMBER_OK && i < all.n_chunks; i++)
        rc = give_chunk(&all.lane[i % all.n], row, arg, err);
    end_lanes(&all, started, rc != AMBER_OK);
    for (size_t i = 0; rc == AMBER_OK && i < all.n; i++) {
        amber_set_digest_merge(&sum->identity, &all.lane[i].sum.identity);
        sum->rows += all.lane[i].sum.rows;
    }
    if (rc == AMBER_OK && all.take) {
        amber_set_digest_merge(&u->taken.identity, &lane[0].sum.identity);
        u->taken.rows += lane[0].sum.rows;
        amber_unit_note_deleted(u, leaf->oid, lane[0].sum.rows);
    }
    return rc;
}
