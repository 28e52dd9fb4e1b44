/*
 * notify.c - a thread that tells the kernel what to forget after the tree changed, and raises the
 * readahead once the mount serves.
 *
 * A notification may wait in the kernel for a folder's lock, whose holder waits for an answer from
 * a FUSE thread: so never from a FUSE handler, and the thread ends before the FUSE threads do.
 * Names that weren't found aren't cached by the kernel, so that a new name needs no notification of
 * its own, only its folder's listing does.
 */
#include "mount_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "amber/log.h"
#include "mountinfo_priv.h"

#define READAHEAD_KB "256"

void amber_notify_init(struct notify_queue *q)
{
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->changed, NULL);
}

void amber_notify_clear(struct notify_queue *q)
{
    free(q->items);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->mutex);
}

void amber_notify_serving(struct amber_mount *m)
{
    pthread_mutex_lock(&m->notify.mutex);
    m->notify.serving = true;
    pthread_cond_broadcast(&m->notify.changed);
    pthread_mutex_unlock(&m->notify.mutex);
}

void amber_notify_end(struct amber_mount *m)
{
    pthread_mutex_lock(&m->notify.mutex);
    m->notify.end = true;
    pthread_cond_broadcast(&m->notify.changed);
    pthread_mutex_unlock(&m->notify.mutex);
}

/*
 * The kernel's readahead for a FUSE mount is 128 KiB, and the INIT reply can only lower it; root
 * may raise it afterwards: after the first request came, which the kernel sends only when it has
 * taken in the INIT reply. Larger requests mean fewer wake-ups; beyond a part of a core's cache the
 * reader finds pages that have left it again, which costs more than the wake-ups do. The file is
 * opened when the mount is made: later the process may be root no more.
 * source  Documentation/ABI/testing/sysfs-class-bdi
 */
void amber_notify_mounted(struct amber_mount *m)
{
    struct amber_mountinfo info;
    char path[64];
    if (geteuid() != 0 || !amber_mountinfo_of_path(m->cfg.mountpoint, &info))
        return;
    bool ours = info.is_amberfs && strcmp(info.mountpoint, m->cfg.mountpoint) == 0;
    free(info.mountpoint);
    if (!ours)
        return;
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", info.major, info.minor);
    m->readahead_fd = open(path, O_WRONLY | O_CLOEXEC);
    if (m->readahead_fd < 0)
        amber_debug("readahead stays as it is, %s: %s", path, strerror(errno));
}

static void raise_readahead(struct amber_mount *m)
{
    if (m->readahead_fd >= 0 && write(m->readahead_fd, READAHEAD_KB, strlen(READAHEAD_KB)) < 0)
        amber_debug("readahead stays as it is: %s", strerror(errno));
}

static void send_change(struct amber_mount *m, const struct notify_change *c, bool new_folder)
{
    /* The kernel answers ENOENT for what it doesn't know: nothing to forget then. */
    if (new_folder && c->folder) {
        (void)fuse_lowlevel_notify_inval_inode(m->se, c->folder, 0, 0);
        (void)fuse_lowlevel_notify_inval_inode(m->se, c->folder | RAW_BIT, 0, 0);
    }
    if (c->what == AMBER_TREE_ALTERED) {
        (void)fuse_lowlevel_notify_inval_inode(m->se, c->ino, 0, 0);
        (void)fuse_lowlevel_notify_inval_inode(m->se, c->ino | RAW_BIT, 0, 0);
    } else if (c->what == AMBER_TREE_REMOVED) {
        const char *slash = c->key ? strrchr(c->key, '/') : NULL;
        const char *raw = !c->key ? c->name : slash ? slash + 1 : c->key;
        (void)fuse_lowlevel_notify_inval_entry(m->se, c->folder, c->name, strlen(c->name));
        (void)fuse_lowlevel_notify_inval_entry(m->se, c->folder | RAW_BIT, raw, strlen(raw));
    }
}

void *amber_notify_main(void *mount)
{
    struct amber_mount *m = mount;
    struct notify_queue *q = &m->notify;
    pthread_mutex_lock(&q->mutex);
    while (!q->serving && !q->end)
        pthread_cond_wait(&q->changed, &q->mutex);
    bool raise = !q->end;
    pthread_mutex_unlock(&q->mutex);
    if (raise)
        raise_readahead(m);
    pthread_mutex_lock(&q->mutex);
    for (;;) {
        while (!q->n && !q->end)
            pthread_cond_wait(&q->changed, &q->mutex);
        if (q->end)
            break;
        struct notify_change *items = amber_steal(&q->items);
        size_t n = q->n;
        q->n = q->cap = 0;
        pthread_mutex_unlock(&q->mutex);
        for (size_t i = 0; i < n; i++)
            send_change(m, &items[i], i == 0 || items[i].folder != items[i - 1].folder);
        free(items);
        pthread_mutex_lock(&q->mutex);
        q->sent += n;
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->mutex);
    return NULL;
}

static void add(struct amber_mount *m, const struct notify_change *change)
{
    struct notify_queue *q = &m->notify;
    struct amber_err err = AMBER_ERR_INIT;
    pthread_mutex_lock(&q->mutex);
    /* Before its first request the kernel knows nothing; after the end it forgets everything. */
    if (q->serving && !q->end) {
        if (amber_grow(&q->items, &q->cap, q->n + 1, sizeof(*q->items), &err) == AMBER_OK) {
            q->items[q->n++] = *change;
            q->added++;
        } else {
            amber_error("the kernel may show an old listing until it is mounted anew: %s",
                        err.text);
        }
    }
    pthread_mutex_unlock(&q->mutex);
}

static void add_change(void *arg, const struct amber_tree_change *change)
{
    const struct notify_change c = {
        .what = change->what,
        .folder = change->folder,
        .ino = change->ino,
        .name = change->name,
        .key = change->entry ? change->entry->key : NULL,
    };
    add(arg, &c);
}

/* Return when the kernel was told all that was added. */
static void flush(struct amber_mount *m)
{
    struct notify_queue *q = &m->notify;
    pthread_mutex_lock(&q->mutex);
    uint64_t upto = q->added;
    pthread_cond_broadcast(&q->changed);
    while (q->sent < upto && !q->end)
        pthread_cond_wait(&q->changed, &q->mutex);
    pthread_mutex_unlock(&q->mutex);
}

void amber_notify_altered(struct amber_mount *m, uint64_t ino)
{
    const struct notify_change c = {.what = AMBER_TREE_ALTERED, .ino = ino & ~RAW_BIT};
    add(m, &c);
    flush(m);
}

enum amber_rc amber_mount_update(struct amber_mount *m, const struct amber_tree_entry *entries,
                                 size_t n, struct amber_err *err)
{
    enum amber_rc rc = amber_tree_replace(m->cfg.tree, entries, n, add_change, m, err);
    if (!rc)
        flush(m);
    return rc;
}
