/*
 * config.c - one table of variables, and what is done with it: defaults, parsing, messages, lists.
 *
 *   environment > env file > default; an empty value counts as not set
 *
 * A message about a wrong value names where it stands, the variable, the value and what is
 * allowed. A value that may carry a password is never shown.
 */
#include "amber/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "amber/cron.h"
#include "amber/nearest.h"
#include "describe.h"
#include "config_priv.h"

#define DAYS_MAX 36500
#define BLOCK_MIN 65536
#define CACHE_MIN (8 * INT64_C(1048576))
#define CACHE_MAX (INT64_C(1) << 40)
#define CACHE_DISK_MAX (INT64_C(1) << 44)
#define LEVEL_UNSET INT_MIN
#define VALUE_SHOWN 80U /* bytes of a wrong value in a message */

static enum amber_rc not_allowed(const struct variable *v, struct amber_err *err)
{
    return amber_fail(err, AMBER_E_INVALID, "allowed: %s", v->allowed);
}

/* Which of n words value is, case aside; n if none. */
static size_t word_index(const char *value, const char *const *words, size_t n)
{
    size_t i = 0;
    while (i < n && strcasecmp(value, words[i]) != 0)
        i++;
    return i;
}

static enum amber_rc parse_bool(const struct variable *v, const char *value, void *member,
                                struct amber_err *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    size_t i = word_index(value, words, amber_countof(words));
    if (i == amber_countof(words))
        return not_allowed(v, err);
    *(bool *)member = i % 2 == 1;
    return AMBER_OK;
}

/* Digits (a sign before them) that fit, with what stands behind them. */
static bool number_parse(const char *value, int64_t *out, const char **out_rest)
{
    char *rest;
    if (!isdigit((unsigned char)value[*value == '-']))
        return false;
    errno = 0;
    intmax_t n = strtoimax(value, &rest, 10);
    if (errno || n < INT64_MIN || n > INT64_MAX)
        return false;
    *out = n;
    *out_rest = rest;
    return true;
}

static enum amber_rc parse_int(const struct variable *v, const char *value, void *member,
                               struct amber_err *err)
{
    int64_t n;
    const char *rest;
    if (!number_parse(value, &n, &rest) || *rest || n < v->min || n > v->max)
        return not_allowed(v, err);
    *(int *)member = (int)n;
    return AMBER_OK;
}

/* 65536, 64K, 64KB, 64KiB: always powers of 1024. */
static enum amber_rc parse_size(const struct variable *v, const char *value, void *member,
                                struct amber_err *err)
{
    static const char *const units[] = {"",   "B",   "K", "KB", "KiB", "M",
                                        "MB", "MiB", "G", "GB", "GiB"};
    static const unsigned shifts[] = {0, 0, 10, 10, 10, 20, 20, 20, 30, 30, 30};
    int64_t n;
    const char *rest;
    if (!number_parse(value, &n, &rest))
        return not_allowed(v, err);
    size_t unit = word_index(rest, units, amber_countof(units));
    if (unit == amber_countof(units) || n < 0 || n > v->max >> shifts[unit] ||
        n << shifts[unit] < v->min)
        return not_allowed(v, err);
    *(size_t *)member = (size_t)n << shifts[unit];
    return AMBER_OK;
}

static enum amber_rc parse_text(const struct variable *v, const char *value, void *member,
                                struct amber_err *err)
{
    (void)v;
    return amber_strdup(value, member, err);
}

static enum amber_rc parse_absolute(const struct variable *v, const char *value, void *member,
                                    struct amber_err *err)
{
    return *value == '/' ? amber_strdup(value, member, err) : not_allowed(v, err);
}

static enum amber_rc parse_storage_type(const struct variable *v, const char *value, void *member,
                                        struct amber_err *err)
{
    static const char *const words[] = {"local", "s3"};
    size_t i = word_index(value, words, amber_countof(words));
    return i == amber_countof(words) ? not_allowed(v, err) : amber_strdup(words[i], member, err);
}

bool amber_config_is_bucket(const char *path)
{
    return strncasecmp(path, "s3://", 5) == 0;
}

static enum amber_rc parse_path(const struct variable *v, const char *value, void *member,
                                struct amber_err *err)
{
    bool bucket = amber_config_is_bucket(value) && !strpbrk(value + 5, "@?#");
    if (strstr(value, "://") && !bucket)
        return not_allowed(v, err);
    return amber_strdup(value, member, err);
}

static enum amber_rc parse_addressing(const struct variable *v, const char *value, void *member,
                                      struct amber_err *err)
{
    static const char *const words[] = {[AMBER_S3_AUTO] = "auto",
                                        [AMBER_S3_PATH] = "path",
                                        [AMBER_S3_VIRTUAL] = "virtual"};
    size_t i = word_index(value, words, amber_countof(words));
    if (i == amber_countof(words))
        return not_allowed(v, err);
    *(enum amber_s3_addressing *)member = (enum amber_s3_addressing)i;
    return AMBER_OK;
}

static enum amber_rc parse_sse(const struct variable *v, const char *value, void *member,
                               struct amber_err *err)
{
    static const char *const words[] = {[AMBER_S3_SSE_NONE] = "none",
                                        [AMBER_S3_SSE_AES256] = "AES256",
                                        [AMBER_S3_SSE_KMS] = "aws:kms"};
    size_t i = word_index(value, words, amber_countof(words));
    if (i == amber_countof(words))
        return not_allowed(v, err);
    *(enum amber_s3_sse *)member = (enum amber_s3_sse)i;
    return AMBER_OK;
}

static enum amber_rc parse_format(const struct variable *v, const char *value, void *member,
                                  struct amber_err *err)
{
    (void)member;
    if (strcasecmp(value, "parquet") == 0)
        return amber_fail(err, AMBER_E_UNSUPPORTED, "not built yet; allowed: %s", v->allowed);
    return strcasecmp(value, "json") == 0 ? AMBER_OK : not_allowed(v, err);
}

static enum amber_rc parse_compression(const struct variable *v, const char *value, void *member,
                                       struct amber_err *err)
{
    const struct amber_codec_info *info = amber_codec_by_name(value);
    if (!info)
        return not_allowed(v, err);
    *(enum amber_codec_kind *)member = info->kind;
    return AMBER_OK;
}

static enum amber_rc parse_cron(const struct variable *v, const char *value, void *member,
                                struct amber_err *err)
{
    (void)v;
    struct amber_cron cron;
    enum amber_rc rc = amber_cron_parse(value, &cron, err);
    return rc ? rc : amber_strdup(value, member, err);
}

static enum amber_rc parse_period(const struct variable *v, const char *value, void *member,
                                  struct amber_err *err)
{
    static const char *const words[] = {"day", "week", "month", "quarter"};
    size_t i = word_index(value, words, amber_countof(words));
    if (i == amber_countof(words) || !amber_period_parse(words[i], member))
        return not_allowed(v, err);
    return AMBER_OK;
}

static enum amber_rc parse_log_level(const struct variable *v, const char *value, void *member,
                                     struct amber_err *err)
{
    return amber_log_level_parse(value, member) ? AMBER_OK : not_allowed(v, err);
}

/* A URL or a keyword string; libpq says the rest. */
static enum amber_rc parse_database_url(const struct variable *v, const char *value, void *member,
                                        struct amber_err *err)
{
    bool url = strncmp(value, "postgres://", 11) == 0 || strncmp(value, "postgresql://", 13) == 0;
    if (!url && (strstr(value, "://") || !strchr(value, '=')))
        return not_allowed(v, err);
    return amber_strdup(value, member, err);
}

#define MEMBER(m) offsetof(struct amber_config, m)
#define BOOL_WORDS "true, false (also yes, no, on, off, 1, 0)"
#define CRON_WORDS "five cron fields, or @daily and the like"

static const struct variable variables[] = {
    {.name = "ARCHIVAL_ENABLED",
     .fallback = "true",
     .allowed = BOOL_WORDS,
     .meaning = "Whether jobs run by their schedule. If not, they still run when triggered.",
     .parse = parse_bool,
     .offset = MEMBER(archival_enabled)},
    {.name = "ARCHIVAL_STORAGE_TYPE",
     .fallback = "local",
     .allowed = "local, s3",
     .meaning = "Where archives are kept: in a local folder, or in an S3 bucket (which "
                "ARCHIVAL_PATH=s3://... says too).",
     .parse = parse_storage_type,
     .offset = MEMBER(storage_type)},
    {.name = "ARCHIVAL_PATH",
     .fallback = "/data/archives",
     .allowed = "a folder's path, s3://BUCKET, s3://BUCKET/PREFIX",
     .meaning = "The folder that holds the archives (it may be the mount point too), or the bucket "
                "as s3://BUCKET/PREFIX.",
     .parse = parse_path,
     .offset = MEMBER(path),
     .hidden = true},
    {.name = "ARCHIVAL_S3_REGION",
     .allowed = "a region's name",
     .meaning = "The bucket's region. Default: AWS_REGION, AWS_DEFAULT_REGION, us-east-1.",
     .parse = parse_text,
     .offset = MEMBER(s3.region)},
    {.name = "ARCHIVAL_S3_ENDPOINT",
     .allowed = "https://HOST, http://HOST:PORT",
     .meaning = "The server, for other than Amazon's: https://HOST or http://HOST:PORT.",
     .parse = parse_text,
     .offset = MEMBER(s3.endpoint),
     .hidden = true},
    {.name = "ARCHIVAL_S3_ACCESS_KEY_ID",
     .allowed = "an access key",
     .meaning = "The access key. Default: what Amazon's tools use, from AWS_ACCESS_KEY_ID to the "
                "instance's role.",
     .parse = parse_text,
     .offset = MEMBER(s3.access_key_id),
     .hidden = true},
    {.name = "ARCHIVAL_S3_SECRET_ACCESS_KEY",
     .allowed = "a secret key",
     .meaning = "The secret key that belongs to the access key.",
     .parse = parse_text,
     .offset = MEMBER(s3.secret_access_key),
     .hidden = true},
    {.name = "ARCHIVAL_S3_SESSION_TOKEN",
     .allowed = "a session token",
     .meaning = "The session token, if the keys are temporary ones.",
     .parse = parse_text,
     .offset = MEMBER(s3.session_token),
     .hidden = true},
    {.name = "ARCHIVAL_S3_ADDRESSING",
     .fallback = "auto",
     .allowed = "auto, path, virtual",
     .meaning = "How the bucket is named in requests: path (HOST/BUCKET), virtual (BUCKET.HOST) or "
                "auto, which is path with an endpoint and virtual without.",
     .parse = parse_addressing,
     .offset = MEMBER(s3.addressing)},
    {.name = "ARCHIVAL_S3_SSE",
     .fallback = "none",
     .allowed = "none, AES256, aws:kms",
     .meaning = "Encryption that the server is asked for: none (the bucket's default), AES256 or "
                "aws:kms.",
     .parse = parse_sse,
     .offset = MEMBER(s3.sse)},
    {.name = "ARCHIVAL_S3_SSE_KMS_KEY_ID",
     .allowed = "a key's id or ARN",
     .meaning = "The key for aws:kms. Default: the account's key for S3.",
     .parse = parse_text,
     .offset = MEMBER(s3.sse_kms_key_id)},
    {.name = "ARCHIVAL_S3_STORAGE_CLASS",
     .allowed = "a storage class of the server",
     .meaning = "Storage class of new objects, such as STANDARD_IA. Default: the bucket's.",
     .parse = parse_text,
     .offset = MEMBER(s3.storage_class)},
    {.name = "ARCHIVAL_S3_CA_FILE",
     .allowed = "a file's path",
     .meaning = "Certificates (PEM) that the server's certificate is checked with. Default: the "
                "system's.",
     .parse = parse_text,
     .offset = MEMBER(s3.ca_file)},
    {.name = "ARCHIVAL_S3_TIMEOUT",
     .fallback = "120",
     .allowed = "2 to 3600",
     .meaning = "Seconds after which an operation that the server doesn't answer fails, tries "
                "included.",
     .parse = parse_int,
     .offset = MEMBER(s3.timeout_s),
     .min = 2,
     .max = 3600},
    {.name = "ARCHIVAL_S3_REPLICAS",
     .allowed = "up to 7 names of letters, digits and _, with commas between them",
     .meaning = "Names of further places that receive every archive, such as west,backup. Where "
                "each is, say the variables below.",
     .parse = parse_text,
     .offset = MEMBER(replica_names)},
    {.name = "ARCHIVAL_S3_REPLICA_WEST_PATH, _MODE, _REGION, ...",
     .allowed = "",
     .meaning = "Of the replica named west: its path (s3://BUCKET/PREFIX or a folder), its mode (async, "
                "the default: copied soon after; sync: before rows are deleted), and what the "
                "ARCHIVAL_S3_ variables say of the bucket, of which it inherits none."},
    {.name = "ARCHIVAL_RETENTION_DAYS",
     .fallback = "90",
     .allowed = "0 to 36500",
     .meaning = "Days that rows stay in the database, for jobs that don't say.",
     .parse = parse_int,
     .offset = MEMBER(retention_days),
     .min = 0,
     .max = DAYS_MAX},
    {.name = "ARCHIVAL_FORMAT",
     .fallback = "json",
     .allowed = "json",
     .meaning = "Format of the rows: one JSON object a line. (parquet is not built yet.)",
     .parse = parse_format},
    {.name = "ARCHIVAL_COMPRESSION",
     .fallback = "gzip",
     .allowed = "gzip, zstd, none",
     .meaning = "How new archives are compressed: gzip, zstd or none. Others are still read.",
     .parse = parse_compression,
     .offset = MEMBER(compression)},
    {.name = "ARCHIVAL_COMPRESSION_LEVEL",
     .allowed = "a whole number that the compression has",
     .meaning = "Level of the compression. Default: the compression's own.",
     .parse = parse_int,
     .offset = MEMBER(compression_level),
     .min = -1000,
     .max = 1000},
    {.name = "ARCHIVAL_PERIOD",
     .fallback = "quarter",
     .allowed = "day, week, month, quarter",
     .meaning = "How archives are split by calendar date (UTC): day, week, month or quarter.",
     .parse = parse_period,
     .offset = MEMBER(period)},
    {.name = "ARCHIVAL_SCHEDULE_CRON",
     .fallback = "0 2 1 * *",
     .allowed = CRON_WORDS,
     .meaning = "When jobs run that don't say, five cron fields in UTC.",
     .parse = parse_cron,
     .offset = MEMBER(schedule_cron)},
    {.name = "MEMORY_CLEANUP_ENABLED",
     .fallback = "true",
     .allowed = BOOL_WORDS,
     .meaning = "Whether the job memory-cleanup runs by its schedule.",
     .parse = parse_bool,
     .offset = MEMBER(memory_cleanup_enabled)},
    {.name = "MEMORY_CLEANUP_SCHEDULE_CRON",
     .fallback = "0 2 * * *",
     .allowed = CRON_WORDS,
     .meaning = "When the job memory-cleanup runs.",
     .parse = parse_cron,
     .offset = MEMBER(memory_cleanup_cron)},
    {.name = "ARCHIVAL_BLOCK_SIZE",
     .fallback = "1M",
     .allowed = "64K to 4M",
     .meaning = "Uncompressed bytes of one block of new archives, 64K to 4M.",
     .parse = parse_size,
     .offset = MEMBER(block_bytes),
     .min = BLOCK_MIN,
     .max = AMBER_BLOCK_MAX},
    {.name = "ARCHIVAL_EXPORT_CONNECTIONS",
     .fallback = "1",
     .allowed = "1 to 16",
     .meaning = "Connections that export a large table at once. 1 is polite, more are fast.",
     .parse = parse_int,
     .offset = MEMBER(export_connections),
     .min = 1,
     .max = 16},
    {.name = "ARCHIVAL_MAX_ROWS_PER_SECOND",
     .fallback = "0",
     .allowed = "0 to 1000000000",
     .meaning = "Rows that a run exports a second at most. 0: as fast as it goes.",
     .parse = parse_int,
     .offset = MEMBER(max_rows_per_second),
     .min = 0,
     .max = 1000000000},
    {.name = "ARCHIVAL_CACHE_BYTES",
     .fallback = "32M",
     .allowed = "8M to 1024G",
     .meaning = "Memory for verified blocks of the mount, in bytes or with K, M, G.",
     .parse = parse_size,
     .offset = MEMBER(cache_bytes),
     .min = CACHE_MIN,
     .max = CACHE_MAX},
    {.name = "ARCHIVAL_CACHE_PATH",
     .allowed = "an absolute path",
     .meaning = "A folder for what can be had again: blocks of remote stores, indexes. Default: "
                "/var/cache/amberfs for root, else amberfs in $XDG_CACHE_HOME or ~/.cache.",
     .parse = parse_absolute,
     .offset = MEMBER(cache_path)},
    {.name = "ARCHIVAL_CACHE_DISK_BYTES",
     .fallback = "1G",
     .allowed = "0 to 16384G",
     .meaning = "Disk space for verified blocks of remote stores, and as much for indexes; 0: none.",
     .parse = parse_size,
     .offset = MEMBER(cache_disk_bytes),
     .min = 0,
     .max = CACHE_DISK_MAX},
    {.name = "ARCHIVAL_JOBS_FILE",
     .allowed = "a file's path",
     .meaning = "The jobs file. Default: the built-in jobs.",
     .parse = parse_text,
     .offset = MEMBER(jobs_file)},
    {.name = "ARCHIVAL_LOG_LEVEL",
     .fallback = "info",
     .allowed = "error, warn, info, debug",
     .meaning = "What is logged: error, warn, info or debug.",
     .parse = parse_log_level,
     .offset = MEMBER(log_level)},
    {.name = "ARCHIVAL_ORPHAN_DAYS",
     .fallback = "7",
     .allowed = "0 to 36500",
     .meaning = "Days after which objects of a run that never committed are removed.",
     .parse = parse_int,
     .offset = MEMBER(orphan_days),
     .min = 0,
     .max = DAYS_MAX},
    {.name = "ARCHIVAL_RESTORE_PIN_DAYS",
     .fallback = "30",
     .allowed = "0 to 36500",
     .meaning = "Days that jobs leave restored rows where they are.",
     .parse = parse_int,
     .offset = MEMBER(restore_pin_days),
     .min = 0,
     .max = DAYS_MAX},
    {.name = "ARCHIVAL_USER",
     .allowed = "a user's name",
     .meaning = "The user to work as when started as root: only mounting is done as root.",
     .parse = parse_text,
     .offset = MEMBER(user)},
    {.name = "DATABASE_URL",
     .allowed = "postgresql://USER@HOST/DATABASE, or keywords as in "
                "\"host=/run/postgresql dbname=app\"",
     .meaning = "The database, as a postgresql:// URL or keyword=value words. Default: what the "
                "PG variables say.",
     .parse = parse_database_url,
     .offset = MEMBER(database_url),
     .hidden = true},
    {.name = "PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSERVICE, ...",
     .allowed = "",
     .meaning = "As libpq has them, from the environment or the env file."},
    {.name = "AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ROLE_ARN, ...",
     .allowed = "",
     .meaning = "As Amazon's tools have them, from the environment or the env file: where S3 "
                "credentials come from if ARCHIVAL_S3_ACCESS_KEY_ID isn't set."},
};

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
    for (size_t i = 0; i < amber_countof(variables); i++)
        if (variables[i].offset == MEMBER(compression_level))
            return amber_config_wrap(&variables[i], s, err);
    return err->code;
}

const struct variable *amber_config_variables(size_t *out_n)
{
    *out_n = amber_countof(variables);
    return variables;
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

enum amber_rc amber_config_set_path(struct amber_config *c, const char *path,
                                    struct amber_err *err)
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
    for (size_t i = 0; i < amber_countof(variables); i++)
        if (strcmp(variables[i].name, name) == 0)
            return AMBER_OK;
    if (amber_config_of_replica(c, name))
        return AMBER_OK;
    const char *nearest = amber_nearest(name, &variables[0].name, amber_countof(variables),
                                        sizeof(variables[0]), SIZE_MAX);
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
        rc = name_check(c, env->items[i].name, all->env_file, env->items[i].line, warnings,
                        err);
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

/* libpq reads its variables from the process's environment, and S3 credentials are looked for there:
 * what the file says goes there. */
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
    for (size_t i = 0; !rc && i < amber_countof(variables); i++) {
        struct source s = amber_config_source(&all, variables[i].name);
        rc = amber_config_load_one(&variables[i], &s, &c, err);
        if (variables[i].offset == MEMBER(compression_level))
            level = s;
        if (variables[i].offset == MEMBER(storage_type))
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
    for (size_t i = 0; !rc && i < amber_countof(variables); i++) {
        const struct variable *v = &variables[i];
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
