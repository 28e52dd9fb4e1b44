/*
 * service_watch.c - the daemon's view of the catalog: the tree, the pins, what recovery found.
 *
 * The watcher follows the catalog by NOTIFY and comes back after an outage; a runner refreshes the
 * tree by itself after each commit, so that whoever waited for the job sees its archives. Two
 * refreshes may overlap: the one that began to read later wins (refresh_begun, refresh_applied).
 *
 * Without the database from the start the tree comes from the commit markers; they are looked at
 * from time to time, and those are read that are new, since other hosts may write some. A local
 * store is listed only where a folder of it has changed. A tree that the catalog gave stays as it
 * is while the database is away.
 */
#include <poll.h>
#include <stdio.h>

#include "amber/calendar.h"
#include "amber/count.h"
#include "amber/count.h"
#include "amber/log.h"
#include "service_priv.h"

#define WATCH_WAIT_MS 30000 /* the tree is loaded anew at least this often */
#define RECONNECT_FIRST_MS 500
#define LIST_REMOTE_US INT64_C(600000000)
#define LIST_LOCAL_US INT64_C(30000000) /* a local store, though no folder has changed, */
#define LIST_SHARE 200                  /* or so that it takes one part in so many of the time */
#define RECONNECT_MAX_MS 30000
#define MARKERS_WAIT_MS 3000 /* without a database: how often the commit markers are listed, */
#define MARKERS_SHARE 100    /* or so that it takes one part in so many of the time */

/* ---- tree ---- */

static enum amber_rc collect_pin(void *arg, const struct amber_pin_row *row, struct amber_err *err)
{
    struct {
        struct pin *items;
        size_t n, cap;
    } *l = arg;
    enum amber_rc rc = amber_grow(&l->items, &l->cap, l->n + 1, sizeof(*l->items), err);
    if (rc)
        return rc;
    struct pin *p = &l->items[l->n++];
    snprintf(p->table, sizeof(p->table), "%s.%s", row->table_schema, row->table_name);
    p->from_day = row->from_day;
    p->to_day = row->to_day;
    p->until_us = row->until_us;
    return AMBER_OK;
}

static enum amber_rc apply_entries(struct amber_service *s, uint64_t begun,
                                   struct amber_entry_list *l, struct amber_err *err)
{
    pthread_mutex_lock(&s->mutex);
    bool newest = begun > s->refresh_applied;
    if (newest)
        s->refresh_applied = begun;
    pthread_mutex_unlock(&s->mutex);
    if (!newest)
        return AMBER_OK;
    return s->mount ? amber_mount_update(s->mount, l->items, l->n, err)
                    : amber_tree_replace(s->tree, l->items, l->n, NULL, NULL, err);
}

static uint64_t begin_refresh(struct amber_service *s)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t begun = ++s->refresh_begun;
    pthread_mutex_unlock(&s->mutex);
    return begun;
}

/* Whether what the store listed last may not be what it would list now. Of a local store the
 * watcher's to ask. */
static bool list_is_due(struct amber_service *s)
{
    pthread_mutex_lock(&s->mutex);
    bool due = !s->listed_us || amber_mono_us() >= s->list_due_us;
    pthread_mutex_unlock(&s->mutex);
    return due || (!amber_store_traits(s->ctx->store)->remote &&
                   amber_folders_changed(&s->folders, s->ctx->store));
}

static enum amber_rc keep_list(struct amber_service *s, const struct amber_elsewhere *l,
                               int64_t begun_us, struct amber_err *err)
{
    struct amber_elsewhere copy = {0};
    int64_t now_us = amber_mono_us(), wait_us = LIST_REMOTE_US;
    enum amber_rc rc = amber_elsewhere_copy(l, &copy, err);
    if (rc)
        return rc;
    if (!amber_store_traits(s->ctx->store)->remote) {
        wait_us = (now_us - begun_us) * LIST_SHARE;
        wait_us = wait_us > LIST_LOCAL_US ? wait_us : LIST_LOCAL_US;
    }
    pthread_mutex_lock(&s->mutex);
    struct amber_elsewhere old = s->listed;
    s->listed = copy;
    s->listed_us = begun_us;
    s->list_due_us = now_us + wait_us;
    pthread_mutex_unlock(&s->mutex);
    amber_elsewhere_clear(&old);
    return AMBER_OK;
}

/* What the store lists: what it listed last, where that does (*out_new: it doesn't). watching: it is
 * the watcher that asks, which looks at the folders of a local store. */
static enum amber_rc list_store(struct amber_service *s, bool watching, struct amber_elsewhere *out,
                                bool *out_new, struct amber_err *err)
{
    int64_t begun_us = amber_mono_us();
    bool local = !amber_store_traits(s->ctx->store)->remote;
    enum amber_rc rc = AMBER_OK;
    *out_new = (local && !watching) || list_is_due(s);
    if (!*out_new) {
        pthread_mutex_lock(&s->mutex);
        rc = amber_elsewhere_copy(&s->listed, out, err);
        pthread_mutex_unlock(&s->mutex);
        return rc;
    }
    if (local && watching)
        rc = amber_folders_note(&s->folders, s->ctx->store, err);
    if (!rc)
        rc = amber_elsewhere_list(s->ctx, out, err);
    if (!rc)
        rc = keep_list(s, out, begun_us, err);
    if (rc && watching)
        amber_folders_clear(&s->folders);
    return rc;
}

/* See whether the store still holds what l has of ours, and tell when that changes. That the store
 * can't be asked is told by who lists it. */
static void look_for_missing(struct amber_service *s, const struct amber_elsewhere *listed,
                             const struct amber_entry_list *l)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_missing m;
    if (amber_missing_find(s->ctx, listed, l, &m, &err)) {
        amber_warn("whether the store still holds all archives can't be seen: %s", err.text);
        return;
    }
    pthread_mutex_lock(&s->mutex);
    uint64_t before = s->missing.archives;
    s->missing = m;
    pthread_mutex_unlock(&s->mutex);
    if (m.archives > before)
        amber_error("missing from the store: %s of %zu, the first: %s. Their rows can't be read or "
                    "restored. Find out what removed them (a lifecycle rule, a clean-up, a disk that "
                    "was set back) and bring them back from a backup; `amberfs verify --all` names "
                    "each",
                    AMBER_COUNT(m.archives, "archive"), l->n, m.first);
    else if (m.archives < before)
        amber_warn("of %s that had been missing from the store, back: %llu",
                   AMBER_COUNT(before, "archive"), (unsigned long long)(before - m.archives));
}

/* The tree and the pins from the catalog. */
static enum amber_rc refresh(struct amber_service *s, struct amber_pg *pg, bool watching,
                             struct amber_err *err)
{
    uint64_t begun = begin_refresh(s);
    struct amber_elsewhere elsewhere = {0};
    struct amber_entry_list l = {0};
    struct {
        struct pin *items;
        size_t n, cap;
    } pins = {0};
    bool listed;
    enum amber_rc rc = list_store(s, watching, &elsewhere, &listed, err);
    if (!rc)
        rc = amber_entries_from_catalog(s->ctx, pg, s->id.store_id, &l, err);
    if (!rc && listed)
        look_for_missing(s, &elsewhere, &l);
    if (!rc)
        rc = amber_elsewhere_add(s->ctx, pg, s->id.store_id, &elsewhere, &l, err);
    amber_elsewhere_clear(&elsewhere);
    if (!rc)
        rc = amber_catalog_pins(pg, NULL, NULL, collect_pin, &pins, err);
    if (!rc)
        rc = apply_entries(s, begun, &l, err);
    amber_entry_list_clear(&l);
    if (rc) {
        free(pins.items);
        return rc;
    }
    pthread_mutex_lock(&s->mutex);
    free(s->pins);
    s->pins = pins.items;
    s->n_pins = pins.n;
    s->tree_of_catalog = true;
    pthread_mutex_unlock(&s->mutex);
    return AMBER_OK;
}

void amber_service_refresh_after_commit(void *arg, const char *what)
{
    struct amber_service *s = arg;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pg *pg = NULL;
    if (amber_context_connect(s->ctx, "tree", NULL, &pg, &err) || refresh(s, pg, false, &err))
        amber_warn("%s is committed, but the mounted tree can't be loaded yet: %s", what, err.text);
    amber_pg_close(pg);
    amber_service_commit_seen(s);
}

/* ---- watcher ---- */

static void set_database(struct amber_service *s, bool up, const char *name, const char *error)
{
    pthread_mutex_lock(&s->mutex);
    bool changed = s->database_up != up || (!up && !s->database_error[0]);
    s->database_up = up;
    if (name)
        snprintf(s->database_name, sizeof(s->database_name), "%s", name);
    snprintf(s->database_error, sizeof(s->database_error), "%s", error);
    pthread_mutex_unlock(&s->mutex);
    if (!changed)
        return;
    if (up)
        amber_info("database %s: connected", name);
    else
        amber_warn("database: %s; archives stay readable, jobs wait for it", error);
}

/* Last results from the catalog: of runs before this daemon, and of runs elsewhere. first: what was
 * missed while no daemon was here is queued. */
static enum amber_rc load_results(struct amber_service *s, struct amber_pg *pg, bool first,
                                  struct amber_err *err)
{
    for (size_t i = 0;; i++) {
        struct amber_job_result r;
        pthread_mutex_lock(&s->mutex);
        struct task *t = i < s->n_tasks ? s->tasks[i] : NULL;
        bool wanted = t && t->kind == TASK_ARCHIVE && t->job && !t->running;
        pthread_mutex_unlock(&s->mutex);
        if (!t)
            return AMBER_OK;
        if (!wanted)
            continue;
        enum amber_rc rc = amber_catalog_job_result_get(pg, s->id.store_id, t->name, &r, err);
        if (rc)
            return rc;
        pthread_mutex_lock(&s->mutex);
        if (!t->running && r.started_us > t->last.finished_us) {
            t->last = r;
            t->detail = (struct amber_archive_result){0};
        }
        bool missed = first && t->job && t->job->run_missed && t->job->enabled && s->enabled &&
                      r.started_us && amber_cron_prev(&t->job->cron, amber_now_us()) > r.started_us;
        if (missed && !t->queued && !t->running) {
            t->next_run_us = amber_now_us();
            pthread_cond_broadcast(&s->changed);
        }
        pthread_mutex_unlock(&s->mutex);
    }
}

static enum amber_rc claim(struct amber_service *s, struct amber_pg *pg, struct amber_err *err)
{
    struct amber_store_identity id;
    enum amber_rc rc;
    if (s->read_only) /* makes nothing: not the catalog, not the store */
        rc = amber_store_identity_get(s->ctx->store, &id, err);
    else
        rc = amber_context_claim(s->ctx, pg, &id, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&s->mutex);
    s->id = id;
    pthread_mutex_unlock(&s->mutex);
    return AMBER_OK;
}

static enum amber_rc recover_all(struct amber_service *s, struct amber_pg *pg,
                                 struct amber_err *err)
{
    struct amber_recovery rec;
    enum amber_rc rc = amber_recover(s->ctx, pg, &s->id, NULL, &rec, err);
    if (rc)
        return rc;
    if (rec.unknown_runs)
        amber_error(
            "the store has %s that this database doesn't know (tables %s): "
            "it was set back to an earlier point or failed over; run `amberfs reconcile`; "
            "until then these tables are not archived",
            AMBER_COUNT(rec.unknown_runs, "committed run"), rec.unknown_tables);
    if (rec.orphans_hidden)
        amber_warn("hidden in the store until ARCHIVAL_ORPHAN_DAYS old: %s of rolled-back runs",
                   AMBER_COUNT(rec.orphans_hidden, "object"));
    pthread_mutex_lock(&s->mutex);
    s->recovery = rec;
    pthread_mutex_unlock(&s->mutex);
    return AMBER_OK;
}

struct watcher_list {
    struct amber_service *s;
    struct amber_elsewhere listed;
    bool is_new;
};

/* The watcher waits for this meanwhile. */
static enum amber_rc list_for_watcher(void *arg, const struct amber_elsewhere **out,
                                      struct amber_err *err)
{
    struct watcher_list *w = arg;
    *out = &w->listed;
    return list_store(w->s, true, &w->listed, &w->is_new, err);
}

/* The tree as the store alone tells it, unless it has been made from what there is. */
static enum amber_rc refresh_from_markers(struct amber_service *s, struct amber_err *err)
{
    struct watcher_list w = {.s = s};
    struct amber_entry_list l = {0};
    uint64_t begun = begin_refresh(s);
    bool changed = false, more = false;
    enum amber_rc rc = AMBER_OK;
    if (s->markers && !list_is_due(s)) {
        rc = amber_marker_view_look(s->markers, s->ctx, NULL, NULL, &changed, err);
        if (rc || !changed)
            return rc;
    }
    if (!s->markers)
        rc = amber_marker_view_new(&s->markers, err);
    if (!rc)
        rc = amber_marker_view_look(s->markers, s->ctx, list_for_watcher, &w, &more, err);
    changed = changed || more;
    uint64_t digest = amber_elsewhere_digest(&w.listed);
    if (!rc && (changed || digest != s->elsewhere)) {
        rc = amber_marker_view_entries(s->markers, &l, err);
        if (!rc && w.is_new)
            look_for_missing(s, &w.listed, &l);
        if (!rc)
            rc = amber_elsewhere_add(s->ctx, NULL, NULL, &w.listed, &l, err);
        if (!rc)
            rc = apply_entries(s, begun, &l, err);
        if (!rc) {
            s->elsewhere = digest;
        } else { /* it is still to be done */
            amber_marker_view_free(s->markers);
            s->markers = NULL;
        }
    }
    amber_entry_list_clear(&l);
    amber_elsewhere_clear(&w.listed);
    return rc;
}

/* Wait to connect again, and meanwhile see what other hosts commit. */
static void follow_markers(struct amber_service *s, int ms)
{
    struct pollfd p = {.fd = s->stop.fd, .events = POLLIN};
    pthread_mutex_lock(&s->mutex);
    bool follow = !s->tree_of_catalog;
    pthread_mutex_unlock(&s->mutex);
    while (ms > 0 && !amber_cancel_is_set(&s->stop)) {
        struct amber_err err = AMBER_ERR_INIT;
        int64_t begun = amber_mono_us();
        if (follow && refresh_from_markers(s, &err))
            amber_warn("the store can't be listed, so that archives of other hosts and files of "
                       "other programs don't appear: %s",
                       err.text);
        int64_t part = (amber_mono_us() - begun) / 1000 * MARKERS_SHARE;
        if (part < MARKERS_WAIT_MS)
            part = MARKERS_WAIT_MS;
        if (part > ms)
            part = ms;
        (void)poll(&p, 1, (int)part);
        ms -= (int)part;
    }
}

/* While the connection lasts: everything once, then whatever NOTIFY says. */
static enum amber_rc watch(struct amber_service *s, struct amber_pg *pg, struct amber_err *err)
{
    enum amber_rc rc = claim(s, pg, err);
    if (!rc)
        rc = amber_pg_exec(pg, err, "LISTEN amberfs");
    if (!rc && !s->read_only)
        rc = recover_all(s, pg, err);
    for (bool first = true; !rc; first = false) {
        rc = refresh(s, pg, true, err);
        if (!rc && !s->read_only)
            rc = load_results(s, pg, first, err);
        if (!rc)
            set_database(s, true, amber_pg_database(pg), "");
        amber_service_commit_seen(s);
        bool notified;
        if (!rc)
            rc = amber_pg_wait_notify(pg, WATCH_WAIT_MS, &notified, err);
    }
    return rc;
}

void *amber_service_watch_main(void *arg)
{
    struct amber_service *s = arg;
    int wait_ms = RECONNECT_FIRST_MS;
    while (!amber_cancel_is_set(&s->stop)) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_pg *pg = NULL;
        int64_t begun = amber_mono_us();
        enum amber_rc rc = amber_context_connect(s->ctx, "watch", &s->stop, &pg, &err);
        if (!rc)
            rc = watch(s, pg, &err);
        amber_pg_close(pg);
        if (rc == AMBER_E_CANCELED)
            break;
        set_database(s, false, NULL, err.text);
        wait_ms = amber_mono_us() - begun > 60000000 ? RECONNECT_FIRST_MS : wait_ms;
        follow_markers(s, wait_ms);
        wait_ms = wait_ms * 2 < RECONNECT_MAX_MS ? wait_ms * 2 : RECONNECT_MAX_MS;
    }
    return NULL;
}

enum amber_rc amber_service_first_tree(struct amber_service *s, struct amber_err *err)
{
    struct amber_pg *pg = NULL;
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc = amber_context_connect(s->ctx, "start", NULL, &pg, &why);
    /* A password may be changed while the archives are needed: as with a server that is down. */
    bool login_refused = rc == AMBER_E_DENIED;
    if (!rc)
        rc = claim(s, pg, &why);
    if (!rc)
        rc = refresh(s, pg, true, &why);
    if (!rc)
        set_database(s, true, amber_pg_database(pg), "");
    amber_pg_close(pg);
    if (!rc)
        return AMBER_OK;
    if ((rc == AMBER_E_DENIED && !login_refused) || rc == AMBER_E_UNSUPPORTED ||
        rc == AMBER_E_INVALID) {
        *err = why; /* somebody has to look at this: no mount */
        return rc;
    }
    set_database(s, false, NULL, why.text);
    struct amber_store_identity id;
    if (amber_store_identity_get(s->ctx->store, &id, &why) == AMBER_OK)
        s->id = id; /* no other thread is there yet */
    return refresh_from_markers(s, err);
}
