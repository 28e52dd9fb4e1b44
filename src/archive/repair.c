/*
 * repair.c - one archive in one copy of the store: verified, and made whole from another copy.
 *
 *   1 the manifest, in this copy; else, so that the parts can be checked at all, from another
 *   2 archive and attachments, every byte from the medium
 *   3 the run's commit marker
 *   4 what isn't sound is copied from wherever it is (replicate.c), and 1 to 3 are done again
 */
#include "amber/repair.h"

#include <stdio.h>

#include "amber/replicate.h"

const char *amber_copy_state_name(enum amber_copy_state s)
{
    static const char *const names[AMBER_COPY_STATES] = {
        [AMBER_COPY_SOUND] = "sound",     [AMBER_COPY_ABSENT] = "absent",
        [AMBER_COPY_MISSING] = "missing", [AMBER_COPY_DAMAGED] = "damaged",
        [AMBER_COPY_AWAY] = "away",
    };
    return names[s];
}

static enum amber_copy_state state_of(enum amber_rc rc)
{
    if (rc == AMBER_OK)
        return AMBER_COPY_SOUND;
    if (rc == AMBER_E_NOT_FOUND)
        return AMBER_COPY_MISSING;
    return rc == AMBER_E_CORRUPT || rc == AMBER_E_IO ? AMBER_COPY_DAMAGED : AMBER_COPY_AWAY;
}

/* Keep the gravest state, with the text of the first object that has it. */
static void note(struct amber_copy_result *r, enum amber_rc rc, const struct amber_err *err)
{
    enum amber_copy_state state = state_of(rc);

    if (state <= r->state)
        return;
    r->state = state;
    snprintf(r->fault, sizeof(r->fault), "%.*s", (int)sizeof(r->fault) - 1, err->text);
}

static bool ends(enum amber_rc rc)
{
    return rc == AMBER_E_NOMEM || rc == AMBER_E_CANCELED;
}

/* The manifest from this copy; if it isn't sound there, from any other. */
static enum amber_rc get_manifest(const struct amber_copy_check *c, struct amber_copy_result *r,
                                  struct amber_manifest *m, enum amber_rc *out_here,
                                  struct amber_err *err)
{
    struct amber_err why = AMBER_ERR_INIT;

    *out_here = amber_manifest_get(amber_copies_store(c->store, c->copy), c->manifest_key,
                                   c->digest, m, &why);
    note(r, *out_here, &why);
    if (*out_here == AMBER_OK || amber_copies_count(c->store) == 1 || ends(*out_here)) {
        if (*out_here)
            *err = why;
        return *out_here;
    }
    return amber_manifest_get(c->store, c->manifest_key, c->digest, m, err);
}

/* Steps 1 to 3. run_id gets the manifest's run. errors NOMEM, CANCELED */
static enum amber_rc check(const struct amber_copy_check *c, struct amber_copy_result *r,
                           char run_id[AMBER_UUID_LEN], struct amber_err *err)
{
    AMBER_CLEANUP(amber_manifest_clear) struct amber_manifest m = {0};
    AMBER_CLEANUP(amber_marker_clear) struct amber_marker marker = {0};
    struct amber_store *here = amber_copies_store(c->store, c->copy);
    struct amber_err why = AMBER_ERR_INIT;
    enum amber_rc rc_manifest, rc_parts, rc_marker = AMBER_OK;

    *r = (struct amber_copy_result){.state = AMBER_COPY_SOUND};
    enum amber_rc rc = get_manifest(c, r, &m, &rc_manifest, &why);
    if (ends(rc)) {
        *err = why;
        return rc;
    }
    if (rc) /* nobody has it: what the parts should be isn't known */
        return AMBER_OK;
    memcpy(run_id, m.run_id, AMBER_UUID_LEN);
    rc_parts = amber_verify(here, &m, c->cancel, c->progress, c->arg, &r->report, &why);
    note(r, rc_parts, &why);
    if (!ends(rc_parts) && amber_copies_count(c->store) > 1) {
        rc_marker = amber_marker_get(here, m.run_id, &marker, &why);
        note(r, rc_marker, &why);
    }
    if (ends(rc_parts) || ends(rc_marker)) {
        *err = why;
        return ends(rc_parts) ? rc_parts : rc_marker;
    }
    if (c->copy > 0 && !amber_copies_sync(c->store, c->copy) && rc_marker == AMBER_E_NOT_FOUND &&
        rc_manifest == AMBER_E_NOT_FOUND && r->state == AMBER_COPY_MISSING)
        r->state = AMBER_COPY_ABSENT;
    return AMBER_OK;
}

static enum amber_rc check_place(const struct amber_copy_check *c, struct amber_err *err)
{
    return c->copy > 0 ? AMBER_OK : amber_store_primary_check(c->store, err);
}

static enum amber_rc make_whole(const struct amber_copy_check *c, const char *run_id,
                                struct amber_err *err)
{
    struct amber_store_identity id;
    struct amber_replicate_config cfg = {
        .from = c->store,
        .to = amber_copies_store(c->store, c->copy),
        .pool = c->pool,
        .cancel = c->cancel,
        .repair = true,
    };

    enum amber_rc rc = check_place(c, err);
    if (!rc)
        rc = amber_store_identity_get(c->store, &id, err);
    if (!rc)
        rc = amber_replicate_identity(&cfg, id.store_id, err);
    if (!rc)
        rc = amber_replicate_archive(&cfg, c->manifest_key, c->digest, err);
    return rc ? rc : amber_replicate_marker(&cfg, run_id, err);
}

enum amber_rc amber_copy_verify(const struct amber_copy_check *c, struct amber_copy_result *out,
                                struct amber_err *err)
{
    struct amber_copy_result again;
    struct amber_err why = AMBER_ERR_INIT;
    char run_id[AMBER_UUID_LEN] = "";
    enum amber_rc rc = check(c, out, run_id, err);

    if (rc || !c->repair || out->state == AMBER_COPY_SOUND || out->state == AMBER_COPY_AWAY ||
        !run_id[0])
        return rc;
    rc = make_whole(c, run_id, &why);
    if (ends(rc)) {
        *err = why;
        return rc;
    }
    if (rc) {
        snprintf(out->fault, sizeof(out->fault), "it can't be repaired: %.*s",
                 (int)sizeof(out->fault) - 40, why.text);
        return AMBER_OK;
    }
    rc = check(c, &again, run_id, err);
    if (!rc)
        out->repaired = again.state == AMBER_COPY_SOUND;
    if (!rc && !out->repaired)
        memcpy(out->fault, again.fault, sizeof(out->fault));
    return rc;
}

enum amber_rc amber_copy_verify_identity(const struct amber_copy_check *c,
                                         struct amber_copy_result *out, struct amber_err *err)
{
    struct amber_store_identity wanted, found;
    struct amber_err why = AMBER_ERR_INIT;
    struct amber_store *here = amber_copies_store(c->store, c->copy);
    struct amber_replicate_config cfg = {
        .from = c->store, .to = here, .pool = c->pool, .cancel = c->cancel, .repair = true};

    *out = (struct amber_copy_result){.state = AMBER_COPY_SOUND};
    enum amber_rc rc = amber_store_identity_get(c->store, &wanted, &why);
    if (!rc)
        rc = amber_store_identity_get(here, &found, &why);
    if (!rc && strcmp(wanted.store_id, found.store_id) != 0)
        rc = amber_fail(&why, AMBER_E_DENIED, "it holds the store %s, not a copy of %s",
                        found.store_id, wanted.store_id);
    note(out, rc, &why);
    if (out->state == AMBER_COPY_MISSING && c->copy > 0 && !amber_copies_sync(c->store, c->copy))
        out->state = AMBER_COPY_ABSENT;
    if (ends(rc)) {
        *err = why;
        return rc;
    }
    if (!c->repair || out->state == AMBER_COPY_SOUND || out->state == AMBER_COPY_AWAY)
        return AMBER_OK;
    rc = check_place(c, &why);
    if (!rc)
        rc = amber_replicate_identity(&cfg, wanted.store_id, &why);
    out->repaired = rc == AMBER_OK;
    if (rc)
        snprintf(out->fault, sizeof(out->fault), "it can't be repaired: %.*s",
                 (int)sizeof(out->fault) - 40, why.text);
    return AMBER_OK;
}

bool amber_copy_result_bad(const struct amber_copy_result *r)
{
    return !r->repaired && r->state != AMBER_COPY_SOUND && r->state != AMBER_COPY_ABSENT;
}

void amber_copy_tally_add(struct amber_copy_tally *t, const struct amber_copy_result *r)
{
    t->n[r->repaired ? AMBER_COPY_SOUND : r->state]++;
    t->repaired += r->repaired;
}

enum amber_rc amber_copy_tally_text(const struct amber_copy_tally *t, struct amber_buf *out,
                                    struct amber_err *err)
{
    enum amber_rc rc =
        amber_buf_printf(out, err, "%llu sound", (unsigned long long)t->n[AMBER_COPY_SOUND]);

    if (!rc && t->repaired)
        rc = amber_buf_printf(out, err, ", %llu of them repaired", (unsigned long long)t->repaired);
    for (int s = AMBER_COPY_ABSENT; !rc && s < AMBER_COPY_STATES; s++)
        if (t->n[s])
            rc = amber_buf_printf(out, err, ", %llu %s", (unsigned long long)t->n[s],
                                  amber_copy_state_name((enum amber_copy_state)s));
    return rc;
}
