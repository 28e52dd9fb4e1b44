#!/usr/bin/env bash
# COMMIT in doubt: the connection is lost before it, with it, behind it; the server is away then; a
# synchronous standby that doesn't answer holds it back while the client dies, or is told to stop.
# Whatever became of it, each row is in exactly one place and the next run goes on.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"
: "${PG_PROXY:?names the proxy of tests/lib/pg_proxy.c}"

proxy=''
job=''
at_exit 'proxy_stop; [ -z "$job" ] || kill -KILL "$job" 2>/dev/null'
proxy_stop() {
    [ -z "$proxy" ] || { kill "$proxy" && wait "$proxy"; } 2>/dev/null
    proxy=''
    rm -rf "$T/proxy"
}
# proxy_start MOMENT N [refuse]: amberfs then goes through it; $T/proxy.out says what it did.
proxy_start() {
    mkdir -p "$T/proxy"
    : >"$T/proxy.out"
    "$PG_PROXY" "$T/proxy/.s.PGSQL.5432" "$T/pg/.s.PGSQL.5432" "archive ev" "$@" >"$T/proxy.out" &
    proxy=$!
    wait_until grep -q ready "$T/proxy.out"
}

# lost MOMENT N: a run that loses the answer to its N-th COMMIT settles it and goes on to its end.
lost() {
    reset_small_job || { fail "no reset"; return; }
    proxy_start "$@"
    PGHOST=$T/proxy assert_status 0 amberfs archive ev
    proxy_stop
    assert_match "the proxy struck" '^lost$' "$(cat "$T/proxy.out")"
    assert_match "$*: what was moved, in all units" '^1,800 rows moved into 12 archives ' "$out"
    each_row_once "$*"
    next_run_completes "$*"
    assert_eq "objects that nothing names" "$(sql "select key from amberfs.archived_partitions order by 1")" \
        "$(cd "$STORE" && find ev evc -type f | if [ "$1" = after ]; then cat; else grep -vFf <(sql "
            select logical_name from amberfs.names join amberfs.runs using (run_id) where state = 'aborted'"); fi | sort)"
}
test_answer_lost_after_commit_is_settled_as_committed() { lost after 2; }
test_connection_lost_before_commit_is_settled_as_rolled_back() { lost before 2; }
test_connection_lost_with_commit_is_settled_either_way() { lost during 2; }
test_answer_to_first_commit_lost() { lost after 1; }

# The server is out of reach behind the lost answer, for longer than the run tries.
away() {
    reset_small_job || return
    proxy_start "$@" refuse
    PGHOST=$T/proxy assert_status 1 amberfs archive ev
    proxy_stop
    assert_match "message" 'committed is settled at the next start' "$msg"
    ! grep -q 'rolled back, nothing lost' <<<"$msg" || fail "it claims to know: $msg"
    assert_eq "committed units" "$3" "$(sql "select count(*) from amberfs.runs where state = 'committed'")"
    each_row_once "$1"
    next_run_completes "$1"
}
test_server_away_after_commit_is_settled_at_next_start() { away after 2 2; }

# The connection goes between two units, and the server stays away: no crash over it.
test_server_lost_between_units_ends_the_run_with_an_error() {
    reset_small_job || return
    step_begin
    AMBER_FAILPOINT=run-recorded:2=pause job_start
    step_wait
    pg_crash
    step_go
    job_end
    assert_eq "status" 1 $status
    assert_match "message" 'connect|connection' "$(cat "$T/job.out")"
    pg_restart
    each_row_once "after the crash"
    next_run_completes "after the crash"
}

# ---- a synchronous standby that isn't there ----

job_start() {
    "$AMBERFS" archive ev --env-file "$ENVFILE" >"$T/job.out" 2>&1 &
    job=$!
}
job_end() {
    wait "$job" 2>/dev/null
    status=$?
    job=''
}
ended() { ! kill -0 "$job" 2>/dev/null || [ "$(sed 's/.*) //; s/ .*//' "/proc/$job/stat")" = Z ]; }
held_back() { [ "$(sql "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query like '$1%'")" = 1 ]; }
standby() { # missing|none: whose answer every COMMIT needs
    local name=''
    [ "$1" = none ] || name=$1
    sql "alter system set synchronous_standby_names = '$name'"
    sql "select pg_reload_conf()" >/dev/null
    wait_until names_standby "$name"
}
names_standby() { [ "$(sql "show synchronous_standby_names")" = "$1" ]; }
nobody_waits() { [ "$(sql "select count(*) from pg_stat_activity where wait_event = 'SyncRep'")" = 0 ]; }
# A run whose next COMMIT waits for that standby.
hold_commit() {
    reset_small_job || return
    step_begin
    AMBER_FAILPOINT=recorded:2=pause job_start
    step_wait
    standby missing
    step_go
    wait_until held_back COMMIT
}

test_client_dies_while_standby_holds_commit_back() {
    hold_commit || return
    kill -KILL "$job"
    job_end
    # The transaction goes on without us: nobody may take its run for dead.
    assert_eq "state" running "$(sql "select state from amberfs.runs order by started_at desc limit 1")"
    AMBER_FAILPOINT='' job_start
    wait_until eval 'held_back INSERT || ended'
    kill -TERM "$job"
    wait_until ended
    job_end
    each_row_once "while COMMIT waits"
    assert_eq "committed meanwhile" 1 "$(sql "select count(*) from amberfs.runs where state = 'committed'")"
    standby none
    wait_until nobody_waits
    each_row_once "after COMMIT"
    assert_eq "committed" 2 "$(sql "select count(*) from amberfs.runs where state = 'committed'")"
    next_run_completes "after COMMIT"
}

test_stop_while_standby_holds_commit_back_ends_in_doubt() {
    hold_commit || return
    kill -TERM "$job"
    wait_until ended || kill -KILL "$job"
    job_end
    assert_eq "status" 1 $status
    assert_match "message" 'committed is settled at the next start' "$(cat "$T/job.out")"
    standby none
    wait_until nobody_waits
    each_row_once "after COMMIT"
    next_run_completes "after COMMIT"
}

test_stop_while_standby_is_away_rolls_back_at_once() {
    reset_small_job || return
    step_begin
    AMBER_FAILPOINT=proof-done:2=pause job_start
    step_wait
    standby missing
    kill -TERM "$job"
    step_go
    wait_until ended || kill -KILL "$job"
    job_end
    standby none
    assert_eq "status" 1 $status
    assert_eq "runs in doubt" 0 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
    each_row_once "after the stop"
    next_run_completes "after the stop"
}

pg_start
make_small_job
tap_run test_answer_lost_after_commit_is_settled_as_committed \
    test_answer_to_first_commit_lost \
    test_connection_lost_before_commit_is_settled_as_rolled_back \
    test_connection_lost_with_commit_is_settled_either_way \
    test_server_away_after_commit_is_settled_at_next_start \
    test_server_lost_between_units_ends_the_run_with_an_error \
    test_client_dies_while_standby_holds_commit_back \
    test_stop_while_standby_holds_commit_back_ends_in_doubt \
    test_stop_while_standby_is_away_rolls_back_at_once
