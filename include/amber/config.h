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

struct amber_config {
    bool archival_enabled;
    char *storage_type; /* owned; "local" */
    char *path;         /* owned; ARCHIVAL_PATH */
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
    int restore_pin_days; /* 30 */
    char *database_url;   /* owned; NULL: libpq's PG* */
};

/*
 * Read env_file (NULL: none) and environ.
 * shape   warnings: one line for each unknown ARCHIVAL_* or MEMORY_CLEANUP_* name with the nearest
 *         known one; out is set only on success
 * errors  NOT_FOUND, DENIED, IO the file; INVALID with file and line, the variable's name, the value
 *         and what is allowed (a value that may be a secret isn't shown); UNSUPPORTED "not built yet"
 *         for s3 and parquet
 */
enum amber_rc amber_config_load(const char *env_file, char *const *environ_list,
                                struct amber_config *out, struct amber_buf *warnings,
                                struct amber_err *err) AMBER_MUST_CHECK;
void amber_config_clear(struct amber_config *c);
/* Every variable with default and meaning, formatted for --help (terminal) or as roff. */
enum amber_rc amber_config_describe(bool roff, struct amber_buf *out, struct amber_err *err)
    AMBER_MUST_CHECK;

#endif
