/*
 * restorer.c - a family of archives into its tables, in one transaction.
 *
 *   manifest -> archive reader + overlay reader -> rows -> restore (pg)
 *
 * The archive is verified block by block as it is read: a damaged one fails in the middle and the
 * transaction is rolled back.
 */
#include "amber/restorer.h"

#include <stdio.h>

#include "amber/calendar.h"
#include "amber/catalog.h"
#include "amber/count.h"
#include "amber/log.h"
#include "amber/name.h"
#include "restorer_priv.h"

void amber_opened_clear(struct amber_opened *o)
{
    amber_rows_close(o->rows);
    amber_reader_close(o->overlay);
    amber_reader_close(o->archive);
    amber_manifest_clear(&o->manifest);
    *o = (struct amber_opened){0};
}

static enum amber_rc fail_foreign(const struct amber_tree_entry *entry, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_INVALID,
                      "%s isn't an archive of amberfs, so the table that it belongs to isn't known: "
                      "copy it into .restore/TABLE/",
                      entry->path);
}

/* The manifest gives its parts away to the readers; totals are kept before. */
enum amber_rc amber_opened_open(const struct amber_context *ctx,
                                const struct amber_tree_entry *entry, struct amber_opened *out,
                                struct amber_err *err)
{
    *out = (struct amber_opened){0};
    if (entry->form != AMBER_TREE_OURS)
        return fail_foreign(entry, err);
    enum amber_rc rc = amber_entry_manifest(ctx->store, entry, &out->manifest, err);
    if (rc)
        return rc;
    out->n_rows = out->manifest.archive.rows;
    out->raw_bytes = out->manifest.archive.raw_bytes;
    if (!rc)
        rc = amber_reader_open(ctx->store, &out->manifest.archive, ctx->cache, &out->archive, err);
    for (size_t i = 0; !rc && i < out->manifest.n_attachments; i++)
        if (strcmp(out->manifest.attachments[i].kind, "overlay") == 0 && !out->overlay)
            rc = amber_reader_open(ctx->store, &out->manifest.attachments[i].part, ctx->cache,
                                   &out->overlay, err);
    if (!rc)
        rc = amber_rows_open(out->archive, out->overlay, &out->rows, err);
    if (rc)
        amber_opened_clear(out);
    return rc;
}

enum amber_rc amber_opened_rewind(struct amber_opened *o, struct amber_err *err)
{
    amber_rows_close(amber_steal(&o->rows));
    return amber_rows_open(o->archive, o->overlay, &o->rows, err);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static char *percent_decode(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < len; i++) {
        if (text[i] == '%' && i + 2 < len && hex_value(text[i + 1]) >= 0 &&
            hex_value(text[i + 2]) >= 0) {
            out[n++] = (char)(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        } else {
            out[n++] = text[i];
        }
    }
    if (out)
        out[n] = '\0';
    return out;
}

enum amber_rc amber_table_name_split(const char *text, char **out_schema, char **out_name,
                                     struct amber_err *err)
{
    const char *dot = strchr(text, '.');
    const char *name = dot ? dot + 1 : text;
    if (!*name || dot == text)
        return amber_fail(err, AMBER_E_INVALID,
                          "\"%s\" is no table name; write TABLE or SCHEMA.TABLE (a dot in a name "
                          "as %%2E)", text);
    char *schema = dot ? percent_decode(text, (size_t)(dot - text)) : strdup("public");
    char *table = percent_decode(name, strlen(name));
    if (!schema || !table) {
        free(schema);
        free(table);
        return amber_fail_nomem(err, "a table name", strlen(text));
    }
    *out_schema = schema;
    *out_name = table;
    return AMBER_OK;
}

void amber_notes_add(struct amber_restore_result *r, const char *table, const char *notes)
{
    for (const char *p = notes; *p;) {
        const char *end = strchrnul(p, '\n');
        size_t len = strlen(r->notes);
        snprintf(r->notes + len, sizeof(r->notes) - len, "%s: %.*s\n", table, (int)(end - p), p);
        p = *end ? end + 1 : end;
    }
}

/* Record the restore and its pin in the same transaction. */
enum amber_rc amber_restore_record(const struct amber_context *ctx, struct amber_pg *pg,
                                   const struct amber_manifest *m, bool pin, const char *path,
                                   const char *schema, const char *table,
                                   const struct amber_restore_stats *stats, struct amber_err *err)
{
    enum amber_rc rc = amber_catalog_restore_add(pg, m ? m->archive_id : NULL, schema, table,
                                                 stats->rows_inserted + stats->rows_replaced,
                                                 stats->rows_skipped, err);
    if (rc || !m || !pin || ctx->restore_pin_days <= 0)
        return rc;
    AMBER_AUTO_FREE char *root_schema = NULL;
    AMBER_AUTO_FREE char *root_name = NULL;
    const char *pin_schema = m->table_schema, *pin_table = m->table_name;
    if (m->parent_table) {
        if ((rc = amber_table_name_split(m->parent_table, &root_schema, &root_name, err)))
            return rc;
        pin_schema = root_schema;
        pin_table = root_name;
    }
    AMBER_AUTO_FREE char *reason = NULL;
    rc = amber_asprintf(&reason, err, "restore of %s", path);
    struct amber_pin_row row = {
        .table_schema = pin_schema,
        .table_name = pin_table,
        .from_day = m->start_day,
        .to_day = m->end_day,
        .reason = reason,
    };
    if (!rc)
        rc = amber_catalog_pin_add(pg, &row, ctx->restore_pin_days * AMBER_DAY_US, err);
    return rc;
}

/* ---- one archive of the family ---- */


static enum amber_rc give_rows(struct amber_opened *o, struct amber_restore *r,
                               const struct amber_restore_options *opt, const char *table,
                               struct amber_err *err)
{
    for (uint64_t n = 0;; n++) {
        const char *line, *overlay;
        size_t len, overlay_len;
        enum amber_rc rc = amber_rows_next(o->rows, &line, &len, &overlay, &overlay_len, err);
        if (rc || !line)
            return rc;
        rc = amber_restore_row(r, line, len, overlay, overlay_len, err);
        if (rc)
            return rc;
        if (n % 4096 == 0) {
            if ((rc = amber_cancel_check(opt->cancel, err)))
                return rc;
            if (opt->progress)
                opt->progress(opt->arg, table, n, o->n_rows);
        }
    }
}

static enum amber_rc restore_rows(struct amber_opened *o, struct amber_restore *r,
                                  const struct amber_restore_options *opt, const char *table,
                                  struct amber_restore_stats *stats, struct amber_err *err)
{
    enum amber_rc rc = give_rows(o, r, opt, table, err);
    if (!rc)
        rc = amber_restore_close(r, stats, err);
    if (rc != AMBER_E_EXISTS)
        return rc;
    /* A key is taken: once more, through staging, where conflicts can be looked at. */
    if ((rc = amber_restore_again(r, err)) || (rc = amber_opened_rewind(o, err)) ||
        (rc = give_rows(o, r, opt, table, err)))
        return rc;
    return amber_restore_close(r, stats, err);
}

static enum amber_rc restore_one(const struct amber_context *ctx, struct amber_pg *pg,
                                 const struct amber_tree_entry *entry,
                                 const struct amber_restore_options *opt,
                                 struct amber_restore_result *out, struct amber_err *err)
{
    struct amber_opened o;
    enum amber_rc rc = amber_opened_open(ctx, entry, &o, err);
    if (rc)
        return rc;
    AMBER_AUTO_FREE char *schema = NULL;
    AMBER_AUTO_FREE char *table = NULL;
    AMBER_AUTO_FREE char *shown = NULL;
    struct amber_restore *r = NULL;
    struct amber_restore_stats stats = {0};
    bool before = false;
    if (opt->into)
        rc = amber_table_name_split(opt->into, &schema, &table, err);
    else if (!o.manifest.typed)
        rc = amber_fail(err, AMBER_E_INVALID,
                        "its manifest was made anew from rows alone and doesn't know their table: "
                        "name it by --into TABLE");
    else if (!(rc = amber_strdup(o.manifest.table_schema, &schema, err)))
        rc = amber_strdup(o.manifest.table_name, &table, err);
    if (!rc)
        rc = amber_asprintf(&shown, err, "%s.%s", schema, table);
    if (!rc)
        rc = amber_catalog_restored_before(pg, o.manifest.archive_id, schema, table, &before, err);
    if (!rc) {
        struct amber_restore_config cfg = {
            .table_schema = schema,
            .table_name = table,
            .schema = o.manifest.typed ? &o.manifest.schema : NULL,
            .partitions = opt->into ? NULL : o.manifest.partitions,
            .n_partitions = opt->into ? 0 : o.manifest.n_partitions,
            .on_conflict = opt->on_conflict,
            .can_repeat = true,
            .allow_triggers = opt->allow_triggers,
            .force = opt->force,
            .restored_before = before,
        };
        rc = amber_restore_open(pg, &cfg, &r, err);
    }
    if (!rc)
        rc = restore_rows(&o, r, opt, shown, &stats, err);
    if (!rc)
        rc = amber_restore_record(ctx, pg, &o.manifest, !opt->into, entry->path, schema, table,
                                  &stats, err);
    if (!rc) {
        out->archives++;
        out->rows_inserted += stats.rows_inserted;
        out->rows_skipped += stats.rows_skipped;
        out->rows_replaced += stats.rows_replaced;
        amber_notes_add(out, shown, stats.notes);
    } else {
        amber_wrap(err, "%s", entry->path);
    }
    amber_restore_free(r);
    amber_opened_clear(&o);
    return rc;
}

/* ---- the family ---- */

static enum amber_rc collect_member(void *arg, const struct amber_archive_row *row,
                                    struct amber_err *err)
{
    struct amber_entry_list *l = arg;
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);
    if (rc)
        return rc;
    struct amber_tree_entry e = {.has_digest = true, .rows = row->rows, .size = row->raw_bytes};
    memcpy(e.manifest_sha256, row->manifest_sha256.b, sizeof(e.manifest_sha256));
    char *path = strdup(row->logical), *key = strdup(row->key);
    char *manifest_key = strdup(row->manifest_key);
    if (!path || !key || !manifest_key) {
        free(path);
        free(key);
        free(manifest_key);
        return amber_fail_nomem(err, "a family's archives", sizeof(e));
    }
    e.path = path;
    e.key = key;
    e.manifest_key = manifest_key;
    l->items[l->n++] = e;
    return AMBER_OK;
}

/* The run's archives, parents first: by the foreign keys of the tables as they are now. */
static enum amber_rc order_by_references(struct amber_pg *pg, const char *run_id,
                                         struct amber_entry_list *l, struct amber_err *err)
{
    const char *params[] = {run_id};
    struct amber_res *res = NULL;
    /* The depth of a table below the tables of this run that it references. */
    enum amber_rc rc = amber_pg_query(
        pg, &res, err,
        "WITH RECURSIVE t AS ("
        "  SELECT a.logical_name, c.oid FROM amberfs.archived_partitions a"
        "  LEFT JOIN pg_namespace n ON n.nspname = a.table_schema"
        "  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = a.table_name"
        "  WHERE a.run_id = $1::uuid),"
        " d AS ("
        "  SELECT oid, 0 AS depth FROM t WHERE oid IS NOT NULL"
        "  UNION"
        "  SELECT f.conrelid, d.depth + 1 FROM d JOIN pg_constraint f ON f.contype = 'f'"
        "   AND f.confrelid = d.oid AND f.conrelid <> d.oid"
        "   AND f.conrelid IN (SELECT oid FROM t) WHERE d.depth < 100)"
        " SELECT t.logical_name FROM t LEFT JOIN d USING (oid)"
        " GROUP BY 1 ORDER BY coalesce(max(d.depth), 0), 1",
        1, params);
    if (rc)
        return rc;
    for (size_t i = 0; i < amber_res_rows(res) && i < l->n; i++) {
        const char *name = amber_res_get(res, i, 0);
        for (size_t k = i; k < l->n; k++) {
            if (strcmp(l->items[k].path, name) != 0)
                continue;
            struct amber_tree_entry tmp = l->items[i];
            l->items[i] = l->items[k];
            l->items[k] = tmp;
            break;
        }
    }
    amber_res_free(res);
    return AMBER_OK;
}

static enum amber_rc family_of(const struct amber_context *ctx, struct amber_pg *pg,
                               const struct amber_tree_entry *entry, struct amber_entry_list *out,
                               struct amber_err *err)
{
    (void)ctx;
    struct amber_manifest_name name;
    if (entry->form != AMBER_TREE_OURS)
        return fail_foreign(entry, err);
    if (!entry->manifest_key)
        return amber_fail(err, AMBER_E_CORRUPT,
                          "%s has no manifest: run `amberfs rebuild-manifest %s`", entry->path,
                          entry->path);
    enum amber_rc rc = amber_manifest_key_parse(entry->manifest_key, &name, err);
    struct amber_store_identity id;
    if (!rc)
        rc = amber_store_identity_get(ctx->store, &id, err);
    if (!rc)
        rc = amber_catalog_archives(pg, id.store_id, name.run_id, collect_member, out, err);
    if (!rc && !out->n)
        rc = amber_fail(err, AMBER_E_NOT_FOUND,
                        "%s: the catalog of this database doesn't know run %s; connect to the "
                        "database that the archive came from, or use --into TABLE",
                        entry->path, name.run_id);
    if (!rc)
        rc = order_by_references(pg, name.run_id, out, err);
    return rc;
}

enum amber_rc amber_restore_archive(const struct amber_context *ctx,
                                    const struct amber_tree_entry *entry,
                                    const struct amber_restore_options *opt,
                                    struct amber_restore_result *out, struct amber_err *err)
{
    *out = (struct amber_restore_result){0};
    struct amber_pg *pg = NULL;
    struct amber_store_identity id;
    enum amber_rc rc = amber_context_connect(ctx, "restore", opt->cancel, &pg, err);
    if (rc)
        return rc;
    struct amber_entry_list members = {0};
    rc = amber_context_claim(ctx, pg, &id, err);
    if (!rc && !opt->into)
        rc = family_of(ctx, pg, entry, &members, err);
    if (!rc && (rc = amber_pg_begin(pg, "", err)) == AMBER_OK) {
        if (opt->into)
            rc = restore_one(ctx, pg, entry, opt, out, err);
        for (size_t i = 0; !rc && i < members.n; i++)
            rc = restore_one(ctx, pg, &members.items[i], opt, out, err);
        if (!rc)
            rc = amber_cancel_check(opt->cancel, err);
        if (!rc)
            rc = amber_pg_commit(pg, err);
        else
            amber_pg_rollback(pg);
    }
    if (rc)
        *out = (struct amber_restore_result){0};
    else
        amber_info("restored %s: %s inserted, %llu skipped as identical, %llu replaced",
                   entry->path, AMBER_COUNT(out->rows_inserted, "row"),
                   (unsigned long long)out->rows_skipped, (unsigned long long)out->rows_replaced);
    amber_entry_list_clear(&members);
    amber_pg_close(pg);
    return rc;
}
