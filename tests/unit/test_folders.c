/*
 * test_folders.c - what comes into a local store, or goes, is told by its folders; what was there
 * long enough isn't.
 */
#include "archive_fixture.h"

#include <ftw.h>
#include <sys/stat.h>

#include "folders_priv.h"

static int make_old(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
    const struct timespec times[] = {{.tv_sec = sb->st_mtim.tv_sec - 100},
                                     {.tv_sec = sb->st_mtim.tv_sec - 100}};
    (void)ftw;
    return type == FTW_DP ? utimensat(AT_FDCWD, path, times, 0) : 0;
}

/* All folders as if nothing had changed in them lately; they are noted then. */
static void settle(struct fx *f, struct amber_folders *folders)
{
    struct amber_err err = AMBER_ERR_INIT;
    assert_int_equal(nftw(f->dir, make_old, 16, FTW_DEPTH | FTW_PHYS), 0);
    FX_OK(amber_folders_note(folders, f->st, &err));
    assert_false(amber_folders_changed(folders, f->st));
}

static void put(struct fx *f, const char *key)
{
    struct amber_err err = AMBER_ERR_INIT;
    FX_OK(amber_store_put(f->st, key, "x", 1, &err));
}

static void make_folder(struct fx *f, const char *name)
{
    char path[700];
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    assert_int_equal(mkdir(path, 0750), 0);
}

static void what_comes_and_goes_is_seen(void **state)
{
    static const char *const new[] = {"top", "d/b", "e/f/c", "empty/x", "g/h/i"};
    struct fx *f = *state;
    struct amber_folders folders = {0};
    struct amber_err err = AMBER_ERR_INIT;
    put(f, "d/a");
    put(f, "e/f/b");
    make_folder(f, "empty");
    for (size_t i = 0; i < amber_countof(new); i++) {
        settle(f, &folders);
        put(f, new[i]);
        assert_true(amber_folders_changed(&folders, f->st));
    }
    settle(f, &folders);
    FX_OK(amber_store_remove(f->st, "d/b", &err));
    assert_true(amber_folders_changed(&folders, f->st));
    settle(f, &folders);
    make_folder(f, "d/new");
    assert_true(amber_folders_changed(&folders, f->st));
    amber_folders_clear(&folders);
}

static void own_objects_and_what_changes_in_place_are_not(void **state)
{
    struct fx *f = *state;
    struct amber_folders folders = {0};
    char path[700];
    put(f, "d/a");
    put(f, ".amberfs/commits/1");
    settle(f, &folders);
    uint64_t mark = amber_store_folder_mark(f->st, ".amberfs/commits");
    snprintf(path, sizeof(path), "%s/d/a", f->dir);
    assert_int_equal(truncate(path, 100), 0);
    put(f, ".amberfs/commits/2");
    assert_false(amber_folders_changed(&folders, f->st));
    assert_int_not_equal(amber_store_folder_mark(f->st, ".amberfs/commits"), mark);
    amber_folders_clear(&folders);
}

/* The next change may come within the same step of the clock, and leave the same time. */
static void folder_changed_just_now_may_change_again(void **state)
{
    struct fx *f = *state;
    struct amber_folders folders = {0};
    struct amber_err err = AMBER_ERR_INIT;
    put(f, "d/a");
    FX_OK(amber_folders_note(&folders, f->st, &err));
    assert_true(amber_folders_changed(&folders, f->st));
    amber_folders_clear(&folders);
}

static void missing_folder_is_one_state(void **state)
{
    struct fx *f = *state;
    uint64_t mark = amber_store_folder_mark(f->st, "none");
    assert_int_not_equal(mark, 0);
    assert_int_equal(amber_store_folder_mark(f->st, "none"), mark);
    make_folder(f, "none");
    assert_int_not_equal(amber_store_folder_mark(f->st, "none"), mark);
}

static void store_without_folders_may_always_have_changed(void **state)
{
    struct fx *f = *state;
    struct amber_fault_plan plan = {0};
    struct amber_folders folders = {0};
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store *none = NULL;
    FX_OK(amber_store_fault_new(f->st, &plan, &none, &err));
    FX_OK(amber_folders_note(&folders, none, &err));
    assert_true(amber_folders_changed(&folders, none));
    assert_int_equal(amber_store_folder_mark(none, ""), 0);
    amber_store_free(none); /* and what is inside */
    f->st = NULL;
}

static int setup(void **state)
{
    static struct fx f;
    fx_open(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fx_close(*state);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_comes_and_goes_is_seen),
        TEST(own_objects_and_what_changes_in_place_are_not),
        TEST(folder_changed_just_now_may_change_again),
        TEST(missing_folder_is_one_state),
        TEST(store_without_folders_may_always_have_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
