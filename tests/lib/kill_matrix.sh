# shellcheck shell=bash
# The kill matrix: a job of some kind is brought to a point of the protocol, something happens to it
# there, the daemon is started anew, and an independent checker looks whether each row is in exactly
# one place. Sourced behind tap.sh; brings mount.sh along. `matrix_begin` once, then
# `matrix_case KIND POINT FAULT CODEC WAY` for each case; a case begins on the first day.
#
#   KIND   single       one table
#          family       a parent and its children
#          partitioned  two partitions that are detached and dropped, one whose rows are deleted
#          condition    rows of which some never move
#   POINT  STEP[:N]     the N-th pass of a step of docs/architecture.md
#          OPERATION@N  the N-th operation of tests/lib/fault_io.c
#          commit:N     the N-th unit's COMMIT; the faults before, during and after only
#   WAY    polite, or fast: several connections, and rows are deleted while the archive is read back
#   FAULT  as the functions strike_FAULT and heal_FAULT below say
#
# The daemon says that it has come to the point and waits there: nothing is waited for by the clock.
# It is under SIGSTOP while the fault strikes, and goes on then.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tests/lib/mount.sh
. "$lib/mount.sh"
: "${FAULT_IO:?names the library of tests/lib/fault_io.c}" "${PG_PROXY:?names the proxy of tests/lib/pg_proxy.c}"

matrix_kinds=(single family partitioned condition)
# In the order of docs/architecture.md; test_every_step_is_in_the_matrix compares.
matrix_steps=(run-recorded unit-begin name-reserved export-leaf export-done put-fsync put-link
    put-linked archive-durable manifest-durable proof-done replicas-durable
    delete-table delete-done recorded commit-before commit-after committed marker-durable)
matrix_operations=(write fsync rename mkdir read send)
matrix_faults=(kill overtake rival crash away drop full short write fsync rename remove)
matrix_commit_faults=(before during after)

fault_lib=$FAULT_IO
proxy=''
client=''
at_exit matrix_end
matrix_end() {
    [ -z "$client" ] || kill -KILL "$client" 2>/dev/null
    matrix_proxy_stop
}

# ---- data ----

# Rows over the first three quarters of 2023, so that each job has three units. BYTES more in each of
# the root tables' rows, which they keep uncompressed; where a heap has 1024 blocks, fast runs read it
# over several connections.
matrix_begin() { # ROWS [BYTES]
    pg_start
    matrix_rows=$1
    mkdir "$T/disk"
    full_disk=preload
    # Without the right to mount, the n-th write fails for want of space instead.
    if mount -t tmpfs -o size=32m amberfs-test "$T/disk" 2>/dev/null; then
        full_disk=real
        at_exit "umount -l $T/disk 2>/dev/null"
    fi
    STORE=$T/disk/store
    cat >"$T/jobs.json" <<'END'
{"version": 1, "jobs": [
  {"name": "single", "tables": [{"name": "log"}], "time_column": "at"},
  {"name": "family", "tables": [{"name": "ev"}, {"name": "evc", "parent": "ev"}], "time_column": "at"},
  {"name": "partitioned", "tables": [{"name": "part"}], "time_column": "at"},
  {"name": "condition", "tables": [{"name": "cond"}], "time_column": "at", "where": "state <> 'open'"}]}
END
    sql "create schema keep;
         create table keep.log as select i::bigint as id, timestamptz '2023-01-01 00:00Z' + i * 270 / $matrix_rows * interval '1 day' as at,
             e'\"\\\\\\t' || md5(i::text) || repeat('x', ${2:-0}) as note from generate_series(0, $matrix_rows - 1) i;
         create table log (id bigint primary key, at timestamptz not null, note text);
         alter table log alter note set storage plain;
         create table keep.ev as table keep.log;
         create table ev (like log including all);
         create table keep.evc as select id * 10 + j as id, id as ev_id, jsonb_build_object('n', j, 't', left(note, 40)) as payload
             from keep.ev, generate_series(1, 2) j;
         create table evc (id bigint primary key, ev_id bigint references ev, payload jsonb);
         create index on evc (ev_id);
         create table keep.part as table keep.log;
         create table part (like log including storage, primary key (id, at)) partition by range (at);
         create table keep.cond as select *, case when id % 3 = 0 then 'open' when id % 3 = 1 then 'done' end as state from keep.log;
         create table cond (like log including all, state text)" >/dev/null || skip_all "the tables can't be made"
}

sql() { PGHOST=$T/pg psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

matrix_tables() { # KIND: its tables, parents first
    case $1 in
    single) echo log ;;
    family) echo ev evc ;;
    partitioned) echo part ;;
    condition) echo cond ;;
    esac
}

# All rows in their tables, an empty store, a new catalog.
matrix_first_day() { # KIND CODEC WAY
    local table fill='' connections=1
    [ "$3" = polite ] || connections=3
    for table in $(matrix_tables "$1"); do
        fill+="truncate $table cascade; "
        [ "$table" != part ] || fill+="drop table if exists part_1, part_2, part_rest;
            create table part_1 partition of part for values from ('2023-01-01 00:00Z') to ('2023-04-01 00:00Z');
            create table part_2 partition of part for values from ('2023-04-01 00:00Z') to ('2023-07-01 00:00Z');
            create table part_rest partition of part default; "
    done
    for table in $(matrix_tables "$1"); do fill+="insert into $table table keep.$table; "; done
    sql "set client_min_messages = error; drop schema if exists amberfs cascade;
         drop view if exists public.archived_partitions, public.database_size_stats; $fill" >/dev/null &&
        rm -rf "${STORE:?}" && mkdir "$STORE" &&
        write_env "ARCHIVAL_JOBS_FILE=$T/jobs.json" "ARCHIVAL_COMPRESSION=$2" \
            "ARCHIVAL_EXPORT_CONNECTIONS=$connections" &&
        amberfs init --env-file "$ENVFILE" >/dev/null && return
    fail "the first day can't be made again"
    return 1
}

# Rows that the job should have moved.
matrix_due() { # KIND
    case $1 in
    condition) sql "select count(*) from cond where state <> 'open'" ;;
    *) sql "select count(*) from $(matrix_tables "$1" | cut -d ' ' -f 1)" ;;
    esac
}

# ---- faults: what strikes while the daemon stands at the point, and what heals it later ----

our_sessions_end() {
    sql "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name like 'amberfs%'" >/dev/null
}
gate_open() { : >"$T/gate"; }
gate_shut() { rm -f "$T/gate"; }

# SIGKILL.
strike_kill() { kill -KILL "$daemon"; }
# Stopped past every timeout: the server has given its sessions up, and another process does the job
# before it goes on.
strike_overtake() {
    our_sessions_end
    assert_status 0 amberfs archive "$kind" --env-file "$ENVFILE"
}
# Another process tries the job while this one holds it, and may be refused.
strike_rival() {
    amberfs archive "$kind" --env-file "$ENVFILE" >"$T/rival" 2>&1 ||
        grep -qE 'run by another|lock|fenced' "$T/rival" || fail "the rival: $(tail -n 1 "$T/rival")"
}
# PostgreSQL dies and is back at once, or only when the job has ended.
strike_crash() { pg_crash && pg_restart; }
strike_away() { pg_crash; }
heal_away() { pg_restart; }
# The connections are lost.
strike_drop() { our_sessions_end; }
# The disk is full to the last byte.
strike_full() {
    gate_open
    [ $full_disk = preload ] || cat /dev/zero >"$T/disk/filler" 2>/dev/null
}
heal_full() {
    rm -f "$T/disk/filler"
    gate_shut
}
# Each write takes half of its bytes; all writes, fsyncs or renames fail.
strike_short() { gate_open; }
heal_short() { gate_shut; }
strike_write() { gate_open; }
heal_write() { gate_shut; }
strike_fsync() { gate_open; }
heal_fsync() { gate_shut; }
strike_rename() { gate_open; }
heal_rename() { gate_shut; }
# The store's folder goes with all that is in it, and comes back empty.
strike_remove() { rm -rf "${STORE:?}"; }
heal_remove() { mkdir "$STORE"; }

# What a fault wishes of the preloaded library.
matrix_wish() { # FAULT
    case $1 in
    short) echo "write:0:SHORT" ;;
    write | fsync | rename) echo "$1:1:EIO+" ;;
    full) [ $full_disk = real ] || echo "write:1:ENOSPC+" ;;
    esac
}

# ---- a case ----

matrix_proxy_start() { # MOMENT N
    mkdir -p "$T/proxy"
    mkfifo "$T/proxy.said"
    exec {proxy_said}<>"$T/proxy.said" # the proxy must find a reader whenever it speaks
    "$PG_PROXY" "$T/proxy/.s.PGSQL.5432" "$T/pg/.s.PGSQL.5432" "archive $kind" "$@" >"$T/proxy.said" &
    proxy=$!
    read -r _ <&"$proxy_said"
}
# The proxy must have struck.
matrix_proxy_stop() {
    local word
    [ -n "$proxy" ] || return 0
    { kill "$proxy" && wait "$proxy"; } 2>/dev/null
    proxy=''
    echo nothing >&"$proxy_said"
    read -r word <&"$proxy_said"
    assert_eq "what the proxy did" lost "$word"
    exec {proxy_said}>&-
    rm -rf "$T/proxy" "$T/proxy.said"
}

# The daemon with these variables, NAME=VALUE each.
matrix_daemon() {
    local name
    for name; do local -x "$name"; done
    mount_start
}

# Trigger the job and tell when it has ended, which it may without having come to the point.
matrix_trigger() {
    {
        echo "$kind" >"$MNT/.control/trigger" && cat "$MNT/.control/wait/$kind"
        echo ended >"$T/step"
    } >"$T/result" 2>/dev/null &
    client=$!
}

# What the daemon needs for this case is left in $variables.
matrix_arm() { # POINT FAULT
    local wish
    wish=$(matrix_wish "$2")
    variables=()
    case $1 in
    commit:*)
        matrix_proxy_start "$2" "${1#*:}"
        variables+=("PGHOST=$T/proxy")
        ;;
    *@*) wish+="${wish:+,}${1%@*}:${1#*@}:PAUSE" ;;
    *) variables+=("AMBER_FAILPOINT=$1=pause") ;;
    esac
    [ -z "$wish" ] || variables+=("LD_PRELOAD=$fault_lib" "FAULT_IO=$wish" "FAULT_IO_DIR=$STORE"
        "FAULT_IO_GATE=$T/gate" "ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0")
}

# The first run, up to what is left when the daemon has gone.
matrix_strike() { # POINT FAULT
    local variables step
    matrix_arm "$@"
    step_begin
    matrix_daemon "${variables[@]}" || return
    : >"$T/gate.pause"
    matrix_trigger
    step_wait
    rm "$T/gate.pause"
    if [ "$step" != ended ]; then
        kill -STOP "$daemon"
        "strike_$2"
        if [ "$2" != kill ]; then
            kill -CONT "$daemon"
            step_go
        fi
    elif [ -z "$proxy" ]; then
        diag "$1 was never reached"
    fi
    wait "$client" 2>/dev/null
    client=''
    if declare -F "heal_$2" >/dev/null; then "heal_$2"; fi
    if [ "$2" = kill ] && [ "$step" != ended ]; then
        mount_wait_death
        assert_eq "the daemon's end" $((128 + $(kill -l KILL))) $status
    else
        mount_stop
    fi
    matrix_proxy_stop
    step_end
}

matrix_check() { # WHEN [OPTION...]
    local when=$1 tables findings
    shift
    read -ra tables < <(matrix_tables "$kind")
    findings=$(PGHOST=$T/pg "$lib/union_check.py" "$@" "$STORE" "${tables[@]}" 2>&1) && return
    fail "$when:"
    diag "$findings"
    return 1
}

# The whole story; false if a row is in no place or in two, or anything else went wrong.
matrix_case() { # KIND POINT FAULT CODEC WAY
    local kind=$1 expected_errors=("job $1: " "database" "commit marker")
    : >"$DAEMON_LOG"
    matrix_first_day "$kind" "$4" "$5" && matrix_strike "$2" "$3" || return
    matrix_daemon || return
    matrix_check "after the restart" --tree "$MNT"
    run_job "$kind" && assert_match "the next run" '^state: ok$' "$result"
    mount_stop
    matrix_check "after the next run" --settled
    assert_eq "rows still due" 0 "$(matrix_due "$kind")"
    [ $test_bad = 0 ]
}
