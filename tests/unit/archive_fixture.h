/*
 * archive_fixture.h - a store in a temporary folder, rows to write, and what they must become.
 *
 * Everything is static inline, so that each test program takes what it needs. Rows are made from
 * their number; the raw text that they must become is made here by hand, not by the code tested.
 */
#ifndef ARCHIVE_FIXTURE_H
#define ARCHIVE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "amber/log.h"
#include "amber/reader.h"
#include "amber/verify.h"
#include "amber/writer.h"

#define FX_RUN "11111111-2222-4333-8444-555555555555"
#define FX_OK(call)                                                                                \
    do {                                                                                           \
        if ((call) != AMBER_OK)                                                                    \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

struct fx {
    char dir[64];
    struct amber_store *st;
    struct amber_pool *pool;
    struct amber_schema schema;
};

static inline int fx_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline struct amber_store *fx_store(const struct fx *f)
{
    struct amber_store_config cfg = {.type = "local", .path = f->dir, .dir_fd = -1};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *st;

    FX_OK(amber_store_open(&cfg, &st, &err));
    return st;
}

static inline void fx_open(struct fx *f)
{
    static const char schema[] = "[{\"name\":\"id\",\"type\":\"bigint\",\"kind\":\"number\"},"
                                 "{\"name\":\"name\",\"type\":\"text\",\"kind\":\"text\"},"
                                 "{\"name\":\"data\",\"type\":\"jsonb\",\"kind\":\"json\"}]";
    struct amber_err err = AMBER_ERR_INIT;

    *f = (struct fx){.dir = "/tmp/amber-unit-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    amber_log_set_stderr(false);
    f->st = fx_store(f);
    FX_OK(amber_pool_new(2, &f->pool, &err));
    FX_OK(amber_schema_parse(schema, strlen(schema), &f->schema, &err));
}

static inline void fx_close(struct fx *f)
{
    amber_schema_clear(&f->schema);
    amber_pool_free(f->pool);
    amber_store_free(f->st);
    nftw(f->dir, fx_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int fx_setup(void **state)
{
    static struct fx f;

    fx_open(&f);
    *state = &f;
    return 0;
}

static inline int fx_teardown(void **state)
{
    fx_close(*state);
    return 0;
}

static inline uint64_t fx_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Rows with a JSON null, which only the overlay tells from an SQL null. */
static inline bool fx_in_overlay(uint64_t i)
{
    return i % 97 == 5;
}

/* The COPY line and the JSON line of row i; either may be NULL. */
static inline void fx_row(uint64_t i, struct amber_buf *copy, struct amber_buf *json)
{
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t seed = i * UINT64_C(0x9E3779B97F4A7C15) + 1;
    char name[256];
    size_t len = 8 + fx_random(&seed) % 120;

    for (size_t k = 0; k < len; k++)
        name[k] = "abcdefghijklmnopqrstuvwxyz 0123"[fx_random(&seed) % 31];
    name[len] = '\0';
    const char *data = fx_in_overlay(i) ? "null" : i % 11 == 3 ? NULL : "{\"a\": [1, 2]}";
    if (copy)
        FX_OK(amber_buf_printf(copy, &err, "%llu\t%s\t%s", (unsigned long long)i, name,
                               data ? data : "\\N"));
    if (json)
        FX_OK(amber_buf_printf(json, &err, "{\"id\":%llu,\"name\":\"%s\",\"data\":%s}\n",
                               (unsigned long long)i, name, data ? data : "null"));
}

static inline struct amber_writer_config fx_config(const struct fx *f, const char *key,
                                                   enum amber_codec_kind codec)
{
    return (struct amber_writer_config){
        .store = f->st,
        .pool = f->pool,
        .schema = &f->schema,
        .key = key,
        .run_id = FX_RUN,
        .codec = codec,
        .level = codec == AMBER_CODEC_NONE ? 0 : 1,
        .block_bytes = AMBER_BLOCK_MIN,
    };
}

/* The members of a manifest that the writer doesn't set. */
static inline void fx_describe(const struct fx *f, struct amber_manifest *m)
{
    struct amber_err err = AMBER_ERR_INIT;

    *m = (struct amber_manifest){
        .archive_id = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        .run_id = FX_RUN,
        .store_id = "01234567-89ab-4cde-8f01-23456789abcd",
        .catalog_id = "00000000-0000-0000-0000-000000000000",
        .start_day = 19723,
        .end_day = 19813,
        .created_us = INT64_C(1733011200123456),
        .typed = true,
    };
    FX_OK(amber_strdup("log-archival", &m->job, &err));
    FX_OK(amber_strdup("app", &m->database, &err));
    FX_OK(amber_strdup("public", &m->table_schema, &err));
    FX_OK(amber_strdup("flow \"logs\" \xC3\xA9", &m->table_name, &err));
    FX_OK(amber_strdup("public.parent", &m->parent_table, &err));
    FX_OK(amber_strdup("15.8", &m->server_version, &err));
    FX_OK(amber_strdup("0.1.0", &m->amberfs_version, &err));
    FX_OK(amber_schema_copy(&f->schema, &m->schema, &err));
    FX_OK(amber_calloc(1, sizeof(*m->partitions), &m->partitions, &err));
    m->n_partitions = 1;
    FX_OK(amber_strdup("public", &m->partitions[0].schema, &err));
    FX_OK(amber_strdup("logs_2024q1", &m->partitions[0].name, &err));
    FX_OK(amber_strdup("FOR VALUES FROM ('2024-01-01') TO ('2024-04-01')", &m->partitions[0].bound,
                       &err));
    FX_OK(amber_calloc(1, sizeof(*m->settings), &m->settings, &err));
    m->n_settings = 1;
    FX_OK(amber_strdup("DateStyle", &m->settings[0].name, &err));
    FX_OK(amber_strdup("ISO, YMD", &m->settings[0].value, &err));
}

/*
 * Write rows 0 .. n-1. text gets the raw text that must come out (NULL: not wanted); proof NULL:
 * not wanted.
 */
static inline void fx_write(const struct fx *f, const char *key, enum amber_codec_kind codec,
                            uint64_t n, struct amber_manifest *m, struct amber_proof **proof,
                            struct amber_buf *text)
{
    AMBER_AUTO_BUF struct amber_buf line = AMBER_BUF_INIT(1U << 20);
    AMBER_AUTO_BUF struct amber_buf meta = AMBER_BUF_INIT(1U << 20);
    struct amber_writer_config cfg = fx_config(f, key, codec);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_proof *made;
    struct amber_writer *w;

    fx_describe(f, m);
    FX_OK(amber_manifest_meta_encode(m, &meta, &err));
    cfg.meta = meta.data;
    cfg.meta_len = meta.len;
    FX_OK(amber_writer_open(&cfg, &w, &err));
    for (uint64_t i = 0; i < n; i++) {
        line.len = 0;
        fx_row(i, &line, text);
        FX_OK(amber_writer_row(w, line.data, line.len, &err));
    }
    FX_OK(amber_writer_finish(w, m, &made, &err));
    if (proof)
        *proof = made;
    else
        amber_proof_free(made);
}

/* Flip one bit of a stored object. */
static inline void fx_flip(const struct fx *f, const char *key, uint64_t bit)
{
    char path[512];
    uint8_t byte;

    snprintf(path, sizeof(path), "%s/%s", f->dir, key);
    assert_int_equal(chmod(path, 0640), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1U << (bit % 8));
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

/* A reader whose part is a copy of p's content. */
static inline struct amber_part fx_part(const struct amber_part *p)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_part c = *p;

    FX_OK(amber_strdup(p->key, &c.key, &err));
    FX_OK(amber_calloc(p->n_blocks, sizeof(*c.blocks), &c.blocks, &err));
    if (p->n_blocks > 0)
        memcpy(c.blocks, p->blocks, p->n_blocks * sizeof(*c.blocks));
    return c;
}

static inline struct amber_reader *fx_reader(struct amber_store *st, const struct amber_part *p,
                                             struct amber_cache *cache)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_part part = fx_part(p);
    struct amber_reader *r;

    FX_OK(amber_reader_open(st, &part, cache, &r, &err));
    return r;
}

#endif
