# shellcheck shell=bash
# A test file's frame: tests are functions, run in order by `tap_run`, reported as TAP; asserts that
# say what differed. A test goes on behind a failed assert and fails at its end. $T is the file's
# own temporary folder; what must be undone at the end is registered by `at_exit`.

set -u -o pipefail
export LC_ALL=C.UTF-8

T=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/amberfs-it.XXXXXX")" && pwd -P) || exit 1
chmod 711 "$T"
n_test=0
n_bad=0
test_bad=0
test_skip=''
undo=()
planned=''

# at_exit COMMAND: run at the end, however that comes, last registered first.
at_exit() { undo=("$1" "${undo[@]}"); }
tap_end() {
    local status=$? command
    trap - EXIT
    trap '' INT TERM HUP
    cd /
    for command in "${undo[@]}"; do eval "$command"; done
    # Copies of the tree are folders that not even their owner may write to.
    rm -rf --one-file-system "$T" 2>/dev/null || {
        chmod -R u+w "$T"
        rm -rf --one-file-system "$T"
    }
    if [ $status = 77 ] && [ -z "$planned" ]; then # the tests' word for "can't run here"
        echo "1..0 # SKIP the reason is on stderr"
        status=0
    fi
    exit $status
}
trap tap_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# diag TEXT: lines for the reader of a failed test.
diag() { printf '%s\n' "$*" | sed 's/^/# /'; }
# fail TEXT: this test has failed.
fail() {
    test_bad=1
    diag "${test_name:-setup}: $*"
}
# skip_all REASON: this machine can't run the file.
skip_all() {
    echo "1..0 # SKIP $*"
    exit 0
}
# skip REASON: this test can't run here; `return` behind it.
skip() { test_skip=$*; }

# tap_run FUNCTION...: each is a test. A function tap_lost may tell (and set $lost) that going on
# makes no sense.
tap_run() {
    local test_name # no name that a test may use for its own: locals are seen below
    planned=$#
    echo "1..$planned"
    for test_name; do
        # What the tests stand on is gone: the rest would only make noise.
        if declare -F tap_lost >/dev/null && tap_lost; then
            echo "Bail out! $lost"
            exit 1
        fi
        n_test=$((n_test + 1))
        test_bad=0
        test_skip=''
        "$test_name"
        if [ -n "$test_skip" ] && [ $test_bad = 0 ]; then
            echo "ok $n_test - $test_name # SKIP $test_skip"
        elif [ $test_bad = 0 ]; then
            echo "ok $n_test - $test_name"
        else
            echo "not ok $n_test - $test_name"
            n_bad=$((n_bad + 1))
        fi
    done
    [ $n_bad = 0 ]
    exit $?
}

# With AMBER_TEST_SLICE=K/N long sweeps try every N-th point from the K-th on only, else all.
# (scripts/test gives each sanitizer, in which programs start slowly, another K.)
slice_first=${AMBER_TEST_SLICE:-1/1} slice_every=${slice_first#*/} slice_first=${slice_first%/*}
# sliced LIST: leave the points to be tried in an array.
sliced() {
    local -n list=$1
    local i
    for i in "${!list[@]}"; do
        [ $(((i + 1) % slice_every)) = $((slice_first % slice_every)) ] || unset "list[i]"
    done
    list=("${list[@]}")
}

# assert_eq WHAT EXPECTED FOUND
assert_eq() {
    [ "$2" = "$3" ] && return 0
    fail "$1 differs; - expected, + found:"
    diff -u <(printf '%s\n' "$2") <(printf '%s\n' "$3") | tail -n +4 | head -n 40 | sed 's/^/#   /'
    return 1
}
# assert_match WHAT REGEX TEXT: an extended regular expression is found in the text.
assert_match() {
    grep -qE -- "$2" <<<"$3" && return 0
    fail "$1: nothing matches $2 in:"
    head -n 40 <<<"$3" | sed 's/^/#   /'
    return 1
}
# assert_same WHAT FILE FILE: two files are equal byte for byte.
assert_same() {
    cmp -s -- "$2" "$3" && return 0
    fail "$1: $(cmp -- "$2" "$3" 2>&1)"
    diff <(head -c 20000 "$2") <(head -c 20000 "$3") | head -n 10 | cut -c 1-200 | sed 's/^/#   /'
    return 1
}
# assert_status STATUS COMMAND...: the command ends with this status. Its output stays in $out, its
# messages in $msg.
assert_status() {
    local want=$1 got
    shift
    "$@" >"$T/.out" 2>"$T/.msg" </dev/null
    got=$?
    out=$(tr -d '\0' <"$T/.out")
    msg=$(tr -d '\0' <"$T/.msg")
    [ $got = "$want" ] && return 0
    fail "status $got instead of $want from: $*"
    head -n 20 "$T/.out" "$T/.msg" | sed 's/^/#   /'
    return 1
}

# wait_until COMMAND...: until it succeeds; gives up after about a minute.
wait_until() {
    local i
    for ((i = 0; i < 1200; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    fail "waited in vain for: $*"
    return 1
}

# ---- steps: a program that pauses at one, see include/amber/failpoint.h ----

# Anew for each program that shall pause: what it says comes on descriptor $said, $go lets it go on.
step_begin() {
    step_end
    mkfifo "$T/step" "$T/step.go"
    exec {said}<>"$T/step" {go}<>"$T/step.go"
    export AMBER_FAILPOINT_FIFO=$T/step
}
step_end() {
    [ -z "${said:-}" ] || exec {said}>&- {go}>&-
    said='' go=''
    rm -f "$T/step" "$T/step.go"
}
# Until the program says a line, or whoever else knows "$T/step": it is left in $step.
step_wait() { read -r step <&"$said"; }
step_go() { echo >&"$go"; }
