/*
 * mount_fixture.h - a real mount in a temporary folder, over a real store, with a fake of what lies
 * behind struct amber_mount_ops: jobs that end when the test says so, restores that remember.
 *
 * The mount serves on a thread of the test's own process, so that sanitizers see both sides; what
 * depends on the calling process (close, exit, signals) is done by children.
 */
#ifndef MOUNT_FIXTURE_H
#define MOUNT_FIXTURE_H

#include "archive_fixture.h"

#include <pthread.h>

#include "amber/mount.h"

#define MF_ARCHIVES 4
#define MF_ROWS 9000 /* about 1 MiB of JSON: some 16 blocks */

/* What the operators behind the mount saw, and how they behave. */
struct fake {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char events[16384];    /* "commit T/f 12;" and the like, in order */
    struct amber_buf rows; /* of the last commit */
    bool gate;             /* what blocks goes on */
    bool running;          /* job "slow" */
    int end_fd;            /* eventfd: readable once job "slow" ended */
    unsigned waiting;      /* calls of wait that block */
    unsigned stuck;        /* control calls that block */
    struct amber_tree *tree;
};

struct mf {
    struct fx fx; /* the store, in fx.dir */
    char mnt[64];
    struct amber_cache *cache;
    struct amber_tree *tree;
    struct amber_mount *mount;
    pthread_t thread;
    bool serving;
    enum amber_rc serve_rc;
    struct amber_tree_entry entries[MF_ARCHIVES];
    struct amber_manifest manifests[MF_ARCHIVES];
    struct amber_buf texts[MF_ARCHIVES]; /* the rows as they must come out */
    size_t n;
    struct fake fake;
};

/*
 * Run the tests in a child, and take away its mounts and folders whatever became of it. Called
 * first in main; returns only in the child. Skips the program where FUSE can't be used.
 */
void mf_guard(void);
/* A folder of this test program's own. */
const char *mf_root(void);

/* cmocka setup and teardown: store with its archives, mounted and serving. */
int mf_setup(void **state);
int mf_teardown(void **state);
/* The same in steps: everything but the mount; the mount (options NULL: none); its end. */
void mf_open(struct mf *f);
void mf_mount(struct mf *f, const char *options, bool read_only);
void mf_unmount(struct mf *f);
void mf_close(struct mf *f);
struct amber_mount_config mf_config(struct mf *f);

/* Run a shell command, with $M the mount point and $S the store; its exit status. */
int mf_sh(const struct mf *f, const char *fmt, ...) AMBER_PRINTF(2, 3);
/* What a command prints, owned by the caller. */
char *mf_out(const struct mf *f, const char *fmt, ...) AMBER_PRINTF(2, 3);
/* Path below the mount point, in one of a few static buffers. */
const char *mf_path(const struct mf *f, const char *name);
/* Whole file through the mount. */
void mf_read_all(const char *path, struct amber_buf *out);
/* A regular file outside the mount with this content; its path, in a static buffer. */
const char *mf_file(const char *name, const void *data, size_t len);

/* Wait until the fake has seen this event. */
void fake_expect(struct fake *k, const char *event);
bool fake_saw(struct fake *k, const char *event);
void fake_open_gate(struct fake *k, bool open);
/* Wait until n calls of wait (or control, for stuck) block. */
void fake_expect_waiting(struct fake *k, unsigned n);
void fake_expect_stuck(struct fake *k, unsigned n);
void fake_end_job(struct fake *k);
extern const struct amber_mount_ops fake_ops;
void fake_init(struct fake *k);
void fake_clear(struct fake *k);

#endif
