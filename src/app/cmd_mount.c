/*
 * cmd_mount.c - `amberfs mount`: the daemon.
 *
 * In the background the first process waits on a pipe until the second one serves (or failed, and
 * said why), so that a script can go on at once. Signals are taken by one thread of their own:
 * SIGTERM and SIGINT end, SIGHUP reads the jobs file anew.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "amber/log.h"
#include "amber/mount.h"
#include "amber/service.h"
#include "app.h"
#include "privileges.h"

#define GRACE_S 10 /* for the store's server to answer once the daemon ends */

struct daemon {
    struct app *app;
    const char *mountpoint; /* borrowed; resolved */
    struct amber_tree *tree;
    struct amber_service *service;
    struct amber_mount *mount;
    sigset_t signals;
    pthread_t signal_thread;
    bool signal_thread_started;
    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t changed;
    pthread_t grace_thread;
    bool ending, ended; /* grace_thread was started; nothing runs any more */
    int ready_fd; /* -1: in the foreground */
};

/* source  sd_notify(3), "Notes": one datagram to the socket in $NOTIFY_SOCKET */
static void notify_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!path || !path[0] || strlen(path) >= sizeof(addr.sun_path))
        return;
    size_t len = strlen(path);
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0'; /* abstract */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        amber_warn("can't tell systemd \"%s\": %s", state, strerror(errno));
    close(fd);
}

/* ---- background ---- */

static enum amber_rc go_to_background(int *out_ready_fd, int *out_status, struct amber_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return amber_fail_errno(err, errno, "can't make a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return amber_fail_errno(err, errno, "can't start the daemon");
    if (pid > 0) {
        char text[2048];
        size_t len = 0;
        ssize_t n;
        close(fds[1]);
        while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
            len += (size_t)n;
        text[len] = '\0';
        if (strcmp(text, "ready\n") != 0)
            fprintf(stderr, "amberfs: %s\n", len ? text : "the daemon ended at once");
        *out_status = strcmp(text, "ready\n") == 0 ? 0 : 1;
        *out_ready_fd = -1;
        return AMBER_OK;
    }
    close(fds[0]);
    setsid();
    *out_status = -1; /* this is the daemon */
    *out_ready_fd = fds[1];
    return AMBER_OK;
}

/* A terminal, or a pipe whose reader waits for its end: $(...), ssh. A file or the journal's socket gets
 * the log. */
static bool holds_up(int fd)
{
    struct stat sb;
    return isatty(fd) || (fstat(fd, &sb) == 0 && S_ISFIFO(sb.st_mode));
}

/* Serving: let the waiting process go, and detach from whoever waits for it. */
static void say_ready(void *arg)
{
    struct daemon *d = arg;
    amber_info("amberfs %s serves %s at %s", AMBER_VERSION, d->app->cfg.path, d->mountpoint);
    notify_systemd("READY=1");
    if (d->ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (holds_up(STDERR_FILENO))
            dup2(null, STDERR_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    (void)!write(d->ready_fd, "ready\n", 6);
    close(d->ready_fd);
    d->ready_fd = -1;
}

/* ---- end ---- */

/* What ends may wait for a store's server that doesn't answer: after a while that is broken off. */
static void *grace_main(void *arg)
{
    struct daemon *d = arg;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GRACE_S;
    pthread_mutex_lock(&d->mutex);
    int late = 0;
    while (!d->ended && !late)
        late = pthread_cond_timedwait(&d->changed, &d->mutex, &until);
    bool ended = d->ended;
    pthread_mutex_unlock(&d->mutex);
    if (!ended) {
        amber_warn("the storage doesn't answer; what waits for it is broken off");
        amber_store_interrupt(d->app->store);
    }
    return NULL;
}

static void begin_end(struct daemon *d)
{
    pthread_mutex_lock(&d->mutex);
    if (!d->ending && d->app->store)
        d->ending = pthread_create(&d->grace_thread, NULL, grace_main, d) == 0;
    pthread_mutex_unlock(&d->mutex);
}

static void finish_end(struct daemon *d)
{
    pthread_mutex_lock(&d->mutex);
    bool started = d->ending;
    d->ended = true;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mutex);
    if (started)
        pthread_join(d->grace_thread, NULL);
}

/* ---- signals ---- */

static void reload(struct daemon *d)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_jobs *jobs;
    notify_systemd("RELOADING=1");
    if (amber_app_jobs(d->app, &jobs, &err))
        amber_error("SIGHUP: the jobs stay as they were: %s", err.text);
    else
        amber_service_reload(d->service, jobs);
    notify_systemd("READY=1");
}

static void *signal_main(void *arg)
{
    struct daemon *d = arg;
    for (;;) {
        int sig;
        if (sigwait(&d->signals, &sig))
            continue;
        if (sig == SIGHUP) {
            reload(d);
            continue;
        }
        if (sig == SIGUSR2) /* from our own main thread: the mount ended by itself */
            return NULL;
        amber_info("%s: ending", sig == SIGTERM ? "SIGTERM" : "SIGINT");
        notify_systemd("STOPPING=1");
        begin_end(d);
        amber_service_stop(d->service);
        amber_mount_stop(d->mount);
        return NULL;
    }
}

static enum amber_rc start_signals(struct daemon *d, struct amber_err *err)
{
    int e = pthread_create(&d->signal_thread, NULL, signal_main, d);
    d->signal_thread_started = e == 0;
    return e ? amber_fail_errno(err, e, "can't start a thread") : AMBER_OK;
}

/* ---- start ---- */

static enum amber_rc group_of(const char *name, gid_t *out, struct amber_err *err)
{
    char *end;
    unsigned long n = strtoul(name, &end, 10);
    if (*name && !*end) {
        *out = (gid_t)n;
        return AMBER_OK;
    }
    struct group *g = getgrnam(name);
    if (!g)
        return amber_fail(err, AMBER_E_INVALID, "-o group=%s: there is no such group", name);
    *out = g->gr_gid;
    return AMBER_OK;
}

/* A dead mount covers what is below it, and can't even be resolved by name. */
static enum amber_rc detach_dead(const char *path, struct amber_err *err)
{
    AMBER_AUTO_FREE char *root = NULL;
    bool alive;
    return amber_mount_find(path, &root, &alive) && !alive ? amber_mount_detach(root, err)
                                                           : AMBER_OK;
}

/* The store may lie under the mount point itself: its descriptor is opened before mounting. */
static enum amber_rc open_store_folder(struct app *app, bool read_only, int *out_fd,
                                       struct amber_err *err)
{
    AMBER_AUTO_FREE char *root = NULL;
    bool alive;
    *out_fd = -1;
    if (!amber_app_local(app))
        return AMBER_OK;
    if (amber_mount_find(app->cfg.path, &root, &alive) && alive)
        return amber_fail(err, AMBER_E_BUSY,
                          "%s is served by an amberfs daemon already (mounted at %s)",
                          app->cfg.path, root);
    enum amber_rc rc = read_only ? AMBER_OK : amber_app_check_folder(app, err);
    if (rc)
        return rc;
    if (!read_only && mkdir(app->cfg.path, 0750) && errno != EEXIST)
        return amber_fail_errno(err, errno, "ARCHIVAL_PATH %s can't be made", app->cfg.path);
    *out_fd = open(app->cfg.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out_fd < 0 ? amber_fail_errno(err, errno, "ARCHIVAL_PATH %s can't be opened by user %u",
                                          app->cfg.path, (unsigned)geteuid())
                       : AMBER_OK;
}

/* Whether the mount hides files of others: that which holds the store may be covered. */
static bool hides_files(const struct daemon *d)
{
    AMBER_AUTO_FREE char *store = amber_app_local(d->app) ? realpath(d->app->cfg.path, NULL) : NULL;
    size_t n = 0;
    if (store && strcmp(store, d->mountpoint) == 0)
        return false;
    DIR *dir = opendir(d->mountpoint);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 2; /* "." and ".." */
}

static enum amber_rc start(struct daemon *d, struct amber_err *err)
{
    struct app *app = d->app;
    const struct amber_options *o = app->opt;
    struct amber_jobs *jobs = NULL;
    int dir_fd = -1;
    gid_t gid = getgid();
    enum amber_rc rc = amber_app_jobs(app, &jobs, err);
    if (!rc && o->group)
        rc = group_of(o->group, &gid, err);
    if (!rc)
        rc = open_store_folder(app, o->read_only, &dir_fd, err);
    if (!rc)
        rc = amber_app_open(app, o->read_only, false, dir_fd, err);
    if (dir_fd >= 0)
        close(dir_fd);
    if (!rc)
        rc = amber_tree_new(&d->tree, err);
    if (rc) {
        if (jobs)
            amber_jobs_clear(jobs);
        free(jobs);
        return rc;
    }
    struct amber_service_config sc = {
        .ctx = &app->ctx,
        .jobs = jobs,
        .read_only = o->read_only,
        .enabled = app->cfg.archival_enabled,
        .store_type = app->cfg.storage_type,
        .store_path = app->cfg.path,
        .mountpoint = d->mountpoint,
    };
    rc = amber_service_new(&sc, d->tree, &d->service, err);
    if (rc)
        return rc;
    struct amber_mount_config mc = {
        .mountpoint = d->mountpoint,
        .options = o->fuse_options,
        .source = o->source ? o->source : app->cfg.path,
        .read_only = o->read_only,
        .uid = getuid(),
        .gid = gid,
        .store = app->store,
        .tree = d->tree,
        .cache = app->cache,
        .foreign = app->foreign,
        .ops = &amber_service_ops,
        .arg = d->service,
    };
    bool hides = hides_files(d);
    amber_privileges_raise();
    rc = amber_mount_new(&mc, &d->mount, err);
    if (!rc && hides)
        amber_warn("%s isn't empty: what lies in it can't be reached as long as it is mounted over",
                   d->mountpoint);
    if (!rc)
        rc = amber_privileges_drop(err);
    if (!rc)
        rc = amber_service_start(d->service, d->mount, err);
    if (!rc)
        rc = start_signals(d, err);
    return rc;
}

static int serve(struct daemon *d)
{
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = start(d, &err);
    if (!rc)
        rc = amber_mount_serve(d->mount, say_ready, d, &err);
    if (rc && d->ready_fd >= 0) {
        (void)!write(d->ready_fd, err.text, strlen(err.text));
        close(d->ready_fd);
        d->ready_fd = -1;
        amber_log_set_stderr(false); /* the waiting process prints it */
    }
    if (rc)
        amber_error("%s", err.text);
    begin_end(d);
    if (d->signal_thread_started) {
        pthread_kill(d->signal_thread, SIGUSR2);
        pthread_join(d->signal_thread, NULL);
    }
    amber_service_stop(d->service);
    amber_mount_free(d->mount);
    amber_service_free(d->service);
    amber_tree_free(d->tree);
    finish_end(d);
    return rc ? 1 : 0;
}

int amber_cmd_mount(struct app *app)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct daemon d = {.app = app,
                       .ready_fd = -1,
                       .mutex = PTHREAD_MUTEX_INITIALIZER,
                       .changed = PTHREAD_COND_INITIALIZER};
    AMBER_AUTO_FREE char *mountpoint = NULL;
    /* While we may still be root. */
    if (detach_dead(app->opt->args[0], &err) ||
        (amber_app_local(app) && detach_dead(app->cfg.path, &err)) ||
        amber_privileges_assume(app->cfg.user, &err))
        return amber_app_fail(&err);
    mountpoint = realpath(app->opt->args[0], NULL);
    if (!mountpoint) {
        amber_fail_errno(&err, errno, "mount point %s (it must be a folder that is there)",
                         app->opt->args[0]);
        return amber_app_fail(&err);
    }
    int status = -1;
    if (!app->opt->foreground) {
        if (go_to_background(&d.ready_fd, &status, &err))
            return amber_app_fail(&err);
        if (status >= 0)
            return status;
    }
    /* Before any thread: all of them inherit the mask. */
    sigemptyset(&d.signals);
    sigaddset(&d.signals, SIGTERM);
    sigaddset(&d.signals, SIGINT);
    sigaddset(&d.signals, SIGHUP);
    sigaddset(&d.signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &d.signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    d.mountpoint = mountpoint;
    status = serve(&d);
    return status;
}
