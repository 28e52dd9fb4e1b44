#!/usr/bin/env bash
# Control files, results, signals, and life without a database, through the mount.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

# refused ERRNO_TEXT FILE LINE: the write itself fails (a shell's echo ignores what close says).
refused() {
    local said
    said=$(python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
try:
    os.write(fd, sys.argv[2].encode() + b"\n")
    print("accepted")
except OSError as e:
    print(os.strerror(e.errno))' "$MNT/.control/$2" "$3")
    assert_eq "writing \"$3\" to $2" "$1" "$said"
}

test_unknown_job_is_refused_by_the_write() {
    expect_error 'no-such-job'
    refused "No such file or directory" trigger no-such-job
    assert_match "log" 'no-such-job' "$(cat "$MNT/.control/log")"
}
test_cancel_of_an_idle_job_is_refused() { refused "Invalid argument" cancel log-archival; }
test_restore_of_an_unknown_archive_is_refused() { refused "No such file or directory" restore flow_logs/none.json; }
test_wait_for_an_unknown_job_does_not_exist() {
    assert_status 1 cat "$MNT/.control/wait/no-such-job"
    assert_match "message" "No such file" "$msg"
}
test_wait_before_any_run_returns_at_once() {
    assert_match "result" '^state: never run$' "$(cat "$MNT/.control/wait/call-archival")"
}
test_dotted_names_answer_but_are_not_listed() {
    assert_eq "root" "" "$(ls -A "$MNT")"
    assert_eq "find" "$MNT" "$(find "$MNT")"
    assert_status 0 stat "$MNT/.status" "$MNT/.control" "$MNT/.restore" "$MNT/.raw" "$MNT/.metrics"
    assert_eq "control's modes" "0600 0600 0600 0600" \
        "$(cd "$MNT/.control" && stat -c %#a trigger cancel verify restore | paste -sd ' ')"
}
test_tree_can_not_be_changed() {
    assert_status 1 touch "$MNT/x"
    assert_status 1 mkdir "$MNT/x"
}

# A job stopped in its middle by SIGSTOP at a failpoint would stop the mount too; so a lock of
# another session holds it.
hold_logs() {
    coproc HOLD { psql -XAtq; }
    holder=$HOLD_PID
    echo "begin; lock table flow_execution_logs in access exclusive mode; select 'held';" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
}
release_logs() {
    echo "rollback; \\q" >&"${HOLD[1]}"
    wait "$holder" 2>/dev/null
}

test_running_job_shows_in_status_and_is_not_started_twice() {
    hold_logs
    echo log-archival >"$MNT/.control/trigger" || fail "trigger was refused"
    refused "Device or resource busy" trigger log-archival
    assert_match "state" 'running|queued' "$(jq -r '.jobs[] | select(.name == "log-archival").state' "$MNT/.status")"
    release_logs
    assert_match "result" '^state: ok$' "$(cat "$MNT/.control/wait/log-archival")"
}
# Stopped behind the export of its only unit, which at that rate took the guard several looks, while
# another session is in the midst of a statement.
test_status_tells_how_far_a_running_job_is() {
    local progress rows
    mount_stop
    write_env ARCHIVAL_MAX_ROWS_PER_SECOND=10
    rows=$(sql "select count(*) from keep.memory_chunks where $(due memory_chunks)")
    step_begin
    PGAPPNAME=app sql 'select pg_sleep(86400)' >/dev/null 2>&1 &
    AMBER_FAILPOINT=export-done=pause mount_start || return
    echo memory-cleanup >"$MNT/.control/trigger" || fail "trigger was refused"
    step_wait
    progress=$(jq -c '.jobs[] | select(.name == "memory-cleanup").progress' "$MNT/.status")
    assert_eq "progress" "[\"export\",\"public.memory_chunks\",$rows,$rows,$rows,100,true]" \
        "$(jq -c '[.phase, .table, .rows, .unitRows, .unitRowsDone, .percentOfUnit, .leavesTime]' <<<"$progress")"
    assert_match "status in a pipe" '100 %.*export.*public.memory_chunks.*slower while others work' \
        "$(amberfs status "$MNT" | cat)"
    assert_match "rate" '^[1-9][0-9]?$' "$(jq .rowsPerSecond <<<"$progress")"
    assert_match "period and start" '^20.* to 20.*,20' "$(jq -r '.period + "," + .startedAt' <<<"$progress")"
    sql "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'app'" >/dev/null
    step_go
    assert_match "result" '^state: ok$' "$(cat "$MNT/.control/wait/memory-cleanup")"
    assert_eq "progress of an idle job" null \
        "$(jq '.jobs[] | select(.name == "memory-cleanup").progress' "$MNT/.status")"
    mount_stop
    step_end
    write_env
    mount_start
}
test_follow_shows_new_lines_while_blocking() {
    coproc FOLLOW { exec cat "$MNT/.control/follow"; }
    local pid=$FOLLOW_PID line found=false
    echo memory-cleanup >"$MNT/.control/trigger"
    while read -r line <&"${FOLLOW[0]}"; do
        if [[ $line == *memory-cleanup* ]]; then
            found=true
            break
        fi
    done
    $found || fail "follow ended without a line about memory-cleanup"
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    cat "$MNT/.control/wait/memory-cleanup" >/dev/null
}
test_cancel_rolls_a_job_back() {
    local before
    before=$(sql "select count(*) from call_sessions")
    coproc HOLD { psql -XAtq; }
    holder=$HOLD_PID
    echo "begin; lock table call_sessions in access exclusive mode; select 'held';" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
    echo call-archival >"$MNT/.control/trigger"
    echo call-archival >"$MNT/.control/cancel" || fail "cancel was refused"
    assert_match "result" '^state: canceled$' "$(cat "$MNT/.control/wait/call-archival")"
    release_logs
    assert_eq "rows" "$before" "$(sql "select count(*) from call_sessions")"
    assert_eq "archives" "" "$(ls "$MNT/call_sessions" 2>/dev/null)"
}
test_verify_reports_all_archives() {
    echo --all >"$MNT/.control/verify" || fail "verify was refused"
    local text
    text=$(cat "$MNT/.control/wait/verify")
    assert_match "result" '^state: ok$' "$text"
    assert_match "result" '^damaged: 0$' "$text"
    assert_match "result" "^archives: $(sql 'select count(*) from archived_partitions')\$" "$text"
}
test_metrics_are_prometheus_text() {
    local text
    text=$(cat "$MNT/.metrics")
    assert_match "metrics" '^amberfs_archives [1-9]' "$text"
    assert_eq "lines of another form" "" \
        "$(grep -vE '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[^}]*\})? [-+0-9.e]+)$' <<<"$text")"
}
test_sighup_reads_the_jobs_file_anew() {
    jq '{version, jobs: [.jobs[0] | .name = "renamed-job"]}' "$here/../../docs/jobs.json" >"$T/jobs.json"
    mount_stop
    write_env "ARCHIVAL_JOBS_FILE=$T/jobs.json"
    mount_start || return
    assert_eq "jobs" "renamed-job" "$(jq -r '.jobs[].name' "$MNT/.status")"
    sed -i 's/renamed-job/other-job/' "$T/jobs.json"
    coproc FOLLOW { exec cat "$MNT/.control/follow"; }
    local pid=$FOLLOW_PID
    kill -HUP "$daemon"
    # The log says when it is done.
    while read -r line <&"${FOLLOW[0]}"; do [[ $line == *jobs* ]] && break; done
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    assert_eq "jobs" "other-job" "$(jq -r '.jobs[].name' "$MNT/.status")"
}
blocked() { [ -n "$(sql "select 1 from pg_locks where not granted")" ]; }
test_sigterm_cancels_a_running_job() {
    local before
    before=$(sql "select count(*) from flow_execution_logs")
    sql "insert into flow_execution_logs select gen_random_uuid(), gen_random_uuid(), 'n', 'info', 'm', null, now() - interval '200 days' from generate_series(1, 50)" >/dev/null
    hold_logs
    echo other-job >"$MNT/.control/trigger"
    wait_until blocked || return
    mount_stop
    assert_match "the job's end" 'job other-job: canceled' "$(cat "$DAEMON_LOG")"
    release_logs
    assert_eq "rows" $((before + 50)) "$(sql "select count(*) from flow_execution_logs")"
}
test_without_database_archives_read_and_jobs_fail_with_the_reason() {
    local sum
    write_env
    mount_start || return
    sum=$(cat "$MNT"/flow_logs/*.json | md5sum)
    mount_stop
    pg_stop
    expect_error 'connect|database|server|job log-archival'
    mount_start || return
    assert_eq "content" "$sum" "$(cat "$MNT"/flow_logs/*.json | md5sum)"
    assert_eq "database" false "$(jq .database.reachable "$MNT/.status")"
    run_job log-archival
    assert_match "result" '^state: failed$' "$result"
    assert_match "result" '^error: .*(connect|database|server)' "$result"
    assert_match "next try" '^20' "$(jq -r '.jobs[] | select(.name == "log-archival").nextRun' "$MNT/.status")"
    mount_stop
}

pg_start
make_demo_data 3000
write_env
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1
mount_start || exit 1

tap_run test_unknown_job_is_refused_by_the_write \
    test_cancel_of_an_idle_job_is_refused \
    test_restore_of_an_unknown_archive_is_refused \
    test_wait_for_an_unknown_job_does_not_exist \
    test_wait_before_any_run_returns_at_once \
    test_dotted_names_answer_but_are_not_listed \
    test_tree_can_not_be_changed \
    test_running_job_shows_in_status_and_is_not_started_twice \
    test_status_tells_how_far_a_running_job_is \
    test_follow_shows_new_lines_while_blocking \
    test_cancel_rolls_a_job_back \
    test_verify_reports_all_archives \
    test_metrics_are_prometheus_text \
    test_sighup_reads_the_jobs_file_anew \
    test_sigterm_cancels_a_running_job \
    test_without_database_archives_read_and_jobs_fail_with_the_reason
