#!/usr/bin/env bash
# Memory is bounded whatever the size: a job over a table of a million rows, a read of an archive of
# more than 2 GB through the mount. The numbers are the kernel's own high-water marks.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }
rss_kib() { sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB/\1/p" "/proc/$daemon/status"; }
# Forget the highest mark so far.
forget_peak() { echo 5 >"/proc/$daemon/clear_refs"; }

# within MIB WHAT COMMAND...: how much the daemon's peak is above its memory before the command.
within() {
    local limit=$1 what=$2 idle peak
    shift 2
    idle=$(rss_kib VmRSS)
    forget_peak || { skip "the high-water mark can't be reset"; return; }
    "$@" || fail "$what failed"
    peak=$(rss_kib VmHWM)
    diag "$what: $(((peak - idle) / 1024)) MiB above $((idle / 1024)) MiB"
    [ $(((peak - idle) / 1024)) -le "$limit" ] || fail "$what took more than $limit MiB"
}

test_job_over_a_million_rows() {
    within 128 "the job" run_job rows
    assert_match "result" '^rows: 1000000$' "$result"
}
test_reading_a_large_archive() {
    local size
    run_job large
    assert_match "result" '^state: ok$' "$result"
    size=$(stat -c %s "$MNT"/large/*.json)
    [ "$size" -gt 2147483648 ] || fail "the archive has only $size bytes"
    within 64 "reading $((size >> 20)) MiB" sh -c "cat $MNT/large/*.json | wc -c >$T/size"
    assert_eq "bytes read" "$size" "$(tr -d ' ' <"$T/size")"
    within 64 "reading it again from four places" sh -c "
        for skip in 0 500 1000 1500; do
            tail -c +\$((skip << 20)) $MNT/large/*.json | head -c 300000000 >/dev/null &
        done
        wait"
}
test_daemon_ends_cleanly() { mount_stop; }

pg_start
# Wide rows that compress well: 2.2 GB of JSON, little on the disk.
sql "create table rows as select i as id, '2024-01-01'::timestamptz + i * interval '1 second' as at, md5(i::text) as a, jsonb_build_object('n', i, 'text', repeat(md5((i / 7)::text), 3)) as doc
     from generate_series(1, 1000000) i;
     create table large (id int, at timestamptz, t text);
     alter table large alter column t set compression $(sql "select case when 'lz4' = any (enumvals) then 'lz4' else 'pglz' end
         from pg_settings where name = 'default_toast_compression'");
     insert into large select i, '2024-01-01', md5(i::text) || repeat('the same text again and again, ', 34000) from generate_series(1, 2100) i" >/dev/null
echo '{"version":1,"jobs":[{"name":"rows","time_column":"at","tables":[{"name":"rows"}]},
    {"name":"large","time_column":"at","tables":[{"name":"large"}]}]}' >"$T/jobs.json"
write_env "ARCHIVAL_JOBS_FILE=$T/jobs.json" ARCHIVAL_COMPRESSION=zstd
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1
mount_start || exit 1

tap_run test_job_over_a_million_rows test_reading_a_large_archive test_daemon_ends_cleanly
