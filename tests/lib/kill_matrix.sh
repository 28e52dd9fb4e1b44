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
#          large        one table, 9 MB of it in one unit (an upload in parts if the codec is none)
#   POINT  STEP[:N]     the N-th pass of a step of docs/architecture.md
#          OPERATION@N  the N-th operation of tests/lib/fault_io.c
#          commit:N     the N-th unit's COMMIT; the faults before, during and after only
#   WAY    polite, or fast: several connections, and rows are deleted while the archive is read back
#   FAULT  as the functions strike_FAULT and heal_FAULT below say, and for what only a folder or only
#          a bucket can suffer (STORE_KIND, see store.sh) kill_matrix_local.sh and kill_matrix_s3.sh,
#          which give
#            matrix_put_steps, matrix_store_faults, matrix_operations   what they add to the product
#            matrix_foreign_steps  a regex for what docs/architecture.md says of the other kind's steps
#            matrix_store_begin    called once, before there is a database
#            matrix_arm_store FAULT  adds to $variables, or gives $wish: what is to fail (fault_io.c)
#            matrix_store_wait FAULT  until it shall be healed, if before the job's end
#            matrix_store_struck FAULT  whether the fault came to anything
#            matrix_store_left     lines about what no settled store has and union_check.py can't see
#
# The daemon says that it has come to the point and waits there: nothing is waited for by the clock.
# It is under SIGSTOP while the fault strikes, and goes on then.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tests/lib/mount.sh
. "$lib/mount.sh"
: "${FAULT_IO:?names the library of tests/lib/fault_io.c}" "${PG_PROXY:?names the proxy of tests/lib/pg_proxy.c}"

# shellcheck source=tests/lib/kill_matrix_local.sh
. "$lib/kill_matrix_$STORE_KIND.sh"
matrix_kinds=(single family partitioned condition)
[ "$STORE_KIND" = local ] || matrix_kinds+=(large)
# In the order of docs/architecture.md; test_every_step_is_in_the_matrix compares.
matrix_steps=(run-recorded unit-begin name-reserved export-leaf export-done "${matrix_put_steps[@]}"
    archive-durable manifest-durable proof-done replicas-durable
    delete-table delete-done recorded commit-before commit-after committed marker-durable)
matrix_faults=(kill overtake rival crash away drop remove "${matrix_store_faults[@]}")
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
    matrix_store_begin
    pg_start
    matrix_rows=$1
    cat >"$T/jobs.json" <<'END'
{"version": 1, "jobs": [
  {"name": "single", "tables": [{"name": "log"}], "time_column": "at"},
  {"name": "family", "tables": [{"name": "ev"}, {"name": "evc", "parent": "ev"}], "time_column": "at"},
  {"name": "partitioned", "tables": [{"name": "part"}], "time_column": "at"},
  {"name": "condition", "tables": [{"name": "cond"}], "time_column": "at", "where": "state <> 'open'"},
  {"name": "large", "tables": [{"name": "big"}], "time_column": "at"}]}
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
         create table cond (like log including all, state text);
         create table keep.big as select i::bigint as id, timestamptz '2023-01-01 00:00Z' + i % 80 * interval '1 day' + i / 1300 * interval '90 days' as at,
             repeat('x', 7000) as note from generate_series(0, 1319) i;
         create table big (like log including all)" >/dev/null || skip_all "the tables can't be made"
}

sql() { PGHOST=$T/pg psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

matrix_tables() { # KIND: its tables, parents first
    case $1 in
    single) echo log ;;
    family) echo ev evc ;;
    partitioned) echo part ;;
    condition) echo cond ;;
    large) echo big ;;
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
        store_make &&
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
    local wish=''
    variables=()
    matrix_arm_store "$2"
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

# A case that didn't do what it is for: not every drawn one can.
matrix_missed() { diag "$1"; }

# The first run, up to what is left when the daemon has gone.
matrix_strike() { # POINT FAULT
    local variables step reached
    matrix_arm "$@"
    step_begin
    matrix_daemon "${variables[@]}" || return
    : >"$T/gate.pause"
    matrix_trigger
    step_wait
    reached=$step
    rm "$T/gate.pause"
    if [ "$reached" != ended ]; then
        kill -STOP "$daemon"
        "strike_$2"
        if [ "$2" != kill ]; then
            kill -CONT "$daemon"
            step_go
            matrix_store_wait "$2"
        fi
    elif [ -z "$proxy" ]; then
        matrix_missed "$1 was never reached"
    fi
    if declare -F "heal_$2" >/dev/null; then
        [ "$step" = again ] || wait "$client" 2>/dev/null
        "heal_$2"
    fi
    wait "$client" 2>/dev/null
    client=''
    [ "$reached" = ended ] || matrix_store_struck "$2" || matrix_missed "$2 struck nothing"
    if [ "$2" = kill ] && [ "$reached" != ended ]; then
        mount_wait_death
        assert_eq "the daemon's end" $((128 + $(kill -l KILL))) $status
    else
        mount_stop
    fi
    matrix_proxy_stop
    step_end
}

matrix_check() { # WHEN [OPTION...]
    local when=$1 tables findings status
    shift
    read -ra tables < <(matrix_tables "$kind")
    store_fetch
    findings=$(PGHOST=$T/pg "$lib/union_check.py" "$@" "$STORE" "${tables[@]}" 2>&1
        status=$?
        [[ $* != *--settled* ]] || matrix_store_left
        exit $status) && [ -z "$findings" ] && return
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

# ---- a list of cases as a test file ----

cases=()
# A case with the next job kind (unless one is given), codec and way.
matrix_add() { # POINT FAULT [KIND]
    local codecs=(gzip zstd none) ways=(polite fast) i=${#cases[@]}
    local kind=${3:-${matrix_kinds[i % 4]}} codec=${codecs[i % 3]}
    [ "$kind" != large ] || codec=none
    cases+=("$kind $1 $2 $codec ${ways[i / 4 % 2]}")
}

# All cases (or this build's part, see `sliced`) on tables as matrix_begin makes them, and whether the
# matrix knows all steps. Each of these cases must come to its point.
matrix_run() { # ROWS [BYTES]
    local tests=(test_every_step_is_in_the_matrix) i name
    matrix_missed() { fail "$1"; }
    sliced cases
    for i in "${!cases[@]}"; do
        name=test_${cases[i]//[^a-z0-9]/_}
        eval "$name() { matrix_case ${cases[i]}; }"
        tests+=("$name")
    done
    matrix_begin "$@"
    tap_run "${tests[@]}"
}

# The steps that the documents name and the sources pass.
test_every_step_is_in_the_matrix() {
    local documented passed top=$lib/../..
    documented=$(sed -n '/^| step | what happens/,/^$/p' "$top/docs/architecture.md" |
        cut -d '|' -f 4 | sed -E "s/$matrix_foreign_steps//g" | grep -oE '`[a-z-]+`' | tr -d '`')
    assert_eq "steps of docs/architecture.md" "$documented" "$(printf '%s\n' "${matrix_steps[@]}")"
    passed=$(cd "$top/src" && grep -ohE 'amber_failpoint\("[a-z-]+"' job/*.c pg/*.c store/store_"$STORE_KIND"*.c |
        cut -d '"' -f 2 | grep -vx replica-copied | sort) # behind the commit: test_replicas.sh
    assert_eq "steps of the sources" "$passed" "$(printf '%s\n' "${matrix_steps[@]}" | sort)"
}
