/*
 * test_replicate.c - an archive to another copy: whole and verified, or not there; a sound object is
 * never replaced, a damaged one only by repair.
 */
#include "archive_fixture.h"

#include "amber/replicate.h"

#define KEY "flow/a.json.zst"
#define ROWS 2000

struct rx {
    struct fx from, to;
    struct amber_manifest m;
    char *manifest_key;
    struct amber_sha256 digest;
    unsigned wrote, damaged;
};

static void count_wrote(void *arg, const char *key, bool damaged)
{
    struct rx *r = arg;

    (void)key;
    r->wrote++;
    r->damaged += damaged;
}

static int setup(void **state)
{
    static struct rx r;
    struct amber_err err = AMBER_ERR_INIT;

    r = (struct rx){0};
    fx_open(&r.from);
    fx_open(&r.to);
    fx_write(&r.from, KEY, AMBER_CODEC_ZSTD, ROWS, &r.m, NULL, NULL);
    assert_int_equal(r.m.n_attachments, 1);
    FX_OK(amber_manifest_put(r.from.st, &r.m, &r.manifest_key, &r.digest, &err));
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rx *r = *state;

    amber_manifest_clear(&r->m);
    free(r->manifest_key);
    fx_close(&r->from);
    fx_close(&r->to);
    return 0;
}

static struct amber_replicate_config config(struct rx *r)
{
    r->wrote = r->damaged = 0;
    return (struct amber_replicate_config){.from = r->from.st,
                                           .to = r->to.st,
                                           .pool = r->from.pool,
                                           .wrote = count_wrote,
                                           .arg = r};
}

static enum amber_rc copy(struct rx *r, bool repair, struct amber_err *err)
{
    struct amber_replicate_config cfg = config(r);

    cfg.repair = repair;
    return amber_replicate_archive(&cfg, r->manifest_key, &r->digest, err);
}

/* Whether each object of the archive is as it was written. */
static bool is_whole(const struct fx *f, const struct rx *r)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_verify_report report;
    struct amber_manifest m = {0};
    struct amber_store *st = fx_store(f);
    enum amber_rc rc = amber_manifest_get(st, r->manifest_key, &r->digest, &m, &err);

    if (!rc)
        rc = amber_verify(st, &m, NULL, NULL, NULL, &report, &err);
    amber_manifest_clear(&m);
    amber_store_free(st);
    return rc == AMBER_OK;
}

static void copy_writes_all_objects_once(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(copy(r, false, &err));
    assert_int_equal(r->wrote, 3); /* archive, overlay, manifest */
    assert_true(is_whole(&r->to, r));
    FX_OK(copy(r, false, &err));
    assert_int_equal(r->wrote, 0);
}

static void damaged_source_gives_nothing(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_object_info info;

    fx_flip(&r->from, KEY, r->m.archive.blocks[1].stored_off * 8 + 80);
    assert_int_equal(copy(r, false, &err), AMBER_E_CORRUPT);
    assert_int_equal(amber_store_stat(r->to.st, KEY, &info, &err), AMBER_E_NOT_FOUND);
    assert_int_equal(copy(r, true, &err), AMBER_E_CORRUPT);
}

static void damaged_target_is_replaced_by_repair_only(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;
    const char *const keys[] = {KEY, r->m.attachments[0].part.key, r->manifest_key};

    FX_OK(copy(r, false, &err));
    for (size_t i = 0; i < amber_countof(keys); i++) {
        fx_flip(&r->to, keys[i], 300);
        assert_false(is_whole(&r->to, r));
        assert_int_equal(copy(r, false, &err), AMBER_E_EXISTS);
        assert_non_null(strstr(err.text, keys[i]));
        assert_non_null(strstr(err.text, "--repair"));
        FX_OK(copy(r, true, &err));
        assert_int_equal(r->wrote, 1);
        assert_int_equal(r->damaged, 1);
        assert_true(is_whole(&r->to, r));
    }
}

/* A sound copy in `to`, a damaged one in `from`: repair in the wrong direction changes nothing. */
static void sound_target_is_never_replaced(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;

    FX_OK(copy(r, false, &err));
    fx_flip(&r->from, KEY, r->m.archive.blocks[1].stored_off * 8 + 80);
    FX_OK(copy(r, true, &err));
    assert_int_equal(r->wrote, 0);
    assert_true(is_whole(&r->to, r));
}

/* Fail each operation on the target in turn: the code comes, nothing half done has a name, and the
 * next try makes it whole. */
static void failed_operations_leave_whole_objects(void **state)
{
    struct rx *r = *state;

    for (unsigned nth = 1;; nth++) {
        struct amber_err err = AMBER_ERR_INIT;
        struct amber_fault_plan plan = {.fail_nth = nth, .code = AMBER_E_NET};
        struct amber_store *plain = r->to.st;
        FX_OK(amber_store_fault_new(fx_store(&r->to), &plan, &r->to.st, &err));
        enum amber_rc rc = copy(r, false, &err);
        amber_store_free(r->to.st);
        r->to.st = plain;
        if (plan.n_ops < nth) {
            FX_OK(rc);
            break;
        }
        assert_int_equal(rc, AMBER_E_NET);
        FX_OK(copy(r, false, &err));
        assert_true(is_whole(&r->to, r));
        /* From the start again. */
        FX_OK(amber_store_remove(r->to.st, KEY, &err));
        FX_OK(amber_store_remove(r->to.st, r->m.attachments[0].part.key, &err));
        FX_OK(amber_store_remove(r->to.st, r->manifest_key, &err));
    }
}

/* What was written isn't what comes back: the copy doesn't count. */
static void bit_flipped_on_the_way_back_is_corrupt(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_fault_plan plan = {.fail_nth = 2, .flip_bit = true};
    struct amber_store *plain = r->to.st;

    FX_OK(amber_store_fault_new(fx_store(&r->to), &plan, &r->to.st, &err));
    assert_int_equal(copy(r, false, &err), AMBER_E_CORRUPT);
    amber_store_free(r->to.st);
    r->to.st = plain;
}

static void marker_is_copied_and_other_content_kept(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_marker found = {0};
    char job[] = "j";
    struct amber_marker_entry e = {.manifest_key = r->manifest_key,
                                   .digest = r->digest,
                                   .stored = r->m.archive.stored_sha256};
    struct amber_marker m = {.run_id = FX_RUN, .job = job, .entries = &e, .n_entries = 1};
    struct amber_replicate_config cfg = config(r);

    assert_int_equal(amber_replicate_marker(&cfg, FX_RUN, &err), AMBER_E_NOT_FOUND);
    FX_OK(amber_marker_put(r->from.st, &m, &err));
    FX_OK(amber_replicate_marker(&cfg, FX_RUN, &err));
    FX_OK(amber_replicate_marker(&cfg, FX_RUN, &err));
    assert_int_equal(r->wrote, 1);
    fx_flip(&r->to, ".amberfs/commits/" FX_RUN ".json", 1);
    assert_int_equal(amber_replicate_marker(&cfg, FX_RUN, &err), AMBER_E_EXISTS);
    cfg.repair = true;
    FX_OK(amber_replicate_marker(&cfg, FX_RUN, &err));
    FX_OK(amber_marker_get(r->to.st, FX_RUN, &found, &err));
    amber_marker_clear(&found);
    /* Sound and different: somebody has to look. */
    FX_OK(amber_store_remove(r->to.st, ".amberfs/commits/" FX_RUN ".json", &err));
    e.digest.b[0] ^= 1;
    FX_OK(amber_marker_put(r->to.st, &m, &err));
    assert_int_equal(amber_replicate_marker(&cfg, FX_RUN, &err), AMBER_E_EXISTS);
}

static void identity_is_copied_and_another_stores_refused(void **state)
{
    struct rx *r = *state;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_store_identity id = {.store_id = FX_RUN, .catalog_id = FX_RUN}, found;
    struct amber_replicate_config cfg = config(r);

    FX_OK(amber_store_identity_put(r->from.st, &id, &err));
    FX_OK(amber_replicate_identity(&cfg, id.store_id, &err));
    FX_OK(amber_store_identity_get(r->to.st, &found, &err));
    assert_string_equal(found.store_id, id.store_id);
    assert_string_equal(found.catalog_id, id.catalog_id);
    FX_OK(amber_store_remove(r->to.st, ".amberfs/store.json", &err));
    id.store_id[0] = '2';
    FX_OK(amber_store_identity_put(r->to.st, &id, &err));
    cfg.repair = true;
    assert_int_equal(amber_replicate_identity(&cfg, FX_RUN, &err), AMBER_E_DENIED);
    assert_non_null(strstr(err.text, id.store_id));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(copy_writes_all_objects_once),
        T(damaged_source_gives_nothing),
        T(damaged_target_is_replaced_by_repair_only),
        T(sound_target_is_never_replaced),
        T(failed_operations_leave_whole_objects),
        T(bit_flipped_on_the_way_back_is_corrupt),
        T(marker_is_copied_and_other_content_kept),
        T(identity_is_copied_and_another_stores_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
