/*
 * test_foreign_index.c - an index in its time: the file changes before, while and after it is made; the
 * index is damaged, cut, gone or another file's; its room, and whose files it isn't for.
 */
#include "foreign_fixture.h"

#include <dirent.h>

/* ---- changes ---- */

static void read_changed_file_is_error_then_new_text(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    char path[700], byte;
    struct ff t;
    size_t n;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 3000000);
    put_buf(&t, KEY_GZ, &b);
    struct amber_reader *r = open_foreign(&t, KEY_GZ);
    /* The same file, written over in place: of equal length, and valid. */
    size_t len = b.len;
    b.len = 0;
    add_gzip(&b, text + 60, 3000000);
    snprintf(path, sizeof(path), "%s/" KEY_GZ, t.fx.dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(b.data, 1, b.len < len ? b.len : len, f), b.len < len ? b.len : len);
    fclose(f);
    assert_int_equal(truncate(path, (off_t)b.len), 0);
    assert_int_not_equal(amber_reader_read(r, 1500000, &byte, 1, &n, &err), AMBER_OK);
    amber_reader_close(r);
    check_sound(&t, KEY_GZ, text + 60, 3000000);
    end(&t);
}

/* At its n-th operation on the store, somebody writes another text into the file. */
static struct ff *changing;
static struct amber_buf *changed_to;
static unsigned change_at, n_operations;

static bool change_in_time(void)
{
    char path[700];
    if (++n_operations == change_at) {
        snprintf(path, sizeof(path), "%s/" KEY_ZST, changing->fx.dir);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fwrite(changed_to->data, 1, changed_to->len, f), changed_to->len);
        fclose(f);
        assert_int_equal(truncate(path, (off_t)changed_to->len), 0);
    }
    return false;
}

static void open_file_that_changes_meanwhile_gives_one_text_or_busy(void **state)
{
    AMBER_AUTO_BUF struct amber_buf old = AMBER_BUF_INIT(32U << 20),
                                    new = AMBER_BUF_INIT(32U << 20);
    unsigned n_busy = 0;
    (void)state;
    add_zstd(&old, text, 3000000, true); /* a large frame, whose text is kept */
    add_zstd(&new, text + 60, 3000000, true);
    for (unsigned n = 1;; n++) {
        struct amber_fault_plan plan = {.fails = change_in_time};
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_reader *r;
        struct ff t;
        start_with(&t, 1U << 30, &plan);
        changing = &t;
        changed_to = &new;
        change_at = n;
        n_operations = 0;
        put_buf(&t, KEY_ZST, &old);
        enum amber_rc rc = amber_foreign_open(t.f, KEY_ZST, t.cache, &r, &err);
        bool before_end = n_operations >= n;
        if (!rc) {
            check_reader(r, before_end ? text + 60 : text, 3000000);
            amber_reader_close(r);
        } else if (rc == AMBER_E_BUSY) {
            n_busy++;
        } else {
            assert_int_equal(rc, AMBER_E_CORRUPT); /* the new file is the shorter one */
        }
        end(&t);
        if (!before_end)
            break;
    }
    assert_in_range(n_busy, 1, 100);
}

/* Do something to each file of the cache folder. */
static void each_cached(const char *path, void (*what)(const char *path))
{
    DIR *d = opendir(path);
    char sub[900];
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        assert_in_range(snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name), 1, sizeof(sub) - 1);
        if (e->d_type == DT_DIR)
            each_cached(sub, what);
        else
            what(sub);
    }
    closedir(d);
}

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void flip_middle(const char *path)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long at = ftell(f) / 2;
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 0x40, f);
    fclose(f);
}

static void cut_middle(const char *path)
{
    struct stat sb;
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(truncate(path, sb.st_size / 2), 0);
}

static void read_without_or_with_damaged_records_makes_them_anew(void **state)
{
    static void (*const harm[])(const char *path) = {remove_file, flip_middle, cut_middle};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        const char *key = i < 3 ? KEY_GZ : KEY_ZST;
        struct ff t;
        start(&t, 1U << 30);
        if (i < 3)
            add_gzip(&b, text, sizeof(text));
        else
            add_zstd(&b, text, sizeof(text), true);
        put_buf(&t, key, &b);
        struct amber_reader *r = open_foreign(&t, key);
        each_cached(t.cache_path, harm[i % 3]);
        check_reader(r, text, sizeof(text));
        amber_reader_close(r);
        each_cached(t.cache_path, harm[i % 3]); /* and the document with them */
        check_sound(&t, key, text, sizeof(text));
        end(&t);
    }
}

/* Records that are sound, and of another file: which the window before a block isn't. */
static char windows[2][900];
static void note_window(const char *path)
{
    if (strcmp(strrchr(path, '.'), ".w0") == 0)
        snprintf(windows[windows[0][0] != 0], sizeof(windows[0]), "%s", path);
}

static void read_with_another_files_records_gives_no_wrong_byte(void **state)
{
    static uint8_t own[2][2000000];
    struct amber_reader *r[2];
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    /* Each refers to what stands 20,000 bytes before. Two bytes have changed places in the other,
     * so that the records are alike but for them. */
    for (size_t i = 0; i < 2; i++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
        const char *key = i ? "other/b.json.gz" : KEY_GZ;
        make_noise(own[i], 20000, 1);
        own[i][100] = (uint8_t)('a' + i);
        own[i][101] = (uint8_t)('b' - i);
        for (size_t at = 20000; at < sizeof(own[i]); at++)
            own[i][at] = own[i][at - 20000];
        add_gzip(&b, own[i], sizeof(own[i]));
        put_buf(&t, key, &b);
        r[i] = open_foreign(&t, key);
    }
    each_cached(t.cache_path, note_window);
    assert_true(windows[1][0]);
    char aside[1000];
    snprintf(aside, sizeof(aside), "%s.aside", windows[0]);
    assert_int_equal(rename(windows[0], aside), 0);
    assert_int_equal(rename(windows[1], windows[0]), 0);
    assert_int_equal(rename(aside, windows[1]), 0);
    for (size_t i = 0; i < 2; i++) {
        check_reader(r[i], own[i], sizeof(own[i]));
        amber_reader_close(r[i]);
    }
    end(&t);
}

/* ---- limits and what isn't another program's ---- */

static uint64_t cached_bytes;
static void add_cached(const char *path)
{
    struct stat sb;
    assert_int_equal(stat(path, &sb), 0);
    cached_bytes += (uint64_t)sb.st_size;
}

/* The text of a large frame is kept beside its index. */
static void open_many_files_keeps_the_indexes_within_their_room(void **state)
{
    static uint8_t noise[3000000];
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    char key[64];
    struct ff t;
    (void)state;
    start(&t, 3 * sizeof(noise));
    make_noise(noise, sizeof(noise), 3);
    add_zstd(&b, noise, sizeof(noise), true);
    for (size_t i = 0; i < 6; i++) {
        snprintf(key, sizeof(key), "other/%zu.json.zst", i);
        put_buf(&t, key, &b);
        amber_reader_close(open_foreign(&t, key));
    }
    cached_bytes = 0;
    each_cached(t.cache_path, add_cached);
    assert_in_range(cached_bytes, sizeof(noise), 3 * sizeof(noise));
    end(&t);
}

static void open_index_past_its_room_is_limit(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;
    struct ff t;
    (void)state;
    start(&t, 100000);
    add_zstd(&b, text, sizeof(text), true);
    put_buf(&t, KEY_ZST, &b);
    assert_int_equal(amber_foreign_open(t.f, KEY_ZST, t.cache, &r, &err), AMBER_E_LIMIT);
    assert_non_null(strstr(err.text, "ARCHIVAL_CACHE_DISK_BYTES"));
    end(&t);
}

static void open_stopped_is_canceled(void **state)
{
    AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(32U << 20);
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_reader *r;
    struct ff t;
    (void)state;
    start(&t, 1U << 30);
    add_gzip(&b, text, 1000);
    put_buf(&t, KEY_GZ, &b);
    amber_foreign_stop(t.f);
    assert_int_equal(amber_foreign_open(t.f, KEY_GZ, t.cache, &r, &err), AMBER_E_CANCELED);
    end(&t);
}

static void open_own_header_is_unsupported(void **state)
{
    static const enum amber_codec_kind kinds[] = {AMBER_CODEC_GZIP, AMBER_CODEC_ZSTD};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        AMBER_AUTO_BUF struct amber_buf b = AMBER_BUF_INIT(1U << 20);
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_reader *r;
        struct amber_codec *c;
        bool ours = false;
        struct ff t;
        start(&t, 1U << 30);
        const char *key = i == 0 ? KEY_GZ : KEY_ZST;
        FX_OK(amber_codec_new(kinds[i], 3, &c, &err));
        FX_OK(amber_codec_header(c, "{}", 2, &b, &err));
        FX_OK(amber_codec_compress(c, text, 1000, &b, &err));
        amber_codec_free(c);
        put_buf(&t, key, &b);
        FX_OK(amber_foreign_is_ours(t.fx.st, key, &ours, &err));
        assert_true(ours);
        assert_int_equal(amber_foreign_open(t.f, key, t.cache, &r, &err), AMBER_E_UNSUPPORTED);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_changed_file_is_error_then_new_text),
        cmocka_unit_test(open_file_that_changes_meanwhile_gives_one_text_or_busy),
        cmocka_unit_test(read_without_or_with_damaged_records_makes_them_anew),
        cmocka_unit_test(read_with_another_files_records_gives_no_wrong_byte),
        cmocka_unit_test(open_many_files_keeps_the_indexes_within_their_room),
        cmocka_unit_test(open_index_past_its_room_is_limit),
        cmocka_unit_test(open_stopped_is_canceled),
        cmocka_unit_test(open_own_header_is_unsupported),
    };
    make_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
