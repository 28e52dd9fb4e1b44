/*
 * jobdef.c - the jobs file: JSON text in, checked definitions out.
 *
 *   text -> jansson -> each job: members, tables -> across jobs: names, folders -> all or nothing
 *
 * Whatever is wrong becomes a finding with its JSON path and reading goes on, so that a person
 * mends a file in one go; definitions are handed out only if there was none. What only the server
 * can tell (tables, columns, conditions) is left to the preflight.
 */
#include "amber/jobdef.h"

#include <stdio.h>
#include <string.h>

#include "amber/json_memory.h"
#include "amber/name.h"
#include "jobdef_priv.h"

#define IDENTIFIER_MAX                                                                             \
    63 /* bytes; a longer one would be cut by PostgreSQL and name another table */
#define JOB_NAME_MAX 63
#define FOLDER_MAX 1000
#define TEXT_MAX 8192 /* bytes of a condition */
#define COMMENT_MAX 65536
#define DAYS_MAX 36500
#define MONTHS_MAX 1200
#define UNIT_ROWS_MAX INT64_C(1000000000000)
#define UNIT_ROWS_DEFAULT 5000000
#define UNIT_S_MAX 86400
#define UNIT_S_DEFAULT 600

enum { DOC_VERSION, DOC_JOBS, DOC_COMMENT, N_DOC };
static const struct amber_member document_members[N_DOC] = {
    [DOC_VERSION] = {"version", AMBER_MEMBER_INT, true, 1, 1},
    [DOC_JOBS] = {"jobs", AMBER_MEMBER_ARRAY, true, 0, AMBER_JOBS_MAX},
    [DOC_COMMENT] = {"comment", AMBER_MEMBER_TEXT, false, 1, COMMENT_MAX},
};

enum {
    JOB_NAME,
    JOB_TABLES,
    JOB_TIME_COLUMN,
    JOB_ZONE,
    JOB_WHERE,
    JOB_RETENTION_DAYS,
    JOB_RETENTION_MONTHS,
    JOB_PERIOD,
    JOB_CRON,
    JOB_ENABLED,
    JOB_RUN_MISSED,
    JOB_DROP_PARTITIONS,
    JOB_MAX_UNIT_ROWS,
    JOB_MAX_UNIT_SECONDS,
    JOB_COMMENT,
    N_JOB
};
static const struct amber_member job_members[N_JOB] = {
    [JOB_NAME] = {"name", AMBER_MEMBER_TEXT, true, 1, JOB_NAME_MAX},
    [JOB_TABLES] = {"tables", AMBER_MEMBER_ARRAY, true, 1, AMBER_JOB_TABLES_MAX},
    [JOB_TIME_COLUMN] = {"time_column", AMBER_MEMBER_TEXT, true, 1, IDENTIFIER_MAX},
    [JOB_ZONE] = {"zone", AMBER_MEMBER_TEXT, false, 1, IDENTIFIER_MAX},
    [JOB_WHERE] = {"where", AMBER_MEMBER_TEXT, false, 1, TEXT_MAX},
    [JOB_RETENTION_DAYS] = {"retention_days", AMBER_MEMBER_INT, false, 0, DAYS_MAX},
    [JOB_RETENTION_MONTHS] = {"retention_months", AMBER_MEMBER_INT, false, 0, MONTHS_MAX},
    [JOB_PERIOD] = {"period", AMBER_MEMBER_TEXT, false, 1, 16},
    [JOB_CRON] = {"cron", AMBER_MEMBER_TEXT, false, 1, 1024},
    [JOB_ENABLED] = {"enabled", AMBER_MEMBER_BOOL, false, 0, 0},
    [JOB_RUN_MISSED] = {"run_missed", AMBER_MEMBER_BOOL, false, 0, 0},
    [JOB_DROP_PARTITIONS] = {"drop_partitions", AMBER_MEMBER_BOOL, false, 0, 0},
    [JOB_MAX_UNIT_ROWS] = {"max_unit_rows", AMBER_MEMBER_INT, false, 1, UNIT_ROWS_MAX},
    [JOB_MAX_UNIT_SECONDS] = {"max_unit_seconds", AMBER_MEMBER_INT, false, 1, UNIT_S_MAX},
    [JOB_COMMENT] = {"comment", AMBER_MEMBER_TEXT, false, 1, COMMENT_MAX},
};

enum {
    TABLE_SCHEMA,
    TABLE_NAME,
    TABLE_PARENT,
    TABLE_FOREIGN_KEY,
    TABLE_FOLDER,
    TABLE_PATTERN,
    TABLE_COMMENT,
    N_TABLE
};
static const struct amber_member table_members[N_TABLE] = {
    [TABLE_SCHEMA] = {"schema", AMBER_MEMBER_TEXT, false, 1, IDENTIFIER_MAX},
    [TABLE_NAME] = {"name", AMBER_MEMBER_TEXT, true, 1, IDENTIFIER_MAX},
    [TABLE_PARENT] = {"parent", AMBER_MEMBER_TEXT, false, 1, 2 * IDENTIFIER_MAX + 1},
    [TABLE_FOREIGN_KEY] = {"foreign_key", AMBER_MEMBER_ARRAY, false, 1, 32},
    [TABLE_FOLDER] = {"folder", AMBER_MEMBER_TEXT, false, 1, FOLDER_MAX},
    [TABLE_PATTERN] = {"pattern", AMBER_MEMBER_TEXT, false, 1, AMBER_NAME_MAX},
    [TABLE_COMMENT] = {"comment", AMBER_MEMBER_TEXT, false, 1, COMMENT_MAX},
};

/* What all steps share. */
struct reading {
    struct amber_check check;
    const struct amber_job_defaults *defaults;
};

static void table_clear(struct amber_job_table *t)
{
    free(t->schema);
    free(t->name);
    for (size_t i = 0; i < t->n_fk_columns; i++)
        free(t->fk_columns[i]);
    free(t->fk_columns);
    free(t->folder);
    free(t->pattern);
}

static void job_clear(struct amber_job *job)
{
    free(job->name);
    for (size_t i = 0; i < job->n_tables; i++)
        table_clear(&job->tables[i]);
    free(job->tables);
    free(job->time_column);
    free(job->zone);
    free(job->where);
    free(job->cron_text);
}

void amber_jobs_clear(struct amber_jobs *j)
{
    for (size_t i = 0; i < j->n; i++)
        job_clear(&j->jobs[i]);
    free(j->jobs);
    *j = (struct amber_jobs){0};
}

const struct amber_job *amber_jobs_find(const struct amber_jobs *j, const char *name)
{
    for (size_t i = 0; i < j->n; i++)
        if (strcmp(j->jobs[i].name, name) == 0)
            return &j->jobs[i];
    return NULL;
}

extern const char amber_jobs_json[], amber_jobs_json_end[];

const char *amber_jobs_builtin(size_t *out_len)
{
    *out_len = (size_t)(amber_jobs_json_end - amber_jobs_json);
    return amber_jobs_json;
}

/* Copy a string member if it is there; *out stays as it is otherwise. */
static enum amber_rc copy(const json_t *value, char **out, struct amber_err *err)
{
    return value ? amber_strdup(json_string_value(value), out, err) : AMBER_OK;
}

/* What is wrong with a folder's path, NULL if nothing. */
static const char *folder_fault(const char *folder)
{
    for (const char *p = folder;;) {
        size_t len = strcspn(p, "/");
        if (len == 0)
            return "has an empty part: write it without a slash at its ends, and one between parts";
        if (*p == '.')
            return "has a part that starts with a dot: those names are the mount's own";
        if (len > AMBER_NAME_MAX)
            return "has a part of more than 255 bytes";
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
                return "has a control character";
        if (!p[len])
            return NULL;
        p += len + 1;
    }
}

/* Folder of a table that doesn't name one: its own name, behind its schema's unless public. */
static enum amber_rc folder_default(const struct amber_job_table *t, char **out,
                                    struct amber_err *err)
{
    struct amber_buf text AMBER_AUTO_BUF = AMBER_BUF_INIT(FOLDER_MAX);
    enum amber_rc rc = AMBER_OK;
    if (strcmp(t->schema, "public") != 0) {
        rc = amber_name_escape(t->schema, &text, err);
        if (!rc)
            rc = amber_buf_puts(&text, "/", err);
    }
    if (!rc)
        rc = amber_name_escape(t->name, &text, err);
    return rc ? rc : amber_strdup(text.data, out, err);
}

static enum amber_rc place_read(struct reading *r, const char *path, const json_t **v,
                                enum amber_period period, struct amber_job_table *t,
                                struct amber_err *err)
{
    enum amber_rc rc;
    const char *fault = v[TABLE_FOLDER] ? folder_fault(json_string_value(v[TABLE_FOLDER])) : NULL;

    if (fault) {
        rc = amber_check_add(&r->check, err, path, "folder", "%s", fault);
    } else if (v[TABLE_FOLDER]) {
        rc = copy(v[TABLE_FOLDER], &t->folder, err);
    } else {
        rc = t->name ? folder_default(t, &t->folder, err) : AMBER_OK;
    }
    if (rc)
        return rc;

    const char *pattern = v[TABLE_PATTERN]             ? json_string_value(v[TABLE_PATTERN])
                          : period == AMBER_PERIOD_RUN ? "{table}_{day}_{epoch_ms}"
                                                       : "{table}_{start}_to_{end}";
    struct amber_err why = AMBER_ERR_INIT;
    rc = amber_name_pattern_check(pattern, &why);
    bool fits = true;
    if (!rc && t->name && t->folder)
        fits = !(rc = amber_name_fits(t->folder, pattern, t->name, &why));
    if (rc == AMBER_E_NOMEM) {
        *err = why;
        return rc;
    }
    if (rc)
        return amber_check_add(&r->check, err, path, fits ? "pattern" : NULL, "%s", why.text);
    return amber_strdup(pattern, &t->pattern, err);
}

/* Whether a parent member, "name" or "schema.name", means this table. */
static bool table_is(const struct amber_job_table *t, const char *word)
{
    if (!t->name || !t->schema)
        return false;
    size_t len = strlen(t->schema);
    return strcmp(t->name, word) == 0 || (strncmp(word, t->schema, len) == 0 && word[len] == '.' &&
                                          strcmp(word + len + 1, t->name) == 0);
}

/* Which of the job's tables before this one the parent member means. */
static enum amber_rc parent_read(struct reading *r, const char *path, const struct amber_job *job,
                                 size_t i, const json_t *value, struct amber_err *err)
{
    struct amber_job_table *t = &job->tables[i];
    if (i == 0)
        return value ? amber_check_add(&r->check, err, path, "parent",
                                       "the first table is the root, the one with time_column, and "
                                       "has no parent: parents come before their children")
                     : AMBER_OK;
    if (!value)
        return amber_check_add(&r->check, err, path, "parent",
                               "is missing: only the first table has no parent; a table that "
                               "doesn't reference it needs a job of its own");
    const char *word = json_string_value(value);
    size_t hits = 0;
    for (size_t k = 0; k < i; k++) {
        if (table_is(&job->tables[k], word)) {
            t->parent = (int)k;
            hits++;
        }
    }
    if (hits == 0)
        return amber_check_add(&r->check, err, path, "parent",
                               "no table \"%s\" stands before this one in the job's tables: "
                               "parents come before their children",
                               word);
    if (hits > 1)
        return amber_check_add(&r->check, err, path, "parent",
                               "\"%s\" may be one of %zu tables: write \"schema.name\"", word,
                               hits);
    return AMBER_OK;
}

static enum amber_rc foreign_key_read(struct reading *r, const char *path, const json_t *array,
                                      struct amber_job_table *t, struct amber_err *err)
{
    char member[48];
    size_t n = json_array_size(array);
    enum amber_rc rc = amber_calloc(n, sizeof(*t->fk_columns), &t->fk_columns, err);
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *item = json_array_get(array, i);
        size_t len = json_string_length(item); /* 0 too if it is no string */
        if (len < 1 || len > IDENTIFIER_MAX) {
            snprintf(member, sizeof(member), "foreign_key[%zu]", i);
            rc = amber_check_add(&r->check, err, path, member,
                                 "must be a column's name, a string of 1 to %d bytes",
                                 IDENTIFIER_MAX);
            continue;
        }
        rc = amber_strdup(json_string_value(item), &t->fk_columns[t->n_fk_columns], err);
        if (!rc)
            t->n_fk_columns++;
    }
    return rc;
}

static enum amber_rc table_read(struct reading *r, size_t nth_job, struct amber_job *job, size_t i,
                                const json_t *object, struct amber_err *err)
{
    char path[AMBER_JSON_PATH_MAX];
    const json_t *v[N_TABLE];
    struct amber_job_table *t = &job->tables[i];

    snprintf(path, sizeof(path), "jobs[%zu].tables[%zu]", nth_job, i);
    enum amber_rc rc = amber_check_members(&r->check, path, object, table_members, N_TABLE, v, err);
    if (rc || !json_is_object(object))
        return rc;
    rc = v[TABLE_SCHEMA] ? copy(v[TABLE_SCHEMA], &t->schema, err)
                         : amber_strdup("public", &t->schema, err);
    if (!rc)
        rc = copy(v[TABLE_NAME], &t->name, err);
    t->parent = -1;
    if (!rc && (v[TABLE_PARENT] || !json_object_get(object, "parent"))) /* else a finding has it */
        rc = parent_read(r, path, job, i, v[TABLE_PARENT], err);
    if (!rc && v[TABLE_FOREIGN_KEY] && i > 0)
        rc = foreign_key_read(r, path, v[TABLE_FOREIGN_KEY], t, err);
    else if (!rc && v[TABLE_FOREIGN_KEY])
        rc = amber_check_add(&r->check, err, path, "foreign_key",
                             "names a child's columns that reference its parent: the first table "
                             "has no parent");
    if (!rc)
        rc = place_read(r, path, v, job->period, t, err);
    for (size_t k = 0; !rc && k < i && t->name; k++) {
        const struct amber_job_table *other = &job->tables[k];
        if (other->name && strcmp(other->name, t->name) == 0 &&
            strcmp(other->schema, t->schema) == 0)
            rc = amber_check_add(&r->check, err, path, NULL, "is the same table as tables[%zu]", k);
    }
    return rc;
}

static enum amber_rc job_name_check(struct reading *r, const char *path, const char *name,
                                    struct amber_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_";
    if (strcmp(name, "verify") == 0 || strcmp(name, "restore") == 0)
        return amber_check_add(
            &r->check, err, path, "name",
            "\"%s\" is not allowed: it is the name of a task of the daemon's own "
            "(.control/%s)",
            name, name);
    if (name[strspn(name, allowed)] == '\0')
        return AMBER_OK;
    return amber_check_add(&r->check, err, path, "name",
                           "\"%s\" is not allowed: letters A to Z, digits, '-' and '_' make a "
                           "job's name",
                           name);
}

static enum amber_rc retention_read(struct reading *r, const char *path, const json_t **v,
                                    struct amber_job *job, struct amber_err *err)
{
    const json_t *days = v[JOB_RETENTION_DAYS], *months = v[JOB_RETENTION_MONTHS];

    if (days && months)
        return amber_check_add(&r->check, err, path, "retention_months",
                               "stands beside retention_days: say how long rows stay with one of "
                               "them");
    if (months)
        job->retention_months = (int)json_integer_value(months);
    else
        job->retention_days = days ? (int)json_integer_value(days) : r->defaults->retention_days;
    return AMBER_OK;
}

static enum amber_rc schedule_read(struct reading *r, const char *path, const json_t **v,
                                   struct amber_job *job, bool is_cleanup, struct amber_err *err)
{
    const struct amber_job_defaults *d = r->defaults;
    struct amber_err why = AMBER_ERR_INIT;

    const char *text = v[JOB_CRON]  ? json_string_value(v[JOB_CRON])
                       : is_cleanup ? d->memory_cleanup_cron
                                    : d->cron;
    enum amber_rc rc = amber_strdup(text, &job->cron_text, err);
    if (rc)
        return rc;
    if (amber_cron_parse(text, &job->cron, &why))
        rc = amber_check_add(&r->check, err, path, "cron", "%s", why.text);
    /* The variable is the host's switch: it turns off what the job has on. */
    bool allowed = !is_cleanup || d->memory_cleanup_enabled;
    job->enabled = allowed && (!v[JOB_ENABLED] || json_is_true(v[JOB_ENABLED]));
    job->run_missed = v[JOB_RUN_MISSED] && json_is_true(v[JOB_RUN_MISSED]);
    return rc;
}

static enum amber_rc limits_read(struct reading *r, const char *path, const json_t **v,
                                 struct amber_job *job, struct amber_err *err)
{
    job->drop_partitions = !v[JOB_DROP_PARTITIONS] || json_is_true(v[JOB_DROP_PARTITIONS]);
    job->max_unit_rows = v[JOB_MAX_UNIT_ROWS] ? (uint64_t)json_integer_value(v[JOB_MAX_UNIT_ROWS])
                                              : UNIT_ROWS_DEFAULT;
    job->max_unit_s = v[JOB_MAX_UNIT_SECONDS]
                          ? (unsigned)json_integer_value(v[JOB_MAX_UNIT_SECONDS])
                          : UNIT_S_DEFAULT;
    job->period = r->defaults->period;
    if (v[JOB_PERIOD] && !amber_period_parse(json_string_value(v[JOB_PERIOD]), &job->period))
        return amber_check_add(&r->check, err, path, "period",
                               "\"%s\" is not allowed: day, week, month, quarter, year, or run for "
                               "one archive a run",
                               json_string_value(v[JOB_PERIOD]));
    return AMBER_OK;
}

static enum amber_rc job_read(struct reading *r, size_t i, const json_t *object,
                              struct amber_job *job, struct amber_err *err)
{
    char path[AMBER_JSON_PATH_MAX];
    const json_t *v[N_JOB];

    snprintf(path, sizeof(path), "jobs[%zu]", i);
    enum amber_rc rc = amber_check_members(&r->check, path, object, job_members, N_JOB, v, err);
    if (rc || !json_is_object(object))
        return rc;
    if ((rc = copy(v[JOB_NAME], &job->name, err)) ||
        (rc = copy(v[JOB_TIME_COLUMN], &job->time_column, err)) ||
        (rc = copy(v[JOB_ZONE], &job->zone, err)) || (rc = copy(v[JOB_WHERE], &job->where, err)))
        return rc;
    bool is_cleanup = job->name && strcmp(job->name, AMBER_JOB_MEMORY_CLEANUP) == 0;
    if ((job->name && (rc = job_name_check(r, path, job->name, err))) ||
        (rc = retention_read(r, path, v, job, err)) ||
        (rc = schedule_read(r, path, v, job, is_cleanup, err)) ||
        (rc = limits_read(r, path, v, job, err)) || !v[JOB_TABLES])
        return rc;

    size_t n = json_array_size(v[JOB_TABLES]);
    rc = amber_calloc(n, sizeof(*job->tables), &job->tables, err);
    for (size_t k = 0; !rc && k < n; k++) {
        job->n_tables = k + 1;
        rc = table_read(r, i, job, k, json_array_get(v[JOB_TABLES], k), err);
    }
    return rc;
}

/* A table and where it stands in the file. */
struct place {
    const struct amber_job_table *table;
    size_t job, i;
};

/* Order of tables by the names that their archives take: 0 if they would take each other's. */
static int names_compare(const struct amber_job_table *a, const struct amber_job_table *b)
{
    int order = strcmp(a->folder, b->folder);
    if (!order)
        order = strcmp(a->pattern, b->pattern);
    if (!order && strstr(a->pattern, "{table}"))
        order = strcmp(a->name, b->name);
    return order;
}

static int place_compare(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int order = names_compare(x->table, y->table);
    if (!order)
        order = x->job < y->job ? -1 : x->job > y->job;
    if (!order)
        order = x->i < y->i ? -1 : x->i > y->i;
    return order;
}

/* Find tables that would share folder and pattern, sorted so that they are neighbours. */
static enum amber_rc places_compare(struct reading *r, const struct amber_jobs *jobs,
                                    struct amber_err *err)
{
    AMBER_AUTO_FREE struct place *places = NULL;
    size_t n = 0;
    for (size_t i = 0; i < jobs->n; i++)
        n += jobs->jobs[i].n_tables;
    enum amber_rc rc = amber_calloc(n, sizeof(*places), &places, err);
    if (rc)
        return rc;
    n = 0;
    for (size_t i = 0; i < jobs->n; i++) {
        for (size_t k = 0; k < jobs->jobs[i].n_tables; k++) {
            const struct amber_job_table *t = &jobs->jobs[i].tables[k];
            if (t->name && t->folder && t->pattern)
                places[n++] = (struct place){t, i, k};
        }
    }
    qsort(places, n, sizeof(*places), place_compare);
    for (size_t k = 1; !rc && k < n; k++) {
        const struct place *a = &places[k - 1], *b = &places[k];
        if (names_compare(a->table, b->table) != 0)
            continue;
        char path[AMBER_JSON_PATH_MAX];
        snprintf(path, sizeof(path), "jobs[%zu].tables[%zu]", b->job, b->i);
        rc = amber_check_add(&r->check, err, path, NULL,
                             "has the folder and the pattern of jobs[%zu].tables[%zu]: give one of "
                             "them another folder or pattern",
                             a->job, a->i);
    }
    return rc;
}

static enum amber_rc job_names_compare(struct reading *r, const struct amber_jobs *jobs,
                                       struct amber_err *err)
{
    enum amber_rc rc = AMBER_OK;
    for (size_t i = 0; !rc && i < jobs->n; i++) {
        const char *name = jobs->jobs[i].name;
        for (size_t k = 0; name && k < i; k++) {
            const char *other = jobs->jobs[k].name;
            if (!other || strcmp(name, other) != 0)
                continue;
            char path[AMBER_JSON_PATH_MAX];
            snprintf(path, sizeof(path), "jobs[%zu]", i);
            rc = amber_check_add(&r->check, err, path, "name",
                                 "\"%s\" is the name of jobs[%zu] too", name, k);
            break;
        }
    }
    return rc;
}

static enum amber_rc document_read(struct reading *r, const json_t *document,
                                   struct amber_jobs *jobs, struct amber_err *err)
{
    const json_t *v[N_DOC];
    enum amber_rc rc =
        amber_check_members(&r->check, "", document, document_members, N_DOC, v, err);
    if (rc || !v[DOC_JOBS])
        return rc;
    size_t n = json_array_size(v[DOC_JOBS]);
    rc = amber_calloc(n, sizeof(*jobs->jobs), &jobs->jobs, err);
    for (size_t i = 0; !rc && i < n; i++) {
        jobs->n = i + 1;
        rc = job_read(r, i, json_array_get(v[DOC_JOBS], i), &jobs->jobs[i], err);
    }
    if (!rc)
        rc = job_names_compare(r, jobs, err);
    return rc ? rc : places_compare(r, jobs, err);
}

static void json_free_p(json_t **value)
{
    json_decref(*value);
}

static enum amber_rc text_parse(struct reading *r, const char *text, size_t len, json_t **out,
                                struct amber_err *err)
{
    struct amber_json_where why;
    struct amber_err bad = AMBER_ERR_INIT;
    enum amber_rc rc = amber_json_load(text, len, true, out, &why, &bad);
    if (rc != AMBER_E_CORRUPT) {
        if (rc)
            *err = bad;
        return rc;
    }
    char where[AMBER_JSON_PATH_MAX];
    if (!len)
        return amber_check_add(&r->check, err, "document", NULL,
                               "is empty: its least is {\"version\": 1, \"jobs\": []}");
    if (memchr(text, '\0', len))
        return amber_check_add(&r->check, err, "document", NULL,
                               "not JSON: is this an UTF-16 or a binary file? UTF-8 text is expected");
    snprintf(where, sizeof(where), "line %d, column %d", why.line, why.column);
    return amber_check_add(&r->check, err, where, NULL, "not JSON: %s", why.text);
}

enum amber_rc amber_jobs_parse(const char *text, size_t len, const struct amber_job_defaults *d,
                               struct amber_jobs *out, struct amber_buf *findings,
                               struct amber_err *err)
{
    struct reading r = {.check = {.findings = findings}, .defaults = d};
    struct amber_jobs jobs AMBER_CLEANUP(amber_jobs_clear) = {0};
    AMBER_CLEANUP(json_free_p) json_t *document = NULL;

    if (len > AMBER_JOBS_FILE_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "a jobs file has at most %u bytes, this one has %zu",
                          AMBER_JOBS_FILE_MAX, len);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    enum amber_rc rc = text_parse(&r, text, len, &document, err);
    if (!rc && document)
        rc = document_read(&r, document, &jobs, err);
    if (rc)
        return rc;
    if (r.check.n == 1)
        return amber_fail(err, AMBER_E_INVALID, "%s", r.check.first);
    if (r.check.n > 1)
        return amber_fail(err, AMBER_E_INVALID, "%s (and %zu more)", r.check.first, r.check.n - 1);
    *out = jobs;
    jobs = (struct amber_jobs){0};
    return AMBER_OK;
}
