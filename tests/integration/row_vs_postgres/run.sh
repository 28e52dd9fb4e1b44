#!/usr/bin/env bash
# run.sh DRIVER: make the tables on a private server and let DRIVER compare.
here=$(cd "$(dirname "$0")" && pwd -P)
# shellcheck source=tests/lib/tap.sh
. "$here/../../lib/tap.sh"
# shellcheck source=tests/lib/pg.sh
. "$here/../../lib/pg.sh"

pg_start "$T/pg"
psql -X -q -v ON_ERROR_STOP=1 -f "$here/tables.sql" >"$T/psql.log" 2>&1 || {
    echo "Bail out! tables.sql: $(tail -n 3 "$T/psql.log")"
    exit 1
}
"$1"
