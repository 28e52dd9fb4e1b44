/*
 * test_family.c - which shapes are refused, each with its object and remedy; how types and tables
 * are understood.
 */
#include "unit_fixture.h"

#include <stdio.h>

#include "amber/schema.h"

static const char BASE[] =
    "CREATE TABLE app.root (id int PRIMARY KEY, at timestamptz, flag boolean, t text);"
    "CREATE TABLE app.kid (id int PRIMARY KEY, root_id int REFERENCES app.root);"
    "CREATE INDEX ON app.kid (root_id)";
static const struct fx_job ROOT = {.tables = {{.name = "root"}}};
static const struct fx_job FAMILY = {.tables = {{.name = "root"}, {.name = "kid", .parent = 0}}};

/* The family is refused, and the text has all of these. */
static void refused(struct amber_pg *pg, const struct fx_job *job, enum amber_rc code,
                    const char *const *parts)
{
    struct amber_family f = {0};
    struct amber_err err = AMBER_ERR_INIT;
    enum amber_rc rc = fx_load(pg, job, &f, &err);

    if (rc == AMBER_OK)
        amber_family_clear(&f);
    if (rc != code)
        print_error("found %s: %s\n", amber_rc_name(rc), err.text);
    assert_int_equal(rc, code);
    for (; *parts; parts++)
        fx_contains(err.text, *parts);
}
#define REFUSED(pg, job, ...)                                                                      \
    refused(pg, job, AMBER_E_INVALID, (const char *const[]){__VA_ARGS__, NULL})

static void accepted(const struct fx_job *job)
{
    fx_family(job);
}

static void family_root_alone_with_kid_outside_may_stay(void **state)
{
    (void)state;
    fx_schema(BASE);
    const struct amber_family *f = fx_family(&ROOT);
    assert_true(f->may_stay);
    assert_true(f->tables[0].has_key);
    f = fx_family(&FAMILY);
    assert_false(f->may_stay);
    assert_string_equal(f->tables[1].fk_columns[0], "root_id");
    assert_string_equal(f->tables[1].pk_columns[0], "id");
}

/* Shapes that one statement on top of the base makes, with what the text must say. */
static const struct shape {
    const char *name, *sql;
    bool family;
    const char *object, *remedy;
} shapes[] = {
    {"cascade",
     "CREATE TABLE app.o (x int CONSTRAINT o_fk REFERENCES app.root ON DELETE CASCADE);"
     "CREATE INDEX ON app.o (x)",
     true, "\"o_fk\" of \"app\".\"o\"", "NO ACTION"},
    {"set null",
     "CREATE TABLE app.o (x int CONSTRAINT o_fk REFERENCES app.kid ON DELETE SET NULL);"
     "CREATE INDEX ON app.o (x)",
     true, "\"o_fk\" of \"app\".\"o\" references \"app\".\"kid\" with ON DELETE SET NULL",
     "add that table to the job as a child"},
    {"set default",
     "CREATE TABLE app.o (x int REFERENCES app.root ON DELETE SET DEFAULT);"
     "CREATE INDEX ON app.o (x)",
     true, "ON DELETE SET DEFAULT", "NO ACTION"},
    {"self cascade",
     "ALTER TABLE app.root ADD up int REFERENCES app.root ON DELETE CASCADE;"
     "CREATE INDEX ON app.root (up)",
     true, "\"root_up_fkey\"", "make the key ON DELETE NO ACTION"},
    {"kid outside cascades",
     "ALTER TABLE app.kid DROP CONSTRAINT kid_root_id_fkey, ADD FOREIGN KEY"
     " (root_id) REFERENCES app.root ON DELETE CASCADE",
     false, "\"kid_root_id_fkey\"", "add that table"},
    {"row trigger",
     "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD;"
     " END'; CREATE TRIGGER gone BEFORE DELETE ON app.kid FOR EACH ROW EXECUTE"
     " FUNCTION app.f()",
     true, "trigger gone of app.kid fires on DELETE", "ALTER TABLE app.kid DISABLE TRIGGER gone"},
    {"statement trigger",
     "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
     "CREATE TRIGGER \"Gone!\" AFTER UPDATE OR DELETE ON app.root EXECUTE FUNCTION app.f();"
     "ALTER TABLE app.root ENABLE ALWAYS TRIGGER \"Gone!\"",
     true, "trigger \"Gone!\" of app.root", "DISABLE TRIGGER \"Gone!\""},
    {"rule", "CREATE RULE keep AS ON DELETE TO app.kid DO INSTEAD NOTHING", true,
     "rule keep of app.kid", "DROP RULE keep ON app.kid"},
    {"inheritance", "CREATE TABLE app.heir () INHERITS (app.kid)", true,
     "app.heir inherits from app.kid", "NO INHERIT app.kid"},
    {"published",
     "CREATE TABLE app.bare (at timestamptz, root_id int REFERENCES app.root);"
     "ALTER TABLE app.kid DROP CONSTRAINT kid_pkey; CREATE PUBLICATION p FOR TABLE app.kid",
     true, "app.kid is published", "ALTER TABLE app.kid REPLICA IDENTITY FULL"},
    {"published, all",
     "ALTER TABLE app.kid DROP CONSTRAINT kid_pkey; CREATE PUBLICATION p FOR ALL"
     " TABLES",
     true, "app.kid is published", "REPLICA IDENTITY FULL"},
    {"published, nothing",
     "ALTER TABLE app.kid REPLICA IDENTITY NOTHING;"
     "CREATE PUBLICATION p FOR TABLE app.kid",
     true, "app.kid is published", "REPLICA IDENTITY FULL"},
    {"no index", "DROP INDEX app.kid_root_id_idx", true, "\"kid_root_id_fkey\"",
     "CREATE INDEX ON \"app\".\"kid\" (\"root_id\")"},
    {"partial index",
     "DROP INDEX app.kid_root_id_idx; CREATE INDEX ON app.kid (root_id) WHERE id > 5", true,
     "\"kid_root_id_fkey\"", "CREATE INDEX"},
    {"index on more in front",
     "DROP INDEX app.kid_root_id_idx; CREATE INDEX ON app.kid (id, root_id)", true,
     "\"kid_root_id_fkey\"", "CREATE INDEX"},
    {"no key", "ALTER TABLE app.kid DROP CONSTRAINT kid_root_id_fkey", true,
     "\"app\".\"kid\" has no foreign key to \"app\".\"root\"", "ADD FOREIGN KEY"},
    {"two keys",
     "ALTER TABLE app.kid ADD other int REFERENCES app.root; CREATE INDEX ON app.kid (other)", true,
     "has 2 foreign keys", "say in the job which columns"},
    {"not validated",
     "ALTER TABLE app.kid DROP CONSTRAINT kid_root_id_fkey, ADD CONSTRAINT k FOREIGN"
     " KEY (root_id) REFERENCES app.root NOT VALID",
     true, "\"k\" of \"app\".\"kid\" is not validated", "VALIDATE CONSTRAINT \"k\""},
    {"enforcement off", "ALTER TABLE app.root DISABLE TRIGGER ALL", true,
     "enforce foreign key kid_root_id_fkey are disabled on app.root", "ENABLE TRIGGER ALL"},
    {"circle",
     "ALTER TABLE app.root ADD last_kid int CONSTRAINT back REFERENCES app.kid;"
     "CREATE INDEX ON app.root (last_kid)",
     true, "\"back\" of \"app\".\"root\" closes a circle", "DEFERRABLE"},
    {"time of another type", "ALTER TABLE app.root ALTER at TYPE text", true,
     "\"at\" of \"app\".\"root\" is of type text", "timestamptz, timestamp or date"},
};

static void shape_unsafe_refused_with_object_and_remedy(void **state)
{
    (void)state;
    for (size_t i = 0; i < amber_countof(shapes); i++) {
        print_message("# %s\n", shapes[i].name);
        fx_schema(BASE);
        fx_sql(fx_pg, shapes[i].sql);
        REFUSED(fx_pg, shapes[i].family ? &FAMILY : &ROOT, shapes[i].object, shapes[i].remedy);
        fx_sql(fx_pg, "DROP PUBLICATION IF EXISTS p");
    }
}

static void shape_published_schema_refused(void **state)
{
    (void)state;
    if (amber_pg_version(fx_pg) < 150000)
        skip();
    fx_schema(BASE);
    fx_sql(fx_pg, "ALTER TABLE app.kid DROP CONSTRAINT kid_pkey;"
                  "CREATE PUBLICATION p FOR TABLES IN SCHEMA app");
    REFUSED(fx_pg, &FAMILY, "app.kid is published", "REPLICA IDENTITY FULL");
    fx_sql(fx_pg, "DROP PUBLICATION p");
}

static void shape_harmless_accepted(void **state)
{
    static const char *const harmless[] = {
        /* an edge's own action has nothing left to do */
        "ALTER TABLE app.kid DROP CONSTRAINT kid_root_id_fkey, ADD FOREIGN KEY (root_id) REFERENCES"
        " app.root ON DELETE CASCADE",
        /* a trigger that doesn't fire for us */
        "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';"
        "CREATE TRIGGER a BEFORE DELETE ON app.kid FOR EACH ROW EXECUTE FUNCTION app.f();"
        "ALTER TABLE app.kid DISABLE TRIGGER a;"
        "CREATE TRIGGER b BEFORE INSERT ON app.kid FOR EACH ROW EXECUTE FUNCTION app.f();"
        "CREATE TRIGGER c BEFORE DELETE ON app.root FOR EACH ROW EXECUTE FUNCTION app.f();"
        "ALTER TABLE app.root ENABLE REPLICA TRIGGER c",
        /* publications that don't hold it up */
        "CREATE PUBLICATION p FOR ALL TABLES",
        "ALTER TABLE app.kid DROP CONSTRAINT kid_pkey; CREATE PUBLICATION p FOR TABLE app.kid"
        " WITH (publish = 'insert, update')",
        "ALTER TABLE app.kid DROP CONSTRAINT kid_pkey; ALTER TABLE app.kid REPLICA IDENTITY FULL;"
        "CREATE PUBLICATION p FOR TABLE app.kid",
        /* a circle that can wait until the end */
        "ALTER TABLE app.root ADD last_kid int REFERENCES app.kid DEFERRABLE;"
        "CREATE INDEX ON app.root (last_kid)",
        "ALTER TABLE app.kid SET UNLOGGED",
    };
    (void)state;
    for (size_t i = 0; i < amber_countof(harmless); i++) {
        fx_schema(BASE);
        fx_sql(fx_pg, harmless[i]);
        accepted(&FAMILY);
        fx_sql(fx_pg, "DROP PUBLICATION IF EXISTS p");
    }
}

static void shape_partition_parts_refused(void **state)
{
    static const struct fx_job part = {.tables = {{.name = "p1"}}};
    static const struct fx_job whole = {.tables = {{.name = "p"}}};
    (void)state;
    fx_schema(
        "CREATE TABLE app.p (at timestamptz) PARTITION BY RANGE (at);"
        "CREATE TABLE app.p1 PARTITION OF app.p FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
        "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'");
    REFUSED(fx_pg, &part, "app.p1 is a partition of app.p", "name the partitioned table");
    fx_sql(fx_pg, "CREATE TRIGGER g BEFORE DELETE ON app.p1 FOR EACH ROW EXECUTE FUNCTION app.f()");
    REFUSED(fx_pg, &whole, "trigger g of app.p1");
    fx_sql(fx_pg,
           "DROP TRIGGER g ON app.p1; DROP FOREIGN DATA WRAPPER IF EXISTS nothing CASCADE;"
           "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER s FOREIGN DATA WRAPPER nothing;"
           "CREATE FOREIGN TABLE app.far PARTITION OF app.p FOR VALUES FROM ('2024-02-01')"
           " TO ('2024-03-01') SERVER s");
    REFUSED(fx_pg, &whole, "app.far is a foreign table", "detach it");
    fx_sql(fx_pg, "DROP FOREIGN DATA WRAPPER nothing CASCADE");
}

static void shape_not_a_table_refused(void **state)
{
    static const struct fx_job view = {.tables = {{.name = "v"}}};
    static const struct fx_job mat = {.tables = {{.name = "m"}}};
    (void)state;
    fx_schema("CREATE TABLE app.t (at timestamptz); CREATE VIEW app.v AS SELECT * FROM app.t;"
              "CREATE MATERIALIZED VIEW app.m AS SELECT * FROM app.t");
    REFUSED(fx_pg, &view, "app.v is a view", "name the table behind it");
    REFUSED(fx_pg, &mat, "app.m is a materialized view");
}

static void names_missing_not_found(void **state)
{
    static const struct fx_job no_table = {.tables = {{.name = "Root"}}};
    static const struct fx_job no_column = {.tables = {{.name = "root"}}, .time = "At"};
    const char *table[] = {"\"app\".\"Root\" does not exist", "capitals included", NULL};
    const char *column[] = {"\"At\" does not exist in \"app\".\"root\"", NULL};
    (void)state;
    fx_schema(BASE);
    refused(fx_pg, &no_table, AMBER_E_NOT_FOUND, table);
    refused(fx_pg, &no_column, AMBER_E_NOT_FOUND, column);
}

static void findings_several_told_at_once(void **state)
{
    (void)state;
    fx_schema(BASE);
    fx_sql(fx_pg,
           "DROP INDEX app.kid_root_id_idx; CREATE RULE keep AS ON DELETE TO app.kid DO INSTEAD"
           " NOTHING; CREATE TABLE app.o (x int REFERENCES app.root ON DELETE CASCADE);"
           "CREATE INDEX ON app.o (x)");
    REFUSED(fx_pg, &FAMILY, "rule keep", "CREATE INDEX", "ON DELETE CASCADE");
}

static void condition_unsafe_refused(void **state)
{
    static const struct {
        const char *where, *remedy;
    } bad[] = {
        {"at < now()", "instead of now() use the job's time column with a retention"},
        {"at::date < '2024-01-01'", "AT TIME ZONE 'UTC'"},
        {"id IN (SELECT 1)", "without subqueries"},
        {"id", "true or false condition"},
        {"flag); DROP TABLE app.kid; --", "true or false condition"},
        {"nothing", "columns of the job's first table"},
        {"flag /*", "true or false condition"},
        {"app.nofn(id)", "with their schema"},
    };
    (void)state;
    fx_schema(BASE);
    for (size_t i = 0; i < amber_countof(bad); i++) {
        struct fx_job job = ROOT;
        job.where = bad[i].where;
        REFUSED(fx_pg, &job, bad[i].remedy);
    }
    fx_assert_text("SELECT count(*) FROM app.kid", "0");
}

static void condition_kept_in_the_servers_form(void **state)
{
    struct fx_job job = ROOT;
    (void)state;
    fx_schema(BASE);
    job.where = "flag) OR (id > 3 -- and more";
    assert_string_equal(fx_family(&job)->where, "(flag OR (id > 3))");
    job.where = "root.t = 'it''s'";
    assert_string_equal(fx_family(&job)->where, "(t = 'it''s'::text)");
    job.where = "true"; /* which the server drops */
    assert_string_equal(fx_family(&job)->where, "true");
    assert_null(fx_family(&ROOT)->where);
}

static void zone_unknown_refused(void **state)
{
    struct fx_job job = ROOT;
    (void)state;
    fx_schema(BASE);
    job.zone = "Europe/Atlantis";
    REFUSED(fx_pg, &job, "\"Europe/Atlantis\"", "pg_timezone_names");
    job.zone = "Europe/Berlin";
    accepted(&job);
}

static void rights_missing_refused(void **state)
{
    struct fx_job conditional = ROOT;
    (void)state;
    fx_schema(BASE);
    fx_sql(fx_pg, "DROP ROLE IF EXISTS amber_limited; CREATE ROLE amber_limited LOGIN");
    struct amber_pg *limited = fx_connect("user=amber_limited");
    REFUSED(limited, &FAMILY, "GRANT SELECT ON app.root TO amber_limited", "DELETE ON app.kid",
            "GRANT USAGE ON SCHEMA app");
    fx_sql(fx_pg, "GRANT USAGE ON SCHEMA app TO amber_limited;"
                  "GRANT SELECT, DELETE ON app.root TO amber_limited");
    REFUSED(limited, &ROOT, "\"app\".\"kid\" references the job's tables and can't be read");
    fx_sql(fx_pg, "GRANT SELECT ON app.kid TO amber_limited;"
                  "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC");
    REFUSED(limited, &ROOT, "GRANT TEMPORARY ON DATABASE \"postgres\"");
    conditional.where = "flag";
    fx_sql(fx_pg, "DROP TABLE app.kid");
    REFUSED(limited, &conditional, "GRANT TEMPORARY ON DATABASE \"postgres\"");
    fx_sql(fx_pg, "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC;"
                  "ALTER TABLE app.root ENABLE ROW LEVEL SECURITY");
    REFUSED(limited, &ROOT, "row security of app.root hides rows from amber_limited", "BYPASSRLS");
    fx_sql(fx_pg, "ALTER ROLE amber_limited BYPASSRLS");
    struct amber_family f = {0};
    struct amber_err err = AMBER_ERR_INIT;
    fx_ok(fx_load(limited, &conditional, &f, &err), err);
    amber_family_clear(&f);
    amber_pg_close(limited);
    fx_sql(fx_pg, "DROP OWNED BY amber_limited; DROP ROLE amber_limited");
}

static void server_settings_unfit_refused(void **state)
{
    (void)state;
    fx_schema(BASE);
    fx_sql(fx_pg, "SET track_counts = off");
    REFUSED(fx_pg, &ROOT, "track_counts is off", "postgresql.conf");
    fx_sql(fx_pg, "SET track_counts = on");
    fx_sql(fx_pg, "DROP DATABASE IF EXISTS amber_ascii");
    fx_sql(fx_pg, "CREATE DATABASE amber_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
    struct amber_pg *ascii = fx_connect("dbname=amber_ascii");
    fx_sql(ascii, "CREATE SCHEMA app; CREATE TABLE app.root (at timestamptz)");
    REFUSED(ascii, &ROOT, "SQL_ASCII", "ENCODING 'UTF8'");
    amber_pg_close(ascii);
    fx_sql(fx_pg, "DROP DATABASE amber_ascii");
}

static const struct amber_type *type_of(const struct amber_schema *s, const char *column)
{
    ptrdiff_t i = amber_schema_find(s, column, strlen(column));

    assert_true(i >= 0);
    return &s->columns[i].type;
}

static void assert_kind(const struct amber_schema *s, const char *column, enum amber_kind kind,
                        const char *name)
{
    const struct amber_type *t = type_of(s, column);

    print_message("# %s\n", column);
    assert_int_equal(t->kind, kind);
    assert_string_equal(t->name, name);
}

static void schema_types_resolved_as_row_to_json_does(void **state)
{
    struct amber_schema s = {0};
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    fx_schema(
        "CREATE DOMAIN app.pos AS int CHECK (VALUE > 0); CREATE DOMAIN app.list AS numeric(6,2)[];"
        "CREATE TYPE app.mood AS ENUM ('ok'); CREATE TYPE app.pair AS (a int, \"b c\" app.mood, l "
        "app.pos[]);"
        "CREATE TYPE app.temp AS RANGE (subtype = float8);"
        "CREATE FUNCTION app.temp_json(app.temp) RETURNS json LANGUAGE sql IMMUTABLE AS"
        " $$SELECT json_build_array(lower($1))$$;"
        "CREATE CAST (app.temp AS json) WITH FUNCTION app.temp_json(app.temp);"
        "CREATE TYPE app.holder AS (t app.temp[]);"
        "CREATE TABLE app.t (gone int, i2 int2, n numeric(12,6), b bool, j json, jb jsonb, d date,"
        " ts timestamp(3), tz timestamptz, arr int[][], boxes box[], vec int2vector, ov oidvector,"
        " o oid, pt point, nm name, x xml, dom app.pos, li app.list, mood app.mood, moods "
        "app.mood[],"
        " pr app.pair, prs app.pair[], rng int4range, srv app.temp, srvs app.temp[], hold "
        "app.holder,"
        " gen int GENERATED ALWAYS AS (i2 + 1) STORED, ida int GENERATED ALWAYS AS IDENTITY,"
        " idd int GENERATED BY DEFAULT AS IDENTITY, v varchar(9) NOT NULL);"
        "ALTER TABLE app.t DROP gone");
    fx_ok(amber_table_schema(fx_pg, "app", "t", &s, &err), err);
    assert_string_equal(s.columns[0].name, "i2");
    assert_kind(&s, "i2", AMBER_KIND_NUMBER, "smallint");
    assert_kind(&s, "n", AMBER_KIND_NUMBER, "numeric(12,6)");
    assert_kind(&s, "b", AMBER_KIND_BOOL, "boolean");
    assert_kind(&s, "j", AMBER_KIND_JSON, "json");
    assert_kind(&s, "jb", AMBER_KIND_JSON, "jsonb");
    assert_kind(&s, "d", AMBER_KIND_DATE, "date");
    assert_kind(&s, "ts", AMBER_KIND_TIMESTAMP, "timestamp(3) without time zone");
    assert_kind(&s, "tz", AMBER_KIND_TIMESTAMPTZ, "timestamp with time zone");
    assert_kind(&s, "arr", AMBER_KIND_ARRAY, "integer[]");
    assert_int_equal(type_of(&s, "arr")->elem->kind, AMBER_KIND_NUMBER);
    assert_kind(&s, "boxes", AMBER_KIND_ARRAY, "box[]");
    assert_int_equal(type_of(&s, "boxes")->delim, ';');
    assert_kind(&s, "vec", AMBER_KIND_VECTOR, "int2vector");
    assert_int_equal(type_of(&s, "vec")->elem->kind, AMBER_KIND_NUMBER);
    assert_kind(&s, "ov", AMBER_KIND_VECTOR, "oidvector");
    assert_int_equal(type_of(&s, "ov")->elem->kind, AMBER_KIND_TEXT);
    assert_kind(&s, "o", AMBER_KIND_TEXT, "oid");
    assert_kind(&s, "pt", AMBER_KIND_TEXT, "point");
    assert_kind(&s, "nm", AMBER_KIND_TEXT, "name");
    assert_kind(&s, "x", AMBER_KIND_TEXT, "xml");
    assert_kind(&s, "dom", AMBER_KIND_NUMBER, "app.pos");
    assert_kind(&s, "li", AMBER_KIND_ARRAY, "app.list");
    assert_string_equal(type_of(&s, "li")->elem->name, "numeric(6,2)");
    assert_kind(&s, "mood", AMBER_KIND_TEXT, "app.mood");
    assert_kind(&s, "moods", AMBER_KIND_ARRAY, "app.mood[]");
    assert_kind(&s, "pr", AMBER_KIND_COMPOSITE, "app.pair");
    assert_int_equal(type_of(&s, "pr")->n_fields, 3);
    assert_string_equal(type_of(&s, "pr")->fields[1].name, "b c");
    assert_int_equal(type_of(&s, "pr")->fields[2].type.elem->kind, AMBER_KIND_NUMBER);
    assert_kind(&s, "prs", AMBER_KIND_ARRAY, "app.pair[]");
    assert_int_equal(type_of(&s, "prs")->elem->kind, AMBER_KIND_COMPOSITE);
    assert_kind(&s, "rng", AMBER_KIND_TEXT, "int4range");
    assert_kind(&s, "srv", AMBER_KIND_SERVER, "app.temp");
    assert_kind(&s, "srvs", AMBER_KIND_SERVER, "app.temp[]");
    assert_kind(&s, "hold", AMBER_KIND_SERVER, "app.holder");
    assert_true(s.columns[amber_schema_find(&s, "gen", 3)].generated);
    assert_int_equal(s.columns[amber_schema_find(&s, "ida", 3)].identity, 'a');
    assert_int_equal(s.columns[amber_schema_find(&s, "idd", 3)].identity, 'd');
    assert_true(s.columns[amber_schema_find(&s, "v", 1)].not_null);
    amber_schema_clear(&s);
    assert_int_equal(amber_table_schema(fx_pg, "app", "none", &s, &err), AMBER_E_NOT_FOUND);
}

static void schema_hstore_known_by_its_extension(void **state)
{
    struct amber_schema s = {0};
    struct amber_err err = AMBER_ERR_INIT;
    (void)state;
    if (fx_int("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'") == 0)
        skip();
    fx_schema(
        "CREATE EXTENSION hstore SCHEMA app; CREATE TABLE app.t (h app.hstore, hs app.hstore[])");
    fx_ok(amber_table_schema(fx_pg, "app", "t", &s, &err), err);
    assert_kind(&s, "h", AMBER_KIND_HSTORE, "app.hstore");
    assert_kind(&s, "hs", AMBER_KIND_ARRAY, "app.hstore[]");
    assert_int_equal(type_of(&s, "hs")->elem->kind, AMBER_KIND_HSTORE);
    amber_schema_clear(&s);
}

static void leaves_ranges_and_order(void **state)
{
    static const struct fx_job job = {.tables = {{.name = "p"}}};
    (void)state;
    fx_schema(
        "CREATE TABLE app.p (at timestamptz, k int) PARTITION BY RANGE (at);"
        "CREATE TABLE app.z_old PARTITION OF app.p FOR VALUES FROM (MINVALUE) TO ('2024-01-01');"
        "CREATE TABLE app.b PARTITION OF app.p FOR VALUES FROM ('2024-02-01') TO (MAXVALUE);"
        "CREATE TABLE app.c PARTITION OF app.p FOR VALUES FROM ('2024-01-01') TO"
        " ('2024-02-01') PARTITION BY LIST (k);"
        "CREATE TABLE app.c1 PARTITION OF app.c FOR VALUES IN (1);"
        "CREATE TABLE app.d PARTITION OF app.p DEFAULT");
    const struct amber_table *t = &fx_family(&job)->tables[0];
    assert_true(t->partitioned);
    assert_int_equal(t->n_leaves, 4);
    assert_string_equal(t->leaves[0].name, "z_old");
    assert_true(t->leaves[0].has_range);
    assert_true(t->leaves[0].from_us == INT64_MIN && t->leaves[0].to_us == US(2024, 1, 1));
    assert_string_equal(t->leaves[1].name, "b");
    assert_true(t->leaves[1].from_us == US(2024, 2, 1) && t->leaves[1].to_us == INT64_MAX);
    assert_string_equal(t->leaves[2].name, "c1");
    assert_false(t->leaves[2].has_range);
    assert_string_equal(t->leaves[3].name, "d");
    assert_true(t->leaves[3].is_default);
    assert_false(t->leaves[3].has_range);
}

static void due_oldest_cutoff_timeless(void **state)
{
    struct fx_job job = ROOT;
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_day_range pin = {DAY(2024, 1, 5), DAY(2024, 1, 6)};
    int64_t us = 0, day = 0;
    uint64_t nulls = 0, infinite = 0;
    bool found = false;
    (void)state;
    fx_schema(BASE);
    fx_sql(
        fx_pg,
        "INSERT INTO app.root VALUES (1, '-infinity', true), (2, '2024-01-05 10:00+00', true),"
        " (3, '2024-01-06 23:59:59.999999+00', true), (4, '2024-01-07 00:00:00.000001+00', true),"
        " (5, 'infinity', true), (6, NULL, true), (7, '2023-01-01', false), (8, NULL, false),"
        " (9, '0044-03-15 12:00:00.5+00 BC', NULL)");
    job.where = "flag";
    const struct amber_family *f = fx_family(&job);
    fx_ok(amber_family_oldest(fx_pg, f, INT64_MIN, DAY(2024, 2, 1), NULL, 0, &us, &found, &err),
          err);
    assert_true(found && us == US(2024, 1, 5) + INT64_C(36000000000));
    fx_ok(amber_family_oldest(fx_pg, f, INT64_MIN, DAY(2024, 2, 1), &pin, 1, &us, &found, &err),
          err);
    assert_true(found && us == US(2024, 1, 7) + 1);
    fx_ok(
        amber_family_oldest(fx_pg, f, US(2024, 1, 5), DAY(2024, 1, 5), NULL, 0, &us, &found, &err),
        err);
    assert_false(found);
    fx_ok(amber_family_timeless(fx_pg, f, &nulls, &infinite, &err), err);
    assert_int_equal(nulls, 1);
    assert_int_equal(infinite, 2);
    f = fx_family(&ROOT);
    fx_ok(amber_family_oldest(fx_pg, f, INT64_MIN, DAY(2024, 2, 1), NULL, 0, &us, &found, &err),
          err);
    assert_true(found && us == US(-43, 3, 15) + INT64_C(43200500000));
    fx_ok(amber_family_cutoff(fx_pg, 3, 1, &day, &err), err);
    assert_int_equal(
        day,
        amber_day_add_months(fx_int("SELECT (now() AT TIME ZONE 'UTC')::date - '1970-01-01'"), -1) -
            3);
    assert_int_equal(amber_family_cutoff(fx_pg, -1, 0, &day, &err), AMBER_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(family_root_alone_with_kid_outside_may_stay),
        cmocka_unit_test(shape_unsafe_refused_with_object_and_remedy),
        cmocka_unit_test(shape_published_schema_refused),
        cmocka_unit_test(shape_harmless_accepted),
        cmocka_unit_test(shape_partition_parts_refused),
        cmocka_unit_test(shape_not_a_table_refused),
        cmocka_unit_test(names_missing_not_found),
        cmocka_unit_test(findings_several_told_at_once),
        cmocka_unit_test(condition_unsafe_refused),
        cmocka_unit_test(condition_kept_in_the_servers_form),
        cmocka_unit_test(zone_unknown_refused),
        cmocka_unit_test(rights_missing_refused),
        cmocka_unit_test(server_settings_unfit_refused),
        cmocka_unit_test(schema_types_resolved_as_row_to_json_does),
        cmocka_unit_test(schema_hstore_known_by_its_extension),
        cmocka_unit_test(leaves_ranges_and_order),
        cmocka_unit_test(due_oldest_cutoff_timeless),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
