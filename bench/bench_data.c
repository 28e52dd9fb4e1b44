/*
 * bench_data.c - what bench/run reads: archives in a store that mounts without a database, and the
 * same rows for a database.
 *
 *   bench_data rows COUNT                     rows as COPY text, on stdout
 *   bench_data archive STORE KEY CODEC ROWS   one archive; codec none, gzip or zstd
 *   bench_data many STORE COUNT               COUNT small gzip archives, PER_RUN in a folder
 *   bench_data blocks STORE KEY COUNT         COUNT blocks of it, at random: prints the median of
 *                                             their decode times (codec only) in microseconds
 *
 * Rows look like flow_execution_deltas: about 430 bytes of JSON each that compress about 10:1.
 * Archives are written by the writer. Of the small ones only the first is; the others are copies of
 * it under names and manifests of their own, not synced: a sync each would take an hour on a disk.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "amber/calendar.h"
#include "amber/manifest.h"
#include "amber/writer.h"

#define LINE_MAX_BYTES 65536U
#define PER_RUN 1000U
#define SMALL_ROWS 3U
#define FIRST_DAY 19723 /* 2024-01-01 */
#define STORE_ID "01234567-89ab-4cde-8f01-23456789abcd"
#define NO_CATALOG "00000000-0000-0000-0000-000000000000"

static const char columns[] =
    "[{\"name\":\"id\",\"type\":\"bigint\",\"kind\":\"number\",\"not_null\":true},"
    "{\"name\":\"session_id\",\"type\":\"uuid\",\"kind\":\"text\"},"
    "{\"name\":\"sequence\",\"type\":\"integer\",\"kind\":\"number\"},"
    "{\"name\":\"op\",\"type\":\"text\",\"kind\":\"text\"},"
    "{\"name\":\"path\",\"type\":\"text\",\"kind\":\"text\"},"
    "{\"name\":\"value\",\"type\":\"jsonb\",\"kind\":\"json\"},"
    "{\"name\":\"latency_ms\",\"type\":\"double precision\",\"kind\":\"number\"},"
    "{\"name\":\"cost\",\"type\":\"numeric(12,6)\",\"kind\":\"number\"},"
    "{\"name\":\"created_at\",\"type\":\"timestamp with time zone\",\"kind\":\"timestamptz\"}]";

static const char *const paths[] = {
    "/messages/-", "/memory/customer/name",  "/memory/intent", "/tools/crm/result",
    "/state/node", "/tools/billing/invoice", "/usage/tokens",  "/plan/steps/0",
};
static const char *const ops[] = {"set", "append", "merge", "delete", "increment"};
static const char *const texts[] = {
    "I'll check that for you right now, one moment please",
    "The invoice of March is wrong, it says twice the amount that we agreed on",
    "Where is my parcel? It should have been here two days ago",
    "Puede llamarme manana por la tarde, despues de las cinco",
    "Thanks, that is all that I wanted to know",
};

struct source {
    uint64_t seed;
    char session[AMBER_UUID_LEN];
    unsigned sequence, n_sequence;
    uint64_t us; /* since FIRST_DAY */
};

static void must(enum amber_rc rc, const struct amber_err *err)
{
    if (rc == AMBER_OK)
        return;
    fprintf(stderr, "bench_data: %s\n", err->text);
    exit(1);
}

static void must_c(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

static unsigned dice(struct source *s, unsigned sides)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return (unsigned)(s->seed >> 33) % sides;
}

static void next_session(struct source *s)
{
    snprintf(s->session, sizeof(s->session), "%08x-%04x-4%03x-a%03x-%08x%04x", dice(s, UINT32_MAX),
             dice(s, 65536), dice(s, 4096), dice(s, 4096), dice(s, UINT32_MAX), dice(s, 65536));
    s->sequence = 0;
    s->n_sequence = 50 + dice(s, 51);
}

/* The next row as COPY writes it, without line break. */
static size_t next_row(struct source *s, uint64_t id, char *line)
{
    char created[40];
    if (s->sequence >= s->n_sequence)
        next_session(s);
    s->us += dice(s, 4000000);
    amber_timestamp_format(FIRST_DAY * INT64_C(86400000000) + (int64_t)(s->us % 7776000000000U),
                           created);
    created[10] = ' ';
    created[strcspn(created, "Z")] = '\0';
    int n = snprintf(line, LINE_MAX_BYTES,
                     "%" PRIu64 "\t%s\t%u\t%s\t%s\t{\"role\": \"assistant\", \"text\": \"%s\", "
                     "\"model\": \"assistant-large-2024-06\", \"finish_reason\": \"stop\", "
                     "\"usage\": {\"prompt\": %u, \"completion\": %u}, \"final\": %s}"
                     "\t%u.%03u\t0.%06u\t%s+00",
                     id, s->session, s->sequence, ops[dice(s, amber_countof(ops))],
                     paths[dice(s, amber_countof(paths))], texts[dice(s, amber_countof(texts))],
                     900 + dice(s, 100), dice(s, 64), dice(s, 8) ? "false" : "true", dice(s, 900),
                     dice(s, 1000), dice(s, 2000), created);
    s->sequence++;
    return (size_t)n;
}

static void cmd_rows(uint64_t count)
{
    struct source s = {.seed = 88172645463325252U};
    static char line[LINE_MAX_BYTES];

    for (uint64_t i = 0; i < count; i++) {
        size_t len = next_row(&s, 1000000 + i, line);
        line[len] = '\n';
        must_c(fwrite(line, 1, len + 1, stdout) == len + 1, "stdout");
    }
    must_c(fflush(stdout) == 0, "stdout");
}

static struct amber_store *open_store(const char *path)
{
    struct amber_store_config cfg = {.type = "local", .path = path, .dir_fd = -1, .create = true};
    struct amber_store_identity id = {.store_id = STORE_ID, .catalog_id = NO_CATALOG};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *st;
    must(amber_store_open(&cfg, &st, &err), &err);
    enum amber_rc rc = amber_store_identity_put(st, &id, &err);
    if (rc != AMBER_E_EXISTS)
        must(rc, &err);
    return st;
}

/* All of a manifest but its parts. */
static void describe(struct amber_manifest *m)
{
    struct amber_err err = AMBER_ERR_INIT;
    *m = (struct amber_manifest){
        .store_id = STORE_ID,
        .catalog_id = NO_CATALOG,
        .start_day = FIRST_DAY,
        .end_day = FIRST_DAY + 89,
        .created_us = amber_now_us(),
        .typed = true,
    };
    must(amber_uuid_new(m->archive_id, &err), &err);
    must(amber_uuid_new(m->run_id, &err), &err);
    must(amber_strdup("bench", &m->job, &err), &err);
    must(amber_strdup("bench", &m->database, &err), &err);
    must(amber_strdup("public", &m->table_schema, &err), &err);
    must(amber_strdup("flow_execution_deltas", &m->table_name, &err), &err);
    must(amber_strdup("15", &m->server_version, &err), &err);
    must(amber_strdup(AMBER_VERSION, &m->amberfs_version, &err), &err);
    must(amber_schema_parse(columns, strlen(columns), &m->schema, &err), &err);
}

static void write_archive(struct amber_store *st, const char *key, enum amber_codec_kind codec,
                          uint64_t rows, struct amber_manifest *m)
{
    AMBER_AUTO_BUF struct amber_buf meta = AMBER_BUF_INIT(AMBER_META_MAX);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_pool *pool;
    struct amber_writer *w;
    struct amber_proof *proof;
    struct source s = {.seed = 88172645463325252U};
    static char line[LINE_MAX_BYTES];

    describe(m);
    must(amber_manifest_meta_encode(m, &meta, &err), &err);
    must(amber_pool_new(amber_cpu_count(), &pool, &err), &err);
    struct amber_writer_config cfg = {
        .store = st,
        .pool = pool,
        .schema = &m->schema,
        .key = key,
        .run_id = m->run_id,
        .codec = codec,
        .level = amber_codec_info(codec)->level_default,
        .block_bytes = 1024U * 1024U,
        .meta = meta.data,
        .meta_len = meta.len,
    };
    must(amber_writer_open(&cfg, &w, &err), &err);
    for (uint64_t i = 0; i < rows; i++)
        must(amber_writer_row(w, line, next_row(&s, 1000000 + i, line), &err), &err);
    must(amber_writer_finish(w, m, &proof, &err), &err);
    amber_proof_free(proof);
    amber_pool_free(pool);
}

static void cmd_archive(struct amber_store *st, const char *key, const char *codec_name,
                        uint64_t rows)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    const struct amber_codec_info *codec = amber_codec_by_name(codec_name);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_marker_entry e = {0};

    if (!codec)
        must(amber_fail(&err, AMBER_E_INVALID, "no codec %s", codec_name), &err);
    write_archive(st, key, codec->kind, rows, &m);
    must(amber_manifest_put(st, &m, &e.manifest_key, &e.digest, &err), &err);
    e.stored = m.archive.stored_sha256;
    struct amber_marker marker = {.committed_us = amber_now_us(), .entries = &e, .n_entries = 1};
    memcpy(marker.run_id, m.run_id, sizeof(marker.run_id));
    marker.job = m.job;
    must(amber_marker_put(st, &marker, &err), &err);
    free(e.manifest_key);
    printf("%s: %" PRIu64 " rows, %" PRIu64 " bytes raw, %" PRIu64 " stored, %zu blocks\n", key,
           m.archive.rows, m.archive.raw_bytes, m.archive.stored_bytes, m.archive.n_blocks);
}

/* ---- many small ones ---- */

/* Write a file below the store's folder, making the folders above it. */
static void write_file(const char *store, const char *key, const void *data, size_t len)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%s", store, key);
    must_c(n > 0 && (size_t)n < sizeof(path), key);
    for (char *p = strchr(path + strlen(store) + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        (void)mkdir(path, 0750); /* there already: fine */
        *p = '/';
    }
    FILE *f = fopen(path, "wb");
    must_c(f && fwrite(data, 1, len, f) == len && fclose(f) == 0, path);
}

static void read_object(struct amber_store *st, const char *key, struct amber_buf *out)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;
    struct amber_object *o;
    must(amber_object_open(st, key, AMBER_OPEN_CACHED, &o, &info, &err), &err);
    must(amber_buf_reserve(out, (size_t)info.size, &err), &err);
    must(amber_object_read(o, 0, out->data, (size_t)info.size, &err), &err);
    out->len = (size_t)info.size;
    amber_object_close(o);
}

/* Copy number i of m's archive, whose stored bytes are given. */
static void put_copy(const char *store, struct amber_manifest *m, const struct amber_buf *stored,
                     uint64_t i, struct amber_marker_entry *out)
{
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(AMBER_MANIFEST_MAX);
    struct amber_err err = AMBER_ERR_INIT;

    free(m->archive.key);
    must(amber_asprintf(&m->archive.key, &err, "small_%03u/small_%07" PRIu64 ".json.gz",
                        (unsigned)(i / PER_RUN), i),
         &err);
    must(amber_uuid_new(m->archive_id, &err), &err);
    must(amber_manifest_encode(m, &text, &err), &err);
    must(amber_manifest_key(m->archive.key, m->run_id, m->archive.rows, m->archive.raw_bytes,
                            &out->manifest_key, &err),
         &err);
    must(amber_sha256(text.data, text.len, &out->digest, &err), &err);
    out->stored = m->archive.stored_sha256;
    write_file(store, m->archive.key, stored->data, stored->len);
    write_file(store, out->manifest_key, text.data, text.len);
}

static void cmd_many(struct amber_store *st, const char *store, uint64_t count)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf stored = AMBER_BUF_INIT(AMBER_BLOCK_MAX);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_marker marker = {0};

    write_archive(st, AMBER_META_DIR "/bench-template.json.gz", AMBER_CODEC_GZIP, SMALL_ROWS, &m);
    read_object(st, m.archive.key, &stored);
    must(amber_store_remove(st, m.archive.key, &err), &err);
    must(amber_strdup("bench", &marker.job, &err), &err);
    must(amber_calloc(PER_RUN, sizeof(*marker.entries), &marker.entries, &err), &err);
    for (uint64_t i = 0; i < count;) {
        must(amber_uuid_new(m.run_id, &err), &err);
        memcpy(marker.run_id, m.run_id, sizeof(marker.run_id));
        marker.committed_us = amber_now_us();
        for (marker.n_entries = 0; marker.n_entries < PER_RUN && i < count; i++)
            put_copy(store, &m, &stored, i, &marker.entries[marker.n_entries++]);
        must(amber_marker_put(st, &marker, &err), &err);
        for (size_t k = 0; k < marker.n_entries; k++)
            free(marker.entries[k].manifest_key);
    }
    marker.n_entries = 0;
    amber_marker_clear(&marker);
    printf("%" PRIu64 " archives of %u rows\n", count, SMALL_ROWS);
}

/* ---- the decode time of a block ---- */

struct find {
    const char *key;
    char *found; /* owned */
};

static enum amber_rc find_manifest(void *arg, const char *key, const struct amber_object_info *info,
                                   struct amber_err *err)
{
    struct find *f = arg;
    struct amber_manifest_name name;
    struct amber_err ignored = AMBER_ERR_INIT;
    (void)info;
    if (f->found || amber_manifest_key_parse(key, &name, &ignored) ||
        strlen(f->key) != name.archive_key_len ||
        strncmp(f->key, name.archive_key, name.archive_key_len) != 0)
        return AMBER_OK;
    return amber_strdup(key, &f->found, err);
}

static int compare_times(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void cmd_blocks(struct amber_store *st, const char *key, size_t count)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_AUTO_BUF struct amber_buf stored = AMBER_BUF_INIT(AMBER_BLOCK_STORED_MAX);
    AMBER_AUTO_FREE char *raw = malloc(AMBER_BLOCK_MAX);
    struct amber_err err = AMBER_ERR_INIT;
    struct source s = {.seed = 4711};
    struct find f = {.key = key};
    struct amber_object_info info;
    struct amber_object *o;
    struct amber_codec *codec;
    AMBER_AUTO_FREE double *us = NULL;

    must(amber_store_list(st, AMBER_META_DIR "/manifests", find_manifest, &f, &err), &err);
    must(f.found ? AMBER_OK : amber_fail(&err, AMBER_E_NOT_FOUND, "%s has no manifest", key), &err);
    must(amber_manifest_get(st, f.found, NULL, &m, &err), &err);
    free(f.found);
    const struct amber_part *p = &m.archive;
    must(raw ? AMBER_OK : amber_fail_nomem(&err, "a block", AMBER_BLOCK_MAX), &err);
    must(amber_calloc(count, sizeof(*us), &us, &err), &err);
    must(amber_buf_reserve(&stored, AMBER_BLOCK_STORED_MAX, &err), &err);
    must(amber_codec_new(p->codec, amber_codec_info(p->codec)->level_default, &codec, &err), &err);
    must(amber_object_open(st, key, AMBER_OPEN_CACHED, &o, &info, &err), &err);
    for (size_t i = 0; i < count;) {
        const struct amber_block *b = &p->blocks[dice(&s, (unsigned)p->n_blocks)];
        if (b->kind != AMBER_BLOCK_DATA)
            continue;
        must(amber_object_read(o, b->stored_off, stored.data, b->stored_len, &err), &err);
        double start = now_us();
        must(amber_codec_decompress(codec, stored.data, b->stored_len, raw, b->raw_len, &err),
             &err);
        us[i++] = now_us() - start;
    }
    qsort(us, count, sizeof(*us), compare_times);
    printf("%.1f\n", us[count / 2]);
    amber_object_close(o);
    amber_codec_free(codec);
}

int main(int argc, char **argv)
{
    const char *cmd = argc > 1 ? argv[1] : "";
    struct amber_store *st = NULL;
    bool rows = strcmp(cmd, "rows") == 0 && argc == 3;
    bool archive = strcmp(cmd, "archive") == 0 && argc == 6;
    bool many = strcmp(cmd, "many") == 0 && argc == 4;
    bool blocks = strcmp(cmd, "blocks") == 0 && argc == 5;

    if (!rows && !archive && !many && !blocks) {
        fprintf(stderr, "usage: bench_data rows COUNT\n"
                        "       bench_data archive STORE KEY CODEC ROWS\n"
                        "       bench_data many STORE COUNT\n"
                        "       bench_data blocks STORE KEY COUNT\n");
        return 2;
    }
    uint64_t n = strtoull(argv[argc - 1], NULL, 10);
    if (rows) {
        cmd_rows(n);
        return 0;
    }
    st = open_store(argv[2]);
    if (archive)
        cmd_archive(st, argv[3], argv[4], n);
    else if (many)
        cmd_many(st, argv[2], n);
    else
        cmd_blocks(st, argv[3], n ? (size_t)n : 1);
    amber_store_free(st);
    return 0;
}
