#!/usr/bin/env bash
# SIGKILL at each step of the protocol: after a restart each row is in exactly one of table and
# committed archives, the tree shows no uncommitted file, and the job can go on. The checker is
# PostgreSQL: it compares what the table and the mount hold with a copy of all rows.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

# Each row of each table in exactly one place. WHEN is for messages.
each_row_once() { # WHEN
    local table files
    for table in flow_execution_sessions flow_execution_deltas; do
        mapfile -t files < <(find "$MNT/$(folder_of $table)" -name '*.json' 2>/dev/null)
        load_archives $table "${files[@]}" /dev/null
        assert_eq "$1: $table: rows not in exactly one place, or changed" "" "$(sql "
            select k.id, p.id is not null as in_table, l.n as in_archives
            from keep.$table k
            left join public.$table p on p.id = k.id and p::text = k::text
            left join (select doc ->> 'id' as id, count(*) n, min(doc::text) doc from loaded.$table group by 1) l
                on l.id = k.id::text and l.doc::jsonb = to_jsonb(k)
            where (p.id is not null)::int + coalesce(l.n, 0) <> 1 limit 5")"
        assert_eq "$1: $table: rows from nowhere" "0" "$(sql "
            select (select count(*) from public.$table) + (select count(*) from loaded.$table)
                   - (select count(*) from keep.$table)")"
    done
}

# What the tree shows is what the catalog has committed.
tree_is_catalog() { # WHEN
    assert_eq "$1: files of the tree and of the catalog" \
        "$(sql "select regexp_replace(archive_path, '\\.gz\$', '') from archived_partitions" | LC_ALL=C sort)" \
        "$(find "$MNT" -type f -printf '%P\n' | LC_ALL=C sort)"
}

# killed_at FAILPOINT: the whole story of one step.
killed_at() {
    AMBER_FAILPOINT=$1 mount_start || return
    # The daemon dies under these hands: the write or the wait may fail.
    { echo session-archival >"$MNT/.control/trigger" && cat "$MNT/.control/wait/session-archival"; } >/dev/null 2>&1
    mount_wait_death
    assert_eq "$1: the daemon's end" 137 $status || return
    rm -f "$T/daemon.log.old" && mv "$DAEMON_LOG" "$T/daemon.log.old" && : >"$DAEMON_LOG"
    mount_start || return
    each_row_once "after the restart" && tree_is_catalog "after the restart"
    run_job session-archival && assert_match "the next run" '^state: ok$' "$result"
    each_row_once "after the next run" && tree_is_catalog "after the next run"
    assert_eq "rows still due" 0 "$(sql "select count(*) from public.flow_execution_sessions
        where created_at < (now() at time zone 'UTC')::date - 90 and ended_at is not null")"
    assert_eq "runs left in doubt" 0 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
    # Every run that the catalog has committed has its marker, and no other run has one.
    assert_eq "markers" "$(sql "select run_id from amberfs.runs where state = 'committed' order by 1")" \
        "$(find "$STORE/.amberfs/commits" -name '*.json' -printf '%f\n' | sed 's/\.json$//' | LC_ALL=C sort)"
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
    mount_stop
    # Back to the first day for the next step.
    sql "set client_min_messages = error;
         truncate public.flow_execution_sessions cascade;
         insert into public.flow_execution_sessions select * from keep.flow_execution_sessions;
         insert into public.flow_execution_deltas select * from keep.flow_execution_deltas;
         drop schema amberfs cascade" >/dev/null
    rm -rf "$STORE" && mkdir "$STORE"
    amberfs init --env-file "$ENVFILE" >/dev/null
}

pg_start
make_demo_data 3000
write_env
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1

# The steps in the order of docs/architecture.md; ":2" is the second archive or unit.
steps=(run-recorded unit-begin name-reserved name-reserved:2 export-leaf export-leaf:2 export-done
    put-fsync put-link put-linked put-linked:2 archive-durable archive-durable:2 manifest-durable
    manifest-durable:2 proof-done delete-table delete-table:2 delete-done recorded commit-before
    commit-after committed marker-durable run-recorded:2 committed:2)
tests=()
for step in "${steps[@]}"; do
    name=test_killed_at_${step//[-:]/_}
    eval "$name() { killed_at $step; }"
    tests+=("$name")
done
tap_run "${tests[@]}"
