/*
 * test_config.c - defaults, precedence of environment over file, every refusal, and secrets that
 * stay out of messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "amber/config.h"

static char folder[64], env_path[96];

static int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/amber_config_XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(env_path, sizeof(env_path), "%s/a.env", folder);
    return 0;
}

static int folder_drop(void **state)
{
    (void)state;
    unlink(env_path);
    return rmdir(folder);
}

/* Load with this one environment entry (or none) and this env file text (or none). */
static enum amber_rc load(const char *entry, const char *file, struct amber_config *out,
                          struct amber_buf *warnings, struct amber_err *err)
{
    char *list[] = {(char *)"PATH=/bin", (char *)entry, NULL};
    if (file) {
        FILE *f = fopen(env_path, "we");
        assert_non_null(f);
        fputs(file, f);
        assert_int_equal(fclose(f), 0);
    }
    return amber_config_load(file ? env_path : NULL, list, out, warnings, err);
}

static struct amber_config good(const char *entry, const char *file)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c = {0};
    if (load(entry, file, &c, &warnings, &err))
        fail_msg("%s: %s", entry ? entry : file, err.text);
    assert_string_equal(warnings.data ? warnings.data : "", "");
    return c;
}

static void assert_refused(const char *entry, enum amber_rc want_rc, const char *want)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c, before;
    memset(&c, 0x5a, sizeof(c));
    memcpy(&before, &c, sizeof(c));
    if (load(entry, NULL, &c, &warnings, &err) != want_rc)
        fail_msg("%s: %s \"%s\"", entry, amber_rc_name(err.code), err.text);
    if (!strstr(err.text, want))
        fail_msg("%s gives \"%s\", expected \"%s\"", entry, err.text, want);
    assert_null(strstr(err.text, "hunter2"));
    assert_memory_equal(&c, &before, sizeof(c));
}

static void nothing_set_gives_documented_defaults(void **state)
{
    struct amber_config c AMBER_CLEANUP(amber_config_clear) = good(NULL, NULL);
    (void)state;
    assert_true(c.archival_enabled);
    assert_string_equal(c.storage_type, "local");
    assert_string_equal(c.path, "/data/archives");
    assert_int_equal(c.retention_days, 90);
    assert_int_equal(c.compression, AMBER_CODEC_GZIP);
    assert_int_equal(c.compression_level, amber_codec_info(AMBER_CODEC_GZIP)->level_default);
    assert_string_equal(c.schedule_cron, "0 2 1 * *");
    assert_true(c.memory_cleanup_enabled);
    assert_string_equal(c.memory_cleanup_cron, "0 2 * * *");
    assert_int_equal(c.period, AMBER_PERIOD_QUARTER);
    assert_int_equal(c.block_bytes, 1048576);
    assert_int_equal(c.cache_bytes, 32 * 1048576);
    assert_non_null(c.cache_path);
    assert_int_equal(c.cache_disk_bytes, 1073741824);
    assert_null(c.jobs_file);
    assert_int_equal(c.log_level, AMBER_LOG_INFO);
    assert_int_equal(c.orphan_days, 7);
    assert_int_equal(c.restore_pin_days, 30);
    assert_null(c.database_url);
}

static void every_variable_in_a_file_is_taken(void **state)
{
    struct amber_config c AMBER_CLEANUP(amber_config_clear) =
        good(NULL, "ARCHIVAL_ENABLED=no\n"
                   "ARCHIVAL_STORAGE_TYPE=LOCAL\n"
                   "ARCHIVAL_PATH=/srv/a b\n"
                   "ARCHIVAL_RETENTION_DAYS=0\n"
                   "ARCHIVAL_FORMAT=JSON\n"
                   "ARCHIVAL_COMPRESSION=zstd\n"
                   "ARCHIVAL_COMPRESSION_LEVEL=9\n"
                   "ARCHIVAL_SCHEDULE_CRON=0 3 1 * *   # Monthly\n"
                   "MEMORY_CLEANUP_ENABLED=off\n"
                   "MEMORY_CLEANUP_SCHEDULE_CRON='@hourly'\n"
                   "ARCHIVAL_PERIOD=Week\n"
                   "ARCHIVAL_BLOCK_SIZE=256k\n"
                   "ARCHIVAL_CACHE_BYTES=1GiB\n"
                   "ARCHIVAL_CACHE_PATH=/srv/cache\n"
                   "ARCHIVAL_CACHE_DISK_BYTES=0\n"
                   "ARCHIVAL_JOBS_FILE=/etc/jobs.json\n"
                   "ARCHIVAL_LOG_LEVEL=debug\n"
                   "ARCHIVAL_ORPHAN_DAYS=1\n"
                   "ARCHIVAL_RESTORE_PIN_DAYS=2\n"
                   "NODE_ENV=production\n"
                   "DATABASE_URL=postgresql://u:hunter2@h/db\n");
    (void)state;
    assert_false(c.archival_enabled);
    assert_string_equal(c.storage_type, "local");
    assert_string_equal(c.path, "/srv/a b");
    assert_int_equal(c.retention_days, 0);
    assert_int_equal(c.compression, AMBER_CODEC_ZSTD);
    assert_int_equal(c.compression_level, 9);
    assert_string_equal(c.schedule_cron, "0 3 1 * *");
    assert_false(c.memory_cleanup_enabled);
    assert_string_equal(c.memory_cleanup_cron, "@hourly");
    assert_int_equal(c.period, AMBER_PERIOD_WEEK);
    assert_int_equal(c.block_bytes, 262144);
    assert_int_equal(c.cache_bytes, 1073741824);
    assert_string_equal(c.cache_path, "/srv/cache");
    assert_int_equal(c.cache_disk_bytes, 0);
    assert_string_equal(c.jobs_file, "/etc/jobs.json");
    assert_int_equal(c.log_level, AMBER_LOG_DEBUG);
    assert_int_equal(c.orphan_days, 1);
    assert_int_equal(c.restore_pin_days, 2);
    assert_string_equal(c.database_url, "postgresql://u:hunter2@h/db");
}

static void environment_wins_over_file_unless_empty(void **state)
{
    (void)state;
    struct amber_config a AMBER_CLEANUP(amber_config_clear) =
        good("ARCHIVAL_PATH=/env", "ARCHIVAL_PATH=/file\nARCHIVAL_ORPHAN_DAYS=3\n");
    assert_string_equal(a.path, "/env");
    assert_int_equal(a.orphan_days, 3);
    struct amber_config b AMBER_CLEANUP(amber_config_clear) =
        good("ARCHIVAL_PATH=", "ARCHIVAL_PATH=/file\n");
    assert_string_equal(b.path, "/file");
    struct amber_config c AMBER_CLEANUP(amber_config_clear) =
        good("ARCHIVAL_PATH=", "ARCHIVAL_PATH=\nDATABASE_URL=\n");
    assert_string_equal(c.path, "/data/archives");
    assert_null(c.database_url);
}

static void wrong_values_are_refused_with_name_value_and_allowed(void **state)
{
    static const char *const cases[][2] = {
        {"ARCHIVAL_ENABLED=maybe",
         "environment: ARCHIVAL_ENABLED is \"maybe\": allowed: true, false"},
        {"ARCHIVAL_STORAGE_TYPE=tape", "ARCHIVAL_STORAGE_TYPE is \"tape\": allowed: local"},
        {"ARCHIVAL_PATH=ftp://hunter2@x", "ARCHIVAL_PATH is not usable: allowed: a folder's path"},
        {"ARCHIVAL_RETENTION_DAYS=-1", "ARCHIVAL_RETENTION_DAYS is \"-1\": allowed: 0 to 36500"},
        {"ARCHIVAL_RETENTION_DAYS=9d", "is \"9d\": allowed"},
        {"ARCHIVAL_RETENTION_DAYS=99999999999999999999", "allowed: 0 to 36500"},
        {"ARCHIVAL_RETENTION_DAYS=0x10", "allowed: 0 to 36500"},
        {"ARCHIVAL_RETENTION_DAYS=+5", "allowed: 0 to 36500"},
        {"ARCHIVAL_FORMAT=csv", "ARCHIVAL_FORMAT is \"csv\": allowed: json"},
        {"ARCHIVAL_COMPRESSION=brotli", "is \"brotli\": allowed: gzip, zstd, none"},
        {"ARCHIVAL_COMPRESSION_LEVEL=fast", "is \"fast\": allowed: a whole number"},
        {"ARCHIVAL_COMPRESSION_LEVEL=99", "ARCHIVAL_COMPRESSION_LEVEL is \"99\": allowed with "
                                          "ARCHIVAL_COMPRESSION=gzip: "},
        {"ARCHIVAL_SCHEDULE_CRON=0 2 * *",
         "ARCHIVAL_SCHEDULE_CRON is \"0 2 * *\": a cron expression has five fields"},
        {"ARCHIVAL_SCHEDULE_CRON=0 25 * * *", "hour: \"25\" is not allowed"},
        {"MEMORY_CLEANUP_SCHEDULE_CRON=0 0 30 2 *", "this would never run"},
        {"ARCHIVAL_PERIOD=decade", "is \"decade\": allowed: day, week, month, quarter"},
        {"ARCHIVAL_PERIOD=run", "allowed: day, week, month, quarter"},
        {"ARCHIVAL_BLOCK_SIZE=1", "is \"1\": allowed: 64K to 4M"},
        {"ARCHIVAL_BLOCK_SIZE=5M", "allowed: 64K to 4M"},
        {"ARCHIVAL_BLOCK_SIZE=1 M", "allowed: 64K to 4M"},
        {"ARCHIVAL_BLOCK_SIZE=9223372036854775807G", "allowed: 64K to 4M"},
        {"ARCHIVAL_CACHE_BYTES=-1", "allowed: 8M to 1024G"},
        {"ARCHIVAL_CACHE_PATH=cache", "is \"cache\": allowed: an absolute path"},
        {"ARCHIVAL_CACHE_DISK_BYTES=-1", "allowed: 0 to 16384G"},
        {"ARCHIVAL_STORAGE_TYPE=ftp", "is \"ftp\": allowed: local, s3"},
        {"ARCHIVAL_STORAGE_TYPE=s3", "so ARCHIVAL_PATH must be s3://BUCKET"},
        {"ARCHIVAL_PATH=s3://key:hunter2@bucket", "ARCHIVAL_PATH is not usable: allowed: a folder"},
        {"ARCHIVAL_S3_ADDRESSING=dns", "is \"dns\": allowed: auto, path, virtual"},
        {"ARCHIVAL_S3_SSE=yes", "is \"yes\": allowed: none, AES256, aws:kms"},
        {"ARCHIVAL_S3_TIMEOUT=1", "is \"1\": allowed: 2 to 3600"},
        {"ARCHIVAL_LOG_LEVEL=loud", "allowed: error, warn, info, debug"},
        {"ARCHIVAL_ORPHAN_DAYS=x", "allowed: 0 to 36500"},
        {"DATABASE_URL=postgresql+asyncpg://u:hunter2@h/d", "DATABASE_URL is not usable: allowed: "
                                                            "postgresql://"},
        {"DATABASE_URL=hunter2", "environment: DATABASE_URL is not usable"},
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(cases); i++)
        assert_refused(cases[i][0], AMBER_E_INVALID, cases[i][1]);
}

static void path_of_a_bucket_means_s3(void **state)
{
    struct amber_store_config sc;
    struct amber_s3_config s3;
    (void)state;
    struct amber_config c AMBER_CLEANUP(amber_config_clear) =
        good(NULL, "ARCHIVAL_PATH=s3://bucket/some/prefix\n"
                   "ARCHIVAL_S3_REGION=eu-central-1\n"
                   "ARCHIVAL_S3_ENDPOINT=http://127.0.0.1:9000\n"
                   "ARCHIVAL_S3_ACCESS_KEY_ID=key\n"
                   "ARCHIVAL_S3_SECRET_ACCESS_KEY=hunter2\n"
                   "ARCHIVAL_S3_SESSION_TOKEN=token\n"
                   "ARCHIVAL_S3_ADDRESSING=virtual\n"
                   "ARCHIVAL_S3_SSE=AWS:KMS\n"
                   "ARCHIVAL_S3_SSE_KMS_KEY_ID=kms\n"
                   "ARCHIVAL_S3_STORAGE_CLASS=STANDARD_IA\n"
                   "ARCHIVAL_S3_CA_FILE=/etc/ca.pem\n"
                   "ARCHIVAL_S3_TIMEOUT=30\n");
    amber_config_store(&c, &sc, &s3);
    assert_string_equal(sc.type, "s3");
    assert_string_equal(sc.path, "s3://bucket/some/prefix");
    assert_ptr_equal(sc.s3, &s3);
    assert_string_equal(s3.region, "eu-central-1");
    assert_string_equal(s3.endpoint, "http://127.0.0.1:9000");
    assert_string_equal(s3.access_key_id, "key");
    assert_string_equal(s3.secret_access_key, "hunter2");
    assert_string_equal(s3.session_token, "token");
    assert_int_equal(s3.addressing, AMBER_S3_VIRTUAL);
    assert_int_equal(s3.sse, AMBER_S3_SSE_KMS);
    assert_string_equal(s3.sse_kms_key_id, "kms");
    assert_string_equal(s3.storage_class, "STANDARD_IA");
    assert_string_equal(s3.ca_file, "/etc/ca.pem");
    assert_int_equal(s3.timeout_s, 30);
}

static void type_local_with_a_buckets_path_is_refused(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c;
    (void)state;
    assert_int_equal(load(NULL, "ARCHIVAL_STORAGE_TYPE=local\nARCHIVAL_PATH=s3://bucket\n", &c,
                          &warnings, &err),
                     AMBER_E_INVALID);
    assert_non_null(strstr(err.text, "set ARCHIVAL_STORAGE_TYPE=s3"));
}

static void other_path_brings_its_type(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_config c AMBER_CLEANUP(amber_config_clear) = good(NULL, NULL);
    (void)state;
    assert_int_equal(amber_config_set_path(&c, "s3://bucket", &err), AMBER_OK);
    assert_string_equal(c.storage_type, "s3");
    assert_int_equal(amber_config_set_path(&c, "/srv", &err), AMBER_OK);
    assert_string_equal(c.storage_type, "local");
    assert_string_equal(c.path, "/srv");
}

static void formats_to_come_are_refused_as_not_built_yet(void **state)
{
    (void)state;
    assert_refused("ARCHIVAL_FORMAT=parquet", AMBER_E_UNSUPPORTED,
                   "ARCHIVAL_FORMAT is \"parquet\": not built yet");
}

static void wrong_value_in_file_names_file_and_line(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c;
    char want[160];
    (void)state;
    assert_int_equal(load(NULL, "# x\n\nARCHIVAL_PERIOD=\"a\\tb\"\n", &c, &warnings, &err),
                     AMBER_E_INVALID);
    snprintf(want, sizeof(want), "%s:3: ARCHIVAL_PERIOD is \"a b\": allowed: day", env_path);
    if (!strstr(err.text, want))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, want);
    assert_int_equal(load(NULL, "ARCHIVAL_PERIOD day\n", &c, &warnings, &err), AMBER_E_INVALID);
    snprintf(want, sizeof(want), "%s:1: no '='", env_path);
    assert_non_null(strstr(err.text, want));
}

static void missing_env_file_is_not_found(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c;
    char *none[] = {NULL};
    (void)state;
    assert_int_equal(amber_config_load("/nonexistent/x.env", none, &c, &warnings, &err),
                     AMBER_E_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/x.env"));
}

static void unknown_names_are_warned_of_with_nearest(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf warnings AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_config c AMBER_CLEANUP(amber_config_clear) = {0};
    char want[512];
    (void)state;
    if (load("ARCHIVAL_RETENTION_DAY=5", "X=1\nMEMORY_CLEANUP_ENABLE=false\nARCHIVAL_PATH=/a\n", &c,
             &warnings, &err))
        fail_msg("%s", err.text);
    snprintf(want, sizeof(want),
             "%s:2: MEMORY_CLEANUP_ENABLE is no variable of amberfs and has no effect: the nearest "
             "known one is MEMORY_CLEANUP_ENABLED\n"
             "environment: ARCHIVAL_RETENTION_DAY is no variable of amberfs and has no effect: the "
             "nearest known one is ARCHIVAL_RETENTION_DAYS\n",
             env_path);
    assert_string_equal(warnings.data, want);
    assert_int_equal(c.retention_days, 90);
}

static void libpq_variables_of_file_reach_environment_unless_set(void **state)
{
    (void)state;
    unsetenv("PGHOST");
    unsetenv("PGOPTIONS");
    unsetenv("PG_COLOR");
    setenv("PGUSER", "outside", 1);
    struct amber_config c AMBER_CLEANUP(amber_config_clear) =
        good("PGUSER=outside", "PGHOST=/run/pg\nPGUSER=inside\nPGOPTIONS=\nPG_COLOR=x\n");
    assert_null(c.database_url);
    assert_string_equal(getenv("PGHOST"), "/run/pg");
    assert_string_equal(getenv("PGUSER"), "outside");
    assert_null(getenv("PGOPTIONS"));
    assert_null(getenv("PG_COLOR"));
    unsetenv("PGHOST");
    unsetenv("PGUSER");
}

static void sizes_take_all_spellings_of_units(void **state)
{
    static const char *const same[] = {"2097152", "2097152B", "2048K", "2048KiB",
                                       "2M",      "2MB",      "2mib"};
    (void)state;
    for (size_t i = 0; i < amber_countof(same); i++) {
        char entry[64];
        snprintf(entry, sizeof(entry), "ARCHIVAL_BLOCK_SIZE=%s", same[i]);
        struct amber_config c AMBER_CLEANUP(amber_config_clear) = good(entry, NULL);
        assert_int_equal(c.block_bytes, 2097152);
    }
}

static void level_defaults_to_that_of_the_compression(void **state)
{
    struct amber_config c AMBER_CLEANUP(amber_config_clear) =
        good("ARCHIVAL_COMPRESSION=zstd", NULL);
    (void)state;
    assert_int_equal(c.compression_level, amber_codec_info(AMBER_CODEC_ZSTD)->level_default);
    struct amber_config none AMBER_CLEANUP(amber_config_clear) =
        good("ARCHIVAL_COMPRESSION=none", NULL);
    assert_int_equal(none.compression, AMBER_CODEC_NONE);
}

static void description_names_each_variable_with_default(void **state)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    struct amber_buf roff AMBER_AUTO_BUF = AMBER_BUF_INIT(65536);
    (void)state;
    assert_int_equal(amber_config_describe(false, &text, &err), AMBER_OK);
    assert_int_equal(amber_config_describe(true, &roff, &err), AMBER_OK);
    assert_non_null(strstr(text.data, "  ARCHIVAL_SCHEDULE_CRON    "));
    assert_non_null(strstr(text.data, "Default: 0 2 1 * *\n"));
    assert_non_null(strstr(text.data, "  DATABASE_URL "));
    assert_non_null(strstr(roff.data, ".TP\n\\fBARCHIVAL_PATH\\fR\n"));
    for (const char *line = text.data; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") < 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_set_gives_documented_defaults),
        cmocka_unit_test(every_variable_in_a_file_is_taken),
        cmocka_unit_test(environment_wins_over_file_unless_empty),
        cmocka_unit_test(wrong_values_are_refused_with_name_value_and_allowed),
        cmocka_unit_test(path_of_a_bucket_means_s3),
        cmocka_unit_test(type_local_with_a_buckets_path_is_refused),
        cmocka_unit_test(other_path_brings_its_type),
        cmocka_unit_test(formats_to_come_are_refused_as_not_built_yet),
        cmocka_unit_test(wrong_value_in_file_names_file_and_line),
        cmocka_unit_test(missing_env_file_is_not_found),
        cmocka_unit_test(unknown_names_are_warned_of_with_nearest),
        cmocka_unit_test(libpq_variables_of_file_reach_environment_unless_set),
        cmocka_unit_test(sizes_take_all_spellings_of_units),
        cmocka_unit_test(level_defaults_to_that_of_the_compression),
        cmocka_unit_test(description_names_each_variable_with_default),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_drop);
}
