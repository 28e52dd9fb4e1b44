/*
 * test_disk_cache.c - blocks of a remote store on disk: right bytes or fetched anew, never an error.
 *
 * The remote store is the local one, called remote by the fault decorator, which counts what
 * reaches it.
 */
#include "archive_fixture.h"

#include "amber/disk_cache.h"
#include "temp_folder.h"

#define KEY "flow/a.json.zst"
#define ROWS 20000

struct dx {
    struct fx fx;
    struct amber_fault_plan plan;
    struct amber_manifest m;
    struct amber_buf text;
    char dir[TEMP_FOLDER_MAX];
    struct amber_disk_cache *disk;
    struct amber_cache *cache;
};

static int setup(void **state)
{
    static struct dx d;
    struct amber_err err = AMBER_ERR_INIT;

    d = (struct dx){.text = AMBER_BUF_INIT(1U << 24), .plan.remote = true};
    fx_open(&d.fx);
    FX_OK(amber_store_fault_new(d.fx.st, &d.plan, &d.fx.st, &err));
    fx_write(&d.fx, KEY, AMBER_CODEC_ZSTD, ROWS, &d.m, NULL, &d.text);
    assert_true(d.m.archive.n_blocks > 6);
    temp_folder_make(d.dir);
    assert_int_equal(chmod(d.dir, 0700), 0);
    *state = &d;
    return 0;
}

/* Start anew, as a process does: nothing in memory. */
static void restart(struct dx *d, uint64_t bytes)
{
    struct amber_err err = AMBER_ERR_INIT;

    amber_cache_free(d->cache);
    amber_disk_cache_free(d->disk);
    FX_OK(amber_disk_cache_new(d->dir, bytes, &d->disk, &err));
    FX_OK(amber_cache_new(1U << 24, d->fx.pool, &d->cache, &err));
    amber_cache_use_disk(d->cache, d->disk);
}

static int teardown(void **state)
{
    struct dx *d = *state;

    amber_cache_free(d->cache);
    amber_disk_cache_free(d->disk);
    amber_manifest_clear(&d->m);
    amber_buf_clear(&d->text);
    fx_close(&d->fx);
    temp_folder_remove(d->dir);
    return 0;
}

/* Read all of the archive; gives what reached the store. */
static unsigned read_all(struct dx *d)
{
    AMBER_AUTO_FREE char *buf = malloc(d->text.len);
    struct amber_err err = AMBER_ERR_INIT;
    unsigned before = d->plan.n_ops;
    size_t n;

    struct amber_reader *r = fx_reader(d->fx.st, &d->m.archive, d->cache);
    FX_OK(amber_reader_read(r, 0, buf, d->text.len, &n, &err));
    assert_int_equal(n, d->text.len);
    assert_memory_equal(buf, d->text.data, n);
    amber_reader_close(r);
    return d->plan.n_ops - before - 1; /* the open */
}

static unsigned n_data(const struct dx *d)
{
    unsigned n = 0;

    for (size_t i = 0; i < d->m.archive.n_blocks; i++)
        n += d->m.archive.blocks[i].kind == AMBER_BLOCK_DATA;
    return n;
}

static void file_of(const struct dx *d, size_t block, char *out, size_t size)
{
    char hex[AMBER_SHA256_HEX];

    amber_sha256_hex(&d->m.archive.blocks[block].sha256, hex);
    snprintf(out, size, "%s/blocks/%.2s/%s", d->dir, hex, hex);
}

static void second_process_reads_from_disk(void **state)
{
    struct dx *d = *state;
    struct amber_disk_cache_stats stats;

    restart(d, 1U << 30);
    assert_int_equal(read_all(d), n_data(d));
    restart(d, 1U << 30);
    assert_int_equal(read_all(d), 0);
    amber_disk_cache_stats(d->disk, &stats);
    assert_int_equal(stats.hits, n_data(d));
    assert_int_equal(stats.misses, 0);
}

static void damaged_file_is_removed_and_fetched_anew(void **state)
{
    struct dx *d = *state;
    struct amber_disk_cache_stats stats;
    char file[512];

    restart(d, 1U << 30);
    read_all(d);
    /* One bit, one byte less, nothing at all. */
    for (int how = 0; how < 3; how++) {
        restart(d, 1U << 30);
        file_of(d, 2, file, sizeof(file));
        int fd = open(file, O_RDWR);
        uint8_t byte;
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, 100), 1);
        byte ^= 1;
        if (how == 0)
            assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
        else
            assert_int_equal(
                ftruncate(fd, how == 1 ? d->m.archive.blocks[2].stored_len - 1 : 0), 0);
        close(fd);
        assert_int_equal(read_all(d), 1);
        amber_disk_cache_stats(d->disk, &stats);
        assert_int_equal(stats.damaged, 1);
        restart(d, 1U << 30);
        assert_int_equal(read_all(d), 0);
    }
}

static void folder_deleted_while_used_is_no_error(void **state)
{
    struct dx *d = *state;

    restart(d, 1U << 30);
    read_all(d);
    temp_folder_remove(d->dir);
    amber_cache_free(d->cache);
    d->cache = NULL;
    struct amber_err err = AMBER_ERR_INIT;
    FX_OK(amber_cache_new(1U << 24, d->fx.pool, &d->cache, &err));
    amber_cache_use_disk(d->cache, d->disk);
    assert_int_equal(read_all(d), n_data(d));
    restart(d, 1U << 30);
    assert_int_equal(read_all(d), 0);
}

/* No room, or no right: the reader doesn't notice, and one line says so. */
static void folder_that_cannot_be_written_is_said_once(void **state)
{
    struct dx *d = *state;
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf log = AMBER_BUF_INIT(1U << 16);
    const char *line;
    unsigned n = 0;

    restart(d, 1U << 30);
    char file[512];
    snprintf(file, sizeof(file), "%s/blocks", d->dir);
    int fd = open(file, O_WRONLY | O_CREAT, 0600); /* a file where the folder belongs */
    assert_true(fd >= 0);
    close(fd);
    uint64_t from = amber_log_end();
    assert_int_equal(read_all(d), n_data(d));
    FX_OK(amber_log_read(&from, 1U << 16, &log, &err));
    for (line = log.data; line && (line = strstr(line, "disk cache can't be written")); line++)
        n++;
    assert_int_equal(n, 1);
}

static void bytes_stay_within_the_bound(void **state)
{
    struct dx *d = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_cache_dir *dir;
    uint64_t bytes, bound = d->m.archive.stored_bytes / 2;

    /* A block may have an eighth of the bound: these here are smaller. */
    for (size_t i = 0; i < d->m.archive.n_blocks; i++)
        assert_true(d->m.archive.blocks[i].stored_len <= bound / 8 ||
                    d->m.archive.blocks[i].kind != AMBER_BLOCK_DATA);
    restart(d, bound);
    read_all(d);
    FX_OK(amber_cache_dir_open(d->dir, &dir, &err));
    FX_OK(amber_cache_dir_trim(dir, "blocks", UINT64_MAX, UINT64_MAX, &bytes, &err));
    amber_cache_dir_free(dir);
    assert_true(bytes <= bound);
    assert_true(bytes > bound / 2);
}

/* The proof of a run and verify must see the medium: what the disk cache has is no proof. */
static void verify_does_not_ask_the_disk(void **state)
{
    struct dx *d = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_verify_report report;

    restart(d, 1U << 30);
    read_all(d);
    fx_flip(&d->fx, KEY, (d->m.archive.blocks[2].stored_off + 10) * 8);
    assert_int_equal(amber_verify(d->fx.st, &d->m, NULL, NULL, NULL, &report, &err),
                     AMBER_E_CORRUPT);
    restart(d, 1U << 30);
    assert_int_equal(read_all(d), 0); /* while the disk still has the right bytes */
}

static void local_store_is_not_kept(void **state)
{
    struct dx *d = *state;
    struct amber_disk_cache_stats stats;

    d->plan.remote = false;
    struct amber_store *inner = fx_store(&d->fx);
    struct amber_store *fault = d->fx.st;
    restart(d, 1U << 30);
    d->fx.st = inner;
    read_all(d);
    amber_disk_cache_stats(d->disk, &stats);
    assert_int_equal(stats.hits + stats.misses, 0);
    amber_store_free(inner);
    d->fx.st = fault;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(second_process_reads_from_disk),
        T(damaged_file_is_removed_and_fetched_anew),
        T(folder_deleted_while_used_is_no_error),
        T(folder_that_cannot_be_written_is_said_once),
        T(bytes_stay_within_the_bound),
        T(verify_does_not_ask_the_disk),
        T(local_store_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
