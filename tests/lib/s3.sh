# shellcheck shell=bash
# An S3 server for a test file, in $T/s3 on free ports; sourced behind tap.sh.
#
#   s3_start [NAME]    start it (in $T/NAME) and wait until it answers; exports S3_ENDPOINT,
#                      S3_BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY of this one; killed and removed at
#                      the end. In memory, unless S3_STORE=bluestore stands before the call.
#   s3_env             the program's configuration for it, for an env file
#   s3 ARGUMENTS...    tests/lib/s3.py, a client that isn't the program's, past any proxy
#   s3_proxy_start     tests/lib/s3_proxy.c before the server: S3_ENDPOINT is the proxy's now, which
#                      logs all requests in $S3_LOG
#   s3_fault RULE...   the proxy's rules from now on, counted anew; none without a RULE
#   s3_requests REGEX  how many lines of $S3_LOG match (METHOD TARGET STATUS FAULT RANGE)
#
# The first costs 2 to 3 s: once in a test file, before tap_run.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
s3_server=$lib/../../scripts/s3-server

s3_start() {
    local dir=$T/${1:-s3} said
    command -v radosgw >/dev/null && command -v ceph-mon >/dev/null ||
        skip_all "no S3 server here: scripts/setup installs radosgw, ceph-mon and ceph-osd"
    at_exit "'$s3_server' wipe '$dir'"
    said=$(S3_STORE=${S3_STORE:-memstore} "$s3_server" start "$dir") || {
        echo "Bail out! the S3 server doesn't start"
        exit 1
    }
    eval "$said"
}

# s3_env [PREFIX]
s3_env() {
    cat <<END
ARCHIVAL_STORAGE_TYPE=s3
ARCHIVAL_PATH=s3://$S3_BUCKET${1:+/$1}
ARCHIVAL_S3_REGION=us-east-1
ARCHIVAL_S3_ENDPOINT=$S3_ENDPOINT
ARCHIVAL_S3_ACCESS_KEY_ID=$S3_ACCESS_KEY
ARCHIVAL_S3_SECRET_ACCESS_KEY=$S3_SECRET_KEY
ARCHIVAL_CACHE_PATH=$T/cache
END
}

s3() { S3_ENDPOINT=${S3_DIRECT:-$S3_ENDPOINT} python3 "$lib/s3.py" "$@"; }

S3_RULES=$T/s3.rules
S3_LOG=$T/s3.log
s3_proxy_start() {
    local port ready pid
    : >"$S3_LOG"
    s3_fault
    exec {ready}< <(exec "${S3_PROXY:?names the proxy}" "${S3_ENDPOINT##*:}" "$S3_RULES" "$S3_LOG")
    pid=$!
    at_exit "kill $pid"
    read -r _ port <&"$ready" && [ -n "$port" ] || {
        echo "Bail out! the S3 proxy doesn't start"
        exit 1
    }
    S3_DIRECT=$S3_ENDPOINT
    S3_ENDPOINT=http://127.0.0.1:$port
}

s3_fault() {
    printf '%s\n' "$@" | grep . >"$S3_RULES.new"
    mv "$S3_RULES.new" "$S3_RULES"
}
s3_requests() { grep -cE -- "$1" "$S3_LOG"; }
