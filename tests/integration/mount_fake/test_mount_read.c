/*
 * test_mount_read.c - archives through a real mount: exact bytes however they are read, damage that
 * stays where it is, attributes, listings, stored bytes, and what can't be changed.
 */
#include "mount_fixture.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static void whole_files_equal_rows_for_each_codec(void **state)
{
    struct mf *f = *state;
    for (size_t i = 0; i < f->n; i++) {
        AMBER_AUTO_BUF struct amber_buf got = AMBER_BUF_INIT(64U << 20);
        const char *path = mf_path(f, f->entries[i].path);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, f->texts[i].len);
        assert_true((uint64_t)st.st_blocks * 512 >= f->texts[i].len);
        assert_int_equal(st.st_mtim.tv_sec, f->entries[i].mtime_us / 1000000);
        assert_int_equal(st.st_mtim.tv_nsec, f->entries[i].mtime_us % 1000000 * 1000);
        assert_int_equal(st.st_mode, S_IFREG | 0440);
        mf_read_all(path, &got);
        assert_int_equal(got.len, f->texts[i].len);
        assert_memory_equal(got.data, f->texts[i].data, got.len);
    }
}

/* By another process, this program run with --mmap: a page fault of the daemon's own would hold its
 * memory map while it waits for itself. */
static int compare_mmap(const char *a, const char *b)
{
    struct stat sa, sb;
    int fa = open(a, O_RDONLY), fb = open(b, O_RDONLY);
    if (fa < 0 || fb < 0 || fstat(fa, &sa) || fstat(fb, &sb) || sa.st_size != sb.st_size)
        return 1;
    char *pa = mmap(NULL, (size_t)sa.st_size, PROT_READ, MAP_SHARED, fa, 0);
    char *pb = mmap(NULL, (size_t)sa.st_size, PROT_READ, MAP_SHARED, fb, 0);
    return pa == MAP_FAILED || pb == MAP_FAILED || memcmp(pa, pb, (size_t)sa.st_size) != 0;
}

static const char *self;

static void mmap_equals_rows(void **state)
{
    struct mf *f = *state;
    for (size_t i = 0; i < f->n; i++) {
        const char *want = mf_file("want", f->texts[i].data, f->texts[i].len);
        assert_int_equal(mf_sh(f, "%s --mmap $M/%s %s", self, f->entries[i].path, want), 0);
    }
}

struct random_read {
    const struct mf *f;
    uint64_t seed;
    const char *fault;
};

static void *read_randomly(void *arg)
{
    struct random_read *r = arg;
    size_t i = r->seed % r->f->n;
    const struct amber_buf *want = &r->f->texts[i];
    char path[256];
    static const size_t sizes[] = {1, 7, 4096, 65536, 65537, 300000};
    char *buf = malloc(300000);
    snprintf(path, sizeof(path), "%s/%s", r->f->mnt, r->f->entries[i].path);
    int fd = open(path, O_RDONLY | (r->seed % 2 ? O_DIRECT : 0));
    if (fd < 0)
        r->fault = "open";
    for (int k = 0; k < 200 && !r->fault; k++) {
        size_t off = (size_t)(fx_random(&r->seed) % (want->len + 10));
        size_t len = sizes[fx_random(&r->seed) % amber_countof(sizes)];
        size_t expected = off >= want->len ? 0 : want->len - off < len ? want->len - off : len;
        ssize_t n = pread(fd, buf, len, (off_t)off);
        if (n != (ssize_t)expected || memcmp(buf, want->data + off, expected) != 0)
            r->fault = "pread";
    }
    close(fd);
    free(buf);
    return NULL;
}

static void random_reads_by_several_threads_are_exact(void **state)
{
    struct random_read r[8];
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        r[i] = (struct random_read){.f = *state, .seed = 77 + i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_randomly, &r[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_null(r[i].fault);
    }
}

static void programs_see_the_same_files(void **state)
{
    struct mf *f = *state;
    AMBER_AUTO_FREE char *want = NULL;
    AMBER_AUTO_FREE char *got = NULL;
    mf_file("want", f->texts[0].data, f->texts[0].len);
    assert_int_equal(mf_sh(f, "cmp $T/want $M/flow_logs/gz.json"), 0);
    assert_int_equal(mf_sh(f, "cp $M/flow_logs/gz.json $T/copy && cmp $T/want $T/copy"), 0);
    assert_int_equal(mf_sh(f, "tar -C $M -cf - . | (mkdir $T/untar && tar -C $T/untar -xf -) && "
                              "diff -r $M $T/untar && diff -r $T/untar $M"),
                     0);
    want = mf_out(f, "tail -n 5 $T/want; head -n 3 $T/want; wc < $T/want; grep -c '\"a\"' $T/want");
    got = mf_out(f, "cd $M/flow_logs; tail -n 5 gz.json; head -n 3 gz.json; wc < gz.json;"
                    "grep -c '\"a\"' gz.json");
    assert_string_equal(got, want);
}

static void listing_shows_archives_only_and_once(void **state)
{
    struct mf *f = *state;
    AMBER_AUTO_FREE char *all = mf_out(f, "cd $M && find . | LC_ALL=C sort | tr '\\n' ' '");
    assert_string_equal(all, ". ./deep ./deep/er ./deep/er/zst.json ./flow_logs "
                             "./flow_logs/gz.json ./flow_logs/plain.json ");
    AMBER_AUTO_FREE char *long_list = mf_out(f, "ls -la $M/flow_logs | wc -l");
    assert_string_equal(long_list, "5\n");
    AMBER_AUTO_FREE char *modes = mf_out(f, "stat -c %%a $M $M/deep $M/.status $M/.control "
                                            "$M/.control/trigger $M/.control/log $M/.restore "
                                            "$M/.raw $M/.control/wait/slow | tr '\\n' ' '");
    assert_string_equal(modes, "550 550 440 700 600 400 700 550 400 ");
    AMBER_AUTO_FREE char *control = mf_out(f, "ls -A $M/.control $M/.control/wait $M/.restore "
                                              "$M/.restore/t | tr -d '\\n'; ");
    assert_non_null(strstr(control, "trigger"));
    assert_non_null(strstr(control, "alphaslow"));
    assert_int_equal(mf_sh(f, "! ls $M/.nothing $M/none $M/.control/none $M/.control/wait/none "
                              "$M/deep/.status $M/.raw/none 2>/dev/null"),
                     0);
}

static void raw_gives_stored_bytes(void **state)
{
    struct mf *f = *state;
    assert_int_equal(mf_sh(f, "diff -r -x tmp $S $M/.raw && diff -r -x tmp $M/.raw $S"), 0);
    mf_file("want", f->texts[0].data, f->texts[0].len);
    assert_int_equal(mf_sh(f, "gunzip -c $M/.raw/flow_logs/gz.json.gz | cmp - $T/want"), 0);
    struct stat st;
    assert_int_equal(stat(mf_path(f, ".raw/flow_logs/gz.json.gz"), &st), 0);
    assert_int_equal(st.st_size, f->entries[0].stored_size);
    assert_int_equal(stat(mf_path(f, ".raw/flow_logs/gz.json"), &st), -1);
    assert_int_equal(stat(mf_path(f, "flow_logs/gz.json.gz"), &st), -1);
    assert_int_equal(mf_sh(f, "ls -A $M/.raw | grep -qx .amberfs"), 0);
}

static void extended_attributes_tell_the_manifest(void **state)
{
    struct mf *f = *state;
    char value[256], hex[AMBER_SHA256_HEX], want[96];
    const char *path = mf_path(f, "flow_logs/gz.json");
    ssize_t n = listxattr(path, value, sizeof(value));
    assert_int_equal(n, listxattr(path, NULL, 0));
    assert_memory_equal(value, "user.amber.table", sizeof("user.amber.table"));
    static const char *const expected[][2] = {{"table", "public.flow \"logs\" \xC3\xA9"},
                                              {"rows", "9000"},
                                              {"start", "2024-01-01"},
                                              {"end", "2024-03-31"},
                                              {"codec", "gzip"},
                                              {"stored_path", "flow_logs/gz.json.gz"}};
    for (size_t i = 0; i < amber_countof(expected); i++) {
        char name[64];
        snprintf(name, sizeof(name), "user.amber.%s", expected[i][0]);
        n = getxattr(path, name, value, sizeof(value) - 1);
        assert_true(n > 0);
        value[n] = '\0';
        assert_string_equal(value, expected[i][1]);
    }
    amber_sha256_hex(&f->manifests[0].archive.raw_sha256, hex);
    snprintf(want, sizeof(want), "sha256:%s", hex);
    n = getxattr(path, "user.amber.digest", value, sizeof(value) - 1);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(value, want, strlen(want));
    assert_int_equal(getxattr(path, "user.amber.digest", value, 10), -1);
    assert_int_equal(errno, ERANGE);
    assert_int_equal(getxattr(path, "user.other", value, 10), -1);
    assert_int_equal(errno, ENODATA);
    /* Not supported: "there is none" makes programs ask for every file. */
    assert_int_equal(getxattr(path, "system.posix_acl_access", value, 10), -1);
    assert_int_equal(errno, EOPNOTSUPP);
    assert_int_equal(listxattr(mf_path(f, ".status"), value, sizeof(value)), 0);
    AMBER_AUTO_FREE char *sums = mf_out(f, "cd $M/flow_logs; echo sha256:$(sha256sum < gz.json | "
                                           "cut -c1-64)");
    assert_memory_equal(sums, want, strlen(want));
}

static void statfs_counts_archives(void **state)
{
    struct mf *f = *state;
    struct statvfs s;
    assert_int_equal(statvfs(f->mnt, &s), 0);
    assert_int_equal(s.f_files, 6);
    assert_true(s.f_blocks * s.f_frsize >= f->texts[0].len * 3);
    assert_int_equal(s.f_bfree, 0);
}

#define REFUSED(call, number)                                                                      \
    do {                                                                                           \
        errno = 0;                                                                                 \
        assert_int_equal((call), -1);                                                              \
        assert_int_equal(errno, (number));                                                         \
    } while (0)

/* As root: no permission bit is in the way, only the mount itself. */
static void archives_can_not_be_changed(void **state)
{
    struct mf *f = *state;
    char path[256];
    snprintf(path, sizeof(path), "%s", mf_path(f, "flow_logs/gz.json"));
    int e = geteuid() == 0 ? EROFS : EACCES;
    REFUSED(open(path, O_WRONLY), e);
    REFUSED(open(path, O_RDWR), e);
    REFUSED(open(path, O_RDONLY | O_TRUNC), e);
    REFUSED(open(mf_path(f, "flow_logs/new"), O_WRONLY | O_CREAT, 0600), e);
    REFUSED(open(mf_path(f, "new"), O_WRONLY | O_CREAT, 0600), e);
    REFUSED(truncate(path, 0), e);
    REFUSED(unlink(path), e);
    REFUSED(rename(path, mf_path(f, "flow_logs/other")), e);
    REFUSED(rename(path, mf_path(f, ".restore/gz.json")), e);
    REFUSED(link(path, mf_path(f, "flow_logs/other")), e);
    REFUSED(symlink("x", mf_path(f, "flow_logs/other")), e);
    REFUSED(mkdir(mf_path(f, "new"), 0700), e);
    REFUSED(rmdir(mf_path(f, "deep")), e);
    REFUSED(mknod(mf_path(f, "fifo"), S_IFIFO | 0600, 0), e);
    REFUSED(unlink(mf_path(f, ".raw/flow_logs/gz.json.gz")), e);
    REFUSED(unlink(mf_path(f, ".raw/.amberfs/x")), ENOENT);
    REFUSED(chmod(path, 0777), EROFS);
    REFUSED(setxattr(path, "user.x", "1", 1, 0), e);
    if (geteuid() == 0) {
        REFUSED(open(mf_path(f, ".status"), O_WRONLY), EACCES);
        REFUSED(unlink(mf_path(f, ".status")), EROFS);
        REFUSED(open(mf_path(f, ".control/new"), O_WRONLY | O_CREAT, 0600), EPERM);
        REFUSED(unlink(mf_path(f, ".control/trigger")), EPERM);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
}

static size_t count_in_log(const char *text)
{
    AMBER_AUTO_BUF struct amber_buf log = AMBER_BUF_INIT(1U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    uint64_t pos = 0;
    size_t n = 0;
    FX_OK(amber_log_read(&pos, 1U << 20, &log, &err));
    for (const char *p = log.data; p && (p = strstr(p, text)); p++)
        n++;
    return n;
}

static void flipped_bit_is_eio_for_its_block_only(void **state)
{
    struct mf *f = *state;
    for (size_t i = 0; i < f->n; i++) {
        const struct amber_part *part = &f->manifests[i].archive;
        const struct amber_block *bad = &part->blocks[6];
        assert_int_equal(bad->kind, AMBER_BLOCK_DATA);
        fx_flip(&f->fx, part->key, (bad->stored_off + bad->stored_len / 2) * 8 + 3);
        int fd = open(mf_path(f, f->entries[i].path), O_RDONLY);
        assert_true(fd >= 0);
        size_t good = 0, lost = 0;
        for (size_t off = 0; off < part->raw_bytes; off += 4096) {
            char page[4096];
            size_t want = part->raw_bytes - off < 4096 ? part->raw_bytes - off : 4096;
            bool touches = off < bad->raw_off + bad->raw_len && off + want > bad->raw_off;
            ssize_t n = pread(fd, page, sizeof(page), (off_t)off);
            if (n >= 0) {
                assert_false(touches);
                assert_int_equal(n, want);
                assert_memory_equal(page, f->texts[i].data + off, want);
                good += want;
            } else {
                assert_int_equal(errno, EIO);
                if (!touches)
                    print_message("# lost page at %zu, the bad block is at %llu + %u\n", off,
                                  (unsigned long long)bad->raw_off, bad->raw_len);
                assert_true(touches);
                lost += want;
            }
        }
        close(fd);
        assert_true(lost >= bad->raw_len && lost <= bad->raw_len + 8192);
        assert_int_equal(good + lost, part->raw_bytes);
        assert_true(count_in_log(part->key) > 0);
        /* The size is still right, and another program gets all up to the damage. */
        struct stat st;
        assert_int_equal(stat(mf_path(f, f->entries[i].path), &st), 0);
        assert_int_equal(st.st_size, part->raw_bytes);
        assert_int_equal(mf_sh(f, "cat $M/.raw/%s > /dev/null 2>&1", part->key), 1);
    }
    struct amber_mount_stats s;
    amber_mount_stats(f->mount, &s);
    assert_true(s.read_errors > 0);
}

static void missing_or_wrong_manifest_is_eio_until_mended(void **state)
{
    struct mf *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_tree_entry e[MF_ARCHIVES];
    char value[64];
    memcpy(e, f->entries, sizeof(e));
    e[0].manifest_key = NULL;
    e[1].size++;
    e[2].manifest_sha256[5] ^= 1;
    FX_OK(amber_mount_update(f->mount, e, f->n, &err));
    for (size_t i = 0; i < f->n; i++) {
        char line[128];
        snprintf(line, sizeof(line), "error %s can't be read: ", e[i].path);
        size_t before = count_in_log(line);
        REFUSED(open(mf_path(f, e[i].path), O_RDONLY), EIO);
        assert_int_equal(count_in_log(line) - before, 1);
    }
    REFUSED((int)getxattr(mf_path(f, e[0].path), "user.amber.rows", value, 64), EIO);
    FX_OK(amber_mount_update(f->mount, f->entries, f->n, &err));
    for (size_t i = 0; i < f->n; i++) {
        AMBER_AUTO_BUF struct amber_buf got = AMBER_BUF_INIT(64U << 20);
        mf_read_all(mf_path(f, e[i].path), &got);
        assert_int_equal(got.len, f->texts[i].len);
    }
}

static void reads_go_on_while_all_else_blocks(void **state)
{
    struct mf *f = *state;
    assert_int_equal(mf_sh(f, "echo slow > $M/.control/trigger"), 0);
    assert_int_equal(
        mf_sh(f, "for i in $(seq 60); do cat $M/.control/wait/slow > /dev/null 2>&1 & done; "
                 "echo stuck > $M/.control/trigger & "
                 "cat $M/.control/follow > /dev/null 2>&1 & "
                 "echo $! > $T/follow.pid; "
                 "(echo row; echo row) > $M/.restore/t/block.json & "
                 "cp $T/follow.pid $M/.restore/t/slow.json &"),
        0);
    fake_expect_waiting(&f->fake, 60);
    fake_expect_stuck(&f->fake, 1);
    fake_expect(&f->fake, "write t/block.json;");
    fake_expect(&f->fake, "finish t/slow.json;");
    whole_files_equal_rows_for_each_codec(state);
    assert_int_equal(mf_sh(f, "ls -lR $M > /dev/null && cat $M/.status > /dev/null"), 0);
    fake_end_job(&f->fake);
    fake_open_gate(&f->fake, true);
    fake_expect_waiting(&f->fake, 0);
    fake_expect_stuck(&f->fake, 0);
    fake_expect(&f->fake, "commit t/block.json 8;");
    assert_int_equal(mf_sh(f, "kill $(cat $T/follow.pid)"), 0);
}

static void many_archives_open_and_close_in_turn(void **state)
{
    struct mf *f = *state;
    struct amber_err err = AMBER_ERR_INIT;
    enum { N = 200 };
    static struct amber_tree_entry e[N];
    static char paths[N][40];
    int fds[N];
    /* The same archive cannot be in the tree under 200 keys, but its manifest can be asked for. */
    for (size_t i = 0; i < N; i++) {
        e[i] = f->entries[i % f->n];
        snprintf(paths[i], sizeof(paths[i]), "copies/%03zu.json", i);
        e[i].path = paths[i];
    }
    FX_OK(amber_mount_update(f->mount, e, N, &err));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N; i++) {
            char first[64];
            fds[i] = open(mf_path(f, paths[i]), O_RDONLY);
            assert_true(fds[i] >= 0);
            assert_int_equal(pread(fds[i], first, sizeof(first), 70000), sizeof(first));
            assert_memory_equal(first, f->texts[i % f->n].data + 70000, sizeof(first));
        }
        for (size_t i = 0; i < N; i++)
            close(fds[i]);
    }
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 4 && strcmp(argv[1], "--mmap") == 0)
        return compare_mmap(argv[2], argv[3]);
    mf_guard();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_files_equal_rows_for_each_codec, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(mmap_equals_rows, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(random_reads_by_several_threads_are_exact, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(programs_see_the_same_files, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(listing_shows_archives_only_and_once, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(raw_gives_stored_bytes, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(extended_attributes_tell_the_manifest, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(statfs_counts_archives, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(archives_can_not_be_changed, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(flipped_bit_is_eio_for_its_block_only, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(missing_or_wrong_manifest_is_eio_until_mended, mf_setup,
                                        mf_teardown),
        cmocka_unit_test_setup_teardown(reads_go_on_while_all_else_blocks, mf_setup, mf_teardown),
        cmocka_unit_test_setup_teardown(many_archives_open_and_close_in_turn, mf_setup,
                                        mf_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
