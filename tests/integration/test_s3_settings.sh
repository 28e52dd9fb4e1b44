#!/usr/bin/env bash
# What the settings make of the way to the bucket and of what is stored there: HTTPS with an authority
# of one's own, the bucket in the host's name, encryption by the server, storage classes.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
export S3_TLS=yes
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"

# over_tls COMMAND...: with the server's own endpoint and authority, unless an argument sets another.
over_tls() {
    env ARCHIVAL_S3_ENDPOINT="$S3_TLS_ENDPOINT" ARCHIVAL_S3_CA_FILE="$S3_TLS_CA" "$@"
}
list_it() { "$@" "$AMBERFS" list --env-file "$ENVFILE"; }
# refused PATTERN NAME=VALUE...: over TLS with these settings the program doesn't get in, and says why.
refused() {
    assert_status 1 list_it over_tls ARCHIVAL_S3_TIMEOUT=4 "${@:2}"
    assert_match "${*:2}" "$1" "$msg"
}
# whole_run [NAME=VALUE]...: a run over TLS, the proof that it was right, and each archive read.
whole_run() {
    local name
    reset_small_job || return
    assert_status 0 over_tls "$@" "$AMBERFS" archive ev --env-file "$ENVFILE" || return
    each_row_once "$*" --settled
    assert_eq "$*: rows still due" 0 "$(sql "select count(*) from ev")"
    assert_status 0 over_tls "$@" "$AMBERFS" verify --all --env-file "$ENVFILE"
    for name in $(store_keys ev/); do
        over_tls "$@" "$AMBERFS" cat "${name%.gz}" --env-file "$ENVFILE" >"$T/got" || fail "$name: can't be read"
        store_cat "$name" | gunzip -c | cmp -s - "$T/got" || fail "$name: reads otherwise"
    done
}

test_right_authority_is_enough() {
    whole_run
    assert_eq "plain requests of the program" 0 "$(s3_requests .)"
}

test_who_is_not_trusted_gets_nothing() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$T/other.key" -out "$T/other.pem" 2>/dev/null
    refused "isn't trusted.*ARCHIVAL_S3_CA_FILE.*other.pem" ARCHIVAL_S3_CA_FILE="$T/other.pem"
    refused "isn't trusted.*ARCHIVAL_S3_CA_FILE.*the system's" ARCHIVAL_S3_CA_FILE=
    refused "isn't trusted.*a\.b\.localhost.*endpoint" ARCHIVAL_S3_ENDPOINT="https://a.b.localhost:${S3_TLS_ENDPOINT##*:}"
    refused "/nowhere.*ARCHIVAL_S3_CA_FILE" ARCHIVAL_S3_CA_FILE=/nowhere
    refused "https" ARCHIVAL_S3_ENDPOINT="https://localhost:${plain##*:}"
    assert_eq "plain requests" 0 "$(s3_requests .)"
}

# The bucket is in the host's name, and no more in the path.
test_bucket_in_the_hosts_name() {
    whole_run ARCHIVAL_S3_ADDRESSING=virtual
    : >"$S3_LOG"
    assert_status 0 list_it env ARCHIVAL_S3_ADDRESSING=virtual ARCHIVAL_S3_ENDPOINT="http://localhost:${S3_ENDPOINT##*:}"
    [ "$(s3_requests '^GET /\?.*list-type=2.* 200 ')" -ge 1 ] || fail "no listing of the host's bucket"
    assert_eq "requests with the bucket in the path" 0 "$(s3_requests ' /test')"
}

# Each object, small or in parts, is encrypted by the server with the key that was named.
test_server_encrypts_with_the_named_key() {
    local key setting=(ARCHIVAL_S3_SSE=aws:kms ARCHIVAL_S3_SSE_KMS_KEY_ID=testkey)
    whole_run "${setting[@]}"
    sql "create table big as select i as id, timestamptz '2023-02-01 10:00Z' as at,
             (select string_agg(md5(i::text || j), '') from generate_series(1, 14) j) as note from generate_series(1, 22000) i"
    assert_status 0 over_tls "${setting[@]}" ARCHIVAL_COMPRESSION=none \
        "$AMBERFS" archive big --env-file "$ENVFILE"
    assert_match "an upload in parts" '^[0-9]{8}' "$(store_list big/)"
    while read -r _ key; do
        assert_match "$key" '^x-amz-server-side-encryption-aws-kms-key-id: testkey' \
            "$(s3 head "$key" </dev/null)"
    done < <(s3 list archives/ </dev/null | grep -v '/store\.json$') # that is of `init`, which wasn't told
}

test_what_the_server_refuses_is_said() {
    local line setting pattern
    reset_small_job || return
    while IFS='|' read -r setting pattern; do
        # shellcheck disable=SC2086 # several settings
        assert_status 1 over_tls $setting "$AMBERFS" archive ev --env-file "$ENVFILE"
        assert_match "$setting" "archives/.*$pattern.*check ARCHIVAL_S3_SSE.*ARCHIVAL_S3_STORAGE_CLASS" "$msg"
        each_row_once "$setting"
    done <<END
ARCHIVAL_S3_SSE=aws:kms ARCHIVAL_S3_SSE_KMS_KEY_ID=other-key|other-key
ARCHIVAL_S3_STORAGE_CLASS=NO_SUCH_CLASS|InvalidArgument
ARCHIVAL_S3_SSE=aws:kms ARCHIVAL_S3_SSE_KMS_KEY_ID=testkey ARCHIVAL_S3_ENDPOINT=$plain|InvalidRequest
END
    whole_run ARCHIVAL_S3_STORAGE_CLASS=STANDARD ARCHIVAL_S3_SSE=AES256
}

pg_start
# Whoever forgets TLS is seen at the proxy; the tests' own client goes past it.
s3_proxy_start
plain=$S3_DIRECT
S3_DIRECT=$S3_TLS_ENDPOINT
make_small_job 20
jq '.jobs += [{name: "big", tables: [{schema: "public", name: "big", folder: "big"}], time_column: "at",
    retention_days: 30}]' "$T/jobs.json" >"$T/jobs" && mv "$T/jobs" "$T/jobs.json"
amberfs() { over_tls "$AMBERFS" "$@" --env-file "$ENVFILE"; }

tap_run test_right_authority_is_enough test_who_is_not_trusted_gets_nothing test_bucket_in_the_hosts_name \
    test_server_encrypts_with_the_named_key test_what_the_server_refuses_is_said
