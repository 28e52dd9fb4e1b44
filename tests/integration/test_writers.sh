#!/usr/bin/env bash
# Others write to the tables while a run stands at each of its steps: rows are inserted, changed, moved
# and deleted among those that it moves, by DELETE and by dropping partitions; two daemons are sent
# at one job. What the others did is in schema keep as well, by the same transaction.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/kill_matrix.sh"

# What each writer does, to rows that the first unit moves (and to row 100, of the last unit). A
# writer that has to wait finds a row gone, or its foreign key or partition: then it has done nothing.
family_writers=(
    "insert into ev values (9001, '2023-01-20', 'new'); insert into keep.ev values (9001, '2023-01-20', 'new')"
    "with u as (update ev set note = 'changed' where id in (3, 100) returning id)
        update keep.ev set note = 'changed' where id in (select id from u)"
    "with u as (update ev set at = now() where id = 4 returning id, at)
        update keep.ev k set at = u.at from u where u.id = k.id"
    "delete from evc where ev_id = 5; with d as (delete from ev where id = 5 returning id),
        c as (delete from keep.evc where ev_id in (select id from d)) delete from keep.ev where id in (select id from d)"
    "insert into evc values (9002, 6, '{}'); insert into keep.evc values (9002, 6, '{}')"
    "with u as (update evc set ev_id = 8 where id = 71 returning id)
        update keep.evc set ev_id = 8 where id in (select id from u)")
partitioned_writers=(
    "insert into part values (9001, '2023-01-20', 'new'); insert into keep.part values (9001, '2023-01-20', 'new')"
    "with u as (update part set note = 'changed' where id in (3, 100) returning id)
        update keep.part set note = 'changed' where id in (select id from u)"
    "with u as (update part set at = '2023-05-05' where id = 4 returning id)
        update keep.part set at = '2023-05-05' where id in (select id from u)"
    "with u as (update part set at = '2023-01-05' where id = 60 returning id)
        update keep.part set at = '2023-01-05' where id in (select id from u)"
    "with d as (delete from part where id = 5 returning id) delete from keep.part where id in (select id from d)"
    "begin; truncate part_rest; delete from keep.part where at >= '2023-07-01'; commit")

# Every writer has done its work or waits for a lock.
writers_settled() {
    local running=0 pid
    for pid in "${writers[@]}"; do kill -0 "$pid" 2>/dev/null && running=$((running + 1)); done
    [ "$(sql "select count(*) from pg_stat_activity where application_name = 'writer' and wait_event_type = 'Lock'")" -ge $running ]
}
write_while() { # KIND STEP WAY
    local kind=$1 writers=() job status sql_text original
    local -n texts=$1_writers
    matrix_first_day "$kind" gzip "$3" || return
    original=$(sql "create schema spare; $(for table in $(matrix_tables "$kind"); do echo "create table spare.$table as table keep.$table;"; done)")
    step_begin
    { AMBER_FAILPOINT=$2=pause "$AMBERFS" archive "$kind" --env-file "$ENVFILE" >"$T/job" 2>&1; echo $? >"$T/job.status"; echo ended >"$T/step"; } &
    job=$!
    step_wait
    assert_eq "the run stands at" "$2" "$step"
    for sql_text in "${texts[@]}"; do
        PGAPPNAME=writer PGTZ=UTC psql -Xq -c "$sql_text" >>"$T/writers" 2>&1 &
        writers+=($!)
    done
    until writers_settled; do :; done
    step_go
    wait $job
    status=$(cat "$T/job.status")
    assert_eq "status of the run" 0 "$status" || tail -n 3 "$T/job" | sed 's/^/#   /'
    wait "${writers[@]}" 2>/dev/null
    step_end
    matrix_check "after the run"
    assert_status 0 amberfs archive "$kind" --env-file "$ENVFILE"
    matrix_check "after the next run" --settled
    sql "set client_min_messages = error; $(for table in $(matrix_tables "$kind"); do
        echo "truncate keep.$table; insert into keep.$table table spare.$table;"
    done) drop schema spare cascade" >/dev/null
}

# ---- two daemons, one job ----

# second VARIABLE=VALUE... COMMAND: with the second daemon's mount point and process for the first's.
declare -A second=([MNT]=$T/mnt2 [daemon]='')
swap_daemons() {
    local mnt=$MNT pid=$daemon
    MNT=${second[MNT]} daemon=${second[daemon]}
    second=([MNT]=$mnt [daemon]=$pid)
}
at_exit 'swap_daemons; mount_gone'
test_second_daemon_leaves_a_running_job_alone() {
    local kind=family expected_errors=("job family: ") client
    matrix_first_day family zstd polite || return
    step_begin
    AMBER_FAILPOINT=delete-done=pause mount_start || return
    matrix_trigger
    step_wait
    assert_eq "the first daemon stands at" delete-done "$step"
    swap_daemons
    # Starting over a running job, its recovery must not take that for dead.
    AMBER_FAILPOINT='' mount_start || return
    run_job family
    assert_match "the second daemon's run" 'being run by another|lock' "$result"
    assert_eq "runs" running "$(sql "select string_agg(state, ' ') from amberfs.runs where ended_at is null")"
    matrix_check "while the first daemon works" --tree "$MNT"
    swap_daemons
    step_go
    wait "$client"
    step_end
    assert_match "the first daemon's run" '^state: ok$' "$(cat "$T/result")"
    matrix_check "the first daemon's tree" --tree "$MNT"
    mount_stop
    swap_daemons
    run_job family && assert_match "the next run" '^state: ok$' "$result"
    matrix_check "the second daemon's tree" --tree "$MNT"
    mount_stop
    swap_daemons
    matrix_check "in the end" --settled
}
test_two_daemons_sent_at_one_job_at_once() {
    local kind expected_errors=("job [a-z]*: ") one two
    for kind in family partitioned; do
        matrix_first_day $kind none fast && mount_start || return
        swap_daemons
        mount_start || return
        swap_daemons
        { echo $kind >"$MNT/.control/trigger" && cat "$MNT/.control/wait/$kind"; } >"$T/one" &
        one=$!
        { echo $kind >"${second[MNT]}/.control/trigger" && cat "${second[MNT]}/.control/wait/$kind"; } >"$T/two" &
        two=$!
        wait $one $two
        grep -q '^state: ok$' "$T/one" "$T/two" || fail "neither run went through: $(cat "$T/one" "$T/two")"
        mount_stop
        swap_daemons
        mount_stop
        swap_daemons
        matrix_check "$kind: after both"
        assert_status 0 amberfs archive $kind --env-file "$ENVFILE"
        matrix_check "$kind: after the next run" --settled
        assert_eq "$kind: rows still due" 0 "$(matrix_due $kind)"
    done
}

matrix_begin 120
mkdir "${second[MNT]}"
tests=()
way=fast
for kind in family partitioned; do
    [ $kind = family ] || way=polite
    for step in unit-begin export-leaf export-done proof-done delete-table delete-done recorded commit-before; do
        name=test_others_write_to_${kind}_at_${step//-/_}
        eval "$name() { write_while $kind $step $way; }"
        tests+=("$name")
        [ $way = fast ] && way=polite || way=fast # in turn
    done
done
sliced tests
tap_run "${tests[@]}" test_second_daemon_leaves_a_running_job_alone test_two_daemons_sent_at_one_job_at_once
