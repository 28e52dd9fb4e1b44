/*
 * config_replicas.c - ARCHIVAL_S3_REPLICAS and the variables of each replica.
 *
 * A replica named west has ARCHIVAL_S3_REPLICA_WEST_PATH, ..._MODE, and one variable for each
 * ARCHIVAL_S3_ variable of the primary, with the same values allowed; it inherits none, so that no
 * key is sent to another server than its own.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "amber/copies.h"
#include "config_priv.h"

#define PREFIX "ARCHIVAL_S3_REPLICA_"
#define LIST "ARCHIVAL_S3_REPLICAS"
#define NAME_MAX_BYTES 128

/* What follows the replica's name for a variable of the primary; NULL: replicas don't have it. */
static const char *suffix_of(const char *name)
{
    if (strcmp(name, "ARCHIVAL_PATH") == 0)
        return "PATH";
    if (strncmp(name, "ARCHIVAL_S3_", 12) != 0 || strncmp(name, LIST, strlen(LIST)) == 0 ||
        strncmp(name, PREFIX, strlen(PREFIX)) == 0)
        return NULL;
    return name + 12;
}

static void name_of(const char *replica, const char *suffix, char out[NAME_MAX_BYTES])
{
    int n = snprintf(out, NAME_MAX_BYTES, PREFIX "%s_%s", replica, suffix);
    for (int i = 0; i < n && i < NAME_MAX_BYTES; i++)
        out[i] = (char)toupper((unsigned char)out[i]);
}

bool amber_config_of_replica(const struct amber_config *c, const char *name)
{
    const struct variable *v = amber_config_variables;
    char known[NAME_MAX_BYTES];
    for (size_t r = 0; r < c->n_replicas; r++) {
        name_of(c->replicas[r].name, "MODE", known);
        if (strcmp(known, name) == 0)
            return true;
        for (size_t i = 0; i < amber_config_n_variables; i++) {
            const char *suffix = suffix_of(v[i].name);
            if (!suffix)
                continue;
            name_of(c->replicas[r].name, suffix, known);
            if (strcmp(known, name) == 0)
                return true;
        }
    }
    return false;
}

static enum amber_rc load_mode(const struct sources *all, struct amber_config_replica *r,
                               struct amber_err *err)
{
    char name[NAME_MAX_BYTES];
    name_of(r->name, "MODE", name);
    const struct variable mode = {.name = name};
    struct source s = amber_config_source(all, name);
    r->sync = s.value && strcasecmp(s.value, "sync") == 0;
    if (!s.value || r->sync || strcasecmp(s.value, "async") == 0)
        return AMBER_OK;
    amber_fail(err, AMBER_E_INVALID, "allowed: sync, async");
    return amber_config_wrap(&mode, &s, err);
}

/* The variables are read as the primary's are, into a configuration of their own. */
static enum amber_rc load_variables(const struct sources *all, const char *replica,
                                    struct amber_config *out, struct amber_err *err)
{
    const struct variable *v = amber_config_variables;
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < amber_config_n_variables; i++) {
        char name[NAME_MAX_BYTES];
        struct variable own = v[i];
        const char *suffix = suffix_of(v[i].name);
        if (!suffix)
            continue;
        name_of(replica, suffix, name);
        own.name = name;
        struct source s = amber_config_source(all, name);
        if (!s.value && strcmp(suffix, "PATH") == 0)
            return amber_fail(err, AMBER_E_INVALID,
                              "%s is not set, and " LIST " names %s: allowed: %s", name, replica,
                              v[i].allowed);
        rc = amber_config_load_one(&own, &s, out, err);
    }
    return rc;
}

/* The length of a path without slashes at its end. */
static size_t path_len(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    return len;
}

static bool same_place(const char *a_path, const struct amber_config_s3 *a, const char *b_path,
                       const struct amber_config_s3 *b)
{
    size_t len = path_len(a_path);
    const char *ea = a->endpoint ? a->endpoint : "", *eb = b->endpoint ? b->endpoint : "";
    return len == path_len(b_path) && strncmp(a_path, b_path, len) == 0 &&
           (!amber_config_is_bucket(a_path) || strcmp(ea, eb) == 0);
}

/* A copy where the primary or another replica is would be none. */
static enum amber_rc check_place(const struct amber_config *c, const struct amber_config_replica *r,
                                 struct amber_err *err)
{
    const char *other = NULL;
    if (same_place(r->path, &r->s3, c->path, &c->s3))
        other = "ARCHIVAL_PATH";
    for (size_t i = 0; i < c->n_replicas && !other; i++)
        if (same_place(r->path, &r->s3, c->replicas[i].path, &c->replicas[i].s3))
            other = c->replicas[i].name;
    char name[NAME_MAX_BYTES];
    name_of(r->name, "PATH", name);
    return other ? amber_fail(err, AMBER_E_INVALID,
                              "%s names the place of %s: allowed: a place of its own", name, other)
                 : AMBER_OK;
}

/* Add the replica named by len bytes at word. */
static enum amber_rc add_replica(const struct sources *all, const char *word, size_t len,
                                 struct amber_config *c, struct amber_err *err)
{
    struct amber_config own AMBER_CLEANUP(amber_config_clear) = {0};
    struct amber_config_replica r = {0};
    AMBER_AUTO_FREE char *name = strndup(word, len);
    if (!name)
        return amber_fail_nomem(err, "a replica's name", len);
    for (size_t i = 0; i < len; i++)
        name[i] = (char)tolower((unsigned char)name[i]);
    r.name = name;
    enum amber_rc rc = load_mode(all, &r, err);
    if (!rc)
        rc = load_variables(all, name, &own, err);
    if (!rc)
        rc =
            amber_strdup(amber_config_is_bucket(own.path) ? "s3" : "local", &own.storage_type, err);
    if (rc)
        return rc;
    r.path = own.path;
    r.storage_type = own.storage_type;
    r.s3 = own.s3;
    rc = check_place(c, &r, err);
    if (rc)
        return rc;
    own = (struct amber_config){0};
    r.name = amber_steal(&name);
    c->replicas[c->n_replicas++] = r;
    return AMBER_OK;
}

/* One word of the list: the reason why it can't be a name, or NULL. */
static const char *name_fault(const struct amber_config *c, const char *word, size_t len)
{
    if (len == 0 || len >= AMBER_REPLICA_NAME_MAX)
        return "a name has 1 to 32 letters, digits and _";
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)word[i]) && word[i] != '_')
            return "a name has letters, digits and _ only";
    if (len == 7 && strncasecmp(word, "primary", 7) == 0)
        return "primary is the name of ARCHIVAL_PATH's copy";
    for (size_t i = 0; i < c->n_replicas; i++)
        if (strlen(c->replicas[i].name) == len && strncasecmp(c->replicas[i].name, word, len) == 0)
            return "each name may stand once";
    return c->n_replicas == AMBER_COPIES_MAX - 1 ? "there may be 7 at most" : NULL;
}

enum amber_rc amber_config_load_replicas(const struct sources *all, struct amber_config *c,
                                         struct amber_err *err)
{
    const struct variable list = {.name = LIST};
    enum amber_rc rc = amber_calloc(AMBER_COPIES_MAX - 1, sizeof(*c->replicas), &c->replicas, err);
    for (const char *p = c->replica_names; !rc && p;) {
        p += strspn(p, " \t");
        size_t len = strcspn(p, ", \t");
        const char *fault = name_fault(c, p, len), *next = strchr(p, ',');
        if (!fault && p + len + strspn(p + len, " \t") != (next ? next : p + strlen(p)))
            fault = "names have commas between them";
        if (fault) {
            struct source s = amber_config_source(all, LIST);
            amber_fail(err, AMBER_E_INVALID, "%s: allowed: names like west,backup", fault);
            return amber_config_wrap(&list, &s, err);
        }
        rc = add_replica(all, p, len, c, err);
        p = next ? next + 1 : NULL;
    }
    return rc;
}
