/*
 * fake_ops.c - the other side of struct amber_mount_ops, for tests.
 *
 *   jobs       "alpha" never runs; "slow" runs from its trigger until fake_end_job
 *   control    "alpha", "slow" are accepted; "stuck" blocks until the gate opens; others NOT_FOUND
 *   restores   a file's name chooses: badrow* a line BAD is refused; full* the disk is full at the
 *              commit; block* takes nothing, and slow* doesn't finish, until the gate opens or it
 * is interrupted. Table "missing" doesn't exist
 */
#include "mount_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

struct fake_sink {
    struct amber_sink base;
    struct fake *k;
    char name[256];
    struct amber_buf rows;
    bool interrupted, done;
};

static void event(struct fake *k, const char *fmt, ...) AMBER_PRINTF(2, 3);
static void event(struct fake *k, const char *fmt, ...)
{
    size_t len = strlen(k->events);
    va_list args;
    va_start(args, fmt);
    vsnprintf(k->events + len, sizeof(k->events) - len, fmt, args);
    va_end(args);
    pthread_cond_broadcast(&k->changed);
}

void fake_init(struct fake *k)
{
    pthread_mutex_init(&k->mutex, NULL);
    pthread_cond_init(&k->changed, NULL);
    amber_buf_init(&k->rows, 256U << 20);
    k->end_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(k->end_fd >= 0);
}

void fake_clear(struct fake *k)
{
    close(k->end_fd);
    amber_buf_clear(&k->rows);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->mutex);
}

bool fake_saw(struct fake *k, const char *what)
{
    pthread_mutex_lock(&k->mutex);
    bool saw = strstr(k->events, what) != NULL;
    pthread_mutex_unlock(&k->mutex);
    return saw;
}

void fake_expect(struct fake *k, const char *what)
{
    pthread_mutex_lock(&k->mutex);
    while (!strstr(k->events, what))
        pthread_cond_wait(&k->changed, &k->mutex);
    pthread_mutex_unlock(&k->mutex);
}

void fake_open_gate(struct fake *k, bool open)
{
    pthread_mutex_lock(&k->mutex);
    k->gate = open;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->mutex);
}

void fake_expect_waiting(struct fake *k, unsigned n)
{
    pthread_mutex_lock(&k->mutex);
    while (k->waiting != n)
        pthread_cond_wait(&k->changed, &k->mutex);
    pthread_mutex_unlock(&k->mutex);
}

void fake_expect_stuck(struct fake *k, unsigned n)
{
    pthread_mutex_lock(&k->mutex);
    while (k->stuck != n)
        pthread_cond_wait(&k->changed, &k->mutex);
    pthread_mutex_unlock(&k->mutex);
}

void fake_end_job(struct fake *k)
{
    uint64_t one = 1;
    pthread_mutex_lock(&k->mutex);
    k->running = false;
    assert_int_equal(write(k->end_fd, &one, sizeof(one)), sizeof(one));
    pthread_mutex_unlock(&k->mutex);
}

/* ---- operators ---- */

static enum amber_rc op_status(void *arg, struct amber_buf *out, struct amber_err *err)
{
    (void)arg;
    return amber_buf_puts(out, "{\"version\": \"fake\"}\n", err);
}

static enum amber_rc op_metrics(void *arg, struct amber_buf *out, struct amber_err *err)
{
    (void)arg;
    return amber_buf_puts(out, "amberfs_up 1\n", err);
}

static enum amber_rc op_control(void *arg, enum amber_control what, const char *line,
                                const struct amber_caller *caller, struct amber_err *err)
{
    struct fake *k = arg;
    enum amber_rc rc = AMBER_OK;
    pthread_mutex_lock(&k->mutex);
    event(k, "control %d %s;", (int)what, line);
    if (caller->pid <= 0 || caller->uid != getuid())
        rc = amber_fail(err, AMBER_E_DENIED, "wrong caller");
    else if (strcmp(line, "slow") == 0 && k->running)
        rc = amber_fail(err, AMBER_E_BUSY, "slow is running");
    else if (strcmp(line, "slow") == 0)
        k->running = true;
    else if (strcmp(line, "invalid") == 0)
        rc = amber_fail(err, AMBER_E_INVALID, "not like this");
    else if (strcmp(line, "alpha") != 0 && strcmp(line, "stuck") != 0)
        rc = amber_fail(err, AMBER_E_NOT_FOUND, "there is no job \"%s\"", line);
    if (strcmp(line, "stuck") == 0) {
        k->stuck++;
        pthread_cond_broadcast(&k->changed);
        while (!k->gate)
            pthread_cond_wait(&k->changed, &k->mutex);
        k->stuck--;
        pthread_cond_broadcast(&k->changed);
    }
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

static bool op_job_exists(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "alpha") == 0 || strcmp(name, "slow") == 0;
}

static const char *op_job_name(void *arg, size_t i)
{
    static const char *const names[] = {"alpha", "slow", NULL};
    (void)arg;
    return names[i < 2 ? i : 2];
}

static enum amber_rc op_wait(void *arg, const char *job, const struct amber_cancel *cancel,
                             struct amber_buf *out, struct amber_err *err)
{
    struct fake *k = arg;
    pthread_mutex_lock(&k->mutex);
    bool wait = strcmp(job, "slow") == 0 && k->running;
    k->waiting += wait;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->mutex);
    if (wait) {
        struct pollfd fds[] = {{.fd = k->end_fd, .events = POLLIN},
                               {.fd = cancel->fd, .events = POLLIN}};
        while (poll(fds, 2, -1) < 0)
            ;
        pthread_mutex_lock(&k->mutex);
        k->waiting--;
        pthread_cond_broadcast(&k->changed);
        pthread_mutex_unlock(&k->mutex);
    }
    enum amber_rc rc = amber_cancel_check(cancel, err);
    return rc ? rc : amber_buf_printf(out, err, "job: %s\nstate: ok\n", job);
}

/* ---- restores ---- */

static bool named(const struct fake_sink *s, const char *prefix)
{
    const char *slash = strrchr(s->name, '/');
    const char *file = slash ? slash + 1 : s->name;
    return strncmp(file, prefix, strlen(prefix)) == 0;
}

static enum amber_rc pass_gate(struct fake_sink *s, struct amber_err *err)
{
    while (!s->k->gate && !s->interrupted)
        pthread_cond_wait(&s->k->changed, &s->k->mutex);
    return s->interrupted ? amber_fail(err, AMBER_E_CANCELED, "interrupted") : AMBER_OK;
}

static enum amber_rc sink_write(struct amber_sink *base, const void *data, size_t len,
                                struct amber_err *err)
{
    struct fake_sink *s = (struct fake_sink *)base;
    struct fake *k = s->k;
    enum amber_rc rc = AMBER_OK;
    pthread_mutex_lock(&k->mutex);
    if (!s->rows.len)
        event(k, "write %s;", s->name);
    if (named(s, "block"))
        rc = pass_gate(s, err);
    if (!rc)
        rc = amber_buf_append(&s->rows, data, len, err);
    if (!rc && named(s, "badrow") && strstr(s->rows.data, "BAD"))
        rc = amber_fail(err, AMBER_E_INVALID, "line 2, column 3: not a row");
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

static enum amber_rc sink_finish(struct amber_sink *base, struct amber_err *err)
{
    struct fake_sink *s = (struct fake_sink *)base;
    struct fake *k = s->k;
    enum amber_rc rc = AMBER_OK;
    pthread_mutex_lock(&k->mutex);
    event(k, "finish %s;", s->name);
    if (named(s, "slow"))
        rc = pass_gate(s, err);
    if (!rc && named(s, "full")) {
        rc = amber_fail_errno(err, ENOSPC, "can't write");
    } else if (!rc) {
        s->done = true;
        event(k, "commit %s %zu;", s->name, s->rows.len);
        amber_buf_swap(&k->rows, &s->rows);
    }
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

static void sink_close(struct amber_sink *base)
{
    struct fake_sink *s = (struct fake_sink *)base;
    struct fake *k = s->k;
    pthread_mutex_lock(&k->mutex);
    if (!s->done)
        event(k, "rollback %s;", s->name);
    pthread_mutex_unlock(&k->mutex);
    amber_buf_clear(&s->rows);
    free(s);
}

static void sink_interrupt(struct amber_sink *base)
{
    struct fake_sink *s = (struct fake_sink *)base;
    pthread_mutex_lock(&s->k->mutex);
    s->interrupted = true;
    event(s->k, "interrupt %s;", s->name);
    pthread_mutex_unlock(&s->k->mutex);
}

static const struct amber_sink_ops sink_ops = {
    .write = sink_write,
    .finish = sink_finish,
    .close = sink_close,
    .interrupt = sink_interrupt,
};

static enum amber_rc op_restore_open(void *arg, const char *table, const char *file,
                                     const struct amber_caller *caller, struct amber_sink **out,
                                     struct amber_err *err)
{
    struct fake *k = arg;
    struct fake_sink *s;
    (void)caller;
    if (table && strcmp(table, "missing") == 0)
        return amber_fail(err, AMBER_E_NOT_FOUND, "there is no table missing");
    if (!table && strcmp(file, "stranger.json") == 0)
        return amber_fail(err, AMBER_E_INVALID, "not the name of an archive");
    enum amber_rc rc = amber_calloc(1, sizeof(*s), &s, err);
    if (rc)
        return rc;
    s->base.ops = &sink_ops;
    s->k = k;
    amber_buf_init(&s->rows, 256U << 20);
    snprintf(s->name, sizeof(s->name), "%s/%s", table ? table : "-", file);
    pthread_mutex_lock(&k->mutex);
    event(k, "open %s;", s->name);
    if (named(s, "openslow")) /* a connection that takes its time */
        while (!k->gate)
            pthread_cond_wait(&k->changed, &k->mutex);
    pthread_mutex_unlock(&k->mutex);
    *out = &s->base;
    return AMBER_OK;
}

static void op_audit(void *arg, const char *what, const char *path,
                     const struct amber_caller *caller)
{
    struct fake *k = arg;
    (void)caller;
    pthread_mutex_lock(&k->mutex);
    if (strlen(k->events) < sizeof(k->events) / 2)
        event(k, "audit %s %s;", what, path);
    pthread_mutex_unlock(&k->mutex);
}

const struct amber_mount_ops fake_ops = {
    .status = op_status,
    .metrics = op_metrics,
    .control = op_control,
    .job_exists = op_job_exists,
    .job_name = op_job_name,
    .wait = op_wait,
    .restore_open = op_restore_open,
    .audit = op_audit,
};
