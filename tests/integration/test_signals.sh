#!/usr/bin/env bash
# Signals: SIGTERM and SIGINT end the daemon with status 0, unmounted, the running job
# rolled back, whatever step it is at and whoever has files open; SIGHUP takes good jobs files only;
# and what a mount does about dead mounts, the store's own folder and fstab's way of calling.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
rows=20000

# ends_in_time SIGNAL: the daemon ends, before TimeoutStopSec= would kill it, as it must.
ends_in_time() {
    kill "-$1" "$daemon"
    kill -CONT "$daemon"
    # However long it takes on a busy machine; a daemon that hangs is killed, and its status tells.
    timeout 30 tail --pid="$daemon" -s 0.02 -f /dev/null || kill -KILL "$daemon"
    wait "$daemon"
    assert_eq "status after SIG$1" 0 $?
    daemon=''
    ! grep -qF " $MNT " /proc/self/mountinfo || fail "$MNT is still mounted"
    check_log
}
# Every row is in the table or in an archive that the catalog knows, and stored files that are
# neither hidden nor shown don't exist.
each_row_once() {
    local path archived=0
    while read -r path; do
        archived=$((archived + $(zcat "$STORE/$path" | wc -l)))
    done < <(sql "select archive_path from archived_partitions")
    assert_eq "rows of table and archives" $rows $((archived + $(sql "select count(*) from logs")))
}
stopped() {
    local state
    until
        state=$(ps -o stat= -p "$daemon")
        [[ $state == T* ]]
    do [ -n "$state" ] || return 1; done
}
# Signal while the job stands at a step.
at_step() { # STEP SIGNAL
    AMBER_FAILPOINT=$1=stop mount_start || return
    expect_error 'job logs: canceled'
    # The daemon may stop under this write's hands.
    echo logs >"$MNT/.control/trigger" &
    stopped ||
        fail "the daemon never came to $1"
    ends_in_time "$2"
    wait
    each_row_once
    assert_eq "runs left in doubt at $1" 0 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
}
steps=(run-recorded unit-begin name-reserved export-leaf export-done put-fsync put-linked archive-durable
    manifest-durable proof-done delete-table delete-done recorded commit-before commit-after committed
    marker-durable)

test_idle_daemon_ends() {
    mount_start && ends_in_time TERM
    mount_start && ends_in_time INT
}
test_daemon_with_open_files_ends() {
    mount_start || return
    run_job logs
    ls "$MNT"/logs/*.json >/dev/null || return
    exec 8<"$MNT"/logs/logs_2024-01-01_*.json
    head -c 10 <&8 >/dev/null
    (cd "$MNT/logs" && exec cat "$MNT/.control/follow") >"$T/follow" 2>&1 &
    local follow=$!
    # (A shell's own redirection would close a copy of the descriptor, and so commit.)
    coproc WRITER { exec python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"{\"id\":-1}\n")
print("written", flush=True)
sys.stdin.read()' "$MNT/.restore/public.logs/half.json"; }
    local writer=$WRITER_PID
    read -r _ <&"${WRITER[0]}" || fail "nothing could be written into .restore"
    expect_error 'restore'
    ends_in_time TERM
    exec 8<&-
    kill "$writer" "$follow" 2>/dev/null
    wait "$writer" "$follow" 2>/dev/null
    assert_eq "half a restore" 0 "$(sql "select count(*) from logs where id = -1")"
    each_row_once
    # The same again for the next tests.
    again
}
again() {
    sql "set client_min_messages = error; drop schema if exists amberfs cascade; truncate logs;
         insert into logs select i, '2024-01-01'::timestamptz + i * interval '10 minutes', md5(i::text) from generate_series(1, $rows) i" >/dev/null
    rm -rf "$STORE" && mkdir "$STORE"
    amberfs init --env-file "$ENVFILE" >/dev/null
}
test_server_that_hangs_does_not_keep_the_daemon() {
    local pids
    mount_start || return
    coproc HOLD { psql -XAtq; }
    local holder=$HOLD_PID
    echo "begin; lock table logs in access exclusive mode; select 'held';" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
    echo logs >"$MNT/.control/trigger"
    until [ "$(sql "select count(*) from pg_locks where relation = 'logs'::regclass and not granted")" -ge 1 ]; do :; done
    # A host that is gone without a word: nothing answers, not even to a cancel request.
    pids=$(head -n 1 "$T/pg/data/postmaster.pid")
    pids="$pids $(pgrep -P "$pids")"
    # shellcheck disable=SC2086
    kill -STOP $pids
    expect_error 'job logs|database|connect|server'
    ends_in_time TERM
    # shellcheck disable=SC2086
    kill -CONT $pids
    echo "rollback; \\q" >&"${HOLD[1]}"
    wait "$holder" 2>/dev/null
    each_row_once
}
test_sighup_takes_a_good_jobs_file_and_refuses_a_bad_one() {
    mount_start || return
    local want
    expect_error 'SIGHUP: the jobs stay as they were: .*jobs\[0\]'
    jq '.jobs[0].name = "renamed" | .jobs[0].cron = "61 * * * *"' "$T/jobs.json" >"$T/bad.json"
    cp "$T/jobs.json" "$T/good.json"
    for want in logs renamed; do
        cp "$T/bad.json" "$T/jobs.json"
        coproc FOLLOW { exec cat "$MNT/.control/follow"; }
        local pid=$FOLLOW_PID
        kill -HUP "$daemon"
        while read -r line <&"${FOLLOW[0]}"; do [[ $line == *SIGHUP* || $line == *"jobs"*read* ]] && break; done
        kill "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        assert_eq "jobs" "$want" "$(jq -r '.jobs[].name' "$MNT/.status")"
        jq '.jobs[0].cron = "1 * * * *"' "$T/bad.json" >"$T/bad.new" && mv "$T/bad.new" "$T/bad.json"
    done
    cp "$T/good.json" "$T/jobs.json"
    mount_stop
}
test_dead_mount_is_detached() {
    mount_start || return
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null
    # The kernel has the mount still, and nobody answers.
    grep -qF " $MNT " /proc/self/mountinfo || fail "the mount went with its daemon"
    assert_status 2 ls "$MNT"
    assert_match "message" "not connected" "$msg"
    mount_start || return
    assert_eq "job" "logs" "$(jq -r '.jobs[].name' "$MNT/.status")"
    mount_stop
}
test_fstab_with_options() {
    local pid
    chmod 755 "$T" "$MNT"
    assert_status 0 env "ARCHIVAL_JOBS_FILE=$T/jobs.json" "$AMBERFS" "$STORE" "$MNT" \
        -o ro,allow_other,group=65534,nosuid,nodev || return
    assert_match "mount table" " ro,.*fuse\\.amberfs .*allow_other" "$(grep -F " $MNT " /proc/self/mountinfo)"
    pid=$(jq .pid "$MNT/.status")
    assert_eq "a job of a read-only mount" "" "$({ echo logs >"$MNT/.control/trigger" && echo accepted; } 2>/dev/null)"
    if [ "$(id -u)" = 0 ]; then
        assert_status 0 setpriv --reuid=65534 --regid=65534 --clear-groups ls "$MNT"
        assert_status 1 setpriv --reuid=65534 --regid=65534 --clear-groups \
            tee "$MNT/.control/trigger"
        assert_status 2 setpriv --reuid=65533 --regid=65533 --clear-groups ls "$MNT"
    fi
    kill -TERM "$pid"
    tail --pid="$pid" -s 0.02 -f /dev/null
    ! grep -qF " $MNT " /proc/self/mountinfo || fail "$MNT is still mounted"
}
test_dead_mount_over_the_store_is_detached_and_commands_ask_the_daemon() {
    local save=$MNT name
    MNT=$STORE
    mount_start || { MNT=$save; return; }
    run_job logs
    assert_match "result" '^state: ok$' "$result"
    name=$(cd "$MNT/logs" && ls | head -n 1)
    assert_status 0 amberfs cat "logs/$name" --env-file "$ENVFILE"
    assert_same "cat" "$MNT/logs/$name" "$T/.out"
    assert_status 0 amberfs list --env-file "$ENVFILE"
    assert_match "list" "logs/$name" "$out"
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
    assert_status 0 amberfs archive logs --env-file "$ENVFILE"
    assert_status 0 amberfs restore "logs/$name" --env-file "$ENVFILE"
    assert_eq "restored rows" "$(wc -l <"$MNT/logs/$name")" "$(sql 'select count(*) from logs')"
    assert_status 1 amberfs rebuild-manifest "logs/$name" --env-file "$ENVFILE"
    kill -KILL "$daemon"
    wait "$daemon" 2>/dev/null
    daemon=''
    # Over a dead mount: no command may take the empty folder below for the store.
    assert_status 1 amberfs list --env-file "$ENVFILE"
    mount_start || { MNT=$save; return; }
    assert_status 0 amberfs cat "logs/$name" --env-file "$ENVFILE"
    mount_stop
    MNT=$save
}

pg_start
sql "create table logs (id int, at timestamptz, message text)" >/dev/null
echo '{"version":1,"jobs":[{"name":"logs","time_column":"at","period":"month","tables":[{"name":"logs"}]}]}' >"$T/jobs.json"
write_env "ARCHIVAL_JOBS_FILE=$T/jobs.json"
again

sliced steps
tests=()
for i in "${!steps[@]}"; do
    name=test_signal_at_${steps[$i]//-/_}
    signal=TERM
    [ $((i % 2)) = 0 ] || signal=INT
    eval "$name() { at_step ${steps[$i]} $signal && again; }"
    tests+=("$name")
done
tap_run test_idle_daemon_ends \
    test_daemon_with_open_files_ends \
    "${tests[@]}" \
    test_server_that_hangs_does_not_keep_the_daemon \
    test_sighup_takes_a_good_jobs_file_and_refuses_a_bad_one \
    test_dead_mount_is_detached \
    test_fstab_with_options \
    test_dead_mount_over_the_store_is_detached_and_commands_ask_the_daemon
