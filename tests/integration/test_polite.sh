#!/usr/bin/env bash
# What a run is to others: its locks, that it gives way to who waits for them, that other sessions'
# changes meanwhile are neither lost nor archived twice; and that several export connections write the
# archives that one writes.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"

job=''
at_exit '[ -z "$job" ] || kill -KILL "$job" 2>/dev/null'
job_start() {
    "$AMBERFS" archive ev --verbose --env-file "$ENVFILE" >"$T/job.out" 2>&1 &
    job=$!
}
job_end() {
    wait "$job" 2>/dev/null
    status=$?
    job=''
}
stopped() { [ "$(sed 's/.*) //; s/ .*//' "/proc/$job/stat")" = T ]; }
go_on() {
    kill -CONT "$job"
    job_end
    assert_eq "status of the run; $(tail -1 "$T/job.out")" 0 $status
}
rested() { grep -cE '\([0-9.]*[1-9][0-9]* s of it at rest for others\)' "$T/job.out"; }
# settings NAME=VALUE...: beside those of the job
settings() {
    write_small_job
    sed -i 's/"quarter"/"run"/' "$T/jobs.json" # one unit
    printf '%s\n' "$@" >>"$ENVFILE"
}
fresh() {
    settings "$@"
    reset_small_job
}

# The lines of all archives, each table's in order.
archived_text() {
    local path
    sql "select key from amberfs.archived_partitions order by table_name, key" |
        while IFS= read -r path; do gunzip -c "$STORE/$path"; done
}

test_more_connections_write_the_same_archives() {
    local n
    for n in 1 3; do
        fresh "ARCHIVAL_EXPORT_CONNECTIONS=$n" || return
        assert_status 0 amberfs archive ev
        each_row_once "$n connections"
        archived_text >"$T/text.$n"
    done
    assert_same "1 and 3 connections" "$T/text.1" "$T/text.3"
}

locks() { # of amberfs on the tables: their modes
    sql "select string_agg(distinct mode, ' ' order by mode) from pg_locks l join pg_stat_activity a
         using (pid) join pg_class c on c.oid = l.relation where a.application_name like 'amberfs:%'
         and c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
}
readers() { # helpers that have read a part of the heap
    sql "select count(*) from pg_stat_activity where application_name = 'amberfs: export'
         and query like '%ctid >= tid%'"
}
test_no_lock_is_beyond_row_exclusive() {
    local n step
    for n in 1 3; do
        for step in export-done delete-done recorded; do
            fresh "ARCHIVAL_EXPORT_CONNECTIONS=$n" || return
            AMBER_FAILPOINT=$step=stop job_start
            wait_until stopped || return
            # Referential checks share rows, which is weaker.
            assert_match "$n connections, $step" '^AccessShareLock RowExclusiveLock( RowShareLock)?$' "$(locks)"
            [ $step != export-done ] ||
                assert_eq "connections that read parts" $((n - 1)) "$(readers)"
            go_on
        done
    done
}

# A job with one table: only the fast setting deletes rows while it reads them, and not when it is told
# to be slow. They are back when the unit fails.
one_table_job() {
    echo '{"version": 1, "jobs": [{"name": "ev", "tables": [{"name": "one"}], "time_column": "at",
           "period": "run"}]}' >"$T/jobs.json"
}
locked() { echo $((5000 - $(sql "select count(*) from (select 1 from one for update skip locked) q"))); }
test_rows_of_one_table_are_deleted_while_they_are_read() {
    local connections rate want
    sql "create table one (like ev including all)"
    while read -r connections rate want; do
        fresh "ARCHIVAL_EXPORT_CONNECTIONS=$connections" "ARCHIVAL_MAX_ROWS_PER_SECOND=$rate" || return
        one_table_job
        sql "truncate one; insert into one table keep.ev"
        AMBER_FAILPOINT=export-done=stop job_start
        wait_until stopped || return
        assert_match "$connections connections, rate $rate: rows locked by the export" "$want" "$(locked)"
        go_on
        assert_eq "rows that are left" 0 "$(sql 'select count(*) from one')"
        assert_eq "rows archived" 5000 "$(sql 'select sum(row_count) from archived_partitions')"
        assert_status 0 amberfs verify --all
    done <<<'1 0 ^0$
        3 1000000 ^0$
        3 0 ^[1-9][0-9]{2,}$'
    sql "truncate one; insert into one table keep.ev"
    fresh ARCHIVAL_EXPORT_CONNECTIONS=1 || return
    one_table_job
    AMBER_FAILPOINT=proof-done=stop job_start
    wait_until stopped || return
    assert_eq "rows that a polite run has locked when the archive was read back" 0 "$(locked)"
    go_on
    sql "truncate one; insert into one table keep.ev"
    AMBER_FAILPOINT=export-done=error assert_status 1 amberfs archive ev
    assert_eq "rows after a run that failed" 5000 "$(sql 'select count(*) from one')"
}

# Changes between snapshot and export: our snapshot doesn't see them, the delete runs into them, and
# the next attempt takes them along.
test_changes_meanwhile_are_archived_as_they_are() {
    local n change='insert into SCHEMA.ev values (900001, timestamptz $$2023-03-03 03:03Z$$, $$late$$);
        update SCHEMA.ev set note = $$changed$$ where id in (1, 2500, 5000);
        delete from SCHEMA.evc where id = 25001'
    for n in 1 3; do
        fresh "ARCHIVAL_EXPORT_CONNECTIONS=$n" || return
        sql "create schema before; create table before.ev as table keep.ev;
             create table before.evc as table keep.evc"
        AMBER_FAILPOINT=export-leaf=stop job_start
        wait_until stopped || return
        sql "${change//SCHEMA/public}"
        sql "${change//SCHEMA/keep}"
        go_on
        assert_match "$n connections: the first attempt" 'rolled back, nothing lost, trying again' \
            "$(cat "$T/job.out")"
        each_row_once "$n connections"
        next_run_completes "$n connections"
        sql "set client_min_messages = error; truncate keep.ev, keep.evc;
             insert into keep.ev table before.ev; insert into keep.evc table before.evc;
             drop schema before cascade"
    done
}

# What comes behind the snapshot is in nobody's part of the heap. Nothing has to be done anew.
test_row_inserted_meanwhile_waits_for_the_next_run() {
    fresh ARCHIVAL_EXPORT_CONNECTIONS=3 || return
    AMBER_FAILPOINT=unit-begin=stop job_start
    wait_until stopped || return
    sql "insert into ev values (900002, '2023-03-03 03:03Z', 'late'); insert into keep.ev select * from ev where id = 900002" ||
        return
    go_on
    each_row_once "inserted"
    assert_eq "rows left" 1 "$(sql 'select count(*) from ev')"
    next_run_completes "inserted"
    sql "delete from keep.ev where id = 900002"
}

# Whoever waits for the unit's locks gets them while the run is still there, which ends well behind it.
# The unit stands still until he has waited too long, and at that rate seconds more.
waits_long() {
    [ -n "$(sql "select 1 from pg_locks join pg_stat_activity using (pid) where application_name = 'other'
                 and not granted and waitstart < clock_timestamp() - interval '1.5 s'")" ]
}
test_unit_gives_way_to_who_waits() {
    local n other
    for n in 1 3; do
        fresh "ARCHIVAL_EXPORT_CONNECTIONS=$n" ARCHIVAL_MAX_ROWS_PER_SECOND=4000 || return
        step_begin
        AMBER_FAILPOINT=export-leaf=pause job_start
        step_wait
        PGAPPNAME=other sql "begin; lock table ev in share mode; commit" &
        other=$!
        wait_until waits_long
        step_go
        wait "$other" || fail "the session's statement failed"
        kill -0 "$job" || fail "the session had to wait for the end of the run"
        job_end
        step_end
        assert_eq "status" 0 $status
        assert_match "what was said" 'waited longer than 1 s for ShareLock on public.ev: the unit is rolled back' \
            "$(cat "$T/job.out")"
        assert_eq "$n connections: rested for the rate's sake" 1 "$(rested)"
        each_row_once "$n connections"
        next_run_completes "$n connections"
    done
}

# A session that waits for the unit while COMMIT is on its way gets its lock behind it: the guard, which
# looks often enough to have run out of patience, takes nothing back any more.
test_commit_is_not_taken_back_for_who_waits() {
    local other n last_look=''
    fresh || return
    step_begin
    AMBER_FAILPOINT=commit-before=pause job_start
    step_wait
    PGAPPNAME=other sql "begin; lock table ev in share mode; commit" &
    other=$!
    wait_until waits
    for n in {1..10}; do
        wait_until looked_again || return
        last_look=$(looks)
    done
    waits || fail "nobody waited any more"
    step_go
    wait "$other"
    job_end
    step_end
    assert_eq "status of the run; $(tail -1 "$T/job.out")" 0 $status
    assert_eq "what went wrong" '' "$(grep -E ' (warn|error) |rolled back' "$T/job.out")"
    each_row_once "after COMMIT" --settled
}

# A session that waits for another one's lock is none of the unit's business, however long: the guard
# looks often enough to have run out of patience.
looks() { sql "select query_start from pg_stat_activity where application_name = 'amberfs: watch'"; }
looked_again() { [ "$(looks)" != "$last_look" ]; }
test_unit_stays_where_others_wait_for_each_other() {
    local other n last_look=''
    fresh || return
    sql "create table theirs ()"
    coproc HOLD { psql -XAtq; }
    echo "begin; lock table theirs; select 'held';" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
    PGAPPNAME=other sql "begin; lock table theirs; commit" &
    other=$!
    wait_until waits
    step_begin
    AMBER_FAILPOINT=export-leaf=pause job_start
    step_wait
    for n in {1..8}; do
        wait_until looked_again || return
        last_look=$(looks)
    done
    waits || fail "nobody waited any more"
    echo "\\q" >&"${HOLD[1]}"
    wait "$other"
    step_go
    job_end
    step_end
    assert_eq "status of the run; $(tail -1 "$T/job.out")" 0 $status
    assert_eq "units rolled back" 0 "$(grep -c 'rolled back' "$T/job.out")"
    sql "drop table theirs"
}

# Somebody waits for a row that the unit has deleted, while its server process stands still in the
# midst of the deletion: once the guard asks that to end, it goes on, and so does the session.
our_backend() {
    sql "select pid from pg_stat_activity where application_name = 'amberfs: archive ev'"
}
waits() { [ -n "$(sql "select 1 from pg_stat_activity where application_name = 'other' and wait_event_type = 'Lock'")" ]; }
interrupted() { # SIGINT is the second of the signals that wait
    local mask
    mask=$(sed -n 's/^ShdPnd:[[:blank:]]*//p' "/proc/$1/status")
    [ $((0x${mask:-0} & 2)) != 0 ]
}
test_unit_gives_way_to_who_waits_for_a_row() {
    local backend other change="update SCHEMA.evc set payload = '{\"n\": 0}' where id = 11"
    fresh || return
    step_begin
    AMBER_FAILPOINT=delete-table:2=pause job_start
    step_wait
    backend=$(our_backend)
    kill -STOP "$backend"
    PGAPPNAME=other sql "${change/SCHEMA/public}" &
    other=$!
    wait_until waits
    step_go
    wait_until interrupted "$backend"
    kill -CONT "$backend"
    wait "$other" || fail "the session's update failed"
    sql "${change/SCHEMA/keep}"
    job_end
    assert_eq "status" 0 $status
    assert_match "what was said" 'waited longer than 1 s for ShareLock on .*: the unit is rolled back' \
        "$(cat "$T/job.out")"
    each_row_once "after giving way"
    next_run_completes "after giving way"
}

# While a session works, a polite run takes a part of the time and says so, its VACUUM pauses too; a
# fast one and one that is alone don't. The run goes on once the guard has looked.
looked() {
    [ -n "$(sql "select 1 from pg_stat_activity where application_name = 'amberfs: watch'
                 and state = 'idle' and query like '%pg_locks%'")" ]
}
at_work() { [ -n "$(sql "select 1 from pg_stat_activity where application_name = 'app' and state = 'active'")" ]; }
test_run_leaves_time_to_who_works() {
    local n app want before
    sql "alter role postgres set log_statement = 'all'"
    while read -r n app want; do
        fresh "ARCHIVAL_EXPORT_CONNECTIONS=$n" || return
        before=$(grep -c 'SET vacuum_cost_delay' "$T/pg/server.log")
        if [ "$app" = works ]; then
            PGAPPNAME=app sql "select pg_sleep(86400)" 2>/dev/null &
            wait_until at_work || return
            step_begin
            AMBER_FAILPOINT=export-leaf=pause job_start
            step_wait
            wait_until looked || return
            step_go
        else
            job_start
        fi
        job_end
        step_end
        assert_eq "status of the run; $(tail -1 "$T/job.out")" 0 $status
        assert_eq "$n connections, another session $app: said" "$want" \
            "$(grep -c 'other sessions are at work' "$T/job.out")"
        assert_eq "$n connections, another session $app: gentle VACUUM" "$want" \
            $(($(grep -c 'SET vacuum_cost_delay' "$T/pg/server.log") - before))
        sql "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'app'" >/dev/null
        wait_until eval '! at_work' || return
        assert_eq "$n connections, another session $app: rested" "$want" "$(rested)"
        each_row_once "$n connections, another session $app"
    done <<<'1 works 1
        1 away 0
        3 works 0'
    sql "alter role postgres reset log_statement"
}

pg_start
make_small_job 5000
# Rows of 1.9 kB: a heap that is worth several connections.
sql "alter table ev alter note set storage external; update ev set note = repeat(md5(id::text), 59);
     truncate keep.ev; insert into keep.ev select * from ev order by id"
tap_run test_more_connections_write_the_same_archives test_no_lock_is_beyond_row_exclusive \
    test_changes_meanwhile_are_archived_as_they_are test_row_inserted_meanwhile_waits_for_the_next_run \
    test_unit_gives_way_to_who_waits test_unit_stays_where_others_wait_for_each_other \
    test_commit_is_not_taken_back_for_who_waits \
    test_unit_gives_way_to_who_waits_for_a_row test_rows_of_one_table_are_deleted_while_they_are_read \
    test_run_leaves_time_to_who_works
