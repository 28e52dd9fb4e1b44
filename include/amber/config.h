/*
 * config.h - the configuration: ARCHIVAL_* and MEMORY_CLEANUP_* from the environment or an env file.
 *
 * One table (config.c) has each variable's name, default, parser and allowed values; it yields
 * parsing, messages and the list in --help and the man page. The environment wins over the file.
 */
#ifndef AMBER_CONFIG_H
#define AMBER_CONFIG_H

#include "amber/calendar.h"
#include "amber/codec.h"
#include "amber/log.h"
#include "amber/mem.h"
#include "amber/store.h"

/* ARCHIVAL_S3_*; strings are owned, NULL: not set. */
struct amber_config_s3 {
    char *region, *endpoint;
    char *access_key_id, *secret_access_key, *session_token;
    char *sse_kms_key_id, *storage_class, *ca_file;
    enum amber_s3_addressing addressing;
    enum amber_s3_sse sse;
    int timeout_s;
};

/* One of ARCHIVAL_S3_REPLICAS; strings are owned. */
struct amber_config_replica {
    char *name;         /* lower case */
    char *storage_type; /* "local", "s3" */
    char *path;
    struct amber_config_s3 s3;
    bool sync; /* MODE */
};

struct amber_config {
    bool archival_enabled;
    char *storage_type; /* owned; "local", "s3" */
    char *path;         /* owned; ARCHIVAL_PATH: a folder, or s3://BUCKET/PREFIX */
    struct amber_config_s3 s3;
    char *replica_names; /* owned; as given; NULL: none */
    struct amber_config_replica *replicas; /* owned; in the order of their names */
    size_t n_replicas;
    int retention_days;
    enum amber_codec_kind compression;
    int compression_level; /* the codec's default if not set */
    char *schedule_cron;   /* owned */
    bool memory_cleanup_enabled;
    char *memory_cleanup_cron; /* owned */
    enum amber_period period;
    size_t block_bytes;
    size_t cache_bytes;
    char *cache_path; /* owned; absolute; never NULL: the default depends on user and home */
    size_t cache_disk_bytes; /* 0: no blocks are kept on disk */
    char *jobs_file; /* owned; NULL: the built-in jobs */
    enum amber_log_level log_level;
    int orphan_days;      /* 7 */
    int export_connections;  /* 1 */
    int max_rows_per_second; /* 0: no limit */
    int restore_pin_days; /* 30 */
    char *user;           /* owned; NULL: whoever started us */
    char *database_url;   /* owned; NULL: libpq's PG* */
};

/*
 * Read env_file (NULL: none) and environ.
 * shape   warnings: one line for each unknown ARCHIVAL_* or MEMORY_CLEANUP_* name with the nearest
 *         known one; out is set only on success
 * errors  NOT_FOUND, DENIED, IO the file; INVALID with file and line, the variable's name, the value
 *         and what is allowed (a value that may be a secret isn't shown); UNSUPPORTED "not built yet"
 *         for parquet
 */
enum amber_rc amber_config_load(const char *env_file, char *const *environ_list,
                                struct amber_config *out, struct amber_buf *warnings,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_config_clear(struct amber_config *c);
/* Use another store: path as in ARCHIVAL_PATH. errors NOMEM */
enum amber_rc amber_config_set_path(struct amber_config *c, const char *path,
                                    struct amber_err *err) AMBER_MUST_CHECK;
/* The store as it is opened; out points to out_s3, and both borrow c's strings. */
void amber_config_store(const struct amber_config *c, struct amber_store_config *out,
                        struct amber_s3_config *out_s3);
/* The same for replica i. */
void amber_config_replica_store(const struct amber_config *c, size_t i,
                                struct amber_store_config *out, struct amber_s3_config *out_s3);
/* Every variable with default and meaning, formatted for --help (terminal) or as roff. */
enum amber_rc amber_config_describe(bool roff, struct amber_buf *out, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
