#!/usr/bin/env bash
# What the network and the server do wrong while a job archives to S3: what passes is tried again and
# the job ends well; what doesn't fails the job. Either way each row is in exactly one place.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"

# As impatient as the program allows where something never comes; the environment wins over the file.
impatient() { ARCHIVAL_S3_TIMEOUT=2 "$@"; }
archive_big() { ARCHIVAL_COMPRESSION=none amberfs archive big; }
# How many uploads in parts nobody has ended.
uploads() { s3 uploads archives/ </dev/null | wc -l; }

# Quick to check: two archives of one quarter.
one_quarter() {
    sql "delete from keep.evc where ev_id in (select id from keep.ev where at >= '2023-04-01');
         delete from keep.ev where at >= '2023-04-01'"
}

# Each request of a run meets one of the faults that pass, and in the next round another one.
test_every_request_of_a_run_is_tried_again() {
    local round i rules fault faults=(reset lose 'answer 500 InternalError' 'answer 503 SlowDown')
    for round in 1 2; do
        reset_small_job || return
        rules=("* * $((4 * round)) /20 hang") # each of them is waited for
        for i in "${!faults[@]}"; do rules+=("* * $(((i + 2 * round) % 4 + 1)) /4 ${faults[i]}"); done
        : >"$S3_LOG"
        s3_fault "${rules[@]}"
        ARCHIVAL_S3_TIMEOUT=12 assert_status 0 amberfs archive ev
        s3_fault
        for fault in "${faults[@]}" hang; do
            [ "$(s3_requests " ${fault%% *} ")" -ge 2 ] || fail "round $round: $fault struck too seldom"
        done
        each_row_once "round $round" --settled
        assert_eq "round $round: rows still due" 0 "$(sql "select count(*) from ev")"
    done
}

# From each request on, nothing works any more: the job fails, says why, and loses nothing. The next
# run begins with what the last one left, and is cut off a little later.
test_run_cut_off_at_any_request_loses_nothing() {
    local n total
    reset_small_job || return
    : >"$S3_LOG"
    assert_status 0 amberfs archive ev || return
    total=$(s3_requests .)
    reset_small_job || return
    for ((n = 1; n <= total; n += 3)); do
        s3_fault "* * $n 0 answer 403 AccessDenied"
        amberfs archive ev >/dev/null 2>"$T/.msg" </dev/null
        s3_fault
        each_row_once "from request $n on"
        # Behind COMMIT only the marker is missing, which is no failure of the job.
        if [ "$(sql "select count(*) from ev")" = 0 ]; then
            next_run_completes "from request $n on"
            reset_small_job || return
        else
            assert_match "from request $n on" ' 403' "$(cat "$T/.msg")"
        fi
    done
    next_run_completes "from the last request on"
}

test_hanging_server_fails_the_job_in_time() {
    reset_small_job || return
    s3_fault 'PUT .json.gz 1 0 hang'
    assert_status 1 impatient amberfs archive ev
    assert_match "message" 's3://test/archives/ev/.*\.json\.gz' "$msg"
    s3_fault
    each_row_once "hang"
    next_run_completes "hang"
}

# What was written is read back: what came down wrong isn't taken for an archive.
test_read_back_that_differs_keeps_the_rows() {
    local fault
    reset_small_job || return
    for fault in 'flip 70' 'shorten 50' 'body nonsense' 'cut 20' 'answer 404 NoSuchKey'; do
        s3_fault "GET .json.gz 1 0 $fault"
        assert_status 1 impatient amberfs archive ev
        s3_fault
        each_row_once "$fault"
    done
    next_run_completes "what differs"
}

# A name that is taken though nobody knew: nothing is overwritten.
test_existing_object_is_never_overwritten() {
    local name
    reset_small_job || return
    assert_status 0 amberfs archive ev || return
    name=$(store_keys ev/ | head -n 1)
    reset_small_job || return
    echo "a stranger's" | store_put "$name"
    amberfs archive ev >/dev/null 2>&1 # under another name, or not at all
    assert_eq "the stranger's object" "a stranger's" "$(store_cat "$name")"
    each_row_once "a stranger's object"
}

# Servers that don't know the condition, and those that ignore it: the run goes on, and what is there
# stays as it is.
test_server_without_conditions_is_written_to() {
    local name fault
    for fault in 'answer 501 NotImplemented' 'without If-None-Match'; do
        reset_small_job || return
        s3_fault "PUT if-none-match 1 0 $fault"
        : >"$S3_LOG"
        assert_status 0 amberfs archive ev
        [ "$(s3_requests " ${fault%% *} ")" -ge 1 ] || fail "$fault: did not strike"
        each_row_once "$fault" --settled
        name=$(store_keys ev/ | head -n 1)
        reset_small_job || return
        echo "a stranger's" | store_put "$name"
        amberfs archive ev >/dev/null 2>&1
        assert_eq "$fault: the stranger's object" "a stranger's" "$(store_cat "$name")"
        s3_fault
        each_row_once "$fault: a stranger's object"
    done
}

# An upload that is given up is aborted at once; a dead process's by the next run.
test_no_upload_is_left() {
    big_day || return
    s3_fault 'PUT partNumber=2& 1 0 answer 403 AccessDenied'
    assert_status 1 archive_big
    s3_fault
    assert_eq "uploads after a failure" 0 "$(uploads)"
    AMBER_FAILPOINT=put-complete archive_big >/dev/null 2>&1
    assert_eq "uploads of the dead" 1 "$(uploads)"
    assert_status 0 archive_big
    assert_eq "uploads after the next run" 0 "$(uploads)"
    assert_eq "rows" 0 "$(sql 'select count(*) from big')"
    # The exact texts of bounded arrays, which stand beside the archive.
    big_day && sql "alter table big alter note type text[] using ('[2:3]={' || note || ',' || reverse(note) || '}')::text[]"
    AMBER_FAILPOINT=put-complete:2 archive_big >/dev/null 2>&1
    assert_match "upload of the dead" 'archives/\.amberfs/attachments/big/' "$(s3 uploads archives/ </dev/null)"
    assert_status 0 archive_big
    assert_eq "uploads after the next run" 0 "$(uploads)"
}

# 11 MB of an archive, in two parts; each request of the upload meets a fault that passes.
test_upload_in_parts_survives_what_passes() {
    local rules fault
    while IFS='|' read -ra rules; do
        big_day || return
        : >"$S3_LOG"
        s3_fault "${rules[@]}"
        ARCHIVAL_S3_TIMEOUT=20 assert_status 0 archive_big # one hangs: it is waited for
        for fault in "${rules[@]}"; do
            [ "$(s3_requests " $(cut -d' ' -f 5 <<<"$fault") ")" -ge 1 ] || fail "$fault did not strike"
        done
        s3_fault
        assert_eq "$fault: rows" 0 "$(sql 'select count(*) from big')"
        assert_eq "$fault: uploads left" 0 "$(uploads)"
        assert_eq "$fault: content" "$big" "$(store_cat "$(store_keys big/)" | jq -r .note | sort | md5sum)"
    done <<'END'
POST uploads= 1 1 lose|PUT partNumber=1& 1 1 reset|PUT partNumber=2& 1 1 lose|POST uploadId= 1 1 answer 503 SlowDown
PUT partNumber=1& 1 2 answer 503 SlowDown|PUT partNumber=2& 1 1 hang|POST uploadId= 1 1 lose|HEAD big/ 2 1 reset
POST uploadId= 1 1 body <Error><Code>InternalError</Code><Message>try again</Message></Error>
END
}

# big_day: table big with 22,000 rows of one day, as on the first day.
big_day() {
    store_make
    sql "set client_min_messages = error; drop schema if exists amberfs cascade;
         drop view if exists public.archived_partitions, public.database_size_stats;
         drop table if exists big; create table big as table keep.big"
    amberfs init >/dev/null
}

pg_start
s3_proxy_start
make_small_job 60
one_quarter
sql "create table keep.big as select i as id, timestamptz '2023-02-01 10:00Z' as at,
         (select string_agg(md5(i::text || j), '') from generate_series(1, 14) j) as note from generate_series(1, 22000) i"
big=$(sql "select note from keep.big" | sort | md5sum)
jq '.jobs += [{name: "big", tables: [{schema: "public", name: "big", folder: "big"}], time_column: "at",
    retention_days: 30}]' "$T/jobs.json" >"$T/jobs" && mv "$T/jobs" "$T/jobs.json"
echo ARCHIVAL_S3_TIMEOUT=60 >>"$ENVFILE"

tap_run test_every_request_of_a_run_is_tried_again \
    test_run_cut_off_at_any_request_loses_nothing \
    test_hanging_server_fails_the_job_in_time \
    test_read_back_that_differs_keeps_the_rows \
    test_existing_object_is_never_overwritten \
    test_server_without_conditions_is_written_to \
    test_no_upload_is_left \
    test_upload_in_parts_survives_what_passes
