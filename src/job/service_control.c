/*
 * service_control.c - what the mount's control files and .restore ask of the daemon.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "amber/count.h"
#include "amber/foreign.h"
#include "amber/log.h"
#include "amber/repair.h"
#include "amber/verify.h"
#include "service_priv.h"

/* ---- wait ---- */

static void forget_waiter(struct task *t, const struct waiter *w)
{
    for (struct waiter **p = &t->waiters; *p; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            return;
        }
    }
}

static enum amber_rc service_wait(void *arg, const char *job, const struct amber_cancel *cancel,
                                  struct amber_buf *out, struct amber_err *err)
{
    struct amber_service *s = arg;
    struct waiter w = {.event_fd = eventfd(0, EFD_CLOEXEC)};
    if (w.event_fd < 0)
        return amber_fail_errno(err, errno, "can't wait for job %s", job);
    enum amber_rc rc = AMBER_OK;
    pthread_mutex_lock(&s->mutex);
    struct task *t = amber_service_task(s, job);
    while (t && (t->queued || t->running) && !amber_cancel_is_set(&s->stop) &&
           !amber_cancel_is_set(cancel)) {
        w.next = t->waiters;
        t->waiters = &w;
        pthread_mutex_unlock(&s->mutex);
        struct pollfd p[] = {
            {.fd = w.event_fd, .events = POLLIN},
            {.fd = cancel ? cancel->fd : -1, .events = POLLIN},
        };
        (void)poll(p, 2, -1);
        pthread_mutex_lock(&s->mutex);
        forget_waiter(t, &w);
        uint64_t n;
        if (p[0].revents && read(w.event_fd, &n, sizeof(n)) < 0)
            break;
    }
    if (!t)
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "there is no job \"%s\"", job);
    else if (t->queued || t->running)
        rc = amber_fail(err, AMBER_E_CANCELED, "waiting for job %s was interrupted", job);
    else
        rc = amber_service_result_text(t, out, err);
    pthread_mutex_unlock(&s->mutex);
    close(w.event_fd);
    return rc;
}

static bool service_job_exists(void *arg, const char *name)
{
    struct amber_service *s = arg;
    pthread_mutex_lock(&s->mutex);
    struct task *t = amber_service_task(s, name);
    bool found = t && (t->kind != TASK_ARCHIVE || t->job);
    pthread_mutex_unlock(&s->mutex);
    return found;
}

static const char *service_job_name(void *arg, size_t i)
{
    struct amber_service *s = arg;
    const char *name = NULL;
    pthread_mutex_lock(&s->mutex);
    for (size_t k = 0; k < s->n_tasks && !name; k++)
        if ((s->tasks[k]->kind != TASK_ARCHIVE || s->tasks[k]->job) && i-- == 0)
            name = s->tasks[k]->name; /* tasks live as long as the service */
    pthread_mutex_unlock(&s->mutex);
    return name;
}

/* ---- control ---- */

static enum amber_rc cancel_task(struct amber_service *s, const char *name, const char *by,
                                 struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    pthread_mutex_lock(&s->mutex);
    struct task *t = amber_service_task(s, name);
    if (!t)
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "there is no job \"%s\"", name);
    else if (t->running)
        amber_cancel_set(&t->cancel);
    else if (!t->queued)
        rc = amber_fail(err, AMBER_E_INVALID, "job %s isn't running", name);
    struct runner *r = t && t->kind == TASK_ARCHIVE ? &s->archive_runner : &s->side_runner;
    struct work *dropped = NULL;
    if (t && t->queued && !t->running) {
        for (struct work **p = &r->head; *p;) {
            struct work *w = *p;
            if (w->task == t) {
                *p = w->next;
                w->next = dropped;
                dropped = w;
            } else {
                p = &w->next;
            }
        }
        r->tail = &r->head;
        while (*r->tail)
            r->tail = &(*r->tail)->next;
        t->queued = false;
        int64_t now_us = amber_now_us();
        t->last = (struct amber_job_result){.started_us = now_us, .finished_us = now_us};
        snprintf(t->last.state, sizeof(t->last.state), "canceled");
        snprintf(t->last.error, sizeof(t->last.error), "canceled before it started");
        t->detail = (struct amber_archive_result){0};
        t->text[0] = '\0';
        for (struct waiter *w = t->waiters; w; w = w->next) {
            uint64_t one = 1;
            (void)!write(w->event_fd, &one, sizeof(one));
        }
        t->waiters = NULL;
    }
    pthread_mutex_unlock(&s->mutex);
    while (dropped) {
        struct work *w = dropped;
        dropped = w->next;
        free(w->argument);
        free(w);
    }
    if (!rc)
        amber_info("job %s: canceled by %s", name, by);
    return rc;
}

/* The logical name that a person wrote: with or without the mount point before it. */
static enum amber_rc find_archive(struct amber_service *s, const char *name,
                                  struct amber_node *out, struct amber_err *err)
{
    size_t n = strlen(s->mountpoint);
    if (strncmp(name, s->mountpoint, n) == 0 && name[n] == '/')
        name += n + 1;
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    if (amber_tree_find(s->tree, name, out) && !out->is_folder)
        return AMBER_OK;
    return amber_fail(err, AMBER_E_NOT_FOUND, "there is no archive \"%s\"", name);
}

/* Cut the next piece off a restore line: what stands before the next " --", blanks at its ends
 * aside, so that names with blanks need no quotes. NULL at the end. */
static char *next_piece(char **rest)
{
    char *piece = *rest + strspn(*rest, " \t");
    if (!*piece)
        return NULL;
    char *end = piece;
    do
        end += 1;
    while (*end && !((end[-1] == ' ' || end[-1] == '\t') && strncmp(end, "--", 2) == 0));
    *rest = end;
    while (end > piece && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    return piece;
}

/* One option with its value, "" if it has none. */
static enum amber_rc restore_option(const char *name, char *value, struct amber_restore_options *out,
                                    struct amber_err *err)
{
    bool takes_value = strcmp(name, "--into") == 0 || strcmp(name, "--on-conflict") == 0;
    if (takes_value && !*value)
        return amber_fail(err, AMBER_E_INVALID, "%s needs a value", name);
    if (strcmp(name, "--into") == 0)
        out->into = value;
    else if (strcmp(name, "--on-conflict") == 0 && !amber_conflict_parse(value, &out->on_conflict))
        return amber_fail(err, AMBER_E_INVALID,
                          "--on-conflict %s: it must be error, skip or replace", value);
    else if (strcmp(name, "--force") == 0 && !*value)
        out->force = true;
    else if (strcmp(name, "--allow-triggers") == 0 && !*value)
        out->allow_triggers = true;
    else if (!takes_value)
        return amber_fail(err, AMBER_E_INVALID,
                          "\"%s\" isn't understood; write ARCHIVE [--into TABLE] [--on-conflict "
                          "error|skip|replace] [--force] [--allow-triggers]",
                          *value ? value : name);
    return AMBER_OK;
}

enum amber_rc amber_restore_words(char *line, char **out_archive, struct amber_restore_options *out,
                                  struct amber_err *err)
{
    char *archive = next_piece(&line);
    if (!archive || strncmp(archive, "--", 2) == 0)
        return amber_fail(err, AMBER_E_INVALID, "no archive is named: its path comes first");
    for (char *name; (name = next_piece(&line));) {
        char *value = name + strcspn(name, " \t");
        if (*value)
            *value++ = '\0';
        enum amber_rc rc = restore_option(name, value + strspn(value, " \t"), out, err);
        if (rc)
            return rc;
    }
    *out_archive = archive;
    return AMBER_OK;
}

static enum amber_rc control_restore(struct amber_service *s, const char *line, const char *by,
                                     struct amber_err *err)
{
    AMBER_AUTO_FREE char *words = NULL;
    char *archive;
    struct amber_restore_options opt = {0};
    struct amber_node node;
    enum amber_rc rc = amber_strdup(line, &words, err);
    if (!rc)
        rc = amber_restore_words(words, &archive, &opt, err);
    if (!rc)
        rc = find_archive(s, archive, &node, err);
    if (!rc)
        rc = amber_service_queue(s, "restore", line, by, err);
    return rc;
}

/* "[--repair ]ARCHIVE" or "[--repair ]--all": what stands behind the option. */
static const char *verify_words(const char *line, bool *out_repair)
{
    static const char option[] = "--repair ";
    *out_repair = strncmp(line, option, sizeof(option) - 1) == 0;
    return line + (*out_repair ? sizeof(option) - 1 : 0);
}

static enum amber_rc control_verify(struct amber_service *s, const char *line, const char *by,
                                    struct amber_err *err)
{
    struct amber_node node;
    enum amber_rc rc = AMBER_OK;
    bool repair;
    const char *what = verify_words(line, &repair);
    if (repair && s->read_only)
        return amber_fail(err, AMBER_E_DENIED, "this mount is read-only (-o ro): no repair");
    if (repair && !s->n_replicas)
        return amber_fail(err, AMBER_E_INVALID,
                          "--repair needs another copy of the store, and ARCHIVAL_S3_REPLICAS names "
                          "none");
    if (strcmp(what, "--all") != 0 && strcmp(what, "all") != 0)
        rc = find_archive(s, what, &node, err);
    if (!rc)
        rc = amber_service_queue(s, "verify", line, by, err);
    return rc;
}

static enum amber_rc service_control(void *arg, enum amber_control what, const char *line,
                                     const struct amber_caller *caller, struct amber_err *err)
{
    struct amber_service *s = arg;
    char by[64];
    snprintf(by, sizeof(by), "uid %u, pid %d", (unsigned)caller->uid, (int)caller->pid);
    enum amber_rc rc = AMBER_OK;
    if (s->read_only && what != AMBER_CONTROL_VERIFY)
        rc = amber_fail(err, AMBER_E_DENIED, "this mount is read-only (-o ro): no jobs, no restores");
    else if (what == AMBER_CONTROL_TRIGGER)
        rc = amber_service_queue(s, line, NULL, by, err);
    else if (what == AMBER_CONTROL_CANCEL)
        rc = cancel_task(s, line, by, err);
    else if (what == AMBER_CONTROL_VERIFY)
        rc = control_verify(s, line, by, err);
    else
        rc = control_restore(s, line, by, err);
    return rc;
}

/* ---- verify and restore, on the side runner ---- */

struct verify_sum {
    struct amber_service *s;
    struct task *t;
    uint64_t archives, foreign, bad, unchecked, bytes;
    char first[600];
    bool repair;
    struct amber_copy_tally copies[AMBER_COPIES_MAX]; /* of a store that has replicas */
};

static void note_fault(struct verify_sum *v, enum amber_rc rc, const char *text)
{
    *(amber_rc_damage(rc) ? &v->bad : &v->unchecked) += 1;
    amber_error("verify: %s", text);
    if (!v->first[0])
        snprintf(v->first, sizeof(v->first), "%.590s", text);
}

/* A document of the store that belongs to no single archive. */
static void document_fault(void *arg, const struct amber_err *why)
{
    note_fault(arg, why->code, why->text);
}

/* Another program's file: that it decodes to its end; nothing says what a plain one must be. */
static void verify_foreign(struct verify_sum *v, const struct amber_tree_entry *e)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t raw;
    v->foreign++;
    if (e->form == AMBER_TREE_PLAIN)
        return;
    enum amber_rc rc = amber_foreign_verify(v->s->ctx->foreign, e->key, &raw, &err);
    if (!rc) {
        v->bytes += e->stored_size;
        amber_info("verify: %s: ok, not amberfs's, decodes to %llu bytes", e->path,
                   (unsigned long long)raw);
    } else if (rc != AMBER_E_CANCELED) {
        amber_wrap(&err, "%s", e->path);
        note_fault(v, rc, err.text);
    }
}

/* The archive in each copy of the store; repaired if that was asked for. */
static void verify_copies(struct verify_sum *v, const struct amber_tree_entry *e)
{
    struct amber_store *st = v->s->ctx->store;
    struct amber_sha256 digest;
    memcpy(digest.b, e->manifest_sha256, sizeof(digest.b));
    for (unsigned i = 0; i < amber_copies_count(st) && !amber_cancel_is_set(&v->t->cancel); i++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_copy_result r;
        struct amber_copy_check c = {
            .store = st,
            .copy = i,
            .manifest_key = e->manifest_key,
            .digest = e->has_digest ? &digest : NULL,
            .repair = v->repair,
            .pool = v->s->ctx->pool,
            .cancel = &v->t->cancel,
        };
        if (amber_copy_verify(&c, &r, &err))
            return;
        v->bytes += r.report.stored_bytes;
        amber_copy_tally_add(&v->copies[i], &r);
        if (r.repaired)
            amber_warn("verify: %s: %s was %s and is repaired: %s", e->path,
                       amber_copies_name(st, i), amber_copy_state_name(r.state), r.fault);
        if (!amber_copy_result_bad(&r))
            continue;
        enum amber_rc rc =
            amber_fail(&err, r.state == AMBER_COPY_AWAY ? AMBER_E_NET : AMBER_E_CORRUPT,
                       "%s: %s is %s: %s", e->path, amber_copies_name(st, i),
                       amber_copy_state_name(r.state), r.fault);
        note_fault(v, rc, err.text);
    }
}

static void verify_entry(struct verify_sum *v, const struct amber_tree_entry *e)
{
    struct amber_manifest m = {0};
    struct amber_verify_report report = {0};
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = AMBER_OK;
    pthread_mutex_lock(&v->t->progress.mutex);
    snprintf(v->t->progress.table, sizeof(v->t->progress.table), "%s", e->path);
    v->t->progress.phase = AMBER_PHASE_VERIFY;
    pthread_mutex_unlock(&v->t->progress.mutex);
    if (e->form != AMBER_TREE_OURS) {
        verify_foreign(v, e);
        return;
    }
    v->archives++;
    if (e->manifest_key && v->s->n_replicas) {
        verify_copies(v, e);
        return;
    }
    rc = amber_entry_manifest(v->s->ctx->store, e, &m, &err);
    if (!rc)
        rc = amber_verify(v->s->ctx->store, &m, &v->t->cancel, NULL, NULL, &report, &err);
    v->bytes += report.stored_bytes;
    if (rc && rc != AMBER_E_CANCELED) {
        amber_wrap(&err, "%s", e->path);
        note_fault(v, rc, err.text);
    } else if (!rc) {
        amber_info("verify: %s: ok, %s in %s", e->path, AMBER_COUNT(report.rows, "row"),
                   AMBER_COUNT(report.blocks, "block"));
    }
    amber_manifest_clear(&m);
}

/* Every archive below a folder. Names are collected first: verifying is long, and the tree's
 * callback may hold its lock. */
struct walk {
    const struct amber_tree_entry **entries;
    uint64_t *folders;
    size_t n_entries, entries_cap, n_folders, folders_cap;
    enum amber_rc rc;
    struct amber_err *err;
};

static bool walk_child(void *arg, const char *name, const struct amber_node *node,
                       uint64_t next_pos)
{
    (void)name;
    (void)next_pos;
    struct walk *w = arg;
    if (node->is_folder)
        w->rc = amber_grow(&w->folders, &w->folders_cap, w->n_folders + 1, sizeof(*w->folders),
                           w->err);
    else
        w->rc = amber_grow(&w->entries, &w->entries_cap, w->n_entries + 1, sizeof(*w->entries),
                           w->err);
    if (w->rc)
        return false;
    if (node->is_folder)
        w->folders[w->n_folders++] = node->ino;
    else
        w->entries[w->n_entries++] = node->entry;
    return true;
}

static enum amber_rc all_entries(struct amber_service *s, struct walk *w, struct amber_err *err)
{
    w->err = err;
    enum amber_rc rc = amber_tree_list(s->tree, 1, 0, walk_child, w, err);
    for (size_t i = 0; !rc && !w->rc && i < w->n_folders; i++)
        rc = amber_tree_list(s->tree, w->folders[i], 0, walk_child, w, err);
    return rc ? rc : w->rc;
}

/* A line for each copy behind the text. */
static void copies_text(const struct verify_sum *v, char *text, size_t text_len)
{
    for (unsigned i = 0; v->s->n_replicas && i < amber_copies_count(v->s->ctx->store); i++) {
        AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(4096);
        struct amber_err err = AMBER_ERR_INIT;
        size_t len = strlen(text);
        if (!amber_copy_tally_text(&v->copies[i], &line, &err))
            snprintf(text + len, text_len - len, "copy %s: %s\n",
                     amber_copies_name(v->s->ctx->store, i), line.data);
    }
}

enum amber_rc amber_service_verify(struct amber_service *s, struct task *t, const char *argument,
                                   char *text, size_t text_len, struct amber_err *err)
{
    struct verify_sum v = {.s = s, .t = t};
    argument = verify_words(argument, &v.repair);
    struct amber_node node;
    enum amber_rc rc = AMBER_OK;
    if (strcmp(argument, "--all") == 0 || strcmp(argument, "all") == 0) {
        struct walk w = {0};
        rc = all_entries(s, &w, err);
        for (size_t i = 0; !rc && i < w.n_entries && !amber_cancel_is_set(&t->cancel); i++)
            verify_entry(&v, w.entries[i]);
        free(w.entries);
        free(w.folders);
        if (!rc)
            rc = amber_documents_check(s->ctx, document_fault, &v, err);
    } else if (!(rc = find_archive(s, argument, &node, err))) {
        verify_entry(&v, node.entry);
    }
    snprintf(text, text_len,
             "archives: %llu\ndamaged: %llu\nnot checked: %llu\nstored bytes: %llu\n",
             (unsigned long long)v.archives, (unsigned long long)v.bad,
             (unsigned long long)v.unchecked, (unsigned long long)v.bytes);
    if (v.foreign) {
        size_t len = strlen(text);
        snprintf(text + len, text_len - len, "files of other programs: %llu\n",
                 (unsigned long long)v.foreign);
    }
    copies_text(&v, text, text_len);
    if (!rc)
        rc = amber_cancel_check(&t->cancel, err);
    if (!rc && (v.bad || v.unchecked))
        rc = amber_fail(err, v.bad ? AMBER_E_CORRUPT : AMBER_E_IO,
                        "damaged: %llu of %s, %llu could not be checked; the first: %s",
                        (unsigned long long)v.bad, AMBER_COUNT(v.archives, "archive"),
                        (unsigned long long)v.unchecked, v.first);
    return rc;
}

static void restore_progress(void *arg, const char *table, uint64_t done, uint64_t total)
{
    struct task *t = arg;
    pthread_mutex_lock(&t->progress.mutex);
    snprintf(t->progress.table, sizeof(t->progress.table), "%s", table);
    t->progress.unit_rows_done = done;
    t->progress.unit_rows_total = total;
    pthread_mutex_unlock(&t->progress.mutex);
}

enum amber_rc amber_service_restore(struct amber_service *s, struct task *t, const char *argument,
                                    char *text, size_t text_len, struct amber_err *err)
{
    AMBER_AUTO_FREE char *words = NULL;
    char *archive;
    struct amber_restore_options opt = {
        .cancel = &t->cancel,
        .progress = restore_progress,
        .arg = t,
    };
    struct amber_node node;
    struct amber_restore_result result;
    enum amber_rc rc = amber_strdup(argument, &words, err);
    if (!rc)
        rc = amber_restore_words(words, &archive, &opt, err);
    if (!rc)
        rc = find_archive(s, archive, &node, err);
    if (!rc)
        rc = amber_restore_archive(s->ctx, node.entry, &opt, &result, err);
    if (!rc)
        amber_service_refresh_after_commit(s, archive);
    if (!rc)
        snprintf(text, text_len,
                 "archives: %llu\nrows inserted: %llu\nrows skipped: %llu\nrows replaced: %llu\n%s",
                 (unsigned long long)result.archives, (unsigned long long)result.rows_inserted,
                 (unsigned long long)result.rows_skipped, (unsigned long long)result.rows_replaced,
                 result.notes);
    return rc;
}

/* ---- .restore ---- */

struct name_match {
    const struct amber_tree_entry *entry;
    size_t n;
};

static bool count_match(void *arg, const struct amber_node *node)
{
    struct name_match *m = arg;
    m->entry = node->entry;
    return ++m->n < 2;
}

static enum amber_rc service_restore_open(void *arg, const char *table, const char *file,
                                          const struct amber_caller *caller,
                                          struct amber_sink **out, struct amber_err *err)
{
    struct amber_service *s = arg;
    struct name_match match = {0};
    (void)caller;
    if (s->read_only)
        return amber_fail(err, AMBER_E_DENIED, "this mount is read-only (-o ro): no restores");
    if (!table) {
        amber_tree_find_name(s->tree, file, count_match, &match);
        if (!match.n)
            return amber_fail(err, AMBER_E_INVALID,
                              "%s isn't the name of an archive of this mount; to restore a file of "
                              "your own copy it into .restore/TABLE/",
                              file);
        if (match.n > 1)
            return amber_fail(err, AMBER_E_INVALID,
                              "several folders have an archive named %s; write its path into "
                              ".control/restore instead",
                              file);
    }
    enum amber_rc rc = amber_restore_sink(s->ctx, match.entry, table,
                                          amber_service_refresh_after_commit, s, out, err);
    return rc ? amber_wrap(err, "restore of %s", file) : AMBER_OK;
}

static void service_audit(void *arg, const char *what, const char *path,
                          const struct amber_caller *caller)
{
    (void)arg;
    amber_info("audit: %s %s by uid %u, pid %d", what, path, (unsigned)caller->uid,
               (int)caller->pid);
}

const struct amber_mount_ops amber_service_ops = {
    .status = amber_service_status,
    .metrics = amber_service_metrics,
    .control = service_control,
    .job_exists = service_job_exists,
    .job_name = service_job_name,
    .wait = service_wait,
    .restore_open = service_restore_open,
    .audit = service_audit,
};
