/*
 * mount_options.c - the comma-separated words behind -o.
 *
 * Words come from a person, from /etc/fstab and from mount.fuse(8), which adds its own: each is
 * ours, FUSE's, or of no meaning here and dropped. An unknown one is refused: a mistyped "ro" must
 * not become a writable mount.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "amber/nearest.h"
#include "describe.h"
#include "options.h"

enum word_kind {
    WORD_TEXT, /* NAME=VALUE, kept in a member */
    WORD_ON,   /* sets a member */
    WORD_OFF,  /* clears it */
    WORD_FUSE, /* handed on as it stands */
};

struct word {
    const char *name;
    enum word_kind kind;
    const char *arg;     /* "=FILE": a value must be there; NULL: none may */
    size_t offset;       /* of the member */
    const char *meaning; /* NULL: not in lists */
};

#define MEMBER(m) offsetof(struct amber_options, m)

static const struct word words[] = {
    {"ro", WORD_ON, NULL, MEMBER(read_only), "Read-only: no jobs, no triggers, no restores."},
    {"rw", WORD_OFF, NULL, MEMBER(read_only), "With jobs and restores. This is the default."},
    {"env_file", WORD_TEXT, "=FILE", MEMBER(env_file), "As --env-file."},
    {"jobs", WORD_TEXT, "=FILE", MEMBER(jobs_file), "As --jobs."},
    {"group", WORD_TEXT, "=GROUP", MEMBER(group),
     "Group, by name or number, that may read the archives."},
    {"gid", WORD_TEXT, "=GROUP", MEMBER(group), "The same."},
    {"allow_other", WORD_FUSE, NULL, 0,
     "Let other users in, as far as owner, group and modes allow. See fuse(8)."},
    {"allow_root", WORD_FUSE, NULL, 0, "Let root in."},
    {"auto_unmount", WORD_FUSE, NULL, 0, "Unmount when the daemon dies."},
    {"fsname", WORD_TEXT, "=NAME", MEMBER(source), "What mount(8) and df(1) show as the device."},
    {"max_read", WORD_FUSE, "=BYTES", 0, NULL},
    {"noexec", WORD_FUSE, NULL, 0, NULL},
    {"nosuid", WORD_FUSE, NULL, 0, NULL},
    {"nodev", WORD_FUSE, NULL, 0, NULL},
    {"context", WORD_FUSE, "=CONTEXT", 0, NULL},
    {"fscontext", WORD_FUSE, "=CONTEXT", 0, NULL},
    {"defcontext", WORD_FUSE, "=CONTEXT", 0, NULL},
    {"rootcontext", WORD_FUSE, "=CONTEXT", 0, NULL},
};

/* Allowed, with or without a value, and of no effect. */
static const char *const dropped[] = {
    /* Always so, or without meaning for files that nobody can change or execute. */
    "default_permissions", "subtype", "nonempty", "exec", "suid", "dev", "sync", "async", "dirsync",
    "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime",
    "nostrictatime", "lazytime", "nolazytime", "silent", "loud",
    /* mount(8)'s and fstab(5)'s own. */
    "defaults", "auto", "noauto", "nofail", "fail", "_netdev", "user", "nouser", "users", "nousers",
    "owner", "noowner", "nogroup", "comment", "uhelper", "helper"};

/* The next word, with "\," and "\\" made plain; *text goes behind it. */
static enum amber_rc word_take(const char **text, struct amber_buf *out, struct amber_err *err)
{
    const char *p = *text;
    enum amber_rc rc = amber_buf_reserve(out, 0, err);
    out->len = 0;
    for (; !rc && *p && *p != ','; p++) {
        if (*p == '\\' && (p[1] == ',' || p[1] == '\\'))
            p++;
        rc = amber_buf_append(out, p, 1, err);
    }
    *text = *p == ',' ? p + 1 : p;
    return rc;
}

/* Hand a word on to FUSE, its commas and backslashes escaped again. */
static enum amber_rc fuse_add(struct amber_options *o, const char *word, struct amber_err *err)
{
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    enum amber_rc rc =
        o->fuse_options ? amber_buf_printf(&text, err, "%s,", o->fuse_options) : AMBER_OK;
    for (; !rc && *word; word++) {
        if (*word == ',' || *word == '\\')
            rc = amber_buf_puts(&text, "\\", err);
        if (!rc)
            rc = amber_buf_append(&text, word, 1, err);
    }
    if (rc)
        return rc;
    free(o->fuse_options);
    o->fuse_options = amber_steal(&text.data);
    return AMBER_OK;
}

static enum amber_rc text_set(struct amber_options *o, const struct word *w, const char *value,
                              struct amber_err *err)
{
    char *copy;
    enum amber_rc rc = amber_strdup(value, &copy, err);
    if (rc)
        return rc;
    char **member = (char **)((char *)o + w->offset);
    free(*member);
    *member = copy;
    return AMBER_OK;
}

static enum amber_rc unknown(const char *name, struct amber_err *err)
{
    size_t limit = amber_nearest_limit(name);
    const char *nearest =
        amber_nearest(name, &words[0].name, amber_countof(words), sizeof(words[0]), limit);
    if (!nearest)
        nearest = amber_nearest(name, dropped, amber_countof(dropped), sizeof(dropped[0]), limit);
    if (strcmp(name, "remount") == 0)
        return amber_fail(
            err, AMBER_E_INVALID,
            "-o remount: an amberfs mount can't be changed: unmount it and mount anew");
    return amber_fail(err, AMBER_E_INVALID, "-o: unknown option \"%s\"%s%s%s", name,
                      nearest ? ": did you mean \"" : "", nearest ? nearest : "",
                      nearest ? "\"?" : "");
}

static const struct word *word_find(const char *name)
{
    for (size_t i = 0; i < amber_countof(words); i++)
        if (strcmp(words[i].name, name) == 0)
            return &words[i];
    return NULL;
}

static bool is_dropped(const char *name, const char *value)
{
    if (strncasecmp(name, "x-", 2) == 0) /* for programs above: x-systemd.automount, x-gvfs-hide */
        return true;
    if (!value && strcmp(name, "group") == 0) /* mount(8)'s: members of the device's group */
        return true;
    for (size_t i = 0; i < amber_countof(dropped); i++)
        if (strcmp(dropped[i], name) == 0)
            return true;
    return false;
}

/* One word that isn't empty: NAME or NAME=VALUE. */
static enum amber_rc word_apply(const char *word, struct amber_options *o, struct amber_err *err)
{
    const char *value = strchr(word, '=');
    AMBER_AUTO_FREE char *name = strndup(word, strcspn(word, "="));
    if (!name)
        return amber_fail_nomem(err, "an option", strlen(word));
    value = value ? value + 1 : NULL;
    if (is_dropped(name, value))
        return AMBER_OK;
    const struct word *w = word_find(name);
    if (!w)
        return unknown(name, err);
    if (!w->arg && value)
        return amber_fail(err, AMBER_E_INVALID, "-o %s takes no value", name);
    if (w->arg && (!value || !*value))
        return amber_fail(err, AMBER_E_INVALID, "-o %s needs a value: %s%s", name, name, w->arg);
    switch (w->kind) {
    case WORD_FUSE:
        return fuse_add(o, word, err);
    case WORD_TEXT:
        return text_set(o, w, value, err);
    case WORD_ON:
    case WORD_OFF:
        *(bool *)((char *)o + w->offset) = w->kind == WORD_ON;
        break;
    }
    return AMBER_OK;
}

enum amber_rc amber_mount_options_read(const char *text, struct amber_options *o,
                                       struct amber_err *err)
{
    struct amber_buf word AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    while (*text) {
        enum amber_rc rc = word_take(&text, &word, err);
        if (!rc && word.len)
            rc = word_apply(word.data, o, err);
        if (rc)
            return rc;
    }
    return AMBER_OK;
}

enum amber_rc amber_mount_options_describe(bool roff, struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < amber_countof(words); i++)
        if (words[i].meaning)
            rc = amber_describe_item(roff, words[i].name, words[i].arg ? words[i].arg : "",
                                     words[i].meaning, out, err);
    return rc;
}
