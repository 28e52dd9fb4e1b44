/*
 * config_priv.h - the table of variables (config_variables.c), shared by config.c and
 * config_replicas.c, whose variables are some of the same with other names.
 */
#ifndef AMBER_CONFIG_PRIV_H
#define AMBER_CONFIG_PRIV_H

#include <limits.h>
#include <stddef.h>

#include "amber/config.h"
#include "env_file.h"

struct variable {
    const char *name;
    const char *fallback; /* default, parsed like a value; NULL: nothing is parsed */
    const char *allowed;
    const char *meaning;
    /* errors  INVALID with a text that goes behind "NAME is VALUE: ". NULL: not ours to parse */
    enum amber_rc (*parse)(const struct variable *v, const char *value, void *member,
                           struct amber_err *err);
    size_t offset;    /* of the member in struct amber_config */
    int64_t min, max; /* numbers and sizes */
    bool hidden;      /* the value may be a secret */
};
extern const struct variable amber_config_variables[];
extern const size_t amber_config_n_variables;

#define MEMBER(m) offsetof(struct amber_config, m)
#define LEVEL_UNSET INT_MIN /* of compression_level: the default of what compresses */

/* Where values are looked for. */
struct sources {
    char *const *environ_list;
    const struct amber_env *env;
    const char *env_file;
};
/* Where a value was found. */
struct source {
    const char *value; /* borrowed; NULL: nowhere */
    const char *file;  /* NULL: the environment */
    unsigned line;
};
struct source amber_config_source(const struct sources *all, const char *name);
/* Put "where: NAME is VALUE: " before the text of a parser's error. */
enum amber_rc amber_config_wrap(const struct variable *v, const struct source *s,
                                struct amber_err *err);
/* Parse what was found, or the default, into c's member. */
enum amber_rc amber_config_load_one(const struct variable *v, const struct source *s,
                                    struct amber_config *c, struct amber_err *err) AMBER_MUST_CHECK;
bool amber_config_is_bucket(const char *path);

/* The replicas that c->replica_names names. errors INVALID */
enum amber_rc amber_config_load_replicas(const struct sources *all, struct amber_config *c,
                                         struct amber_err *err) AMBER_MUST_CHECK;
/* Whether a variable is one of a configured replica. */
bool amber_config_of_replica(const struct amber_config *c, const char *name);

#endif
