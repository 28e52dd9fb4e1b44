/*
 * cmd_verify.c - `amberfs verify` and `amberfs rebuild-manifest`: archives against their manifests,
 * and a lost manifest made anew from its archive.
 */
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/copies.h"
#include "amber/foreign.h"
#include "amber/log.h"
#include "amber/verify.h"
#include "app.h"
#include "archives.h"
#include "verify_copies.h"

struct shown {
    const char *path;
    uint64_t total;
    struct amber_meter meter;
};

static void show_progress(void *arg, uint64_t done)
{
    struct shown *s = arg;
    amber_meter_show(&s->meter, s->path, done, s->total, NULL);
}

/* What was looked at, and what came of it. */
struct tally {
    size_t archives, foreign, damaged, unchecked;
    struct copies_tally copies; /* of a store that has replicas */
};

static void print_fault(const struct amber_tree_entry *e, const struct amber_err *err,
                        struct tally *n)
{
    bool damage = amber_rc_damage(err->code);
    *(damage ? &n->damaged : &n->unchecked) += 1;
    printf("%s %s: %s\n", damage ? "FAILED " : "UNKNOWN", e->path, err->text);
}

/* Another program's file: that it decodes, or can be read, to its end. */
static void verify_foreign(struct app *app, const struct amber_tree_entry *e, struct tally *n)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t raw = e->size;
    n->foreign++;
    if (e->form == AMBER_TREE_PLAIN)
        return; /* nothing says what it must be */
    if (amber_foreign_verify(app->foreign, e->key, &raw, &err))
        print_fault(e, &err, n);
    else if (!app->opt->quiet)
        printf("ok      %s: not amberfs's, decodes to %s\n", e->path, AMBER_COUNT(raw, "byte"));
}

static void verify_one(struct app *app, const struct amber_tree_entry *e, struct tally *n)
{
    if (e->form != AMBER_TREE_OURS) {
        verify_foreign(app, e, n);
        return;
    }
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_manifest m = {0};
    struct amber_verify_report r = {0};
    struct shown shown = {
        .path = e->path,
        .total = e->stored_size,
    };
    if (amber_copies_count(app->store) > 1) {
        n->archives++;
        if (amber_verify_copies(app, e, &n->copies, &err) && err.code != AMBER_E_CANCELED)
            amber_app_fail(&err);
        return;
    }
    amber_meter_start(&shown.meter, app);
    enum amber_rc rc = amber_entry_manifest(app->store, e, &m, &err);
    if (!rc)
        rc = amber_verify(app->store, &m, amber_app_cancel(), show_progress, &shown, &r, &err);
    amber_meter_end(&shown.meter);
    n->archives++;
    if (rc) {
        print_fault(e, &err, n);
        if (r.bad_blocks)
            printf("        damaged: %llu of %s; the first: %s\n",
                   (unsigned long long)r.bad_blocks, AMBER_COUNT(r.blocks, "block"), r.first_fault);
    } else if (!app->opt->quiet) {
        printf("ok      %s: %s, %s\n", e->path, AMBER_COUNT(r.rows, "row"),
               AMBER_COUNT(r.blocks, "block"));
    }
    amber_manifest_clear(&m);
}

/* A document of the store that belongs to no single archive. */
static void document_fault(void *arg, const struct amber_err *why)
{
    struct tally *n = arg;
    n->damaged++;
    printf("FAILED  %s\n", why->text);
}

static void verify_named(struct app *app, const struct amber_entry_list *list, const char *name,
                         struct tally *n)
{
    struct amber_err err = AMBER_ERR_INIT;
    const struct amber_tree_entry *e;
    if (amber_archive_find(list, app->cfg.path, name, &e, &err)) {
        amber_app_fail(&err);
        n->unchecked++;
    } else {
        verify_one(app, e, n);
    }
}

/* The check of a disk that isn't mounted, or of a mistaken path, must not pass for having found
 * nothing. */
static void refuse_no_store(struct app *app, struct tally *n)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_identity id;
    if (n->archives || n->foreign ||
        amber_store_identity_get(app->store, &id, &err) != AMBER_E_NOT_FOUND)
        return;
    n->unchecked++;
    printf("UNKNOWN %s: it holds no store (.amberfs/store.json): mount its disk, or correct "
           "ARCHIVAL_PATH\n",
           app->cfg.path);
}

static void verify_all(struct app *app, const struct amber_entry_list *list, struct tally *n)
{
    struct amber_err err = AMBER_ERR_INIT;
    for (size_t i = 0; i < list->n && !amber_cancel_is_set(amber_app_cancel()); i++)
        verify_one(app, &list->items[i], n);
    if (amber_documents_check(&app->ctx, document_fault, n, &err) ||
        (amber_copies_count(app->store) > 1 && amber_verify_identities(app, &n->copies, &err))) {
        amber_app_fail(&err);
        n->unchecked++;
    }
    if (amber_copies_count(app->store) > 1)
        amber_verify_copies_end(app, &n->copies);
    n->damaged += n->copies.damaged;
    n->unchecked += n->copies.unchecked;
    refuse_no_store(app, n);
    printf("%s verified", AMBER_COUNT(n->archives, "archive"));
    if (n->foreign)
        printf(", %s of other programs", AMBER_COUNT(n->foreign, "file"));
    printf(", %zu damaged", n->damaged);
    if (n->unchecked)
        printf(", %zu could not be checked", n->unchecked);
    putchar('\n');
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those of the catalog that l hasn't, since no commit marker tells of them. */
static enum amber_rc add_unmarked(struct amber_entry_list *l,
                                  const struct amber_entry_list *catalog, struct amber_err *err)
{
    size_t n = l->n;
    AMBER_AUTO_FREE const char **paths = NULL;
    enum amber_rc rc = amber_calloc(n + 1, sizeof(*paths), &paths, err);
    for (size_t i = 0; !rc && i < n; i++)
        paths[i] = l->items[i].path;
    if (!rc)
        qsort(paths, n, sizeof(*paths), by_text);
    for (size_t i = 0; !rc && i < catalog->n; i++)
        if (!bsearch(&catalog->items[i].path, paths, n, sizeof(*paths), by_text))
            rc = amber_entry_list_add(l, &catalog->items[i], err);
    return rc;
}

/* What only the catalog knows is checked too, where it can be asked: a store that has lost an
 * archive with its manifest and its commit marker says nothing of it. */
static void ask_catalog(struct app *app, struct amber_entry_list *l)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_entry_list catalog = {0};
    struct amber_store_identity id;
    struct amber_pg *pg = NULL;
    if (amber_store_identity_get(app->store, &id, &err))
        return; /* told by amber_documents_check */
    if (amber_context_connect(&app->ctx, "verify", amber_app_cancel(), &pg, &err) ||
        amber_entries_from_catalog(&app->ctx, pg, id.store_id, &catalog, &err) ||
        add_unmarked(l, &catalog, &err))
        fprintf(stderr,
                "amberfs verify: the catalog can't be asked, so that an archive isn't missed whose "
                "manifest and commit marker are gone too: %s\n",
                err.text);
    amber_pg_close(pg);
    amber_entry_list_clear(&catalog);
}

static int verify_mounted(struct app *app, const char *mountpoint)
{
    if (app->opt->all || !app->opt->n_args)
        return amber_daemon_run(mountpoint, "verify", app->opt->repair ? "--repair --all" : "--all",
                                "verify");
    int status = 0;
    for (size_t i = 0; i < app->opt->n_args; i++) {
        struct amber_err err = AMBER_ERR_INIT;
        AMBER_AUTO_FREE char *line = NULL;
        if (amber_asprintf(&line, &err, "%s%s", app->opt->repair ? "--repair " : "",
                           amber_archive_relative(app->opt->args[i], mountpoint)))
            return amber_app_fail(&err);
        status |= amber_daemon_run(mountpoint, "verify", line, "verify");
    }
    return status;
}

int amber_cmd_verify(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *mounted = amber_app_mounted(app);
    if (mounted)
        return verify_mounted(app, mounted);
    struct amber_entry_list list = {0};
    struct tally n = {0};
    if (app->opt->repair && !app->cfg.n_replicas) {
        fprintf(stderr, "amberfs verify: --repair needs another copy of the store, and "
                        "ARCHIVAL_S3_REPLICAS names none\n");
        return 1;
    }
    if (amber_app_open(app, !app->opt->repair, false, -1, &err) ||
        amber_app_entries(app, &list, &err))
        return amber_app_fail(&err);
    if (app->opt->all || !app->opt->n_args) {
        ask_catalog(app, &list);
        verify_all(app, &list, &n);
    } else {
        for (size_t i = 0; i < app->opt->n_args; i++)
            verify_named(app, &list, app->opt->args[i], &n);
    }
    amber_entry_list_clear(&list);
    return n.damaged || n.unchecked || n.copies.damaged || n.copies.unchecked ||
           amber_cancel_is_set(amber_app_cancel());
}

/* ---- rebuild-manifest ---- */

/* A damaged manifest is kept beside the new one, under a name that nothing reads. */
static enum amber_rc put_aside(struct amber_store *st, const char *key, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf old = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    AMBER_AUTO_FREE char *aside = NULL;
    enum amber_rc rc = amber_store_get(st, key, &old, err);
    if (rc == AMBER_E_NOT_FOUND)
        return AMBER_OK;
    if (!rc)
        rc = amber_asprintf(&aside, err, "%s.damaged-%lld", key,
                            (long long)(amber_now_us() / 1000000));
    if (!rc)
        rc = amber_store_put(st, aside, old.data ? old.data : "", old.len, err);
    if (!rc)
        rc = amber_store_remove(st, key, err);
    return rc;
}

static enum amber_rc rebuild_one(struct app *app, const struct amber_tree_entry *e,
                                 struct amber_err *err)
{
    struct amber_manifest m = {0};
    AMBER_AUTO_FREE char *key = NULL;
    struct amber_sha256 digest;
    struct amber_manifest_name name = {0};
    enum amber_rc rc = amber_entry_manifest(app->store, e, &m, err);
    if (rc == AMBER_OK) {
        amber_manifest_clear(&m);
        printf("%s has a manifest that is in order; nothing was changed\n", e->path);
        return AMBER_OK;
    }
    if (rc != AMBER_E_NOT_FOUND && rc != AMBER_E_CORRUPT)
        return rc;
    rc = amber_rebuild(app->store, e->key, &m, err);
    /* The run is the one that committed the archive, whatever its header says. */
    if (!rc && e->manifest_key && !(rc = amber_manifest_key_parse(e->manifest_key, &name, err)))
        memcpy(m.run_id, name.run_id, sizeof(m.run_id));
    if (!rc && e->rows && e->rows != m.archive.rows)
        rc = amber_fail(err, AMBER_E_CORRUPT,
                        "the archive has %llu rows, but %llu were committed: it isn't whole",
                        (unsigned long long)m.archive.rows, (unsigned long long)e->rows);
    if (!rc)
        rc = amber_store_primary_check(app->store, err);
    if (!rc && e->manifest_key)
        rc = put_aside(app->store, e->manifest_key, err);
    if (!rc)
        rc = amber_manifest_put(app->store, &m, &key, &digest, err);
    if (!rc)
        printf("%s: manifest made anew: %s in %s%s\n", e->path, AMBER_COUNT(m.archive.rows, "row"),
               AMBER_COUNT(m.archive.n_blocks, "block"),
               m.typed ? "" : "; the columns' types are not known");
    amber_manifest_clear(&m);
    return rc;
}

int amber_cmd_rebuild(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_entry_list list = {0};
    const struct amber_tree_entry *e;
    enum amber_rc rc = amber_app_refuse_mounted(app, "amberfs rebuild-manifest", &err);
    if (!rc)
        rc = amber_app_open(app, false, false, -1, &err);
    if (!rc)
        rc = amber_entries_from_markers(&app->ctx, &list, &err);
    if (!rc)
        rc = amber_archive_find(&list, app->cfg.path, app->opt->args[0], &e, &err);
    if (!rc)
        rc = rebuild_one(app, e, &err);
    amber_entry_list_clear(&list);
    return rc ? amber_app_fail(&err) : 0;
}
