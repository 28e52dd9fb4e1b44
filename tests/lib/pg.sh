# shellcheck shell=bash
# pg.sh - a private PostgreSQL server for tests, to be sourced by bash scripts.
#
#   . tests/lib/pg.sh
#   pg_start [DIR]    make a cluster and a server in the new folder DIR and wait until it answers;
#                     exports PGHOST, PGPORT, PGUSER, PGDATABASE (superuser postgres, no password)
#   pg_stop [DIR]     stop that server and remove DIR; harmless if there is none
#   pg_stop_all       the same for every server that this shell started
#   pg_crash [DIR]    SIGQUIT, no shutdown checkpoint; pg_restart DIR starts it again
# Without DIR: $T/pg, in a test file with tap.sh.
#
# The server listens on a unix socket in DIR only. PostgreSQL refuses to run as root: then it runs
# as the user postgres, for which the folders above DIR must be passable. The first pg_start has
# pg_stop_all called at the end: by tap.sh's at_exit, or by an EXIT trap unless the script has one,
# which then must call it. Without
# PostgreSQL's programs pg_start exits with 77, which means "skipped".

PG_STARTED=()

# The newest installed programs.
pg_bindir() {
    local dir best=
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        [ -x "$dir/initdb" ] || continue
        if [ -z "$best" ] || [ "$(printf '%s\n%s\n' "$best" "$dir" | sort -V | tail -1)" = "$dir" ]; then
            best=$dir
        fi
    done
    if [ -z "$best" ] && command -v pg_config >/dev/null && [ -x "$(pg_config --bindir)/initdb" ]; then
        best=$(pg_config --bindir)
    fi
    [ -n "$best" ] && printf '%s\n' "$best"
}

# Run a server program as a user that PostgreSQL accepts, away from whatever the shell has open.
pg_as() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/ "$@"
    else
        "$@"
    fi
}

pg_start() {
    local dir=${1:-${T:?is set by tap.sh}/pg} bin
    bin=$(pg_bindir) || {
        echo "skipped: PostgreSQL's server programs (initdb) aren't installed" >&2
        exit 77
    }
    if [ "$(id -u)" = 0 ] && ! id postgres >/dev/null 2>&1; then
        echo "skipped: running as root, and there is no user postgres for the server" >&2
        exit 77
    fi
    mkdir "$dir" || return 1
    dir=$(cd "$dir" && pwd -P)
    if [ ${#dir} -gt 80 ]; then
        echo "pg_start: $dir is too long for a unix socket: set TMPDIR to a shorter folder" >&2
        return 1
    fi
    if [ ${#PG_STARTED[@]} -gt 0 ]; then
        :
    elif declare -F at_exit >/dev/null; then
        at_exit pg_stop_all
    elif [ -z "$(trap -p EXIT)" ]; then
        trap pg_stop_all EXIT
    fi
    PG_STARTED+=("$dir")
    if [ "$(id -u)" = 0 ]; then
        chown postgres:postgres "$dir"
        if ! pg_as test -x "$dir"; then
            echo "pg_start: the user postgres can't pass to $dir: chmod 711 the folders above it" >&2
            return 1
        fi
    fi
    chmod 711 "$dir"
    if ! pg_as "$bin/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 \
        --locale=C.UTF-8 --pgdata="$dir/data" >"$dir/initdb.log" 2>&1; then
        cat "$dir/initdb.log" >&2
        return 1
    fi
    pg_as tee -a "$dir/data/postgresql.conf" >/dev/null <<END
listen_addresses = ''
unix_socket_directories = '$dir'
unix_socket_permissions = 0700
port = 5432
fsync = off
shared_buffers = 32MB
max_connections = 60
log_line_prefix = '%m [%p] %a '
END
    pg_restart "$dir" || return 1
    export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# pg_ctl would leave the server with our descriptors: a pipe that waits for its end would hang.
pg_restart() {
    local dir=${1:-$T/pg}
    if ! pg_as "$(pg_bindir)/pg_ctl" --pgdata="$dir/data" --log="$dir/server.log" --silent \
        --timeout=60 --wait start </dev/null >"$dir/pg_ctl.log" 2>&1; then
        cat "$dir/pg_ctl.log" "$dir/server.log" >&2
        return 1
    fi
}

pg_crash() {
    local dir=${1:-$T/pg}
    pg_as "$(pg_bindir)/pg_ctl" --pgdata="$dir/data" --silent --mode=immediate --wait stop </dev/null >/dev/null
}

pg_stop() {
    local dir=${1:-$T/pg} i
    [ -d "$dir" ] || return 0
    dir=$(cd "$dir" && pwd -P)
    if [ -f "$dir/data/postmaster.pid" ]; then
        pg_crash "$dir" || true
    fi
    rm -rf "$dir"
    for i in "${!PG_STARTED[@]}"; do
        [ "${PG_STARTED[$i]}" != "$dir" ] || unset "PG_STARTED[$i]"
    done
}

pg_stop_all() {
    local dir
    for dir in "${PG_STARTED[@]}"; do
        pg_stop "$dir"
    done
}

