/*
 * mountinfo_priv.h - what the kernel knows about the mount that a path lies on.
 */
#ifndef AMBER_MOUNTINFO_PRIV_H
#define AMBER_MOUNTINFO_PRIV_H

#include <stdbool.h>

struct amber_mountinfo {
    char *mountpoint;      /* owned by the caller */
    unsigned major, minor; /* device number */
    bool is_amberfs;
};
/* Returns false if it can't be told; out is undefined then. For a mount's root no request is sent
 * to its daemon. */
bool amber_mountinfo_of_path(const char *path, struct amber_mountinfo *out);

#endif
