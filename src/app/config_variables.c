/*
 * config_variables.c - the one table of variables: names, defaults, what is allowed, and how a value
 * is parsed.
 *
 * A parser says what is wrong with a value; config.c puts where it stands and the value before it.
 */
#include "config_priv.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "amber/cron.h"

#define DAYS_MAX 36500
#define BLOCK_MIN 65536
#define CACHE_MIN (8 * INT64_C(1048576))
#define CACHE_MAX (INT64_C(1) << 40)
#define CACHE_DISK_MAX (INT64_C(1) << 44)

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

#define BOOL_WORDS "true, false (also yes, no, on, off, 1, 0)"
#define CRON_WORDS "five cron fields, or @daily and the like"

const struct variable amber_config_variables[] = {
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

const size_t amber_config_n_variables = amber_countof(amber_config_variables);
