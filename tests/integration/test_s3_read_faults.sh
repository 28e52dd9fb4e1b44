#!/usr/bin/env bash
# What the network and the server do wrong while archives are read, checked and listed: what passes
# is tried again unseen, what doesn't is an error that says why; never wrong bytes, never a hang.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"

# sql TEXT: its result, unaligned.
sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

name=ev/ev_2023-02-01_to_2023-02-01.json
stored=/archives/$name.gz
# As impatient as the program allows where something never comes.
impatient() { ARCHIVAL_S3_TIMEOUT=2 "$@"; }
# Where single tries never end: each is waited for, 2 s. A busy server may take as long to answer.
waiting() {
    case $1 in
    hang | drip) ARCHIVAL_S3_TIMEOUT=8 "${@:2}" ;;
    *) "${@:2}" ;;
    esac
}
cat_it() { amberfs cat "$name" --env-file "$ENVFILE"; }
# rule N COUNT FAULT...: for GETs of the archive.
rule() { s3_fault "GET $stored $1 $2 ${*:3}"; }
# nothing_wrong WHAT: what came out is the beginning of what is right.
nothing_wrong() {
    cmp -n "$(stat -c %s "$T/.out")" "$good" "$T/.out" >/dev/null || fail "$1: wrong bytes"
}

# Every request of a reader meets it once: the reader sees nothing of it.
test_what_passes_is_tried_again_unseen() {
    local fault
    for fault in reset lose hang drip 'cut 10' 'answer 500 InternalError' 'answer 503 SlowDown' \
        'answer 429 TooManyRequests' 'answer 400 RequestTimeout'; do
        : >"$S3_LOG"
        rule 1 /1 "$fault"
        assert_status 0 waiting "$fault" cat_it && assert_same "$fault" "$good" "$T/.out"
        [ "$(s3_requests " ${fault%% *} ")" -ge 2 ] || fail "$fault: struck $(s3_requests " ${fault%% *} ") times"
    done
}

test_slow_down_many_times_is_waited_for() {
    rule 2 4 answer 503 SlowDown
    assert_status 0 cat_it
    assert_same "content" "$good" "$T/.out"
}

# Each: what the server does forever, from the 2nd request on, and what the message must say. Each
# with an archive of its own, so that all wait at the same time.
test_what_does_not_pass_is_an_error_that_says_why() {
    local fault pattern month=3 rules=() readers=() archive i pid
    while IFS='|' read -r fault pattern; do
        archive=ev/ev_2023-0$month-01_to_2023-0$month-01.json
        rules+=("GET /archives/$archive.gz 2 0 $fault")
        readers+=("$archive|$fault|$pattern")
        month=$((month + 1))
    done <<'END'
hang|[Tt]ime|tried
drip|slow|[Tt]ime
reset|reset
cut 10|early|closed
answer 503 SlowDown|SlowDown
answer 500 InternalError|InternalError.*test-request
END
    s3_fault "${rules[@]}"
    for i in "${!readers[@]}"; do
        impatient amberfs cat "${readers[i]%%|*}" --env-file "$ENVFILE" >"$T/out.$i" 2>"$T/msg.$i" </dev/null &
        readers[i]="$!|${readers[i]}"
    done
    for i in "${!readers[@]}"; do
        IFS='|' read -r pid archive fault pattern <<<"${readers[i]}"
        wait "$pid"
        assert_eq "$fault: status" 1 $?
        store_cat "$archive.gz" | gunzip -c >"$T/right"
        cmp -n "$(stat -c %s "$T/out.$i")" "$T/right" "$T/out.$i" >/dev/null || fail "$fault: wrong bytes"
        assert_match "$fault" "$archive" "$(cat "$T/msg.$i")"
        assert_match "$fault" "$pattern" "$(cat "$T/msg.$i")"
    done
}

# At once: the first answer is the last.
test_what_can_not_pass_fails_at_once() {
    local fault pattern
    while IFS='|' read -r fault pattern; do
        rule 2 0 "$fault"
        assert_status 1 cat_it
        nothing_wrong "$fault"
        assert_match "$fault" "$pattern" "$msg"
        assert_eq "$fault: tried again" "" "$(grep -E 'tried [0-9]+ times' <<<"$msg")"
    done <<'END'
answer 403 AccessDenied|AccessDenied.*test-request
answer 403 RequestTimeTooSkewed|clock
answer 403 InvalidAccessKeyId|InvalidAccessKeyId
answer 403 SignatureDoesNotMatch|SignatureDoesNotMatch
answer 301 PermanentRedirect eu-north-1|ARCHIVAL_S3_REGION.*eu-north-1|eu-north-1.*ARCHIVAL_S3_REGION
answer 404 NoSuchKey|NoSuchKey|not found|no such
answer 404 NoSuchBucket|NoSuchBucket
answer 412 PreconditionFailed|replaced
END
}

test_damaged_bytes_are_never_served() {
    local fault n
    for fault in 'flip 0' 'flip 5000' 'flip 99999999' 'shorten 100' 'body garbage'; do
        for n in 1 2; do
            rule $n 0 "$fault"
            assert_status 1 impatient cat_it
            nothing_wrong "$fault from $n on"
        done
        rule 2 1 "$fault" # once: either is right
        cat_it >"$T/.out" 2>/dev/null && assert_same "$fault once" "$good" "$T/.out"
        nothing_wrong "$fault once"
    done
}

# A reader without the database needs them all.
cat_alone() { PGHOST=/nowhere cat_it; }
test_manifest_and_markers_meet_the_same() {
    local what fault rules parts=(/archives/.amberfs/manifests/ /archives/.amberfs/commits/ 'prefix=')
    for fault in reset 'answer 503 SlowDown' 'cut 5' hang; do
        : >"$S3_LOG"
        rules=("${parts[@]/#/GET }")
        s3_fault "${rules[@]/%/ 1 /1 $fault}"
        assert_status 0 waiting "$fault" cat_alone && assert_same "$fault" "$good" "$T/.out"
        for what in "${parts[@]}"; do
            [ "$(s3_requests "$what.* ${fault%% *} ")" -ge 1 ] || fail "$fault: never at $what"
        done
    done
    for what in "${parts[@]}"; do
        for fault in 'flip 60' 'shorten 30' 'body <nonsense' 'body {}' 'answer 403 AccessDenied'; do
            s3_fault "GET $what 1 0 $fault"
            cat_alone >"$T/.out" 2>"$T/.msg" && assert_same "$what $fault" "$good" "$T/.out"
            nothing_wrong "$what $fault"
        done
    done
}

test_listing_that_is_wrong_is_an_error() {
    local fault
    for fault in 'shorten 300' 'body <ListBucketResult>' 'body <html><body>proxy</body></html>' 'body <Error><Code>InternalError</Code></Error>' \
        'body <ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>' 'answer 403 AccessDenied'; do
        s3_fault "GET prefix= 1 0 $fault"
        assert_status 1 env PGHOST=/nowhere "$AMBERFS" list --env-file "$ENVFILE"
        assert_eq "$fault: archives listed" "" "$(grep "$name" <<<"$out")"
    done
    for fault in reset 'answer 503 SlowDown' 'cut 300' hang; do
        s3_fault "GET prefix= 1 /1 $fault"
        assert_status 0 waiting "$fault" env PGHOST=/nowhere "$AMBERFS" list --env-file "$ENVFILE"
        assert_match "$fault" "$name" "$out"
    done
}

test_verify_tells_trouble_of_the_network_from_damage() {
    rule 2 1 reset
    assert_status 0 amberfs verify "$name" --env-file "$ENVFILE"
    rule 2 0 answer 503 SlowDown
    assert_status 1 impatient amberfs verify "$name" --env-file "$ENVFILE"
    assert_match "503" 'SlowDown' "$out$msg"
    assert_eq "503: called damaged" "" "$(grep -i 'corrupt' <<<"$out$msg")"
    rule 2 0 flip 5000
    assert_status 1 amberfs verify "$name" --env-file "$ENVFILE"
    assert_match "flip" 'damaged' "$out"
    s3_fault
    assert_status 0 amberfs verify "$name" --env-file "$ENVFILE"
}

test_reading_asks_for_each_byte_once() {
    local size asked
    s3_fault
    : >"$S3_LOG"
    assert_status 0 cat_it
    assert_eq "requests made twice" "" "$(sort "$S3_LOG" | uniq -d)"
    size=$(store_list "$name" | cut -d' ' -f 1)
    asked=$(awk -v key="$stored" 'index($2, key) && $5 ~ /-/ { split($5, r, "-"); n += r[2] - r[1] + 1 } END { print n }' "$S3_LOG")
    # What opening asks for is known to the reader, whose first block may still be asked for whole.
    [ "$asked" -le $((size + 65536)) ] || fail "$asked bytes asked for, the archive has $size"
}

# Through the mount: errno, other archives, the next try, Ctrl-C.
test_mount_gives_eio_and_goes_on() {
    expect_error "$name"
    expect_error 'SlowDown|AccessDenied|slow|time'
    ARCHIVAL_S3_TIMEOUT=8 mount_start || return
    rule 2 0 answer 403 AccessDenied
    assert_status 1 cat "$MNT/$name"
    assert_match "AccessDenied" 'Permission denied|Input/output error' "$msg"
    nothing_wrong "through the mount"
    assert_status 0 cat "$MNT/ev/ev_2023-03-01_to_2023-03-01.json"
    rule 1 0 hang
    assert_status 1 cat "$MNT/$name"
    assert_match "hang" 'timed out|Input/output error' "$msg"
    s3_fault
    assert_status 0 cat "$MNT/$name"
    assert_same "afterwards" "$good" "$T/.out"
    mount_stop
}

# Another object under the name while a reader has the archive open: he gets what was fetched before,
# or an error, and no mix of both; who opens it then gets an error.
test_replaced_object_is_an_error() {
    local fd
    s3_fault
    expect_error "$name"
    mount_start || return
    exec {fd}<"$MNT/$name"
    dd bs=10 count=1 status=none <&"$fd" >"$T/first"
    store_cat "$name.gz" >"$T/kept"
    { cat "$T/kept" && echo; } | store_put "$name.gz"
    cat <&"$fd" 2>/dev/null | cat "$T/first" - >"$T/.out"
    nothing_wrong "opened before"
    exec {fd}<&-
    mount_stop
    assert_status 1 cat_it
    assert_match "opened afterwards" "$name" "$msg"
    nothing_wrong "opened afterwards"
    store_put "$name.gz" <"$T/kept"
    assert_status 0 cat_it && assert_same "put back" "$good" "$T/.out"
}

# No program expects EINTR from a plain file: who was only stopped gets what he asked for.
test_stopped_reader_goes_on() {
    local reader
    ARCHIVAL_S3_TIMEOUT=8 mount_start || return
    rule 1 1 hang
    : >"$S3_LOG"
    cat "$MNT/$name" >"$T/.out" 2>"$T/.msg" &
    reader=$!
    wait_until s3_requests ' hang '
    stop_and_continue $reader
    wait $reader
    assert_eq "the reader's status; $(cat "$T/.msg")" 0 $?
    assert_same "content" "$good" "$T/.out"
    s3_fault
    mount_stop
}

test_blocked_reader_can_be_interrupted() {
    local reader
    ARCHIVAL_S3_TIMEOUT=3600 mount_start || return
    rule 1 0 hang
    : >"$S3_LOG"
    (trap - INT; exec cat "$MNT/$name" >/dev/null 2>&1) &
    reader=$!
    wait_until s3_requests ' hang '
    kill -0 $reader 2>/dev/null || fail "the reader isn't blocked"
    stop_and_continue $reader # it goes on waiting, and can still be interrupted
    kill -INT $reader
    wait $reader
    assert_eq "the reader's end" $((128 + 2)) $?
    s3_fault
    assert_status 0 cat "$MNT/$name"
    assert_same "the next reader" "$good" "$T/.out"
    mount_stop
}

pg_start
sql "create table ev (id bigint, at timestamptz, note text);
     insert into ev select i, '2023-02-01 10:00Z', (select string_agg(md5(i::text || j), '') from generate_series(1, 4) j)
         from generate_series(1, 8000) i;
     insert into ev select id, make_timestamptz(2023, 3 + id::int % 6, 1, 10, 0, 0, 'UTC'), note
         from ev cross join generate_series(1, 2)"
cat >"$T/jobs.json" <<'END'
{"version": 1, "jobs": [{"name": "ev", "tables": [{"schema": "public", "name": "ev", "folder": "ev"}],
  "time_column": "at", "retention_days": 30, "period": "month"}]}
END
s3_proxy_start
# No cache on disk: each reader asks the server.
write_env "ARCHIVAL_JOBS_FILE=$T/jobs.json" ARCHIVAL_BLOCK_SIZE=64K ARCHIVAL_CACHE_DISK_BYTES=0
assert_status 0 amberfs init --env-file "$ENVFILE" && assert_status 0 amberfs archive ev --env-file "$ENVFILE" || exit 1
good=$T/good
store_cat "$name.gz" | gunzip -c >"$good"

tap_run test_what_passes_is_tried_again_unseen \
    test_slow_down_many_times_is_waited_for \
    test_what_does_not_pass_is_an_error_that_says_why \
    test_what_can_not_pass_fails_at_once \
    test_damaged_bytes_are_never_served \
    test_manifest_and_markers_meet_the_same \
    test_listing_that_is_wrong_is_an_error \
    test_verify_tells_trouble_of_the_network_from_damage \
    test_reading_asks_for_each_byte_once \
    test_mount_gives_eio_and_goes_on \
    test_replaced_object_is_an_error \
    test_stopped_reader_goes_on \
    test_blocked_reader_can_be_interrupted
