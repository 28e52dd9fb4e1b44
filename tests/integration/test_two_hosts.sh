#!/usr/bin/env bash
# Two daemons with mounts of their own, on one bucket and one database, as on two hosts: a job that both
# are told to run at once runs once; who is killed in the middle is followed by the other; both show
# the same archives, and so does a third without the database.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/small_job.sh"
amberfs() { "$AMBERFS" "$@" --env-file "$ENVFILE"; }

# host NAME: what follows is done on that host.
declare -A host_daemon=()
host() {
    [ -z "${host_now:-}" ] || host_daemon[$host_now]=$daemon
    host_now=$1
    MNT=$T/mnt.$1 DAEMON_LOG=$T/daemon.$1.log daemon=${host_daemon[$1]:-}
}
mkdir "$T"/mnt.{a,b,c} # not later: a daemon that is stopped answers nobody
touch "$T"/daemon.{a,b,c}.log
hosts_gone() {
    local name
    for name in a b c; do
        host $name
        mount_gone
    done
}
tree() { find "$MNT" -type f -printf '%P %s\n' | LC_ALL=C sort; }
stopped() { [ "$(sed 's/.*) //; s/ .*//' "/proc/$daemon/stat")" = T ]; }
# told_and_waited: the job's result on this host, or why it would not run it.
told_and_waited() { { echo ev >"$MNT/.control/trigger" && cat "$MNT/.control/wait/ev"; } 2>&1; }

both_start() {
    reset_small_job || return
    host a && mount_start || return
    host b && mount_start || return
}
both_stop() {
    host a && mount_stop
    host b && mount_stop
}
same_trees() { # WHEN
    local of_a
    host a
    of_a=$(tree)
    host b
    wait_until eval '[ "$(tree)" = "'"$of_a"'" ]'
    assert_eq "$1: the trees" "$of_a" "$(tree)"
    assert_eq "$1: files of catalog and tree" "$(sql 'select count(*) from amberfs.archived_partitions')" "$(tree | wc -l)"
}

test_told_at_once_it_runs_once() {
    local told_a
    both_start || return
    host a
    told_and_waited >"$T/told.a" &
    told_a=$!
    host b
    told_and_waited >"$T/told.b"
    wait $told_a
    each_row_once "both" --settled
    assert_eq "rows left" 0 "$(sql 'select count(*) from ev')"
    assert_eq "rows in the results" 1800 "$(sed -n 's/^rows: //p' "$T/told.a" "$T/told.b" | awk '{ n += $1 } END { print n }')"
    same_trees "both told"
    both_stop
}

test_killed_one_is_followed_by_the_other() {
    local waiting
    reset_small_job || return
    host a && AMBER_FAILPOINT=recorded:2=stop mount_start || return
    host b && mount_start || return
    host a
    echo ev >"$MNT/.control/trigger"
    wait_until stopped || return
    # While one is at it, the other doesn't run it too: it waits, or says who is busy.
    host b
    told_and_waited >"$T/told.b" &
    waiting=$!
    host a
    kill -KILL "$daemon"
    mount_wait_death
    mount_gone
    wait $waiting
    host b
    told_and_waited >"$T/told.b"
    assert_match "the other's run" '^state: ok$' "$(cat "$T/told.b")"
    each_row_once "killed" --settled
    assert_eq "rows left" 0 "$(sql 'select count(*) from ev')"
    : >"$T/daemon.a.log"
    host a && mount_start || return
    same_trees "after the restart"
    assert_status 0 amberfs verify --all
    both_stop
}

test_archives_of_one_appear_on_the_others() {
    both_start || return
    host c
    PGHOST=/nowhere mount_start || return
    assert_eq "without the database, before" "" "$(tree)"
    host a
    run_job ev && assert_match "result" '^state: ok$' "$result"
    same_trees "committed by one"
    host c
    wait_until eval '[ "$(tree | wc -l)" = 12 ]'
    host a
    cat "$MNT"/ev/*.json >"$T/of.a"
    host b
    assert_status 0 cat "$MNT"/ev/*.json && assert_same "content on the other" "$T/of.a" "$T/.out"
    host c
    assert_status 0 cat "$MNT"/ev/*.json && assert_same "content without the database" "$T/of.a" "$T/.out"
    mount_stop
    both_stop
}

pg_start
make_small_job
at_exit hosts_gone
expect_error 'connection|database|server'

tap_run test_told_at_once_it_runs_once \
    test_killed_one_is_followed_by_the_other \
    test_archives_of_one_appear_on_the_others
