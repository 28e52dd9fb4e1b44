/*
 * store_fault.c - a decorator that makes the n-th operation fail, for tests.
 *
 * It wraps every object and put of the inner store, so that each later call passes here too. An
 * injected failure doesn't reach the inner store, except that a failed commit ends the put, as the
 * contract says. Counting is atomic; which thread gets the n-th operation is left to chance.
 */
#include <errno.h>

#include "store_priv.h"

struct fault_store {
    struct amber_store base;
    struct amber_store_ops ops; /* a copy, since the traits are the inner store's */
    struct amber_store *inner;
    struct amber_fault_plan *plan; /* borrowed */
    unsigned n_reads;              /* atomic */
};

struct fault_object {
    struct amber_object base;
    struct amber_object *inner;
};

struct fault_put {
    struct amber_put base;
    struct amber_put *inner;
};

static struct fault_store *fault(struct amber_store *st)
{
    return (struct fault_store *)st;
}

/* Count one operation and fail if it is the one. */
static enum amber_rc pass(struct fault_store *st, const char *what, const char *key,
                          struct amber_err *err)
{
    struct amber_fault_plan *plan = st->plan;
    unsigned n = __atomic_add_fetch(&plan->n_ops, 1, __ATOMIC_RELAXED);

    if (plan->flip_bit || (plan->fails ? !plan->fails() : n != plan->fail_nth))
        return AMBER_OK;
    amber_fail(err, plan->code, "injected fault at operation %u: %s %s", n, what, key);
    err->sys_errno = plan->code == AMBER_E_IO ? EIO : 0;
    return err->code;
}

static enum amber_rc fault_open(struct amber_store *base, const char *key, int flags,
                                struct amber_object **out, struct amber_object_info *out_info,
                                struct amber_err *err)
{
    struct fault_store *st = fault(base);
    AMBER_AUTO_FREE struct fault_object *o = NULL;
    enum amber_rc rc = pass(st, "open", key, err);

    if (!rc)
        rc = amber_calloc(1, sizeof(*o), &o, err);
    if (!rc)
        rc = amber_object_open(st->inner, key, flags, &o->inner, out_info, err);
    if (rc)
        return rc;
    o->base.store = base;
    *out = &amber_steal(&o)->base;
    return AMBER_OK;
}

static enum amber_rc fault_read_at(struct amber_object *base, uint64_t off, void *buf, size_t len,
                                   struct amber_err *err)
{
    struct fault_object *o = (struct fault_object *)base;
    struct fault_store *st = fault(base->store);
    enum amber_rc rc = pass(st, "read", "", err);

    if (!rc)
        rc = amber_object_read(o->inner, off, buf, len, err);
    if (!rc && st->plan->flip_bit &&
        __atomic_add_fetch(&st->n_reads, 1, __ATOMIC_RELAXED) == st->plan->fail_nth)
        ((uint8_t *)buf)[len / 2] ^= 0x10U;
    return rc;
}

static void fault_close(struct amber_object *base)
{
    struct fault_object *o = (struct fault_object *)base;

    amber_object_close(o->inner);
    free(o);
}

static enum amber_rc fault_stat(struct amber_store *base, const char *key,
                                struct amber_object_info *out, struct amber_err *err)
{
    enum amber_rc rc = pass(fault(base), "stat", key, err);

    return rc ? rc : amber_store_stat(fault(base)->inner, key, out, err);
}

static enum amber_rc fault_list(struct amber_store *base, const char *prefix,
                                enum amber_rc (*each)(void *arg, const char *key,
                                                      const struct amber_object_info *info,
                                                      struct amber_err *err),
                                void *arg, struct amber_err *err)
{
    enum amber_rc rc = pass(fault(base), "list", prefix, err);

    return rc ? rc : amber_store_list(fault(base)->inner, prefix, each, arg, err);
}

static enum amber_rc fault_put_open(struct amber_store *base, const char *key,
                                    struct amber_put **out, struct amber_err *err)
{
    struct fault_store *st = fault(base);
    AMBER_AUTO_FREE struct fault_put *p = NULL;
    enum amber_rc rc = pass(st, "put_open", key, err);

    if (!rc)
        rc = amber_calloc(1, sizeof(*p), &p, err);
    if (!rc)
        rc = amber_put_open(st->inner, key, &p->inner, err);
    if (rc)
        return rc;
    p->base.store = base;
    *out = &amber_steal(&p)->base;
    return AMBER_OK;
}

static enum amber_rc fault_put_write(struct amber_put *base, const void *data, size_t len,
                                     struct amber_err *err)
{
    struct fault_put *p = (struct fault_put *)base;
    enum amber_rc rc = pass(fault(base->store), "put_write", "", err);

    return rc ? rc : amber_put_write(p->inner, data, len, err);
}

static enum amber_rc fault_put_commit(struct amber_put *base, struct amber_object_info *out,
                                      struct amber_err *err)
{
    struct fault_put *p = (struct fault_put *)base;
    enum amber_rc rc = pass(fault(base->store), "put_commit", "", err);

    p->inner->replace = base->replace;
    if (rc)
        amber_put_abort(p->inner);
    else
        rc = amber_put_commit(p->inner, out, err);
    free(p);
    return rc;
}

static void fault_put_abort(struct amber_put *base)
{
    struct fault_put *p = (struct fault_put *)base;

    amber_put_abort(p->inner);
    free(p);
}

static enum amber_rc fault_remove(struct amber_store *base, const char *key, struct amber_err *err)
{
    enum amber_rc rc = pass(fault(base), "remove", key, err);

    return rc ? rc : amber_store_remove(fault(base)->inner, key, err);
}

static void fault_interrupt(struct amber_store *base)
{
    amber_store_interrupt(fault(base)->inner);
}

static enum amber_rc fault_clean_puts(struct amber_store *base,
                                      bool (*is_dead)(void *arg, const char *key), void *arg,
                                      unsigned *out_n, struct amber_err *err)
{
    return amber_store_clean_puts(fault(base)->inner, is_dead, arg, out_n, err);
}

static void fault_free(struct amber_store *base)
{
    struct fault_store *st = fault(base);

    amber_store_free(st->inner);
    free(st);
}

enum amber_rc amber_store_fault_new(struct amber_store *inner, struct amber_fault_plan *plan,
                                    struct amber_store **out, struct amber_err *err)
{
    struct fault_store *st;
    enum amber_rc rc = amber_calloc(1, sizeof(*st), &st, err);

    if (rc)
        return rc;
    st->ops = (struct amber_store_ops){
        .traits = *amber_store_traits(inner),
        .open = fault_open,
        .read_at = fault_read_at,
        .close = fault_close,
        .stat = fault_stat,
        .list = fault_list,
        .put_open = fault_put_open,
        .put_write = fault_put_write,
        .put_commit = fault_put_commit,
        .put_abort = fault_put_abort,
        .remove = fault_remove,
        .interrupt = fault_interrupt,
        .clean_puts = fault_clean_puts,
        .free = fault_free,
    };
    st->ops.traits.remote = st->ops.traits.remote || plan->remote;
    st->base.ops = &st->ops;
    st->inner = inner;
    st->plan = plan;
    *out = &st->base;
    return AMBER_OK;
}
