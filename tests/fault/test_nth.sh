#!/usr/bin/env bash
# The n-th allocation, store call, statement, database call or thread fails while archives are made,
# read, verified and restored, for n = 1.. until nothing fails any more: an error that names the
# cause (or a run that got along without), no leak (the sanitizer's word), no hang, nothing lost or
# half done, and the last try of each sweep, after all the failed ones, succeeds.
#
# Where calls are many, as many points as POINTS says are tried, spread evenly from one on that
# differs between the builds (see sliced in tests/lib/tap.sh); SWEEP=all tries all.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"
: "${AMBERFS_NTH_PROGRAM:?names the program amberfs_nth}"
points=$((${POINTS:-16} / slice_every))
[ "${SWEEP:-}" != all ] || points=1000000

# What a message must say.
declare -A cause=(
    [alloc]='out of memory|Cannot allocate memory'
    [store]='injected fault'
    [lost]='[Cc]onnect|server closed|in doubt|terminat|SSL|socket'
    [refused]='syntax error|42601|in doubt'
    [thread]='thread|Resource temporarily unavailable'
)

# with_nth KIND:N COMMAND...: the program; its status is returned, the number of calls is in $calls
# and whether something failed in $struck.
with_nth() {
    local status
    rm -f "$T/nth"
    AMBERFS_NTH=$1 AMBERFS_NTH_LOG=$T/nth timeout -k 10 120 "$AMBERFS_NTH_PROGRAM" "${@:2}" \
        --env-file "$ENVFILE" >"$T/.out" 2>"$T/.msg" </dev/null
    status=$?
    calls=struck # what a program that died would have said
    [ ! -s "$T/nth" ] || read -r calls <"$T/nth"
    [[ $calls = struck* ]] && struck=true || struck=false
    calls=${calls#struck }
    return $status
}

# sweep KIND HOW CHECK COMMAND...: HOW "" or "+" (all later calls fail too). CHECK WHEN STATUS is
# called after each failure.
sweep() {
    local kind=$1 how=$2 check=$3 n step status total
    shift 3
    before_sweep || return
    with_nth "$kind:0" "$@" || { fail "$kind:0 $*: $(tail -n 1 "$T/.msg")"; return; }
    total=$calls
    step=$(((total + points) / points))
    before_sweep || return
    for ((n = step > slice_first ? slice_first : 1; ; n += step)); do
        with_nth "$kind:$n$how" "$@"
        status=$?
        if [ $status -gt 1 ] || grep -qE 'AddressSanitizer|LeakSanitizer|runtime error' "$T/.msg"; then
            fail "$kind:$n$how $*: status $status"
            head -n 40 "$T/.msg" | sed 's/^/#   /'
        fi
        $struck || break
        [ $status = 0 ] || grep -qE -- "${cause[$kind]}" "$T/.msg" "$T/.out" ||
            fail "$kind:$n$how $*: not its message: $(tail -n 1 "$T/.msg")"
        "$check" "$kind:$n$how $*" $status || return
        [ $test_bad = 0 ] || [ "${SWEEP:-}" = all ] || return
    done
    [ $status = 0 ] || fail "$kind:$n $*: nothing failed, but: $(tail -n 1 "$T/.msg")"
    [ "$total" -gt 0 ] || fail "$kind $*: there are no such calls"
    "$check" "$kind, the last run" $status
}

# --- archive: each row is in exactly one place --------------------------------------------

archive_checked() {
    local state
    state=$(sql "select (select count(*) from ev) || ' ' || (select count(*) from evc) || ' ' ||
        (select count(*) from amberfs.archived_partitions)")
    [ "$state" != "4 8 0" ] || { [ "$2" = 1 ] || fail "$1: status $2, and nothing was moved"; return 0; }
    each_row_once "$1" || return
    reset_small_job
}
archive_sweep() {
    before_sweep() { reset_small_job; }
    sweep "$1" "${2:-}" archive_checked archive ev
    assert_eq "runs in doubt" 0 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
}
test_archive_without_an_allocation() { archive_sweep alloc; }
test_archive_when_memory_is_gone() { archive_sweep alloc +; }
test_archive_without_a_store_call() { archive_sweep store; }
test_archive_when_the_connection_breaks() { archive_sweep lost; }
test_archive_when_a_statement_is_refused() { archive_sweep refused; }
test_archive_without_a_thread() { archive_sweep thread; }

# --- what reads: right bytes or an error, and the store as it was --------------------------

# What the store holds, but for temporary files.
store_sum() { (cd "$STORE" && find . -type f ! -path './.amberfs/tmp/*' -exec sha256sum {} + | sort); }

# moved: rows archived, tables empty, and what `cat` must give in $T/good.
moved() {
    reset_small_job && amberfs archive ev >/dev/null || { fail "no archive"; return 1; }
    name=$(cd "$STORE" && echo ev/*.gz)
    gunzip -c "$STORE/$name" >"$T/good"
    name=${name%.gz}
    store_sum >"$T/sum"
}
cat_checked() {
    [ "$2" = 1 ] || assert_same "$1" "$T/good" "$T/.out" || return
    cmp -s -n "$(stat -c %s "$T/.out")" "$T/good" "$T/.out" || fail "$1: wrong bytes before the error"
}
verify_checked() {
    [ "$2" = 1 ] || assert_match "$1" '2 archives verified, 0 damaged' "$(cat "$T/.out")"
    ! grep -qE '^(damaged|DAMAGED)' "$T/.out" || fail "$1: a sound archive is called damaged: $(cat "$T/.out")"
}
read_sweeps() {
    local check=$1 kind
    shift
    before_sweep() { :; }
    moved || return
    [ "$1" != cat ] || set -- cat "$name"
    for kind in alloc store thread; do sweep $kind '' "$check" "$@"; done
    sweep alloc + "$check" "$@"
    assert_eq "the store" "$(cat "$T/sum")" "$(store_sum)"
}
test_read_without_one_call() { read_sweeps cat_checked cat; }
test_verify_without_one_call() { read_sweeps verify_checked verify --all; }

# --- restore: all rows or none --------------------------------------------------------------

restore_checked() {
    local state
    state=$(sql "select (select count(*) from ev) || ' ' || (select count(*) from evc)")
    case $state in
    "0 0") [ "$2" = 1 ] || fail "$1: status $2, and no row came back" ;;
    "4 8")
        assert_eq "$1: rows that differ" 0 "$(sql "select count(*) from
            (table ev except table keep.ev) x")"
        empty_again
        ;;
    *) fail "$1: half of it: $state rows" ;;
    esac
}
empty_again() {
    sql "set client_min_messages = error; truncate ev cascade; delete from amberfs.restores; delete from amberfs.pins" >/dev/null
}
restore_sweep() {
    moved || return
    before_sweep() { empty_again; }
    sweep "$1" "${2:-}" restore_checked restore "$name"
}
test_restore_without_an_allocation() { restore_sweep alloc; }
test_restore_when_memory_is_gone() { restore_sweep alloc +; }
test_restore_without_a_store_call() { restore_sweep store; }
test_restore_when_the_connection_breaks() { restore_sweep lost; }
test_restore_when_a_statement_is_refused() { restore_sweep refused; }
test_restore_without_a_thread() { restore_sweep thread; }

pg_start
make_small_job 4
# One test by name, or all.
tap_run ${ONLY:-$(declare -F | sed -n 's/^declare -f \(test_.*\)/\1/p')}
