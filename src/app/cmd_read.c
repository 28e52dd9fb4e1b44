/*
 * cmd_read.c - `amberfs cat ARCHIVE` and `amberfs list`: archives without a mount or a database.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "amber/foreign.h"
#include "amber/log.h"
#include "amber/reader.h"
#include "app.h"
#include "archives.h"

#define PLAIN_BYTES (1U << 20)

static enum amber_rc write_all(const char *data, size_t len, struct amber_err *err)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return amber_fail_errno(err, errno, "standard output");
        data += n;
        len -= (size_t)n;
    }
    return AMBER_OK;
}

/* ---- cat ---- */

static enum amber_rc cat_reader(struct amber_reader *r, struct amber_err *err)
{
    struct amber_stream *s;
    enum amber_rc rc = amber_stream_open(r, &s, err);
    if (rc)
        return rc;
    for (uint64_t off = 0; !rc && off < amber_reader_size(r);) {
        struct amber_pin pin;
        rc = amber_stream_pin(s, off, &pin, err);
        if (rc)
            break;
        rc = write_all(pin.data, pin.len, err);
        off = pin.raw_off + pin.len;
        amber_pin_release(&pin);
    }
    amber_stream_close(s);
    return rc;
}

/* Another program's file, as it is. */
static enum amber_rc cat_plain(struct app *app, const struct amber_tree_entry *e,
                               struct amber_err *err)
{
    struct amber_object *o;
    struct amber_object_info info;
    AMBER_AUTO_FREE char *buf = malloc(PLAIN_BYTES);
    if (!buf)
        return amber_fail_nomem(err, "reading", PLAIN_BYTES);
    enum amber_rc rc = amber_object_open(app->store, e->key, AMBER_OPEN_CACHED, &o, &info, err);
    if (rc)
        return rc;
    for (uint64_t off = 0; !rc && off < info.size;) {
        size_t n = info.size - off < PLAIN_BYTES ? (size_t)(info.size - off) : PLAIN_BYTES;
        rc = amber_object_read(o, off, buf, n, err);
        if (!rc)
            rc = write_all(buf, n, err);
        off += n;
    }
    amber_object_close(o);
    return rc;
}

static enum amber_rc cat_entry(struct app *app, const struct amber_tree_entry *e,
                               struct amber_err *err)
{
    struct amber_manifest m = {0};
    struct amber_reader *r = NULL;
    enum amber_rc rc = AMBER_OK;
    if (e->form == AMBER_TREE_PLAIN)
        return cat_plain(app, e, err);
    if (e->form == AMBER_TREE_FOREIGN)
        rc = amber_foreign_open(app->foreign, e->key, app->cache, &r, err);
    else if (!(rc = amber_entry_manifest(app->store, e, &m, err)))
        rc = amber_reader_open(app->store, &m.archive, app->cache, &r, err);
    if (!rc)
        rc = cat_reader(r, err);
    amber_reader_close(r);
    amber_manifest_clear(&m);
    return rc;
}

static enum amber_rc cat_mounted(const char *mountpoint, const char *name, struct amber_err *err)
{
    AMBER_AUTO_FREE char *path = NULL;
    enum amber_rc rc = amber_asprintf(&path, err, "%s/%s", mountpoint,
                                      amber_archive_relative(name, mountpoint));
    if (rc)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return amber_fail_errno(err, errno, "%s", path);
    char *buf = malloc(1U << 20);
    if (!buf)
        rc = amber_fail_nomem(err, "reading", 1U << 20);
    while (!rc) {
        ssize_t n = read(fd, buf, 1U << 20);
        if (n < 0)
            rc = amber_fail_errno(err, errno, "%s", path);
        if (n <= 0)
            break;
        rc = write_all(buf, (size_t)n, err);
    }
    free(buf);
    close(fd);
    return rc;
}

int amber_cmd_cat(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *mounted = amber_app_mounted(app);
    struct amber_entry_list list = {0};
    enum amber_rc rc = AMBER_OK;
    if (!mounted && !(rc = amber_app_open(app, true, false, -1, &err)))
        rc = amber_app_entries(app, &list, &err);
    for (size_t i = 0; !rc && i < app->opt->n_args; i++) {
        const struct amber_tree_entry *e = NULL;
        if (mounted)
            rc = cat_mounted(mounted, app->opt->args[i], &err);
        else if (!(rc = amber_archive_find(&list, app->cfg.path, app->opt->args[i], &e, &err)))
            rc = cat_entry(app, e, &err);
    }
    amber_entry_list_clear(&list);
    return rc ? amber_app_fail(&err) : 0;
}

/* ---- list ---- */

struct total {
    uint64_t archives, rows, raw, stored;
};

static void print_line(struct total *t, const char *path, uint64_t rows, uint64_t raw,
                       uint64_t stored, bool json)
{
    char n[32], r[32], s[32];
    t->archives++;
    t->rows += rows;
    t->raw += raw;
    t->stored += stored;
    if (json) {
        struct amber_err err = AMBER_ERR_INIT;
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(65536);
        if (!amber_buf_json(&b, path, strlen(path), &err))
            printf("{\"archive\":%s,\"rows\":%llu,\"rawBytes\":%llu,\"storedBytes\":%llu}\n", b.data,
                   (unsigned long long)rows, (unsigned long long)raw, (unsigned long long)stored);
        return;
    }
    amber_human_count(rows, n);
    amber_human_bytes(raw, r);
    amber_human_bytes(stored, s);
    if (t->archives == 1)
        printf("%14s %10s %10s  %s\n", "rows", "size", "stored", "archive");
    printf("%14s %10s %10s  %s\n", n, r, s, path);
}

static uint64_t xattr_number(const char *path, const char *name)
{
    char text[32];
    ssize_t n = getxattr(path, name, text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return strtoull(text, NULL, 10);
}

/* An archive's stored bytes: its file below .raw. */
static uint64_t stored_size(const char *root, const char *path)
{
    char key[AMBER_KEY_MAX + 1], raw[PATH_MAX];
    struct stat st;
    ssize_t n = getxattr(path, "user.amber.stored_path", key, sizeof(key) - 1);
    if (n <= 0)
        return 0;
    key[n] = '\0';
    snprintf(raw, sizeof(raw), "%s/.raw/%s", root, key);
    return stat(raw, &st) ? 0 : (uint64_t)st.st_size;
}

/* Through a mount: names from its folders, rows from the extended attributes, stored size from
 * .raw's view. Folders are one level deep or more; the depth is bounded by the path length. */
static enum amber_rc list_mounted(const char *root, const char *rel, struct total *t, bool json,
                                  struct amber_err *err)
{
    AMBER_AUTO_FREE char *dir = NULL;
    enum amber_rc rc = amber_asprintf(&dir, err, "%s/%s", root, rel);
    if (rc)
        return rc;
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0)
        return amber_fail_errno(err, errno, "%s", dir);
    for (int i = 0; i < n; i++) {
        AMBER_AUTO_FREE char *sub = NULL;
        AMBER_AUTO_FREE char *path = NULL;
        struct stat st;
        if (!rc && names[i]->d_name[0] != '.') {
            rc = amber_asprintf(&sub, err, "%s%s%s", rel, rel[0] ? "/" : "", names[i]->d_name);
            if (!rc)
                rc = amber_asprintf(&path, err, "%s/%s", root, sub);
            if (!rc && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
                rc = list_mounted(root, sub, t, json, err);
            else if (!rc)
                print_line(t, sub, xattr_number(path, "user.amber.rows"), (uint64_t)st.st_size,
                           stored_size(root, path), json);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

/* Of another program's archive: known once it is indexed, which is done now. */
static uint64_t raw_size(struct app *app, const struct amber_tree_entry *e)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;
    if (e->form != AMBER_TREE_FOREIGN)
        return e->size;
    if (amber_foreign_open(app->foreign, e->key, app->cache, &r, &err)) {
        amber_warn("%s", err.text);
        return 0;
    }
    uint64_t size = amber_reader_size(r);
    amber_reader_close(r);
    return size;
}

static int compare_entries(const void *a, const void *b)
{
    const struct amber_tree_entry *x = a, *y = b;
    return strcmp(x->path, y->path);
}

int amber_cmd_list(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_FREE char *mounted = amber_app_mounted(app);
    struct amber_entry_list list = {0};
    struct total t = {0};
    bool json = app->opt->json;
    enum amber_rc rc;
    if (mounted) {
        rc = list_mounted(mounted, "", &t, json, &err);
    } else if (!(rc = amber_app_open(app, true, false, -1, &err)) &&
               !(rc = amber_app_entries(app, &list, &err))) {
        if (list.n)
            qsort(list.items, list.n, sizeof(*list.items), compare_entries);
        for (size_t i = 0; i < list.n; i++)
            print_line(&t, list.items[i].path, list.items[i].rows,
                       raw_size(app, &list.items[i]), list.items[i].stored_size, json);
    }
    amber_entry_list_clear(&list);
    if (rc)
        return amber_app_fail(&err);
    if (!json) {
        char n[32], r[32], s[32];
        amber_human_count(t.rows, n);
        amber_human_bytes(t.raw, r);
        amber_human_bytes(t.stored, s);
        printf("%14s %10s %10s  in %s\n", n, r, s, AMBER_COUNT(t.archives, "archive"));
    }
    return 0;
}
