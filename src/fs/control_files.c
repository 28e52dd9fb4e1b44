/*
 * control_files.c - .status, .metrics and .control/.
 *
 *   texts      .status, .metrics, .control/log: made when opened, then the same for that open file
 *   commands   .control/trigger and its like: each line written is one command. It runs on a call
 *              thread, and its failure is the write's own: shells don't look at what close says
 *   follow     new log lines; a read without any is parked until the event thread has some
 *   wait       a read starts a call thread that waits for the job; the answer is the read's text
 *
 * All are direct_io with size 0: the kernel asks for every read and believes no size.
 */
#include "mount_priv.h"

#include <errno.h>
#include <stdio.h>

#include "amber/log.h"

#define TEXT_MAX (16U * 1024U * 1024U) /* .status of very many jobs */
#define LINE_MAX_BYTES 4096U           /* one command */
#define LINES_MAX_BYTES 65536U         /* commands of one write */
#define FOLLOW_BYTES 65536U            /* lines taken from the log at once */

/* ---- texts ---- */

struct text_file {
    struct handle h;
    struct amber_buf text;
};

static void text_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct text_file *f = (struct text_file *)h;
    (void)nonblock;
    amber_reply_text(req, f->text.data, f->text.len, size, off);
}

static void text_close(struct handle *h)
{
    struct text_file *f = (struct text_file *)h;
    amber_handle_remove(h);
    amber_buf_clear(&f->text);
    free(f);
}

static const struct handle_ops text_ops = {.read = text_read, .release = text_close};

struct text_call {
    struct amber_mount *m;
    fuse_req_t req;
    struct fuse_file_info fi;
    enum node_kind kind;
};

static enum amber_rc make_text(struct amber_mount *m, enum node_kind kind, struct amber_buf *out,
                               struct amber_err *err)
{
    uint64_t pos = 0;
    if (kind == NODE_STATUS)
        return m->cfg.ops->status(m->cfg.arg, out, err);
    if (kind == NODE_METRICS)
        return m->cfg.ops->metrics(m->cfg.arg, out, err);
    return amber_log_read(&pos, AMBER_LOG_RING_BYTES, out, err);
}

static void text_run(void *arg)
{
    struct text_call *c = arg;
    struct amber_err err = AMBER_ERR_INIT;
    struct text_file *f = calloc(1, sizeof(*f));
    enum amber_rc rc = f ? AMBER_OK : amber_fail_nomem(&err, "a control file", sizeof(*f));
    if (f) {
        amber_buf_init(&f->text, TEXT_MAX);
        amber_handle_add(c->m, &f->h, &text_ops);
        rc = make_text(c->m, c->kind, &f->text, &err);
    }
    if (rc) {
        amber_warn("a control file can't be read: %s", err.text);
        fuse_reply_err(c->req, amber_err_errno(&err));
        if (f)
            text_close(&f->h);
    } else {
        c->fi.direct_io = 1;
        amber_reply_open(c->req, &c->fi, &f->h);
    }
    free(c);
}

static void text_open(struct amber_mount *m, fuse_req_t req, enum node_kind kind,
                      struct fuse_file_info *fi)
{
    struct text_call *c = malloc(sizeof(*c));
    if (c)
        *c = (struct text_call){.m = m, .req = req, .fi = *fi, .kind = kind};
    if (c && amber_call_start(m, text_run, c))
        return;
    free(c);
    fuse_reply_err(req, EAGAIN);
}

/* ---- commands ---- */

struct command_file {
    struct handle h;
    enum amber_control what;
};

static const struct {
    const char *name, *help;
} commands[] = {
    [AMBER_CONTROL_TRIGGER] = {"trigger", "write a job's name here to run it now\n"},
    [AMBER_CONTROL_CANCEL] = {"cancel", "write a job's name here to stop its run\n"},
    [AMBER_CONTROL_VERIFY] = {"verify", "write an archive's path here to check it, or: all\n"},
    [AMBER_CONTROL_RESTORE] = {"restore", "write an archive's path here to copy its rows back\n"},
};

/* The lines of one write, on their way. Freed by command_run. */
struct command_call {
    struct parked parked;
    struct amber_mount *m;
    enum amber_control what;
    struct amber_caller caller;
    size_t len;
    char lines[];
};

static void command_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    const char *help = commands[((struct command_file *)h)->what].help;
    (void)nonblock;
    amber_reply_text(req, help, strlen(help), size, off);
}

/* A signal: let its process go; what was asked goes on, and the log tells how it ended. */
static void command_interrupted(struct parked *p)
{
    struct command_call *c = (struct command_call *)p;
    if (c->m->stopping)
        return;
    fuse_req_t req = amber_parked_end(p);
    if (req)
        fuse_reply_err(req, EINTR);
}

/* Run line after line. Returns the bytes of those that were accepted; err is set if not all. */
static size_t run_lines(struct command_call *c, struct amber_err *err)
{
    size_t done = 0, n = 0;
    while (done < c->len) {
        char *line = c->lines + done;
        size_t len = strcspn(line, "\n");
        size_t next = done + len + (line[len] == '\n' ? 1 : 0);
        line[len] = '\0';
        if (len && line[len - 1] == '\r')
            line[len - 1] = '\0';
        n += *line != '\0';
        if (*line && c->m->cfg.ops->control(c->m->cfg.arg, c->what, line, &c->caller, err))
            return done;
        done = next;
    }
    if (n)
        return done;
    amber_fail(err, AMBER_E_INVALID, "an empty line names nothing; %s", commands[c->what].help);
    return 0;
}

static void command_run(void *arg)
{
    struct command_call *c = arg;
    struct amber_mount *m = c->m;
    struct amber_err err = AMBER_ERR_INIT;
    size_t done = run_lines(c, &err);
    if (done < c->len)
        amber_warn("control %s refused: %s", commands[c->what].name, err.text);
    pthread_mutex_lock(&m->mutex);
    fuse_req_t req = amber_parked_end(&c->parked);
    pthread_mutex_unlock(&m->mutex);
    /* A short count makes the writer send the rest again, which then fails alone. */
    if (req && done)
        fuse_reply_write(req, done);
    else if (req)
        fuse_reply_err(req, amber_err_errno(&err));
    free(c);
}

/* NULL if the bytes can't be commands; errno in *out_errno. */
static struct command_call *command_new(struct command_file *f, fuse_req_t req, const char *data,
                                        size_t len, int *out_errno)
{
    size_t longest = 0;
    for (size_t i = 0, start = 0; i < len; i++) {
        if (data[i] == '\n')
            start = i + 1;
        else if (i - start >= longest)
            longest = i - start + 1;
    }
    if (len > LINES_MAX_BYTES || longest >= LINE_MAX_BYTES || memchr(data, '\0', len)) {
        amber_warn("control %s refused: not a command: NUL byte, a line over %u bytes, or over %u "
                   "bytes at once",
                   commands[f->what].name, LINE_MAX_BYTES, LINES_MAX_BYTES);
        *out_errno = EINVAL;
        return NULL;
    }
    struct command_call *c = calloc(1, sizeof(*c) + len + 1);
    *out_errno = ENOMEM;
    if (c) {
        c->m = f->h.m;
        c->what = f->what;
        c->caller = amber_caller_of(req);
        c->len = len;
        memcpy(c->lines, data, len);
    }
    return c;
}

static void command_write(struct handle *h, fuse_req_t req, const char *data, size_t len,
                          uint64_t off)
{
    struct command_file *f = (struct command_file *)h;
    struct amber_mount *m = h->m;
    char path[64];
    int e;
    (void)off; /* `>` and `>>` mean the same here */
    struct command_call *c = command_new(f, req, data, len, &e);
    if (!c) {
        fuse_reply_err(req, e);
        return;
    }
    atomic_fetch_add(&m->control_writes, 1);
    snprintf(path, sizeof(path), ".control/%s", commands[f->what].name);
    amber_audit(m, "control", path, &c->caller);
    pthread_mutex_lock(&m->mutex);
    amber_park(m, &c->parked, req, true, command_interrupted);
    pthread_mutex_unlock(&m->mutex);
    if (amber_call_start(m, command_run, c))
        return;
    pthread_mutex_lock(&m->mutex);
    req = amber_parked_end(&c->parked);
    pthread_mutex_unlock(&m->mutex);
    if (req)
        fuse_reply_err(req, EAGAIN);
    free(c);
}

static void command_close(struct handle *h)
{
    amber_handle_remove(h);
    free(h);
}

static const struct handle_ops command_ops = {
    .read = command_read,
    .write = command_write,
    .release = command_close,
};

static void command_open(struct amber_mount *m, fuse_req_t req, enum node_kind kind,
                         struct fuse_file_info *fi)
{
    struct command_file *f = calloc(1, sizeof(*f));
    if (!f) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    f->what = kind == NODE_TRIGGER  ? AMBER_CONTROL_TRIGGER
              : kind == NODE_CANCEL ? AMBER_CONTROL_CANCEL
              : kind == NODE_VERIFY ? AMBER_CONTROL_VERIFY
                                    : AMBER_CONTROL_RESTORE;
    amber_handle_add(m, &f->h, &command_ops);
    fi->direct_io = 1;
    amber_reply_open(req, fi, &f->h);
}

/* ---- follow ---- */

struct follow_file {
    struct handle h;
    struct parked parked; /* the read that waits; one at a time */
    size_t parked_size;
    struct amber_buf lines; /* taken from the log */
    size_t sent;            /* bytes of lines that were read */
    uint64_t pos;           /* in the log */
};

/* Whether there are lines to give, at hand or new in the log. */
static bool follow_has_lines(struct follow_file *f)
{
    struct amber_err err = AMBER_ERR_INIT;
    if (f->sent < f->lines.len)
        return true;
    f->lines.len = f->sent = 0;
    /* Without memory now, the next line wakes us again. */
    return amber_log_read(&f->pos, FOLLOW_BYTES, &f->lines, &err) == AMBER_OK && f->lines.len > 0;
}

static void follow_answer(struct follow_file *f, fuse_req_t req, size_t size)
{
    size_t len = f->lines.len - f->sent;
    if (len > size)
        len = size;
    fuse_reply_buf(req, f->lines.data + f->sent, len);
    f->sent += len;
}

static void follow_interrupted(struct parked *p)
{
    fuse_req_t req = amber_parked_end(p);
    if (!req)
        return;
    if (p->m->stopping)
        fuse_reply_buf(req, NULL, 0); /* the log ends here */
    else
        fuse_reply_err(req, EINTR);
}

static void follow_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct follow_file *f = (struct follow_file *)h;
    struct amber_mount *m = h->m;
    (void)off;
    pthread_mutex_lock(&m->mutex);
    if (follow_has_lines(f)) {
        follow_answer(f, req, size);
    } else if (m->stopping) {
        fuse_reply_buf(req, NULL, 0);
    } else if (nonblock || f->parked.req) {
        fuse_reply_err(req, EAGAIN);
    } else {
        f->parked_size = size;
        amber_park(m, &f->parked, req, true, follow_interrupted);
        amber_event_wake(m); /* for a line that came just before */
    }
    pthread_mutex_unlock(&m->mutex);
}

static void follow_close(struct handle *h)
{
    struct follow_file *f = (struct follow_file *)h;
    amber_handle_remove(h);
    amber_buf_clear(&f->lines);
    free(f);
}

static const struct handle_ops follow_ops = {.read = follow_read, .release = follow_close};

void amber_follow_wake(struct amber_mount *m)
{
    for (struct handle *h = m->handles; h; h = h->next) {
        struct follow_file *f = (struct follow_file *)h;
        if (h->ops == &follow_ops && f->parked.req && follow_has_lines(f))
            follow_answer(f, amber_parked_end(&f->parked), f->parked_size);
    }
}

static void follow_open(struct amber_mount *m, fuse_req_t req, struct fuse_file_info *fi)
{
    struct follow_file *f = calloc(1, sizeof(*f));
    if (!f) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    amber_buf_init(&f->lines, FOLLOW_BYTES);
    amber_handle_add(m, &f->h, &follow_ops);
    fi->direct_io = 1;
    fi->nonseekable = 1;
    amber_reply_open(req, fi, &f->h);
}

/* ---- wait ---- */

struct wait_file {
    struct handle h;
    char *job;             /* owned */
    bool ready;            /* text is there; guarded by m->mutex; never unset */
    struct amber_buf text; /* written once, before ready */
};

/* Freed by wait_run, with its reference to the file. */
struct wait_call {
    struct parked parked;
    struct wait_file *f;
    struct amber_cancel cancel;
    size_t size;
    uint64_t off;
};

static void wait_interrupted(struct parked *p)
{
    amber_cancel_set(&((struct wait_call *)p)->cancel);
}

static void wait_call_free(struct wait_call *c)
{
    amber_handle_put(&c->f->h);
    amber_cancel_clear(&c->cancel);
    free(c);
}

static void wait_run(void *arg)
{
    struct wait_call *c = arg;
    struct wait_file *f = c->f;
    struct amber_mount *m = f->h.m;
    struct amber_err err = AMBER_ERR_INIT;
    AMBER_AUTO_BUF struct amber_buf text = AMBER_BUF_INIT(TEXT_MAX);
    enum amber_rc rc = m->cfg.ops->wait(m->cfg.arg, f->job, &c->cancel, &text, &err);
    pthread_mutex_lock(&m->mutex);
    m->n_waits--;
    if (!rc && !f->ready) {
        amber_buf_swap(&f->text, &text);
        f->ready = true;
    }
    fuse_req_t req = amber_parked_end(&c->parked);
    pthread_mutex_unlock(&m->mutex);
    if (rc)
        fuse_reply_err(req, amber_err_errno(&err));
    else
        amber_reply_text(req, f->text.data, f->text.len, c->size, c->off);
    wait_call_free(c);
}

static void wait_read(struct handle *h, fuse_req_t req, size_t size, uint64_t off, bool nonblock)
{
    struct wait_file *f = (struct wait_file *)h;
    struct amber_mount *m = h->m;
    struct amber_err err = AMBER_ERR_INIT;
    (void)nonblock; /* there would be no way to be told that the job ended */
    pthread_mutex_lock(&m->mutex);
    bool ready = f->ready;
    pthread_mutex_unlock(&m->mutex);
    if (ready) {
        amber_reply_text(req, f->text.data, f->text.len, size, off);
        return;
    }
    struct wait_call *c = calloc(1, sizeof(*c));
    if (!c || amber_cancel_init(&c->cancel, &err)) {
        free(c);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    c->f = f;
    amber_handle_hold(&f->h);
    c->size = size;
    c->off = off;
    pthread_mutex_lock(&m->mutex);
    bool room = m->n_waits++ < WAITS_MAX;
    amber_park(m, &c->parked, req, true, wait_interrupted);
    pthread_mutex_unlock(&m->mutex);
    if (room && amber_call_start(m, wait_run, c))
        return;
    pthread_mutex_lock(&m->mutex);
    m->n_waits--;
    req = amber_parked_end(&c->parked);
    pthread_mutex_unlock(&m->mutex);
    fuse_reply_err(req, EAGAIN);
    wait_call_free(c);
}

static void wait_close(struct handle *h)
{
    struct wait_file *f = (struct wait_file *)h;
    amber_handle_remove(h);
    amber_buf_clear(&f->text);
    free(f->job);
    free(f);
}

static const struct handle_ops wait_ops = {.read = wait_read, .release = wait_close};

static void wait_open(struct amber_mount *m, fuse_req_t req, const char *job,
                      struct fuse_file_info *fi)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct wait_file *f = calloc(1, sizeof(*f));
    if (!f || amber_strdup(job, &f->job, &err)) {
        free(f);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    amber_buf_init(&f->text, TEXT_MAX);
    amber_handle_add(m, &f->h, &wait_ops);
    fi->direct_io = 1;
    amber_reply_open(req, fi, &f->h);
}

/* ---- opening ---- */

static bool is_command(enum node_kind kind)
{
    return kind == NODE_TRIGGER || kind == NODE_CANCEL || kind == NODE_VERIFY ||
           kind == NODE_RESTORE_LINE;
}

void amber_control_open(struct amber_mount *m, fuse_req_t req, const struct node *n,
                        struct fuse_file_info *fi)
{
    if (!is_command(n->kind) && (fi->flags & O_ACCMODE) != O_RDONLY)
        fuse_reply_err(req, EACCES); /* root isn't stopped by the mode */
    else if (is_command(n->kind))
        command_open(m, req, n->kind, fi);
    else if (n->kind == NODE_FOLLOW)
        follow_open(m, req, fi);
    else if (n->kind == NODE_WAIT)
        wait_open(m, req, n->v->name, fi);
    else
        text_open(m, req, n->kind, fi);
}
