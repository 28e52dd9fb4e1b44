#!/usr/bin/env bash
# The n-th allocation, store call or thread of the daemon fails, from its start until two archives
# were read through the mount, for n = 1.. until nothing fails any more: it doesn't start and says
# why, or it mounts; a read gives the right bytes or an error, the next one the right bytes; it ends
# when told to, with nothing lost (the sanitizer's word) and nothing left mounted.
#
# POINTS and SWEEP=all as in test_nth.sh. The store is a frozen one; there is no database.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
AMBERFS=${AMBERFS_NTH_PROGRAM:?names the program amberfs_nth}
. "$here/../lib/mount.sh"
unset "${!PG@}"
points=$((${POINTS:-16} / slice_every))
[ "${SWEEP:-}" != all ] || points=1000000

# start KIND:N: the daemon; 1 if it did not come up.
start() {
    local before=$test_bad
    rm -f "$T/nth"
    : >"$DAEMON_LOG"
    AMBERFS_NTH=$1 AMBERFS_NTH_LOG=$T/nth mount_start >"$T/start" && return 0
    test_bad=$before
    grep -q 'status 1 before' "$T/start" || fail "$1: $(cat "$T/start")"
    grep -qE 'amberfs: |error ' "$DAEMON_LOG" || fail "$1: it did not start and did not say why"
    return 1
}
# read_all WHEN ERRORS FILE...: each file; a wrong byte, a hang, and more errors than these are a fault.
read_all() {
    local file status errors=0
    for file in "${@:3}"; do
        timeout -k 5 60 cat "$MNT/$file"/*.json >"$T/.out" 2>"$T/.msg"
        status=$?
        cmp -s -n "$(stat -c %s "$T/.out")" "$T/good.$file" "$T/.out" || fail "$1: $file: wrong bytes"
        if [ $status = 0 ]; then
            assert_same "$1: $file" "$T/good.$file" "$T/.out"
        elif [ $((++errors)) -gt "$2" ] || [ $status != 1 ]; then
            fail "$1: $file: status $status, error $errors: $(cat "$T/.msg")"
        fi
    done
}
stop() {
    mount_stop
    ! grep -qE 'Sanitizer|runtime error' "$DAEMON_LOG" ||
        fail "$1: $(grep -A 20 -m 1 -E 'Sanitizer|runtime error' "$DAEMON_LOG")"
}
# sweep KIND
sweep() {
    local kind=$1 n total step calls
    start "$kind:0" || { fail "no daemon: $(cat "$T/start")"; return; }
    read_all "$kind:0" 0 ev evc
    stop "$kind:0"
    read -r total <"$T/nth"
    step=$(((total + points) / points))
    for ((n = step > slice_first ? slice_first : 1; ; n += step)); do
        if start "$kind:$n"; then
            read_all "$kind:$n" 1 ev evc ev evc # whoever it strikes, the next one reads all
            stop "$kind:$n"
        fi
        calls=struck
        [ ! -s "$T/nth" ] || read -r calls <"$T/nth"
        [[ $calls = struck* ]] || break
        [ $test_bad = 0 ] || [ "${SWEEP:-}" = all ] || return
    done
    [ "$total" -gt 0 ] || fail "$kind: there are no such calls"
}
test_mount_without_an_allocation() { sweep alloc; }
test_mount_without_a_store_call() { sweep store; }
test_mount_without_a_thread() { sweep thread; }

cp -r "$here/../data/v1/zstd/." "$STORE"
for table in ev evc; do zstd -dqc "$STORE/$table"/*.zst >"$T/good.$table" || exit 1; done
write_env
expect_error .
tap_run ${ONLY:-test_mount_without_an_allocation test_mount_without_a_store_call test_mount_without_a_thread}
