/*
 * piece.c - one table's archive within a unit: its name, its manifest's fixed part, its header.
 */
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/name.h"
#include "attempt_priv.h"

/* Whether the store has an object under this logical name already, with whatever suffix: a file
 * that was put there by somebody else, or one of a catalog set back in time. */
static enum amber_rc name_in_store(struct amber_store *st, const char *logical, bool *out,
                                   struct amber_err *err)
{
    *out = false;
    for (int c = 0; c < AMBER_CODEC_COUNT && !*out; c++) {
        AMBER_AUTO_FREE char *key = NULL;
        enum amber_rc rc = amber_asprintf(&key, err, "%s%s", logical,
                                          amber_codec_info((enum amber_codec_kind)c)->suffix);
        if (rc)
            return rc;
        struct amber_object_info info;
        rc = amber_store_stat(st, key, &info, err);
        if (rc && rc != AMBER_E_NOT_FOUND)
            return rc;
        *out = rc == AMBER_OK;
    }
    return AMBER_OK;
}

enum amber_rc amber_piece_reserve(struct attempt *t, struct piece *p, struct amber_err *err)
{
    struct archiver *a = t->a;
    const struct amber_job_table *jt = &a->job->tables[t->table];
    struct amber_name_fields f = {
        .table = jt->name,
        .start_day = t->first_day,
        .end_day = t->last_day,
        .run_day = amber_day_from_us(a->started_us),
        .run_ms = a->started_us / 1000,
    };
    for (unsigned n = 1; n <= AMBER_NAME_TRIES; n++) {
        AMBER_AUTO_FREE char *logical = NULL;
        enum amber_rc rc = amber_name_format(jt->folder, jt->pattern, &f, n, &logical, err);
        if (rc)
            return rc;
        bool taken;
        rc = name_in_store(a->ctx->store, logical, &taken, err);
        if (rc)
            return rc;
        if (taken)
            continue;
        rc = amber_catalog_name_reserve(a->ctl, &t->run, logical, err);
        if (rc == AMBER_E_EXISTS)
            continue;
        if (!rc)
            p->logical = amber_steal(&logical);
        return rc;
    }
    return amber_fail(err, AMBER_E_LIMIT, "folder %s: %d archives have the same dates; use a name "
                      "pattern with {epoch_ms}", jt->folder, AMBER_NAME_TRIES);
}

enum amber_rc amber_piece_describe(struct attempt *t, struct piece *p, struct amber_err *err)
{
    struct archiver *a = t->a;
    const struct amber_table *table = &a->family.tables[t->table];
    const struct amber_table *root = &a->family.tables[0];
    struct amber_manifest *m = &p->manifest;
    enum amber_rc rc = amber_uuid_new(m->archive_id, err);
    if (rc)
        return rc;
    memcpy(m->run_id, t->run.run_id, sizeof(m->run_id));
    memcpy(m->store_id, a->id.store_id, sizeof(m->store_id));
    memcpy(m->catalog_id, a->id.catalog_id, sizeof(m->catalog_id));
    m->start_day = t->first_day;
    m->end_day = t->last_day;
    m->created_us = amber_now_us();
    int v = amber_pg_version(a->pg);
    if ((rc = amber_strdup(a->job->name, &m->job, err)) ||
        (rc = amber_strdup(amber_pg_database(a->pg), &m->database, err)) ||
        (rc = amber_strdup(table->schema, &m->table_schema, err)) ||
        (rc = amber_strdup(table->name, &m->table_name, err)) ||
        (rc = amber_asprintf(&m->server_version, err, "%d.%d", v / 10000, v % 10000)) ||
        (rc = amber_strdup(AMBER_VERSION, &m->amberfs_version, err)) ||
        (rc = amber_schema_copy(&table->columns, &m->schema, err)))
        return rc;
    if (t->table > 0)
        rc = amber_asprintf(&m->parent_table, err, "%s.%s", root->schema, root->name);
    size_t n;
    const struct amber_setting *settings = amber_pg_settings(a->pg, &n);
    if (!rc)
        rc = amber_calloc(n + 1, sizeof(*m->settings), &m->settings, err);
    for (size_t i = 0; !rc && i < n; i++, m->n_settings++) {
        if ((rc = amber_strdup(settings[i].name, &m->settings[i].name, err)))
            break;
        if ((rc = amber_strdup(settings[i].value, &m->settings[i].value, err))) {
            free(m->settings[i].name);
            break;
        }
    }
    if (rc || t->table > 0)
        return rc;
    const struct amber_partition *parts = amber_unit_partitions(t->unit, &n);
    rc = amber_calloc(n + 1, sizeof(*m->partitions), &m->partitions, err);
    for (size_t i = 0; !rc && i < n; i++) {
        struct amber_partition *q = &m->partitions[m->n_partitions++]; /* clear frees NULLs too */
        if ((rc = amber_strdup(parts[i].schema, &q->schema, err)) ||
            (rc = amber_strdup(parts[i].name, &q->name, err)) ||
            (rc = amber_strdup(parts[i].bound, &q->bound, err)))
            break;
    }
    return rc;
}
