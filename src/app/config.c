/*
 * config.c - the configuration: where values are found, what must fit together, and lists of all.
 *
 *   environment > env file > default; an empty value counts as not set
 *
 * A message about a wrong value names where it stands, the variable, the value and what is
 * allowed. A value that may carry a password is never shown. The variables: config_variables.c.
 */
#include "amber/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "amber/nearest.h"
#include "describe.h"
#include "config_priv.h"

#define VALUE_SHOWN 80U /* bytes of a wrong value in a message */

/* A variable's value in an environment list: NULL if it isn't there. */
static const char *environ_find(char *const *list, const char *name)
{
    size_t len = strlen(name);
    for (; list && *list; list++)
        if (strncmp(*list, name, len) == 0 && (*list)[len] == '=')
            return *list + len + 1;
    return NULL;
}

struct source amber_config_source(const struct sources *all, const char *name)
{
    const char *value = environ_find(all->environ_list, name);
    if (value && *value)
        return (struct source){.value = value};
    const struct amber_env_entry *entry = amber_env_find(all->env, name);
    if (entry && *entry->value)
        return (struct source){entry->value, all->env_file, entry->line};
    return (struct source){0};
}

/* The value for a message: cut, on one line. */
static void value_show(const char *value, char out[VALUE_SHOWN + 1])
{
    size_t len = strnlen(value, VALUE_SHOWN);
    if (value[len]) /* cut: not within a UTF-8 character */
        while (len > 0 && ((unsigned char)value[len] & 0xc0) == 0x80)
            len--;
    for (size_t i = 0; i < len; i++)
        out[i] = iscntrl((unsigned char)value[i]) ? ' ' : value[i];
    out[len] = '\0';
}

/* Put "where: NAME is VALUE: " before the text of a parser's error. */
enum amber_rc amber_config_wrap(const struct variable *v, const struct source *s,
                                struct amber_err *err)
{
    char shown[VALUE_SHOWN + 1];
    value_show(s->value, shown);
    if (v->hidden)
        amber_wrap(err, "%s is not usable", v->name);
    else
        amber_wrap(err, "%s is \"%s\"", v->name, shown);
    return s->file ? amber_wrap(err, "%s:%u", s->file, s->line) : amber_wrap(err, "environment");
}

enum amber_rc amber_config_load_one(const struct variable *v, const struct source *s,
                                    struct amber_config *c, struct amber_err *err)
{
    const char *value = s->value ? s->value : v->fallback;
    if (!v->parse || !value)
        return AMBER_OK;
    enum amber_rc rc = v->parse(v, value, (char *)c + v->offset, err);
    return rc == AMBER_OK || rc == AMBER_E_NOMEM || !s->value ? rc : amber_config_wrap(v, s, err);
}

/* The level's bounds are the compression's. */
static enum amber_rc level_check(struct amber_config *c, const struct source *s,
                                 struct amber_err *err)
{
    const struct amber_codec_info *info = amber_codec_info(c->compression);
    if (c->compression_level == LEVEL_UNSET) {
        c->compression_level = info->level_default;
        return AMBER_OK;
    }
    if (c->compression_level >= info->level_min && c->compression_level <= info->level_max)
        return AMBER_OK;
    amber_fail(err, AMBER_E_INVALID, "allowed with ARCHIVAL_COMPRESSION=%s: %d to %d", info->name,
               info->level_min, info->level_max);
    for (size_t i = 0; i < amber_config_n_variables; i++)
        if (amber_config_variables[i].offset == MEMBER(compression_level))
            return amber_config_wrap(&amber_config_variables[i], s, err);
    return err->code;
}

/* Type and path must fit; a path that names a bucket is enough. */
static enum amber_rc storage_check(struct amber_config *c, const struct source *type,
                                   struct amber_err *err)
{
    bool s3 = strcmp(c->storage_type, "s3") == 0, bucket = amber_config_is_bucket(c->path);
    if (s3 == bucket)
        return AMBER_OK;
    if (s3)
        return amber_fail(err, AMBER_E_INVALID,
                          "ARCHIVAL_STORAGE_TYPE is s3, so ARCHIVAL_PATH must be s3://BUCKET or "
                          "s3://BUCKET/PREFIX");
    if (type->value)
        return amber_fail(err, AMBER_E_INVALID,
                          "ARCHIVAL_STORAGE_TYPE is local and ARCHIVAL_PATH names a bucket: set "
                          "ARCHIVAL_STORAGE_TYPE=s3, or leave it out");
    free(c->storage_type);
    return amber_strdup("s3", &c->storage_type, err);
}

enum amber_rc amber_config_set_path(struct amber_config *c, const char *path, struct amber_err *err)
{
    AMBER_AUTO_FREE char *type = NULL, *copy = NULL;
    enum amber_rc rc = amber_strdup(path, &copy, err);
    if (!rc)
        rc = amber_strdup(amber_config_is_bucket(path) ? "s3" : "local", &type, err);
    if (rc)
        return rc;
    free(c->path);
    free(c->storage_type);
    c->path = amber_steal(&copy);
    c->storage_type = amber_steal(&type);
    return AMBER_OK;
}

static void set_s3(const struct amber_config_s3 *c, struct amber_s3_config *out)
{
    *out = (struct amber_s3_config){
        .region = c->region,
        .endpoint = c->endpoint,
        .access_key_id = c->access_key_id,
        .secret_access_key = c->secret_access_key,
        .session_token = c->session_token,
        .sse_kms_key_id = c->sse_kms_key_id,
        .storage_class = c->storage_class,
        .ca_file = c->ca_file,
        .addressing = c->addressing,
        .sse = c->sse,
        .timeout_s = (unsigned)c->timeout_s,
    };
}

void amber_config_store(const struct amber_config *c, struct amber_store_config *out,
                        struct amber_s3_config *out_s3)
{
    set_s3(&c->s3, out_s3);
    *out = (struct amber_store_config){
        .type = c->storage_type, .path = c->path, .s3 = out_s3, .dir_fd = -1};
}

void amber_config_replica_store(const struct amber_config *c, size_t i,
                                struct amber_store_config *out, struct amber_s3_config *out_s3)
{
    const struct amber_config_replica *r = &c->replicas[i];
    set_s3(&r->s3, out_s3);
    out_s3->may_be_away = true;
    *out = (struct amber_store_config){
        .type = r->storage_type, .path = r->path, .s3 = out_s3, .dir_fd = -1};
}

/* Where the cache is if nothing is said. A service without a home has the system's folder. */
static enum amber_rc cache_path_default(char *const *environ_list, char **out,
                                        struct amber_err *err)
{
    const char *xdg = environ_find(environ_list, "XDG_CACHE_HOME");
    const char *home = environ_find(environ_list, "HOME");

    if (geteuid() != 0 && xdg && *xdg == '/')
        return amber_asprintf(out, err, "%s/amberfs", xdg);
    if (geteuid() != 0 && home && *home == '/')
        return amber_asprintf(out, err, "%s/.cache/amberfs", home);
    return amber_strdup("/var/cache/amberfs", out, err);
}

/* Warn of a name that looks like ours and isn't. */
static enum amber_rc name_check(const struct amber_config *c, const char *name, const char *file,
                                unsigned line, struct amber_buf *warnings, struct amber_err *err)
{
    if (strncmp(name, "ARCHIVAL_", 9) != 0 && strncmp(name, "MEMORY_CLEANUP_", 15) != 0)
        return AMBER_OK;
    for (size_t i = 0; i < amber_config_n_variables; i++)
        if (strcmp(amber_config_variables[i].name, name) == 0)
            return AMBER_OK;
    if (amber_config_of_replica(c, name))
        return AMBER_OK;
    const char *nearest =
        amber_nearest(name, &amber_config_variables[0].name, amber_config_n_variables,
                      sizeof(amber_config_variables[0]), SIZE_MAX);
    char where[64], shown[VALUE_SHOWN + 1];
    value_show(name, shown);
    snprintf(where, sizeof(where), ":%u", line);
    return amber_buf_printf(warnings, err,
                            "%s%s: %s is no variable of amberfs and has no effect: the nearest "
                            "known one is %s\n",
                            file ? file : "environment", file ? where : "", shown, nearest);
}

static enum amber_rc names_check(const struct amber_config *c, const struct sources *all,
                                 struct amber_buf *warnings, struct amber_err *err)
{
    const struct amber_env *env = all->env;
    char *const *environ_list = all->environ_list;
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < env->n; i++)
        rc = name_check(c, env->items[i].name, all->env_file, env->items[i].line, warnings, err);
    for (; !rc && environ_list && *environ_list; environ_list++) {
        AMBER_AUTO_FREE char *name = strndup(*environ_list, strcspn(*environ_list, "="));
        if (!name)
            return amber_fail_nomem(err, "a variable's name", strlen(*environ_list));
        rc = name_check(c, name, NULL, 0, warnings, err);
    }
    if (rc == AMBER_E_LIMIT) { /* warnings that find no room are no reason to stop */
        *err = (struct amber_err)AMBER_ERR_INIT;
        rc = AMBER_OK;
    }
    return rc;
}

/* libpq reads its variables from the process's environment, and S3 credentials are looked for
 * there: what the file says goes there. */
static enum amber_rc export_others(char *const *environ_list, const struct amber_env *env,
                                   struct amber_err *err)
{
    for (size_t i = 0; i < env->n; i++) {
        const struct amber_env_entry *e = &env->items[i];
        bool other = (strncmp(e->name, "PG", 2) == 0 && isupper((unsigned char)e->name[2])) ||
                     strncmp(e->name, "AWS_", 4) == 0;
        const char *set = other ? environ_find(environ_list, e->name) : NULL;
        if (other && *e->value && !(set && *set) && setenv(e->name, e->value, 1))
            return amber_fail_nomem(err, "the environment", strlen(e->value));
    }
    return AMBER_OK;
}

enum amber_rc amber_config_load(const char *env_file, char *const *environ_list,
                                struct amber_config *out, struct amber_buf *warnings,
                                struct amber_err *err)
{
    struct amber_env env AMBER_CLEANUP(amber_env_clear) = {0};
    struct amber_config c AMBER_CLEANUP(amber_config_clear) = {.compression_level = LEVEL_UNSET};
    struct source level = {0}, type = {0};

    const struct sources all = {environ_list, &env, env_file};
    enum amber_rc rc = env_file ? amber_env_load(env_file, &env, warnings, err) : AMBER_OK;
    for (size_t i = 0; !rc && i < amber_config_n_variables; i++) {
        struct source s = amber_config_source(&all, amber_config_variables[i].name);
        rc = amber_config_load_one(&amber_config_variables[i], &s, &c, err);
        if (amber_config_variables[i].offset == MEMBER(compression_level))
            level = s;
        if (amber_config_variables[i].offset == MEMBER(storage_type))
            type = s;
    }
    if (!rc)
        rc = level_check(&c, &level, err);
    if (!rc)
        rc = storage_check(&c, &type, err);
    if (!rc && c.replica_names)
        rc = amber_config_load_replicas(&all, &c, err);
    if (!rc && !c.cache_path)
        rc = cache_path_default(environ_list, &c.cache_path, err);
    if (!rc)
        rc = names_check(&c, &all, warnings, err);
    /* Last: it may move the list that environ_list is. */
    if (!rc)
        rc = export_others(environ_list, &env, err);
    if (rc)
        return rc;
    *out = c;
    c = (struct amber_config){0};
    return AMBER_OK;
}

static void s3_clear(struct amber_config_s3 *c)
{
    free(c->region);
    free(c->endpoint);
    free(c->access_key_id);
    free(c->secret_access_key);
    free(c->session_token);
    free(c->sse_kms_key_id);
    free(c->storage_class);
    free(c->ca_file);
}

void amber_config_clear(struct amber_config *c)
{
    free(c->storage_type);
    free(c->path);
    free(c->schedule_cron);
    free(c->memory_cleanup_cron);
    free(c->cache_path);
    free(c->jobs_file);
    free(c->user);
    free(c->database_url);
    s3_clear(&c->s3);
    for (size_t i = 0; i < c->n_replicas; i++) {
        free(c->replicas[i].name);
        free(c->replicas[i].storage_type);
        free(c->replicas[i].path);
        s3_clear(&c->replicas[i].s3);
    }
    free(c->replicas);
    free(c->replica_names);
    *c = (struct amber_config){0};
}

enum amber_rc amber_config_describe(bool roff, struct amber_buf *out, struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < amber_config_n_variables; i++) {
        const struct variable *v = &amber_config_variables[i];
        struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(4096);
        rc = amber_buf_printf(&text, err, "%s%s", v->meaning, v->fallback ? " Default:\t" : "");
        size_t start = text.len;
        if (!rc && v->fallback)
            rc = amber_buf_puts(&text, v->fallback, err);
        for (size_t k = start; !rc && k < text.len; k++)
            if (text.data[k] == ' ')
                text.data[k] = '\t'; /* "0 2 1 * *" stays in one piece */
        if (!rc)
            rc = amber_describe_item(roff, v->name, "", text.data, out, err);
    }
    return rc;
}
