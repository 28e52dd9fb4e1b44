#!/usr/bin/env bash
# What amberfs may and may not do with a bucket: keys that can't remove, buckets that keep everything,
# and each way of not getting in, told by a message that says what to do.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"

# in_bucket NAME [HEADER...]: a new bucket for what follows.
in_bucket() {
    export S3_BUCKET=$1
    shift
    s3 request PUT '' "$@" </dev/null | head -n 1 | grep -qx 200 || fail "bucket $S3_BUCKET can't be made"
    write_small_job
}
# A whole run in the bucket of now, and the proof that it was right.
whole_run() { # WHEN
    sql "set client_min_messages = error; drop schema if exists amberfs cascade;
         drop view if exists public.archived_partitions, public.database_size_stats;
         truncate ev cascade; insert into ev table keep.ev; insert into evc table keep.evc"
    assert_status 0 amberfs init && assert_status 0 amberfs archive ev || return
    each_row_once "$1" --settled
    assert_status 0 amberfs verify --all
}
# refused PATTERN NAME=VALUE...: with these settings the program doesn't get in, and says why.
refused() {
    assert_status 1 env "${@:2}" "$AMBERFS" list --env-file "$ENVFILE"
    assert_match "${*:2}" "$1" "$msg"
    ! grep -qF "$S3_SECRET_KEY" <<<"$msg" || fail "the message has the secret key: $msg"
}

test_three_actions_are_enough() {
    in_bucket rights
    "$s3_server" admin "$T/s3" user create --uid=archiver --display-name=archiver \
        --access-key=archiverkey --secret-key=archiversecret >/dev/null 2>&1 || fail "no second user"
    jq -n '{Version: "2012-10-17", Statement: [
        {Effect: "Allow", Principal: {AWS: "arn:aws:iam:::user/archiver"}, Action: ["s3:PutObject", "s3:GetObject"], Resource: "arn:aws:s3:::rights/*"},
        {Effect: "Allow", Principal: {AWS: "arn:aws:iam:::user/archiver"}, Action: "s3:ListBucket", Resource: "arn:aws:s3:::rights"}]}' |
        s3 request PUT '?policy' | head -n 1 | grep -qE '^20[04]$' || fail "no policy"
    local -x S3_ACCESS_KEY=archiverkey S3_SECRET_KEY=archiversecret # whose objects they are
    write_small_job
    whole_run "without DeleteObject"
    # What a dead run left can't be removed: no failure, and the next run goes on.
    sql "insert into ev table keep.ev; insert into evc table keep.evc"
    AMBER_FAILPOINT=proof-done amberfs archive ev >/dev/null 2>&1
    echo ARCHIVAL_ORPHAN_DAYS=0 >>"$ENVFILE"
    assert_status 0 amberfs archive ev
    assert_match "warning" 'AccessDenied|policy' "$msg"
    assert_eq "rows left" 0 "$(sql 'select count(*) from ev')"
}

test_bucket_that_keeps_versions() {
    in_bucket versions
    echo '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>' |
        s3 request PUT '?versioning' | head -n 1 | grep -qx 200 || fail "no versioning"
    whole_run "versions"
}

test_bucket_with_object_lock() {
    in_bucket locked x-amz-bucket-object-lock-enabled:true
    echo '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>' |
        s3 request PUT '?object-lock' | head -n 1 | grep -qx 200 || fail "no object lock"
    whole_run "Object Lock"
}

test_who_does_not_get_in_is_told_why() {
    in_bucket refusals
    assert_status 0 amberfs list
    refused 'InvalidAccessKeyId.*ARCHIVAL_S3_ACCESS_KEY_ID' ARCHIVAL_S3_ACCESS_KEY_ID=nobody
    refused 'SignatureDoesNotMatch' ARCHIVAL_S3_SECRET_ACCESS_KEY=wrong
    refused 'NoSuchBucket' ARCHIVAL_PATH=s3://no-such-bucket/x
    refused 'refused|connect' ARCHIVAL_S3_ENDPOINT=http://127.0.0.1:1 ARCHIVAL_S3_TIMEOUT=2
}

test_wrong_clock_is_said_to_be_one() {
    in_bucket clock
    # faketime is a library loaded before AddressSanitizer's.
    assert_status 1 env ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0" \
        faketime '2 days ago' "$AMBERFS" list --env-file "$ENVFILE"
    assert_match "message" 'RequestTimeTooSkewed' "$msg"
    assert_match "message" 'clock' "$msg"
}

pg_start
make_small_job 60

tap_run test_three_actions_are_enough test_bucket_that_keeps_versions test_bucket_with_object_lock \
    test_who_does_not_get_in_is_told_why test_wrong_clock_is_said_to_be_one
