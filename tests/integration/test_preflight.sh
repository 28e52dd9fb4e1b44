#!/usr/bin/env bash
# The shapes that the preflight refuses, each for real: the move is made by hand in plain SQL, as an
# archiver without the check would make it, and rows are lost, twice or changed; amberfs refuses the
# same tables and moves nothing; with the remedy that it names applied it moves them, each once.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/pg.sh"
: "${AMBERFS:?names the amberfs program}"

STORE=$T/store
amberfs() { "$AMBERFS" "$@" --env-file "$T/env"; }
sql() { PGOPTIONS='-c client_min_messages=error' psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

# shape SQL: tables anew; t is there, with rows 1 and 2 old and row 3 young. What by_hand archives
# is in table moved; all rows are in schema keep.
shape() {
    setup=$1
    sql "drop schema if exists keep, far, amberfs cascade; drop schema public cascade; create schema public;
         create schema keep; grant usage on schema public, keep to public;
         create table t (id int primary key, at timestamptz not null);
         create table moved (name text, doc jsonb); grant all on moved to public;
         $setup" >/dev/null || fail "the shape can't be made"
    rm -rf "${STORE:?}" && mkdir "$STORE" && amberfs init >/dev/null || fail "no catalog"
}
# Schema keep: all rows of these tables.
keep() {
    local table
    for table; do sql "create table keep.$table as select * from $table"; done
    tables=("$@")
}
# by_hand SQL: a transaction that exports into table moved and deletes. Then the tables are off as said:
# "TABLE LOST EXTRA" for each that has rows in no place, or in two or changed.
by_hand() {
    sql "begin isolation level repeatable read; $1; commit" >/dev/null ||
        fail "by hand: failed"
    off=$(for table in "${tables[@]}"; do
        sql "select '$table ' || coalesce(sum(n) filter (where n > 0), 0) || ' ' || coalesce(-sum(n) filter (where n < 0), 0)
            from (select r, sum(n) as n from (select to_jsonb(k) as r, 1 as n from keep.$table k
                union all select to_jsonb(t), -1 from only public.$table t
                union all select doc, -1 from moved where name = '$table') q group by r having sum(n) <> 0) d having count(*) > 0"
    done)
}
old="at < '2024-01-01'"
move_t="insert into moved select 't', to_jsonb(t) from t where $old; delete from t where $old"

# refused JOB REGEX...: amberfs moves nothing and says all that.
refused() {
    local job=$1 regex
    shift
    assert_status 1 amberfs archive "$job"
    for regex; do assert_match "message" "$regex" "$msg"; done
    assert_eq "archives" 0 "$(sql "select count(*) from amberfs.archived_partitions")"
}
# moves JOB ROWS: now it does, each row is in one place, and so many were moved.
moves() {
    assert_status 0 amberfs archive "$1"
    assert_eq "rows archived" "$2" "$(sql "select coalesce(sum(row_count), 0) from amberfs.archived_partitions")"
    out=$("$here/../lib/union_check.py" --settled "$STORE" "${tables[@]}" 2>&1) || fail "$out"
}

# ---- foreign keys with an action ----

outside_key() { # ACTION LOSS
    local setup="insert into t values (1, '2023-01-05'), (2, '2023-01-06'), (3, now());
        create table o (id int primary key, t_id int default 3 constraint o_key references t on delete $1);
        create index on o (t_id); insert into o values (10, 1), (30, 3)"
    shape "$setup" && keep t o
    by_hand "$move_t"
    assert_eq "by hand" "o $2" "$off"
    shape "$setup" && keep t o
    refused t "foreign key \"o_key\" of \"public\".\"o\" .*ON DELETE $1" 'add that table to the job.*or make the key ON DELETE NO ACTION'
    sql "alter table o drop constraint o_key, add constraint o_key foreign key (t_id) references t"
    moves t 1 # row 1 is referenced and stays
}
test_outside_key_that_cascades_loses_rows() { outside_key CASCADE "1 0"; }
test_outside_key_that_sets_null_changes_rows() { outside_key "SET NULL" "1 1"; }
test_outside_key_that_sets_default_changes_rows() { outside_key "SET DEFAULT" "1 1"; }
test_key_to_itself_that_cascades_loses_rows() {
    local setup="alter table t add up int constraint up_key references t on delete cascade; create index on t (up);
        insert into t values (1, '2023-01-05', null), (2, '2023-01-06', 1), (3, now(), 1), (4, '2023-01-07', null)"
    shape "$setup" && keep t
    by_hand "$move_t"
    assert_eq "by hand" "t 1 0" "$off"
    shape "$setup" && keep t
    refused t 'foreign key "up_key" .*CASCADE' 'make the key ON DELETE NO ACTION'
    sql "alter table t drop constraint up_key, add constraint up_key foreign key (up) references t"
    moves t 2 # 1 is referenced by what stays
}

# ---- triggers and rules ----

three="insert into t values (1, '2023-01-05'), (2, '2023-01-06'), (3, now());"
test_trigger_that_keeps_rows_has_them_twice() {
    local setup="$three create function no() returns trigger language plpgsql as 'begin return null; end';
        create trigger stay before delete on t for each row execute function no()"
    shape "$setup" && keep t
    by_hand "$move_t"
    assert_eq "by hand" "t 0 2" "$off"
    shape "$setup" && keep t
    refused t 'trigger stay of public.t fires on DELETE: ALTER TABLE public.t DISABLE TRIGGER stay'
    sql "alter table t disable trigger stay"
    moves t 2
}
test_trigger_that_deletes_more_loses_rows() {
    local setup="$three create table o (id int primary key, t_id int); insert into o values (10, 1), (30, 3);
        create function also() returns trigger language plpgsql as 'begin delete from o where t_id = old.id; return null; end';
        create trigger along after delete on t for each row execute function also()"
    shape "$setup" && keep t o
    by_hand "$move_t"
    assert_eq "by hand" "o 1 0" "$off"
    shape "$setup" && keep t o
    refused t 'trigger along of public.t fires on DELETE: ALTER TABLE public.t DISABLE TRIGGER along'
    sql "alter table t disable trigger along"
    moves t 2
}
test_rule_instead_of_delete_has_rows_twice() {
    local setup="$three create rule stay as on delete to t do instead nothing"
    shape "$setup" && keep t
    by_hand "$move_t"
    assert_eq "by hand" "t 0 2" "$off"
    shape "$setup" && keep t
    refused t 'rule stay of public.t changes what DELETE does: DROP RULE stay ON public.t'
    sql "drop rule stay on t"
    moves t 2
}

# ---- rows that can't be seen or aren't the table's own ----

test_row_security_that_hides_children_loses_them() {
    local setup="$three create table kid (id int primary key, t_id int references t on delete cascade, hidden boolean);
        create index on kid (t_id); insert into kid values (10, 1, false), (11, 1, true), (30, 3, true);
        alter table kid enable row level security; create policy open on kid using (not hidden);
        grant select, insert, update, delete on t, kid to clerk; grant create on schema public to clerk"
    shape "$setup" && keep t kid
    sql "grant select on all tables in schema keep to clerk"
    PGUSER=clerk by_hand "insert into moved select 'kid', to_jsonb(kid) from kid join t on t.id = t_id where $old;
        insert into moved select 't', to_jsonb(t) from t where $old;
        delete from kid using t where t.id = t_id and $old; delete from t where $old"
    off=$(sql "select count(*) from kid where id = 11")$(sql "select count(*) from moved where doc ->> 'id' = '11'")
    assert_eq "by hand: the hidden row in its table, in the archive" 00 "$off"
    shape "$setup" && keep t kid
    sql "grant usage, create on schema amberfs to clerk; grant all on all tables in schema amberfs to clerk;
         grant all on all sequences in schema amberfs to clerk"
    PGUSER=clerk refused family 'row security of public.kid hides rows from clerk: run amberfs as its owner .*BYPASSRLS'
    sql "alter role clerk bypassrls"
    PGUSER=clerk assert_status 0 amberfs archive family
    moves family 4
    sql "alter role clerk nobypassrls"
}
test_foreign_table_as_partition_has_rows_twice() {
    local setup="create table p (id int, at timestamptz not null) partition by range (at);
        create table p_young partition of p default;
        create schema far; create table far.p_old (id int, at timestamptz not null); insert into far.p_old values (1, '2023-01-05');
        create extension postgres_fdw schema public; create server me foreign data wrapper postgres_fdw options (host '$PGHOST', dbname 'postgres');
        create user mapping for postgres server me options (user 'postgres', password_required 'false');
        create foreign table p_old partition of p for values from ('2023-01-01') to ('2023-04-01') server me options (schema_name 'far');
        insert into p values (3, '2023-05-01')"
    shape "$setup" && keep p
    # As a partition is moved: exported, detached, dropped.
    by_hand "insert into moved select 'p', to_jsonb(p) from p where $old; alter table p detach partition p_old;
        drop foreign table p_old; delete from p where $old"
    assert_eq "by hand: the row in the archive, and still where it lives" "1 1" \
        "$(sql "select (select count(*) from moved where doc ->> 'id' = '1') || ' ' || (select count(*) from far.p_old)")"
    sql "drop server me cascade"
    shape "$setup" && keep p
    refused p 'public.p_old is a foreign table: .*detach it from its parent first'
    sql "alter table p detach partition p_old; delete from keep.p where id = 1"
    moves p 1
}
test_inheritance_child_loses_its_own_columns() {
    local setup="$three create table heir (extra text) inherits (t); insert into heir values (4, '2023-01-07', 'only here')"
    shape "$setup" && keep heir
    by_hand "insert into moved select 'heir', to_jsonb(t) from t where $old and tableoid = 'heir'::regclass; delete from t where $old"
    # The row comes back without its own column: one is lost, another one is there.
    assert_eq "by hand" "heir 1 1" "$off"
    shape "$setup"
    refused t 'public.heir inherits from public.t: .*ALTER TABLE public.heir NO INHERIT public.t'
    sql "alter table heir no inherit t"
    keep t heir
    moves t 2
}

# ---- what would fail or crawl in the middle ----

test_published_table_without_identity_can_not_be_deleted_from() {
    local setup="$three create table bare as table t; create publication every for all tables"
    shape "$setup" && keep bare
    assert_status 1 psql -Xq -v ON_ERROR_STOP=1 -c "delete from bare where $old"
    assert_match "by hand" 'does not have a replica identity and publishes deletes' "$msg"
    refused bare 'public.bare is published with its deletes but has no replica identity' 'ALTER TABLE public.bare REPLICA IDENTITY FULL'
    sql "alter table bare replica identity full"
    moves bare 2
    sql "drop publication every"
}
test_childs_key_without_index_reads_the_child_once_a_row() {
    local setup="insert into t select i, '2023-01-05' from generate_series(1, 50) i; insert into t values (99, now());
        create table kid (id int primary key, t_id int constraint kid_key references t, hidden boolean); insert into kid values (10, 99)"
    local scans="select seq_scan from pg_stat_xact_user_tables where relid = 'public.kid'::regclass"
    shape "$setup" && keep t kid
    assert_eq "by hand: times that the child is read for 50 rows" 50 \
        "$(sql "set enable_seqscan = on; begin; delete from t where $old; $scans; rollback")"
    refused family 'foreign key "kid_key" of "public"."kid" has no index' 'CREATE INDEX ON "public"."kid" \("t_id"\)'
    sql "create index on kid (t_id); analyze kid"
    assert_eq "with the index" 0 "$(sql "set enable_seqscan = off; begin; delete from t where $old; $scans; rollback")"
    moves family 50
}
test_encoding_that_is_no_utf8_makes_archives_that_nobody_reads() {
    sql "create database ascii encoding 'SQL_ASCII' template template0 locale 'C'"
    local -x PGDATABASE=ascii
    shape "$three alter table t add note text; update t set note = e'caf\\xe9'" && tables=(t)
    sql "select row_to_json(t) from t" >"$T/ascii"
    assert_status 1 iconv -f UTF-8 -t UTF-8 "$T/ascii"
    refused t "encoding SQL_ASCII has no conversion to UTF-8, so that texts of public.t can't be written as JSON" "ENCODING 'UTF8'"
    local PGDATABASE=postgres
    shape "$three alter table t add note text; update t set note = 'café'" && keep t
    moves t 2
}

# A standby is told as such, by a dry run too.
test_standby_is_named_as_one() {
    local standby=$T/pg/standby
    shape "insert into t values (1, '2020-01-01'), (3, now())"
    pg_as "$(pg_bindir)/pg_basebackup" -h "$PGHOST" -U postgres -D "$standby" -R -X stream -c fast &&
        pg_as "$(pg_bindir)/pg_ctl" -D "$standby" -o "-p 5433" -l "$standby.log" -s -w start </dev/null || {
        fail "no standby"
        return
    }
    PGPORT=5433 assert_status 1 amberfs archive t --dry-run
    assert_match "dry run" 'database postgres runs as a standby: name its primary in DATABASE_URL' "$msg"
    PGPORT=5433 assert_status 1 amberfs archive t
    assert_match "run" 'database postgres runs as a standby: name its primary in DATABASE_URL' "$msg"
    pg_as "$(pg_bindir)/pg_ctl" -D "$standby" -s -m immediate -w stop </dev/null
}

pg_start
sql "create role clerk login" >/dev/null
cat >"$T/jobs.json" <<'END'
{"version": 1, "jobs": [{"name": "t", "tables": [{"name": "t"}], "time_column": "at"},
  {"name": "p", "tables": [{"name": "p"}], "time_column": "at"},
  {"name": "bare", "tables": [{"name": "bare"}], "time_column": "at"},
  {"name": "family", "tables": [{"name": "t", "folder": "f"}, {"name": "kid", "parent": "t"}], "time_column": "at"}]}
END
printf '%s\n' "ARCHIVAL_PATH=$STORE" "ARCHIVAL_JOBS_FILE=$T/jobs.json" >"$T/env"
tap_run test_outside_key_that_cascades_loses_rows test_outside_key_that_sets_null_changes_rows \
    test_outside_key_that_sets_default_changes_rows test_key_to_itself_that_cascades_loses_rows \
    test_trigger_that_keeps_rows_has_them_twice test_trigger_that_deletes_more_loses_rows \
    test_rule_instead_of_delete_has_rows_twice test_row_security_that_hides_children_loses_them \
    test_foreign_table_as_partition_has_rows_twice test_inheritance_child_loses_its_own_columns \
    test_published_table_without_identity_can_not_be_deleted_from \
    test_childs_key_without_index_reads_the_child_once_a_row \
    test_encoding_that_is_no_utf8_makes_archives_that_nobody_reads \
    test_standby_is_named_as_one
