# shellcheck shell=bash
# A small family for tests of the protocol, without a mount: ev and its child evc, quarterly units
# of job "ev", a copy of all rows in schema keep. Sourced behind tap.sh; brings pg.sh and
# store.sh along.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tests/lib/pg.sh
. "$lib/pg.sh"
# shellcheck source=tests/lib/store.sh
. "$lib/store.sh"

ENVFILE=$T/env
: "${AMBERFS:?names the amberfs program}"

# amberfs ARGUMENTS...: the program with this test's configuration.
amberfs() { "$AMBERFS" "$@" --env-file "$ENVFILE"; }

# sql TEXT: its result, unaligned; past a proxy, and waiting for no standby.
sql() { PGHOST=$T/pg PGOPTIONS='-c synchronous_commit=local' psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

# write_small_job: the jobs file and the configuration.
write_small_job() {
    cat >"$T/jobs.json" <<'END'
{"version": 1, "jobs": [{"name": "ev", "tables": [
  {"schema": "public", "name": "ev", "folder": "ev", "pattern": "ev_{start}_to_{end}"},
  {"schema": "public", "name": "evc", "parent": "ev", "foreign_key": ["ev_id"], "folder": "evc",
   "pattern": "evc_{start}_to_{end}"}],
  "time_column": "at", "retention_days": 30, "period": "quarter", "cron": "0 2 1 * *"}]}
END
    { store_env; echo "ARCHIVAL_JOBS_FILE=$T/jobs.json"; } >"$ENVFILE"
}

# make_small_job [ROWS]: rows of ev, over five quarters, two of evc each.
make_small_job() {
    write_small_job
    sql "create schema keep;
         create table ev (id bigint primary key, at timestamptz not null, note text);
         create table evc (id bigint primary key, ev_id bigint references ev, payload jsonb);
         create index on evc (ev_id);
         insert into ev select i, timestamptz '2023-01-15 00:00Z' + i % 450 * interval '1 day',
             md5(i::text) from generate_series(1, ${1:-600}) i;
         insert into evc select i * 10 + j, i, jsonb_build_object('n', j, 't', md5(i::text))
             from generate_series(1, ${1:-600}) i, generate_series(1, 2) j;
         create table keep.ev as table ev; create table keep.evc as table evc"
    store_make
}

# As on the first day: all rows in their tables, an empty store, no catalog.
reset_small_job() {
    sql "set client_min_messages = error; drop schema if exists amberfs cascade;
         drop view if exists public.archived_partitions, public.database_size_stats;
         truncate ev cascade; insert into ev table keep.ev; insert into evc table keep.evc" &&
        store_make && amberfs init >/dev/null && return 0
    fail "the first day can't be made again"
    return 1
}

# each_row_once WHEN [OPTION...]: tables and committed archives together hold each row exactly once,
# unchanged, and no uncommitted file counts (tests/lib/union_check.py, with its options).
each_row_once() {
    local when=$1 findings
    shift
    store_fetch
    findings=$(PGHOST=$T/pg "$lib/union_check.py" "$@" "$STORE" ev evc 2>&1) && return
    fail "$when:"
    diag "$findings"
    return 1
}

# next_run_completes WHEN: another run ends well, nothing is left to do or in doubt, all verifies.
next_run_completes() {
    assert_status 0 amberfs archive ev || return
    each_row_once "$1, after the next run" --settled
    assert_eq "$1: rows still due" 0 "$(sql "select count(*) from ev")"
    assert_status 0 amberfs verify --all
}
