#!/usr/bin/env bash
# What the other S3 tests stand on: the server, the tests' own client, and each fault of the proxy.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/s3.sh"

# through ARGUMENTS...: s3.py by way of the proxy.
through() { S3_DIRECT='' s3 "$@" </dev/null; }
# put KEY: an object from stdin, past the proxy.
put() { s3 put "$1"; }

test_keys_of_all_kinds_come_back() {
    local key
    for key in plain 'with space' 'a/b+c%25=@:*()!' "quote'\"&;,?#[]" 'ü漢🙂'; do
        put "$key" <<<"$key"
        assert_eq "$key" "$key" "$(through cat "$key")"
        assert_eq "listed" "$(wc -c <<<"$key") $key" "$(through list "$key")"
    done
    assert_eq "requests seen" 5 "$(s3_requests '^GET /test/[^?]* 200 - -$')"
}

test_signature_is_verified() {
    assert_match "wrong key" 'SignatureDoesNotMatch' "$(S3_SECRET_KEY=wrong through list 2>&1)"
}

test_answers_are_changed() {
    printf 0123456789 | put ten
    s3_fault 'GET /ten 2 1 shorten 3' 'GET /ten 3 1 flip 4' 'GET /ten 4 1 body <Error/>' 'GET /ten 5 1 answer 503 SlowDown'
    assert_eq "first" 0123456789 "$(through cat ten)"
    assert_eq "shorten" 012 "$(through cat ten)"
    assert_eq "flip" 0123056789 "$(through cat ten)"
    assert_eq "body" '<Error/>' "$(through cat ten)"
    assert_match "answer" ' 503 .*<Code>SlowDown</Code>' "$(through cat ten 2>&1)"
    assert_eq "first again" 0123456789 "$(through cat ten)"
    s3_fault 'GET * 1 1 answer 301 PermanentRedirect eu-north-1'
    assert_match "region" '<Region>eu-north-1</Region>' "$(through cat ten 2>&1)"
    s3_fault
    assert_eq "no rules" 0123456789 "$(through cat ten)"
}

test_connections_end_early() {
    s3_fault 'GET /ten 1 1 cut 4' 'GET /ten 2 1 reset' 'GET /ten 3 1 lose'
    assert_match "cut" 'IncompleteRead' "$(through cat ten 2>&1)"
    assert_match "reset" 'Connection ?Reset|RemoteDisconnected' "$(through cat ten 2>&1)"
    assert_match "lose" 'Connection ?Reset|RemoteDisconnected' "$(through cat ten 2>&1)"
    s3_fault 'PUT /lost 1 1 lose'
    S3_DIRECT='' s3 put lost 2>/dev/null <<<"carried out" && fail "the answer came"
    assert_eq "lost answer, done all the same" "carried out" "$(s3 cat lost)"
}

test_every_request_meets_a_fault_once() {
    local i got=''
    s3_fault 'GET /ten 1 /1 answer 503 SlowDown'
    for i in 1 2 3 4; do got+=" $(through cat ten 2>&1 | grep -oE '^0123456789$| 503 ')"; done
    assert_eq "each" "  503  0123456789  503  0123456789" "$got"
    # What is sent again isn't counted: the 2nd and the 4th of those that are sent anew.
    s3_fault 'GET /ten 2 /2 answer 503 SlowDown'
    got=''
    for i in 1 2 3 4 5 6; do got+=" $(through cat ten 2>&1 | grep -oE '^0123456789$| 503 ')"; done
    assert_eq "every second" " 0123456789  503  0123456789 0123456789  503  0123456789" "$got"
    s3_fault
}

# The client goes away on its own: the proxy says that it has struck, nothing else ends the wait.
test_hang_and_drip_last_until_the_client_goes() {
    local fault pid
    for fault in hang drip; do
        s3_fault "GET /ten 1 1 $fault"
        : >"$S3_LOG"
        python3 "$lib/s3.py" cat ten >/dev/null 2>&1 & # itself, no subshell
        pid=$!
        wait_until s3_requests " $fault "
        kill -0 $pid 2>/dev/null || fail "$fault: the client has its answer"
        kill $pid
        wait $pid 2>/dev/null
    done
    s3_fault
    assert_eq "afterwards" 0123456789 "$(through cat ten)"
}

s3_start
s3_proxy_start
tap_run test_keys_of_all_kinds_come_back test_signature_is_verified test_answers_are_changed \
    test_connections_end_early test_every_request_meets_a_fault_once \
    test_hang_and_drip_last_until_the_client_goes
