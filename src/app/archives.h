/*
 * archives.h - finding the archive that a person named on the command line.
 */
#ifndef AMBER_ARCHIVES_H
#define AMBER_ARCHIVES_H

#include "amber/context.h"

/* The name below a root folder: "/data/archives/flow_logs/x.json" and "./flow_logs/x.json" become
 * "flow_logs/x.json". Points into name. */
const char *amber_archive_relative(const char *name, const char *root);
/*
 * By logical name, by store key, or by file name alone where that is unique.
 * errors  NOT_FOUND with the nearest names; INVALID several have that file name
 */
enum amber_rc amber_archive_find(const struct amber_entry_list *list, const char *store_path,
                                 const char *name, const struct amber_tree_entry **out,
                                 struct amber_err *err) AMBER_MUST_CHECK;

#endif
