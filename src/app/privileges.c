/*
 * privileges.c - from root to ARCHIVAL_USER. glibc changes the ids of all threads.
 */
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

void amber_privileges_seal(void)
{
#ifndef __SANITIZE_ADDRESS__ /* LeakSanitizer traces its own process */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static enum amber_rc find_user(const char *name, uid_t *out_uid, gid_t *out_gid,
                               struct amber_err *err)
{
    errno = 0;
    const struct passwd *p = getpwnam(name);
    if (!p && errno && errno != ENOENT && errno != ESRCH)
        return amber_fail_errno(err, errno, "ARCHIVAL_USER is \"%s\"", name);
    if (!p)
        return amber_fail(err, AMBER_E_INVALID,
                          "ARCHIVAL_USER is \"%s\": there is no such user; "
                          "make one with useradd --system",
                          name);
    if (p->pw_uid == 0)
        return amber_fail(err, AMBER_E_INVALID,
                          "ARCHIVAL_USER is \"%s\", which is root: name a user without privileges, "
                          "or leave it out",
                          name);
    *out_uid = p->pw_uid;
    *out_gid = p->pw_gid;
    return AMBER_OK;
}

enum amber_rc amber_privileges_assume(const char *user, struct amber_err *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (!user)
        return AMBER_OK;
    enum amber_rc rc = find_user(user, &uid, &gid, err);
    if (rc || (getuid() == uid && geteuid() == uid))
        return rc;
    if (geteuid() != 0)
        return amber_fail(err, AMBER_E_DENIED,
                          "ARCHIVAL_USER is \"%s\", but this runs as user %u: start it as root or "
                          "as that user",
                          user, (unsigned)geteuid());
    if (initgroups(user, gid) || setresgid(gid, gid, gid) || setresuid(uid, uid, 0))
        return amber_fail_errno(err, errno, "can't become the user \"%s\"", user);
    return AMBER_OK;
}

static bool can_be_root(void)
{
    uid_t real, effective, saved;
    return !getresuid(&real, &effective, &saved) && real != 0 && saved == 0;
}

void amber_privileges_raise(void)
{
    if (can_be_root())
        (void)!seteuid(0); /* without it mounting fails, and says so */
}

enum amber_rc amber_privileges_drop(struct amber_err *err)
{
    uid_t uid = getuid();
    if (!can_be_root())
        return AMBER_OK;
    if (setresuid(uid, uid, uid) || setuid(0) == 0)
        return amber_fail_errno(err, errno, "root's privileges can't be given up");
    amber_privileges_seal(); /* changing ids may have changed that */
    return AMBER_OK;
}
