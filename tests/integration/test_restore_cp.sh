#!/usr/bin/env bash
# Restoring by cp into .restore, by .control/restore and by `amberfs restore`: the same rows come
# back, or none and a message.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

# rows_as_before TABLE: every row is there again as it was.
rows_as_before() {
    assert_eq "$1: rows that differ" 0 "$(sql "
        select count(*) from public.$1 p full join keep.$1 k using (id)
        where p.id is null or k.id is null or p::text <> k::text")"
}
count() { sql "select count(*) from $1"; }

test_cp_of_an_archive_restores_its_rows() {
    local file
    for file in "$MNT"/flow_logs/*.json; do
        assert_status 0 cp "$file" "$MNT/.restore/"
    done
    rows_as_before flow_execution_logs
}
test_cp_of_the_same_archive_again_changes_nothing() {
    local file
    for file in "$MNT"/flow_logs/*.json; do
        assert_status 0 cp "$file" "$MNT/.restore/"
    done
    rows_as_before flow_execution_logs
}
test_restored_rows_are_pinned() {
    run_job log-archival
    assert_match "result" '^rows: 0$' "$result"
    rows_as_before flow_execution_logs
    # Each archive was restored more than once; one that holds back the same rows is enough.
    assert_eq "pins in .status" "$(cd "$MNT" && printf 'public.flow_execution_logs\n%.0s' flow_logs/*.json)" \
        "$(jq -r '.pins[].table' "$MNT/.status")"
}
test_cut_off_archive_does_not_commit() {
    local file=("$MNT"/flow_logs/*.json) name
    name=$(basename "${file[0]}")
    expect_error "restore.*$name"
    sql "delete from flow_execution_logs" >/dev/null
    head -n -1 "${file[0]}" >"$T/$name"
    assert_status 1 cp "$T/$name" "$MNT/.restore/"
    head -c -7 "${file[0]}" >"$T/$name"
    assert_status 1 cp "$T/$name" "$MNT/.restore/"
    sed '1s/"message":"/&edited: /' "${file[0]}" >"$T/$name" # the table would take it
    cmp -s "${file[0]}" "$T/$name" && fail "nothing was edited"
    assert_status 1 cp "$T/$name" "$MNT/.restore/"
    assert_eq "rows" 0 "$(count flow_execution_logs)"
}
test_unknown_name_is_refused() {
    expect_error nobody.json
    head -n 1 "$MNT"/flow_logs/*.json >"$T/nobody.json"
    assert_status 1 cp "$T/nobody.json" "$MNT/.restore/"
}
test_persons_file_of_picked_and_edited_rows_restores() {
    local file=("$MNT"/flow_logs/*.json)
    jq -c 'select(.level == "error") | {message: "edited", id, level, session_id, node_id, created_at}' \
        "${file[@]}" >"$T/picked.json"
    assert_status 0 cp "$T/picked.json" "$MNT/.restore/flow_execution_logs/"
    assert_eq "rows" "$(wc -l <"$T/picked.json")" "$(sql "select count(*) from flow_execution_logs where message = 'edited' and data is null")"
}
test_bad_row_is_named_by_line_and_restores_nothing() {
    sql "delete from flow_execution_logs" >/dev/null
    expect_error 'line 3'
    expect_error 'no line break at its end'
    head -c -1 "$T/picked.json" >"$T/bad.json"
    assert_status 1 cp "$T/bad.json" "$MNT/.restore/flow_execution_logs/"
    { head -n 2 "$T/picked.json" && echo '{"id": "no uuid"}' && tail -n 1 "$T/picked.json"; } >"$T/bad.json"
    assert_status 1 cp "$T/bad.json" "$MNT/.restore/flow_execution_logs/"
    assert_eq "rows" 0 "$(count flow_execution_logs)"
    assert_match "log" 'line 3' "$(cat "$MNT/.control/log")"
    assert_eq "no value is logged" "" "$(grep 'no uuid' "$MNT/.control/log")"
}
test_duplicate_key_with_other_content_fails_and_identical_rows_are_skipped() {
    expect_error 'restore'
    cp "$T/picked.json" "$MNT/.restore/flow_execution_logs/" || fail "first restore failed"
    assert_status 0 cp "$T/picked.json" "$MNT/.restore/flow_execution_logs/"
    sed '1s/edited/changed/' "$T/picked.json" >"$T/other.json"
    assert_status 1 cp "$T/other.json" "$MNT/.restore/flow_execution_logs/"
    assert_eq "changed rows" 0 "$(sql "select count(*) from flow_execution_logs where message = 'changed'")"
}
test_killed_writer_rolls_back() {
    sql "delete from flow_execution_logs" >/dev/null
    expect_error 'restore'
    local killed
    # A writer that has written good rows and is killed before it closes.
    python3 - "$MNT/.restore/flow_execution_logs/killed.json" "$T/picked.json" 2>/dev/null <<'END' &
import os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, open(sys.argv[2], "rb").read())
os.kill(os.getpid(), signal.SIGKILL)
END
    killed=$!
    wait $killed 2>/dev/null
    assert_eq "the writer's end" 137 $?
    assert_eq "rows" 0 "$(count flow_execution_logs)"
}
restore_waits() {
    [ -n "$(sql "select 1 from pg_stat_activity where application_name like 'amberfs: restore%'
                 and wait_event_type = 'Lock'")" ]
}
test_stopped_copy_goes_on() {
    local file=("$MNT"/flow_logs/*.json) copy
    sql "delete from flow_execution_logs" >/dev/null
    coproc HOLD { psql -XAtq; }
    echo "begin; lock table flow_execution_logs; select 'held';" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
    cp "${file[0]}" "$MNT/.restore/" 2>"$T/.msg" &
    copy=$!
    wait_until restore_waits
    stop_and_continue $copy
    echo "\\q" >&"${HOLD[1]}"
    wait $copy
    assert_eq "the copy's status; $(cat "$T/.msg")" 0 $?
    assert_eq "rows" "$(wc -l <"${file[0]}")" "$(count flow_execution_logs)"
    sql "delete from flow_execution_logs" >/dev/null
}
test_reading_restore_is_denied_and_it_lists_empty() {
    assert_eq "listing" "" "$(ls -A "$MNT/.restore")"
    assert_status 1 cat "$MNT/.restore/flow_execution_logs"
}
test_control_restore_brings_a_family_back() {
    local file
    for file in "$MNT"/flow_deltas/*.json; do
        echo "flow_deltas/${file##*/}" >"$MNT/.control/restore" || fail "restore of ${file##*/} was refused"
        assert_match "result" '^state: ok$' "$(cat "$MNT/.control/wait/restore")"
    done
    rows_as_before flow_execution_sessions
    rows_as_before flow_execution_deltas
}
test_restore_command_brings_a_family_back() {
    local file
    for file in "$MNT"/call_sessions/*.json; do
        assert_status 0 amberfs restore "call_sessions/${file##*/}" --env-file "$ENVFILE"
    done
    rows_as_before call_sessions
    rows_as_before call_events
}
test_restore_into_another_table_leaves_the_first_alone() {
    local file=("$MNT"/memory_chunks/*.json)
    sql "create table copied (like memory_chunks)" >/dev/null
    assert_status 0 amberfs restore "memory_chunks/${file[0]##*/}" --into copied --env-file "$ENVFILE"
    assert_eq "rows" 0 "$(sql "select count(*) from copied c full join
        (select * from keep.memory_chunks where $(due memory_chunks)) k using (id)
        where c.id is null or k.id is null or c::text <> k::text")"
    assert_status 1 amberfs restore "memory_chunks/${file[0]##*/}" --into copied --env-file "$ENVFILE"
    assert_match "a repeat without a unique key" 'force' "$msg"
}
test_daemon_ends_cleanly() { mount_stop; }

pg_start
make_demo_data 5000
write_env
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1
mount_start || exit 1
for job in log-archival session-archival call-archival memory-cleanup; do run_job $job || exit 1; done

tap_run test_cp_of_an_archive_restores_its_rows \
    test_cp_of_the_same_archive_again_changes_nothing \
    test_restored_rows_are_pinned \
    test_cut_off_archive_does_not_commit \
    test_unknown_name_is_refused \
    test_persons_file_of_picked_and_edited_rows_restores \
    test_bad_row_is_named_by_line_and_restores_nothing \
    test_duplicate_key_with_other_content_fails_and_identical_rows_are_skipped \
    test_killed_writer_rolls_back \
    test_stopped_copy_goes_on \
    test_reading_restore_is_denied_and_it_lists_empty \
    test_control_restore_brings_a_family_back \
    test_restore_command_brings_a_family_back \
    test_restore_into_another_table_leaves_the_first_alone \
    test_daemon_ends_cleanly
