# shellcheck shell=bash
# The demo's six tables, small, with a copy of all their rows in schema keep: what the built-in jobs
# should move is said here once more, in plain SQL, independent of the program. Sourced
# behind mount.sh.

demo_tables=(flow_execution_logs flow_execution_sessions flow_execution_deltas
    call_sessions call_events memory_chunks)

# sql TEXT: its result, unaligned.
sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

make_demo_data() { # ROWS
    local table
    export PGTZ=UTC
    psql -Xq -v rows="$1" -f "$here/../../scripts/demo.sql" >/dev/null || skip_all "the demo's data could not be made"
    sql 'create schema keep; create schema loaded' >/dev/null
    for table in "${demo_tables[@]}"; do
        sql "create table keep.$table as table public.$table; create table loaded.$table (doc jsonb)" >/dev/null
    done
}

# due TABLE: the condition on keep.TABLE for rows that the built-in jobs move today.
due() {
    local today="(now() at time zone 'UTC')::date"
    case $1 in
    flow_execution_logs) echo "(created_at < $today - 90)" ;;
    flow_execution_sessions) echo "(created_at < $today - 90 and ended_at is not null)" ;;
    flow_execution_deltas) echo "(session_id in (select id from keep.flow_execution_sessions where $(due flow_execution_sessions)))" ;;
    call_sessions) echo "(started_at < $today - interval '12 months')" ;;
    call_events) echo "(call_session_id in (select id from keep.call_sessions where $(due call_sessions)))" ;;
    memory_chunks) echo "(coalesce(expires_at < $today, false))" ;;
    esac
}

folder_of() {
    case $1 in
    flow_execution_*) echo "flow_${1#flow_execution_}" ;;
    *) echo "$1" ;;
    esac
}

# load_archives TABLE FILE...: the files' lines into loaded.TABLE, replacing what is there.
load_archives() {
    local table=$1
    shift
    psql -Xq -v ON_ERROR_STOP=1 -c "truncate loaded.$table"
    # Lines as they are: no delimiter, quote or escape that occurs in JSON.
    cat -- "$@" | psql -Xq -v ON_ERROR_STOP=1 \
        -c "copy loaded.$table from stdin (format csv, delimiter e'\\x02', quote e'\\x01')"
}

# Everything that a dry run must not change: rows, catalog, stored files.
everything() {
    local table
    for table in "${demo_tables[@]}"; do
        sql "select '$table', count(*), md5(string_agg(t::text, '' order by t::text)) from $table t"
    done
    sql "select 'runs', count(*) from amberfs.runs"
    sql "select relname, relfilenode from pg_class where relnamespace in ('public'::regnamespace, 'amberfs'::regnamespace) order by 1"
    store_list
}
