/*
 * verify_copies.c - `amberfs verify` of a store that has replicas: each copy by itself, and repaired
 * from the others if that was asked for.
 */
#include "verify_copies.h"

#include <stdio.h>

#include "amber/copies.h"

static void print_result(const struct app *app, const char *what, unsigned copy,
                         const struct amber_copy_result *r)
{
    const char *name = amber_copies_name(app->store, copy);
    if (r->repaired)
        printf("repaired %s: %s: it was %s: %s\n", what, name, amber_copy_state_name(r->state),
               r->fault);
    else if (r->state == AMBER_COPY_ABSENT)
        printf("absent  %s: %s: it isn't copied yet, or was lost (--repair copies it)\n", what, name);
    else if (r->state == AMBER_COPY_AWAY)
        printf("UNKNOWN %s: %s: %s\n", what, name, r->fault);
    else if (r->state != AMBER_COPY_SOUND)
        printf("FAILED  %s: %s: %s: %s\n", what, name, amber_copy_state_name(r->state), r->fault);
}

static void count(struct copies_tally *n, unsigned copy, const struct amber_copy_result *r)
{
    amber_copy_tally_add(&n->copies[copy], r);
    n->damaged += amber_copy_result_bad(r) && r->state != AMBER_COPY_AWAY;
    n->unchecked += amber_copy_result_bad(r) && r->state == AMBER_COPY_AWAY;
}

static struct amber_copy_check check_of(struct app *app, unsigned copy)
{
    return (struct amber_copy_check){
        .store = app->store,
        .copy = copy,
        .repair = app->opt->repair,
        .pool = app->pool,
        .cancel = amber_app_cancel(),
    };
}

enum amber_rc amber_verify_copies(struct app *app, const struct amber_tree_entry *e,
                                  struct copies_tally *n, struct amber_err *err)
{
    struct amber_copy_result r = {0};
    struct amber_sha256 digest;
    unsigned n_copies = amber_copies_count(app->store), sound = 0;
    memcpy(digest.b, e->manifest_sha256, sizeof(digest.b));
    for (unsigned i = 0; i < n_copies; i++) {
        struct amber_copy_check c = check_of(app, i);
        c.manifest_key = e->manifest_key;
        c.digest = e->has_digest ? &digest : NULL;
        enum amber_rc rc = amber_copy_verify(&c, &r, err);
        if (rc)
            return rc;
        print_result(app, e->path, i, &r);
        count(n, i, &r);
        sound += r.state == AMBER_COPY_SOUND;
    }
    if (sound == n_copies && !app->opt->quiet)
        printf("ok      %s: %s, %s, in %u copies\n", e->path, AMBER_COUNT(r.report.rows, "row"),
               AMBER_COUNT(r.report.blocks, "block"), n_copies);
    return AMBER_OK;
}

enum amber_rc amber_verify_identities(struct app *app, struct copies_tally *n, struct amber_err *err)
{
    for (unsigned i = 0; i < amber_copies_count(app->store); i++) {
        struct amber_copy_check c = check_of(app, i);
        struct amber_copy_result r;
        enum amber_rc rc = amber_copy_verify_identity(&c, &r, err);
        if (rc)
            return rc;
        print_result(app, AMBER_META_DIR "/store.json", i, &r);
        n->damaged += amber_copy_result_bad(&r) && r.state != AMBER_COPY_AWAY;
        n->unchecked += amber_copy_result_bad(&r) && r.state == AMBER_COPY_AWAY;
    }
    return AMBER_OK;
}

void amber_verify_copies_end(const struct app *app, const struct copies_tally *n)
{
    for (unsigned i = 0; i < amber_copies_count(app->store); i++) {
        AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(4096);
        struct amber_err err = AMBER_ERR_INIT;
        if (!amber_copy_tally_text(&n->copies[i], &text, &err))
            printf("%s: %s\n", amber_copies_name(app->store, i), text.data);
    }
}
