/*
 * mount.c - one FUSE session: mounting, serving, ending.
 *
 * Threads of a mount that serves:
 *   FUSE threads    libfuse's, 2 to 4: take requests, answer most of them at once
 *   event thread    signals of parked requests' callers, new log lines, amber_mount_stop
 *   notify thread   notify.c
 *   call threads    call.c, one for each thing that blocks; one for each open restore file
 *
 * Ending, whoever began it, is the event thread's work and runs while the FUSE threads still
 * answer, so that nothing waits for an answer that never comes:
 *   1. nothing new is parked; what is parked ends (waits, follows, restores)
 *   2. all call threads and the notify thread end
 *   3. the FUSE loop is told to end, and its wait is interrupted by a signal (kick)
 *   4. serve unmounts
 *
 * The daemon never uses its own mount: killed within such a request, it would wait for its own
 * answer and keep the connection, and thereby itself and the dead mount, for ever.
 */
#include "mount_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "amber/calendar.h"
#include "amber/log.h"
#include "amber/pool.h"
#include "mountinfo_priv.h"

#define THREADS_MIN 2U
#define THREADS_MAX 4U
#define THREADS_LIMIT 64U
#define MAX_BACKGROUND 64U
#define CONGESTION 48U
#define KICK_SIGNAL SIGURG /* ignored by default, so a stray one does no harm */
#define KICK_MS 10
#define SIGNAL_LOOK_MS 100 /* while a caller waits on though a signal waits for him */

/* ---- libfuse's messages ---- */

/* While a mount is made, libfuse's message of this thread goes into its error. libfuse knows one
 * log function a process, so this is the one piece of state outside struct amber_mount. */
static _Thread_local char *fuse_said;
#define FUSE_SAID_BYTES 512U

static void take_fuse_log(enum fuse_log_level level, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
static void take_fuse_log(enum fuse_log_level level, const char *fmt, va_list args)
{
    char text[FUSE_SAID_BYTES];
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = '\0';
    if (fuse_said)
        memcpy(fuse_said, text, sizeof(text));
    else
        amber_log(level <= FUSE_LOG_ERR ? AMBER_LOG_WARN : AMBER_LOG_DEBUG, "libfuse: %s", text);
}

/* ---- making it ---- */

/* INIT came from the kernel. */
static void init_session(void *userdata, struct fuse_conn_info *conn)
{
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                              FUSE_CAP_WRITEBACK_CACHE);
    conn->want |= conn->capable & (unsigned)(FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS |
                                             FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
                                             FUSE_CAP_AUTO_INVAL_DATA);
    conn->max_write = MAX_WRITE_BYTES;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = CONGESTION;
    (void)userdata;
}

/* Append text to an option list; commas and backslashes of a value are escaped. */
static enum amber_rc add_value(struct amber_buf *b, const char *name, const char *value,
                               struct amber_err *err)
{
    enum amber_rc rc = amber_buf_printf(b, err, ",%s=", name);
    for (; !rc && *value; value++) {
        if (*value == ',' || *value == '\\')
            rc = amber_buf_append(b, "\\", 1, err);
        if (!rc)
            rc = amber_buf_append(b, value, 1, err);
    }
    return rc;
}

static enum amber_rc make_session(struct amber_mount *m, struct amber_err *err)
{
    AMBER_AUTO_BUF struct amber_buf opts = AMBER_BUF_INIT(64U * 1024U);
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    char said[FUSE_SAID_BYTES] = "";
    const struct amber_mount_config *c = &m->cfg;
    enum amber_rc rc = amber_buf_puts(&opts, "default_permissions,subtype=amberfs", err);
    if (!rc)
        rc = add_value(&opts, "fsname", c->source ? c->source : "amberfs", err);
    if (!rc && c->read_only)
        rc = amber_buf_puts(&opts, ",ro", err);
    if (!rc && c->options && *c->options)
        rc = amber_buf_printf(&opts, err, ",%s", c->options);
    if (rc)
        return rc;
    struct fuse_lowlevel_ops ops = amber_fuse_ops;
    ops.init = init_session;
    fuse_set_log_func(take_fuse_log);
    fuse_said = said;
    if (fuse_opt_add_arg(&args, "amberfs") || fuse_opt_add_arg(&args, "-o") ||
        fuse_opt_add_arg(&args, opts.data))
        rc = amber_fail_nomem(err, "mount options", opts.len);
    else if (!(m->se = fuse_session_new(&args, &ops, sizeof(ops), m)))
        rc = amber_fail(err, AMBER_E_INVALID, "mount options \"%s\" are refused: %s",
                        c->options ? c->options : "", said[0] ? said : "unknown option");
    fuse_said = NULL;
    fuse_opt_free_args(&args);
    return rc;
}

static enum amber_rc attach(struct amber_mount *m, struct amber_err *err)
{
    char said[FUSE_SAID_BYTES] = "";
    fuse_said = said;
    int e = fuse_session_mount(m->se, m->cfg.mountpoint);
    fuse_said = NULL;
    if (e == 0) {
        m->mounted = true;
        amber_notify_mounted(m);
        return AMBER_OK;
    }
    if (access("/dev/fuse", R_OK | W_OK))
        return amber_fail_errno(err, errno,
                                "can't mount at %s: /dev/fuse can't be used; load the fuse module, "
                                "or give the container this device",
                                m->cfg.mountpoint);
    bool other = m->cfg.options && strstr(m->cfg.options, "allow_other") && geteuid() != 0;
    return amber_fail(err, AMBER_E_IO, "can't mount at %s: %s%s", m->cfg.mountpoint,
                      said[0] ? said : "fusermount3 refused",
                      other ? " (allow_other needs the line user_allow_other in /etc/fuse.conf)"
                            : "");
}

static enum amber_rc check_mountpoint(const char *path, struct amber_err *err)
{
    AMBER_AUTO_FREE char *root = NULL;
    bool alive;
    struct stat st;
    if (path[0] != '/')
        return amber_fail(err, AMBER_E_INVALID, "mount point %s must be an absolute path", path);
    if (amber_mount_find(path, &root, &alive)) {
        if (alive)
            return amber_fail(err, AMBER_E_BUSY,
                              "an amberfs mount at %s is there and alive: `amberfs status %s` shows "
                              "it, `fusermount3 -u %s` ends it",
                              root, root, root);
        enum amber_rc rc = amber_mount_detach(root, err);
        if (rc)
            return rc;
        amber_warn("took away the dead amberfs mount at %s", root);
    }
    if (stat(path, &st))
        return amber_fail_errno(err, errno, "mount point %s", path);
    if (!S_ISDIR(st.st_mode))
        return amber_fail(err, AMBER_E_INVALID, "mount point %s is not a folder", path);
    return AMBER_OK;
}

enum amber_rc amber_mount_new(const struct amber_mount_config *cfg, struct amber_mount **out,
                              struct amber_err *err)
{
    struct amber_mount *m;
    enum amber_rc rc = check_mountpoint(cfg->mountpoint, err);
    if (!rc)
        rc = amber_calloc(1, sizeof(*m), &m, err);
    if (rc)
        return rc;
    m->cfg = *cfg;
    m->start_us = amber_now_us();
    m->readahead_fd = -1;
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->idle, NULL);
    amber_notify_init(&m->notify);
    m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->event_fd < 0 || m->stop_fd < 0)
        rc = amber_fail_errno(err, errno, "can't make an event descriptor");
    if (!rc)
        rc = amber_vnodes_init(&m->vnodes, err);
    if (!rc)
        rc = amber_archives_new(&m->archives, err);
    if (!rc)
        rc = make_session(m, err);
    if (!rc)
        rc = attach(m, err);
    if (rc) {
        amber_mount_free(m);
        return rc;
    }
    *out = m;
    return AMBER_OK;
}

static void unmount(struct amber_mount *m)
{
    struct amber_mountinfo info;
    if (!m->mounted)
        return;
    fuse_session_unmount(m->se);
    m->mounted = false;
    if (!amber_mountinfo_of_path(m->cfg.mountpoint, &info))
        return;
    if (info.is_amberfs && strcmp(info.mountpoint, m->cfg.mountpoint) == 0)
        amber_warn("%s can't be unmounted by this user; as root: umount --lazy %s",
                   m->cfg.mountpoint, m->cfg.mountpoint);
    free(info.mountpoint);
}

void amber_mount_free(struct amber_mount *m)
{
    if (!m)
        return;
    if (m->se) {
        unmount(m);
        fuse_session_destroy(m->se);
    }
    while (m->handles) /* files that were open when the connection went away */
        amber_handle_put(m->handles);
    amber_archives_free(m->archives);
    amber_vnodes_clear(&m->vnodes);
    amber_notify_clear(&m->notify);
    if (m->event_fd >= 0)
        close(m->event_fd);
    if (m->stop_fd >= 0)
        close(m->stop_fd);
    if (m->readahead_fd >= 0)
        close(m->readahead_fd);
    pthread_cond_destroy(&m->idle);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

/* ---- the event thread ---- */

/* Steps 1 and 2 of ending. */
static void quiesce(struct amber_mount *m)
{
    amber_log_set_listener(NULL, NULL);
    if (m->cfg.foreign)
        amber_foreign_stop(m->cfg.foreign);
    pthread_mutex_lock(&m->mutex);
    m->stopping = true;
    amber_restore_stop(m);
    (void)amber_parked_interrupts(m, true);
    pthread_mutex_unlock(&m->mutex);
    amber_restore_interrupts(m);
    pthread_mutex_lock(&m->mutex);
    while (m->n_calls > 0)
        pthread_cond_wait(&m->idle, &m->mutex);
    pthread_mutex_unlock(&m->mutex);
    amber_notify_end(m);
    pthread_join(m->notify_thread, NULL);
}

static void on_log_line(void *arg)
{
    amber_event_wake(arg);
}

static void *event_main(void *arg)
{
    struct amber_mount *m = arg;
    struct pollfd fds[2] = {{.fd = m->event_fd, .events = POLLIN},
                            {.fd = m->stop_fd, .events = POLLIN}};
    int wait_ms = -1;
    while (!(fds[1].revents & POLLIN)) {
        uint64_t count;
        if (poll(fds, 2, wait_ms) < 0)
            continue;
        ssize_t n = read(m->event_fd, &count, sizeof(count)); /* empty: fine */
        (void)n;
        pthread_mutex_lock(&m->mutex);
        wait_ms = amber_parked_interrupts(m, false) ? SIGNAL_LOOK_MS : -1;
        amber_follow_wake(m);
        pthread_mutex_unlock(&m->mutex);
        amber_restore_interrupts(m);
    }
    quiesce(m);
    fuse_session_exit(m->se);
    /* Again and again, since the signal may come just before the loop starts to wait. */
    while (!atomic_load(&m->loop_ended)) {
        pthread_kill(m->serve_thread, KICK_SIGNAL);
        poll(NULL, 0, KICK_MS);
    }
    return NULL;
}

void amber_mount_stop(struct amber_mount *m)
{
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t n = write(m->stop_fd, &one, sizeof(one));
    (void)n;
    errno = saved_errno;
}

/* ---- serving ---- */

static enum amber_rc start_threads(struct amber_mount *m, struct amber_err *err)
{
    int e = amber_thread_start(&m->notify_thread, false, amber_notify_main, m);
    if (e)
        return amber_fail_errno(err, e, "can't start a thread");
    amber_log_set_listener(on_log_line, m);
    e = amber_thread_start(&m->event_thread, false, event_main, m);
    if (e) {
        amber_log_set_listener(NULL, NULL);
        amber_notify_end(m);
        pthread_join(m->notify_thread, NULL);
        return amber_fail_errno(err, e, "can't start a thread");
    }
    return AMBER_OK;
}

static unsigned thread_count(const struct amber_mount *m)
{
    unsigned n = m->cfg.threads;
    if (n)
        return n < THREADS_LIMIT ? n : THREADS_LIMIT;
    n = amber_cpu_count();
    return n < THREADS_MIN ? THREADS_MIN : n > THREADS_MAX ? THREADS_MAX : n;
}

static void on_kick(int sig)
{
    (void)sig; /* it interrupts the loop's wait, that is all */
}

/* Let KICK_SIGNAL reach this thread, without SA_RESTART; or back to what was. */
static void take_kicks(bool take, struct sigaction *old_action, sigset_t *old_mask)
{
    sigset_t kick;
    struct sigaction action = {.sa_handler = on_kick};
    sigemptyset(&kick);
    sigaddset(&kick, KICK_SIGNAL);
    if (take) {
        sigaction(KICK_SIGNAL, &action, old_action);
        pthread_sigmask(SIG_UNBLOCK, &kick, old_mask);
    } else {
        pthread_sigmask(SIG_SETMASK, old_mask, NULL);
        sigaction(KICK_SIGNAL, old_action, NULL);
    }
}

enum amber_rc amber_mount_serve(struct amber_mount *m, void (*ready)(void *arg), void *arg,
                                struct amber_err *err)
{
    struct sigaction old_action;
    sigset_t old_mask;
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    if (!loop)
        return amber_fail_nomem(err, "the FUSE loop", 0);
    fuse_loop_cfg_set_max_threads(loop, thread_count(m));
    fuse_loop_cfg_set_idle_threads(loop, thread_count(m));
    m->serve_thread = pthread_self();
    take_kicks(true, &old_action, &old_mask);
    enum amber_rc rc = start_threads(m, err);
    if (rc) {
        take_kicks(false, &old_action, &old_mask);
        fuse_loop_cfg_destroy(loop);
        return rc;
    }
    if (ready)
        ready(arg);
    int e = fuse_session_loop_mt(m->se, loop);
    fuse_loop_cfg_destroy(loop);
    atomic_store(&m->loop_ended, true);
    amber_mount_stop(m);
    pthread_join(m->event_thread, NULL);
    take_kicks(false, &old_action, &old_mask);
    unmount(m);
    if (e < 0)
        return amber_fail_errno(err, -e, "the FUSE connection of %s failed", m->cfg.mountpoint);
    return AMBER_OK;
}

void amber_mount_stats(struct amber_mount *m, struct amber_mount_stats *out)
{
    *out = (struct amber_mount_stats){
        .opens = atomic_load(&m->opens),
        .reads = atomic_load(&m->reads),
        .read_bytes = atomic_load(&m->read_bytes),
        .read_errors = atomic_load(&m->read_errors),
        .control_writes = atomic_load(&m->control_writes),
        .restores = atomic_load(&m->restore_count),
    };
}
