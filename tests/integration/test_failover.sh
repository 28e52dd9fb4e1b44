#!/usr/bin/env bash
# Failover to an asynchronous standby that has missed the last runs: the archives of the lost future
# are found in the store, nothing is archived until they are settled, and then each row is once. And a
# run that is under way while its server dies and the standby takes over.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"

# A standby of the server, in $T/standby, that streams until standby_deaf.
standby_begin() {
    local bin
    bin=$(pg_bindir)
    mkdir "$T/standby" && chmod 711 "$T/standby"
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$T/standby"
    pg_as "$bin/pg_basebackup" --host="$T/pg" --username=postgres --pgdata="$T/standby/data" \
        --checkpoint=fast --write-recovery-conf --no-sync >"$T/basebackup" 2>&1 || fail "$(cat "$T/basebackup")"
    pg_as sed -i "s|^unix_socket_directories = .*|unix_socket_directories = '$T/standby'|" "$T/standby/data/postgresql.conf"
    PG_STARTED+=("$T/standby")
    pg_restart "$T/standby"
}
on_standby() { PGHOST=$T/standby psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
# All that the primary has written so far is there.
standby_caught_up() {
    local lsn
    lsn=$(sql "select pg_current_wal_lsn()")
    until [ "$(on_standby "select pg_last_wal_replay_lsn() >= '$lsn'")" = t ]; do :; done
}
standby_deaf() {
    on_standby "alter system set primary_conninfo = ''"
    on_standby "select pg_reload_conf()" >/dev/null
    until [ "$(on_standby "select count(*) from pg_stat_wal_receiver")" = 0 ]; do :; done
}
# The primary dies; the standby is the server from now on, for the program, sql() and the checker alike.
fail_over() {
    pg_crash
    on_standby "select pg_promote()" >/dev/null
    pg_crash "$T/standby"
    rm -rf "$T/pg" "$T/standby/.s.PGSQL."* && mv "$T/standby" "$T/pg"
    pg_as sed -i "s|^unix_socket_directories = .*|unix_socket_directories = '$T/pg'|" "$T/pg/data/postgresql.conf"
    pg_restart
    PG_STARTED=("$T/pg")
}

test_archives_of_the_lost_future_are_found_and_settled() {
    reset_small_job || return
    standby_begin
    standby_caught_up
    standby_deaf
    assert_status 0 amberfs archive ev
    each_row_once "before the failover" --settled
    fail_over
    assert_eq "rows that are back" 600 "$(sql "select count(*) from ev")"
    assert_status 1 amberfs archive ev
    assert_match "message" 'set back to an earlier point or failed over; run `amberfs reconcile`' "$msg"
    each_row_once "after the failover" --set-back
    assert_status 0 amberfs reconcile --supersede all
    each_row_once "superseded" --settled
    next_run_completes "superseded"
}
test_run_under_way_during_the_failover_moves_nothing_twice() {
    local job
    reset_small_job || return
    standby_begin
    standby_caught_up
    # The standby hears of the first unit's run that it is running, and then nothing more.
    step_begin
    { AMBER_FAILPOINT=run-recorded=pause amberfs archive ev >"$T/job" 2>&1; echo ended >"$T/step"; } &
    job=$!
    step_wait
    standby_caught_up
    standby_deaf
    step_go
    wait $job
    step_end
    each_row_once "before the failover" --settled
    fail_over
    # The new server's catalog has that run still running; its marker says that it was committed.
    assert_eq "running" 1 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
    each_row_once "after the failover" --set-back
    assert_status 1 amberfs archive ev
    assert_match "message" 'run `amberfs reconcile`' "$msg"
    assert_status 0 amberfs reconcile --supersede all
    next_run_completes "superseded"
}

pg_start
make_small_job
tap_run test_archives_of_the_lost_future_are_found_and_settled \
    test_run_under_way_during_the_failover_moves_nothing_twice
