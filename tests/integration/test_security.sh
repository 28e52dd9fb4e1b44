#!/usr/bin/env bash
# Who may do what, and what nobody learns: privileges given up, control files closed to others whatever
# allow_other says, paths that stay inside the store, names that stay names in SQL, secrets that show
# up nowhere.
here=$(cd "$(dirname "$0")" && pwd -P)

# Some machines keep /dev/fuse to root. These tests then see one like everybody else's, in a mount
# namespace of their own.
private_fuse='mount -t tmpfs none "$1" && mknod -m 666 "$1/fuse" c 10 229 &&
    mount --bind "$1/fuse" /dev/fuse && umount -l "$1" && rmdir "$1" && shift && exec bash "$@"'
if [ "$(id -u)" = 0 ] && [ -c /dev/fuse ] && ! setpriv --reuid=65534 --clear-groups test -w /dev/fuse; then
    exec unshare -m --propagation private bash -c "$private_fuse" fuse "$(mktemp -d)" "$0" "$@"
fi

. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

SECRET=s3cr3t-Passw0rd
PROGRAM=$AMBERFS

# as_stranger [--groups GID] COMMAND...: a user who is neither the daemon's nor root.
as_stranger() {
    local groups=--clear-groups
    if [ "$1" = --groups ]; then groups=--groups=$2; shift 2; fi
    setpriv --reuid=65534 --regid=65534 "$groups" "$@"
}
# ids_of PID: its real, effective, saved and file system uid, and its effective capabilities.
ids_of() { awk '/^Uid:/ { printf "%s %s %s %s ", $2, $3, $4, $5 } /^CapEff:/ { print $2 }' "/proc/$1/status"; }
# plain_user: the daemon runs as the user postgres from now on, by fusermount3.
plain_user() {
    printf '#!/bin/sh\nexec setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/ "%s" "$@"\n' \
        "$PROGRAM" >"$T/as-postgres"
    chmod 755 "$T/as-postgres"
    AMBERFS=$T/as-postgres
}
readahead_is_raised() { [ "$(cat "/sys/class/bdi/$(mountpoint -d "$MNT")/read_ahead_kb")" != 128 ]; }
empty_store() {
    rm -rf "${STORE:?}"
    install -d -o postgres -g postgres -m 0750 "$STORE"
    sql "set client_min_messages = error; drop schema if exists amberfs cascade;
         drop view if exists public.archived_partitions, public.database_size_stats" >/dev/null
}

# ---- root, and then not ----

test_root_mounts_and_gives_up_its_privileges() {
    local uid
    uid=$(id -u postgres)
    empty_store
    write_env ARCHIVAL_USER=postgres
    mount_start -o allow_other,group=games || return
    assert_eq "ids and capabilities" "$uid $uid $uid $uid 0000000000000000" "$(ids_of "$daemon")"
    assert_eq "groups" "$(id -G postgres | tr ' ' '\n' | sort -n)" \
        "$(awk '/^Groups:/ { for (i = 2; i <= NF; i++) print $i }' "/proc/$daemon/status" | sort -n)"
    assert_match "mount" "user_id=$uid,.*allow_other" "$(grep -F " $MNT " /proc/self/mountinfo)"
    run_job session-archival && assert_match "result" '^state: ok$' "$result"
    assert_eq "owners of stored files" postgres "$(find "$STORE" -type f -printf '%u\n' | sort -u)"
    # Set by a thread behind the first request.
    ls "$MNT" >/dev/null
    wait_until readahead_is_raised
}
test_others_read_archives_by_group_and_nothing_else() {
    local file games
    games=$(getent group games | cut -d: -f3)
    file=$(find "$MNT" -name '*.json' | head -n 1)
    assert_status 1 as_stranger cat "$file"
    assert_match "message" 'Permission denied' "$msg"
    assert_status 0 as_stranger --groups "$games" cmp "$file" "$file"
    assert_match "log" "audit: open ${file#"$MNT"/} by uid 65534, pid [0-9]+" "$(cat "$MNT/.control/log")"
    assert_status 2 as_stranger --groups "$games" sh -c "echo x >>'$file'"
    assert_status 2 as_stranger --groups "$games" ls "$MNT/.control"
    assert_status 1 as_stranger --groups "$games" cp "$file" "$MNT/.restore/"
    assert_match "message" 'Permission denied' "$msg"
    # Who guesses the names doesn't get in either.
    for name in trigger cancel verify restore; do
        assert_status 2 as_stranger --groups "$games" sh -c "echo session-archival >'$MNT/.control/$name'"
    done
    assert_status 1 as_stranger --groups "$games" cat "$MNT/.control/log"
    assert_eq "runs" 1 "$(sql "select count(distinct job) from amberfs.job_results")"
}
test_the_plain_user_unmounts_what_root_mounted() { mount_stop; }
test_commands_of_root_work_as_that_user_too() {
    assert_status 0 amberfs archive log-archival --env-file "$ENVFILE"
    assert_eq "owners of stored files" postgres "$(find "$STORE" -type f -printf '%u\n' | sort -u)"
}
test_users_that_can_not_be_are_refused() {
    write_env ARCHIVAL_USER=no-such-user
    assert_status 1 amberfs list --env-file "$ENVFILE"
    assert_match "message" 'ARCHIVAL_USER is "no-such-user": there is no such user' "$msg"
    write_env ARCHIVAL_USER=root
    assert_status 1 amberfs list --env-file "$ENVFILE"
    assert_match "message" 'ARCHIVAL_USER is "root", which is root' "$msg"
    write_env ARCHIVAL_USER=games
    chmod 644 "$ENVFILE"
    assert_status 1 as_stranger "$PROGRAM" list --env-file "$ENVFILE"
    assert_match "message" 'runs as user 65534: start it as root or as that user' "$msg"
}

# ---- never root ----

test_a_plain_user_mounts_archives_reads_and_restores() {
    local file rows
    empty_store
    write_env
    plain_user
    chown postgres "$MNT" "$ENVFILE"
    mount_start || return
    assert_status 0 pg_as sh -c "echo call-archival >'$MNT/.control/trigger' && cat '$MNT/.control/wait/call-archival'"
    assert_match "result" '^state: ok$' "$out"
    pg_as sh -c "cat '$MNT'/call_events/*.json" >"$T/read"
    rows=$(sql "select sum(row_count) from archived_partitions where table_name = 'call_events'")
    assert_eq "rows read" "$rows" "$(wc -l <"$T/read")"
    # Root isn't let in: FUSE's own rule without allow_other.
    assert_status 2 ls "$MNT"
    file=$(pg_as find "$MNT/call_sessions" -name '*.json' | head -n 1)
    assert_status 0 pg_as cp "$file" "$MNT/.restore/"
    assert_eq "pins" 1 "$(sql "select count(*) from amberfs.pins")"
}
test_memory_is_closed_to_the_same_user() {
    # The kernel gives these files to root when a process can't be dumped or traced.
    if grep -q __asan_init "$PROGRAM"; then
        return 0 # LeakSanitizer traces its own process, so that build stays open
    fi
    assert_eq "owner of /proc/PID/environ" root "$(stat -c %U "/proc/$daemon/environ")"
    assert_status 1 pg_as cat "/proc/$daemon/environ"
}
test_the_plain_user_s_mount_ends() {
    mount_stop
    AMBERFS=$PROGRAM
    chown root "$MNT" "$ENVFILE"
}

# ---- secrets ----

test_a_password_shows_up_nowhere() {
    empty_store
    chown root "$STORE"
    write_env "DATABASE_URL=postgresql://postgres:$SECRET@/postgres?host=$PGHOST"
    mount_start || return
    run_job memory-cleanup
    { cat "$MNT/.status" "$MNT/.metrics" "$MNT/.control/log" "$DAEMON_LOG" "/proc/$daemon/cmdline"
      amberfs status --env-file "$ENVFILE"; amberfs status --json --env-file "$ENVFILE"; } >"$T/said" 2>&1
    assert_match "the job's result is among it" 'memory-cleanup' "$(tr -d '\0' <"$T/said")"
    assert_eq "said with the password" "" "$(grep -a "$SECRET" "$T/said")"
    assert_eq "stored with the password" "" "$(grep -rla "$SECRET" "$STORE")"
    assert_eq "in the database with the password" 0 "$(sql "
        select count(*) from pg_stat_activity where query like '%$SECRET%' and pid <> pg_backend_pid()")"
    mount_stop
}
test_a_password_shows_up_in_no_error() {
    local url
    for url in "postgresql://postgres:$SECRET@/postgres?host=$T/nowhere" \
        "postgresql://postgres:$SECRET@/postgres?host=$PGHOST&sslmode=$SECRET" \
        "host=$T/nowhere password=$SECRET" "mysql://postgres:$SECRET@localhost/x"; do
        write_env "DATABASE_URL=$url"
        assert_status 1 amberfs init --env-file "$ENVFILE"
        assert_match "a reason" . "$msg"
        assert_eq "message for $url" "" "$(grep -F "$SECRET" <<<"$out$msg")"
    done
}

# ---- paths ----

test_links_in_the_store_are_not_followed() {
    local file folder
    write_env
    mount_start || return
    file=$(find "$STORE/memory_chunks" -name '*.gz' | head -n 1)
    folder=$STORE/memory_chunks
    cp "$file" "$T/outside.gz"
    mv "$file" "$file.kept"
    ln -s "$T/outside.gz" "$file"
    expect_error 'symbolic link'
    assert_status 1 cat "$MNT"/memory_chunks/*.json
    assert_match "log" 'is a symbolic link' "$(cat "$MNT/.control/log")"
    mv "$file.kept" "$file"
    assert_status 0 cat "$MNT"/memory_chunks/*.json
    mount_stop
    mv "$folder" "$T/outside" && ln -s "$T/outside" "$folder"
    mount_start || return
    assert_status 1 cat "$MNT"/memory_chunks/*.json
    mount_stop
    rm "$folder" && mv "$T/outside" "$folder"
}
test_restore_takes_no_path() {
    local name
    mount_start || return
    for name in '..json' '.json' 'a%2f..%2fb.json' $'line\nbreak.json' "$(printf 'x%.0s' {1..300})"; do
        expect_error 'restore'
        assert_status 1 cp "$T/read" "$MNT/.restore/$name"
        assert_eq "what $name left" "" "$(ls -A "$MNT/.restore")"
    done
    mount_stop
}
test_jobs_write_nowhere_else() {
    local folder
    for folder in ../outside /tmp/outside a/../../outside .amberfs/commits $'a\\u0000b'; do
        printf '{"version": 1, "jobs": [{"name": "j", "time_column": "created_at", "tables": [
            {"name": "flow_execution_logs", "folder": "%s", "pattern": "x_{start}"}]}]}' "$folder" >"$T/jobs.json"
        assert_status 1 amberfs archive j --jobs "$T/jobs.json" --env-file "$ENVFILE"
        assert_match "message for $folder" 'jobs\[0\]\.tables\[0\]\.folder|NUL|\\u0000' "$msg"
    done
    assert_eq "folders made" "" "$(find "$T" -maxdepth 2 -name 'outside*' -type d)"
}

# ---- names in SQL ----

test_hostile_names_stay_names() {
    local evil=$'x"; drop table keep.flow_execution_logs; --\'$$%s\\' q
    q=$(sed 's/"/""/g' <<<"$evil")
    sql "create schema \"s$q\";
         create table \"s$q\".\"t$q\" (\"i$q\" int primary key, \"d$q\" timestamptz, \"v$q\" text);
         insert into \"s$q\".\"t$q\" select i, '2024-02-01Z', repeat('''\"\\\$1;', i) from generate_series(1, 50) i" >/dev/null
    sql "select * from \"s$q\".\"t$q\" order by 1" >"$T/before"
    jq -n --arg e "$evil" '{version: 1, jobs: [{name: "evil", time_column: ("d" + $e), retention_days: 30,
        tables: [{schema: ("s" + $e), name: ("t" + $e), folder: "evil", pattern: "evil_{start}"}]}]}' >"$T/jobs.json"
    assert_status 0 amberfs archive evil --jobs "$T/jobs.json" --env-file "$ENVFILE"
    assert_eq "rows left" 0 "$(sql "select count(*) from \"s$q\".\"t$q\"")"
    assert_status 0 amberfs restore evil/evil_2024-02-01.json --jobs "$T/jobs.json" --env-file "$ENVFILE"
    sql "select * from \"s$q\".\"t$q\" order by 1" >"$T/after"
    assert_same "rows" "$T/before" "$T/after"
    assert_match "the table that the name would drop" '^[0-9]+$' "$(sql 'select count(*) from keep.flow_execution_logs')"
}

[ "$(id -u)" = 0 ] || skip_all "only root can become other users"
pg_start
make_demo_data 2000
chmod 755 "$T"
tap_run test_root_mounts_and_gives_up_its_privileges test_others_read_archives_by_group_and_nothing_else \
    test_the_plain_user_unmounts_what_root_mounted test_commands_of_root_work_as_that_user_too \
    test_users_that_can_not_be_are_refused \
    test_a_plain_user_mounts_archives_reads_and_restores test_memory_is_closed_to_the_same_user \
    test_the_plain_user_s_mount_ends \
    test_a_password_shows_up_nowhere test_a_password_shows_up_in_no_error \
    test_links_in_the_store_are_not_followed test_restore_takes_no_path test_jobs_write_nowhere_else \
    test_hostile_names_stay_names
