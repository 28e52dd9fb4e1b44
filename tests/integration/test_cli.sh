#!/usr/bin/env bash
# The commands: exit status, help, refusals of a wrong configuration, the background mount, and what
# works without a database or a mount.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

commands=(mount archive restore verify status cat list init rebuild-manifest)

test_help_and_version() {
    local command
    assert_status 0 amberfs --version
    assert_match "version" '^amberfs [0-9]+\.[0-9]+\.[0-9]+' "$out"
    assert_status 0 amberfs --help
    for command in "${commands[@]}"; do
        assert_match "amberfs --help" "(^|[^a-z])$command([^a-z]|\$)" "$out"
    done
    for command in "${commands[@]}"; do
        assert_status 0 amberfs "$command" --help
        assert_match "help of $command" "amberfs $command" "$out"
        assert_eq "help's messages" "" "$msg"
    done
}
test_wrong_usage_ends_with_2() {
    assert_status 2 amberfs
    assert_status 2 amberfs frobnicate
    assert_match "message" 'frobnicate' "$msg"
    assert_status 2 amberfs mount
    assert_status 2 amberfs list --frobnicate
    assert_status 2 amberfs archive
    assert_status 2 amberfs restore x --on-conflict sometimes
}
# bad_value LINE WHAT_THE_MESSAGE_NAMES...: refused at start, naming variable, value, what is allowed.
bad_value() {
    local line=$1 part
    shift
    write_env "$line"
    assert_status 1 amberfs list --env-file "$ENVFILE" || return
    for part; do assert_match "message for $line" "$part" "$msg"; done
}
test_wrong_configuration_is_refused_by_name() {
    bad_value "ARCHIVAL_COMPRESSION=lzma" ARCHIVAL_COMPRESSION lzma gzip zstd none
    bad_value "ARCHIVAL_RETENTION_DAYS=-1" ARCHIVAL_RETENTION_DAYS '"-1"'
    bad_value "ARCHIVAL_PERIOD=fortnight" ARCHIVAL_PERIOD fortnight quarter
    bad_value "ARCHIVAL_ENABLED=perhaps" ARCHIVAL_ENABLED perhaps
    bad_value "ARCHIVAL_SCHEDULE_CRON=0 25 * * *" ARCHIVAL_SCHEDULE_CRON hour 25
    bad_value "ARCHIVAL_STORAGE_TYPE=ftp" ARCHIVAL_STORAGE_TYPE 'allowed: local, s3'
    bad_value "ARCHIVAL_FORMAT=parquet" ARCHIVAL_FORMAT 'not built yet'
    bad_value "this line has no equals sign" "$ENVFILE"
}
test_unknown_variable_gets_a_warning_with_the_nearest() {
    write_env "ARCHIVAL_RETENTION_DAY=30"
    amberfs init --env-file "$ENVFILE" >/dev/null 2>&1
    assert_status 0 amberfs list --env-file "$ENVFILE"
    assert_match "warning" 'ARCHIVAL_RETENTION_DAY[^S].*ARCHIVAL_RETENTION_DAYS' "$msg"
}
test_env_file_with_quotes_comments_and_crlf() {
    printf '%s\r\n' "# a comment" "" "export ARCHIVAL_PATH=\"$STORE\"" \
        "ARCHIVAL_SCHEDULE_CRON=0 2 1 * *   # Monthly" "ARCHIVAL_COMPRESSION='zstd'" >"$ENVFILE"
    assert_status 0 amberfs list --env-file "$ENVFILE"
    assert_eq "warnings" "" "$msg"
}
test_missing_env_file_is_named() {
    assert_status 1 amberfs list --env-file "$T/none"
    assert_match "message" "$T/none" "$msg"
}
test_jobs_file_errors_are_named_by_their_path() {
    echo '{"version": 1, "jobs": [{"name": "x", "tables": [{"schema": "public", "nam": "t"}], "cron": "0 0 31 2 *"}]}' >"$T/jobs.json"
    write_env
    assert_status 1 amberfs archive x --dry-run --jobs "$T/jobs.json" --env-file "$ENVFILE"
    assert_match "message" 'jobs\[0\]\.tables\[0\]' "$msg"
    assert_match "message" 'jobs\[0\]\.cron' "$msg"
}
test_unknown_job_lists_the_known_ones() {
    write_env
    assert_status 1 amberfs archive no-such-job --env-file "$ENVFILE"
    assert_match "message" 'session-archival' "$msg"
}
test_archive_without_a_mount_moves_rows() {
    write_env
    assert_status 0 amberfs archive session-archival --env-file "$ENVFILE"
    assert_match "result" 'rows moved into [1-9]' "$out"
    assert_eq "quiet in a pipe" "" "$(grep -v ' info ' <<<"$msg")"
}
test_background_mount_is_ready_when_it_returns() {
    local pid
    assert_status 0 amberfs mount --env-file "$ENVFILE" "$MNT"
    assert_status 0 ls "$MNT/flow_sessions"
    assert_status 1 amberfs mount --env-file "$ENVFILE" "$MNT"
    assert_match "a second mount" 'mounted|served|alive' "$msg"
    pid=$(jq .pid "$MNT/.status")
    umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT"
    tail --pid="$pid" -s 0.02 -f /dev/null
}
test_mount_as_fstab_calls_it() {
    local pid said
    # As ssh and $(...) do, which wait until nobody has their pipe.
    said=$(amberfs "$STORE" "$MNT" -o rw,noauto 2>&1) || { fail "$said"; return; }
    assert_match "messages" "serves $STORE at $MNT" "$said"
    assert_match "mount table" "fuse.amberfs" "$(grep " $MNT " /proc/self/mountinfo)"
    pid=$(jq .pid "$MNT/.status")
    umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT"
    tail --pid="$pid" -s 0.02 -f /dev/null
}
test_read_only_mount_refuses_jobs() {
    local pid
    touch "$MNT/forgotten"
    assert_status 0 amberfs mount -o ro --env-file "$ENVFILE" "$MNT" || return
    assert_match "warning" "$MNT isn't empty" "$msg"
    assert_status 0 sh -c "cat $MNT/flow_sessions/*.json >/dev/null"
    assert_status 1 python3 -c "import os; fd = os.open('$MNT/.control/trigger', os.O_WRONLY); os.write(fd, b'log-archival\n')"
    pid=$(jq .pid "$MNT/.status")
    umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT"
    tail --pid="$pid" -s 0.02 -f /dev/null
    assert_status 0 rm "$MNT/forgotten"
}
test_mount_over_the_store_itself() {
    local pid name unmounted
    unmounted=$(amberfs list --json --env-file "$ENVFILE")
    assert_status 0 amberfs mount --env-file "$ENVFILE" "$STORE" || return
    at_exit "umount -l $STORE 2>/dev/null"
    name=$(cd "$STORE" && ls flow_sessions | head -n 1)
    assert_status 0 amberfs cat "flow_sessions/$name" --env-file "$ENVFILE"
    assert_same "cat asks the daemon" "$STORE/flow_sessions/$name" "$T/.out"
    assert_status 1 amberfs rebuild-manifest "flow_sessions/$name" --env-file "$ENVFILE"
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
    assert_status 0 amberfs status --env-file "$ENVFILE"
    assert_status 0 amberfs list --json --env-file "$ENVFILE"
    assert_eq "list asks the daemon" "$unmounted" "$out"
    pid=$(jq .pid "$STORE/.status")
    umount "$STORE" 2>/dev/null || fusermount3 -u "$STORE"
    tail --pid="$pid" -s 0.02 -f /dev/null
}
test_mount_with_a_refused_login_still_reads() {
    local pid
    assert_status 0 env PGUSER=nobody_knows_me "$AMBERFS" mount --env-file "$ENVFILE" "$MNT" || return
    assert_match "warning" 'refuses the login.*DATABASE_URL.*archives stay readable' "$msg"
    assert_status 0 sh -c "cat $MNT/flow_sessions/*.json >/dev/null"
    assert_eq "reachable" false "$(jq .database.reachable "$MNT/.status")"
    pid=$(jq .pid "$MNT/.status")
    umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT"
    tail --pid="$pid" -s 0.02 -f /dev/null
}
test_without_database_cat_list_verify_and_rebuild_work() {
    local file name
    pg_stop
    export PGHOST=$T/nowhere
    assert_status 0 amberfs list --env-file "$ENVFILE"
    assert_match "list" 'flow_deltas/flow_deltas_.*\.json' "$out"
    for file in "$STORE"/flow_deltas/*.json.gz; do
        name=flow_deltas/$(basename "$file" .gz)
        assert_status 0 amberfs cat "$name" --env-file "$ENVFILE"
        assert_same "$name" <(gunzip -c "$file") "$T/.out"
    done
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
    rm -r "$STORE/.amberfs/manifests/$name.gz"
    assert_status 1 amberfs cat "$name" --env-file "$ENVFILE"
    assert_status 0 amberfs rebuild-manifest "$name" --env-file "$ENVFILE"
    assert_status 0 amberfs cat "$name" --env-file "$ENVFILE"
    assert_same "$name rebuilt" <(gunzip -c "$file") "$T/.out"
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
    assert_status 1 amberfs archive log-archival --env-file "$ENVFILE"
    assert_match "message" "$T/nowhere|connect" "$msg"
    assert_status 1 amberfs cat flow_deltas/none.json --env-file "$ENVFILE"
    assert_match "message" 'none\.json' "$msg"
}
test_verify_of_no_store_does_not_pass() {
    mkdir "$T/empty"
    assert_status 1 env ARCHIVAL_PATH="$T/empty" "$AMBERFS" verify --all --env-file "$ENVFILE"
    assert_match "verdict" "UNKNOWN $T/empty: it holds no store" "$out"
    assert_match "count" '0 archives verified, 0 damaged, 1 could not be checked' "$out"
}

pg_start
make_demo_data 4000
write_env

tap_run test_help_and_version \
    test_wrong_usage_ends_with_2 \
    test_wrong_configuration_is_refused_by_name \
    test_unknown_variable_gets_a_warning_with_the_nearest \
    test_env_file_with_quotes_comments_and_crlf \
    test_missing_env_file_is_named \
    test_jobs_file_errors_are_named_by_their_path \
    test_unknown_job_lists_the_known_ones \
    test_archive_without_a_mount_moves_rows \
    test_background_mount_is_ready_when_it_returns \
    test_mount_as_fstab_calls_it \
    test_read_only_mount_refuses_jobs \
    test_mount_over_the_store_itself \
    test_mount_with_a_refused_login_still_reads \
    test_verify_of_no_store_does_not_pass \
    test_without_database_cat_list_verify_and_rebuild_work
