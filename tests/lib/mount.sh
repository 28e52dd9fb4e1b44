# shellcheck shell=bash
# An amberfs daemon for a test file: $MNT the mount point, $ENVFILE its configuration. The daemon is
# this shell's child in the foreground, so that its exit status, its messages ($DAEMON_LOG) and a
# sanitizer's report are seen; ready is what it tells systemd. Sourced behind tap.sh; brings pg.sh
# and store.sh along.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=tests/lib/pg.sh
. "$lib/pg.sh"
# shellcheck source=tests/lib/store.sh
. "$lib/store.sh"

MNT=$T/mnt
ENVFILE=$T/env
DAEMON_LOG=$T/daemon.log
: "${AMBERFS:?names the amberfs program}"
daemon=''
expected_errors=()
mkdir -p "$MNT" "$STORE"
: >"$DAEMON_LOG"

[ -c /dev/fuse ] || skip_all "no /dev/fuse on this machine"

# amberfs ARGUMENTS...: the program.
amberfs() { "$AMBERFS" "$@"; }

# write_env LINE...: a configuration for this test's store, plus lines.
write_env() {
    {
        store_env
        printf '%s\n' "$@"
    } >"$ENVFILE"
}

# expect_error REGEX: an error line of the daemon that is no failure of the test.
expect_error() { expected_errors+=("$1"); }

# The tests' last guard, whatever happened.
at_exit mount_gone
mount_gone() {
    [ -z "$daemon" ] || { kill -KILL "$daemon" && wait "$daemon"; } 2>/dev/null
    daemon=''
    if grep -qF " $MNT " /proc/self/mountinfo; then
        umount -l "$MNT" 2>/dev/null || fusermount3 -uz "$MNT"
    fi
}

# mount_start [ARGUMENTS...]: mount and return when it is ready; fails with the daemon's last words.
# Variables for the daemon alone go before it: AMBER_FAILPOINT=... mount_start
mount_start() {
    local socket=$T/notify.$RANDOM line in out_fd waiter
    coproc READY { python3 "$lib/ready.py" "$socket"; }
    in=${READY[1]} out_fd=${READY[0]} waiter=$READY_PID
    read -r line <&"$out_fd"
    NOTIFY_SOCKET=$socket "$AMBERFS" mount -f --env-file "$ENVFILE" "$@" "$MNT" \
        </dev/null >>"$DAEMON_LOG" 2>&1 &
    daemon=$!
    echo $daemon >&"$in"
    read -r line <&"$out_fd"
    wait "$waiter" 2>/dev/null
    rm -f "$socket"
    [ "$line" = ready ] && return 0
    wait "$daemon"
    fail "the daemon ended with status $? before it was ready:"
    tail -n 20 "$DAEMON_LOG" | sed 's/^/#   /'
    daemon=''
    return 1
}

# tap.sh asks: a daemon that should run has died.
tap_lost() {
    [ -n "$daemon" ] && ! kill -0 "$daemon" 2>/dev/null || return 1
    wait "$daemon"
    lost="the daemon died with status $?: $(tail -n 1 "$DAEMON_LOG")"
    grep -A 25 -E 'ERROR: AddressSanitizer|runtime error|ThreadSanitizer' "$DAEMON_LOG" | sed 's/^/# /'
    daemon=''
}

# What is wrong in the daemon's messages: errors that nobody expected, a sanitizer's report.
check_log() {
    local line pattern
    grep -E '^[0-9-]+T[0-9:.]+Z error |ERROR: |runtime error|WARNING: ThreadSanitizer' "$DAEMON_LOG" |
        while IFS= read -r line; do
            for pattern in "${expected_errors[@]}"; do
                grep -qE -- "$pattern" <<<"$line" && continue 2
            done
            printf '%s\n' "$line"
        done >"$T/.unexpected"
    [ ! -s "$T/.unexpected" ] && return 0
    fail "unexpected in the daemon's log:"
    head -n 30 "$T/.unexpected" | sed 's/^/#   /'
    return 1
}

# mount_stop: SIGTERM; the daemon must end with status 0, unmounted, without unexpected errors.
mount_stop() {
    local status
    [ -n "$daemon" ] || return 0
    kill -TERM "$daemon"
    wait "$daemon"
    status=$?
    daemon=''
    [ $status = 0 ] || {
        fail "the daemon ended with status $status:"
        tail -n 20 "$DAEMON_LOG" | sed 's/^/#   /'
    }
    ! grep -qF " $MNT " /proc/self/mountinfo || fail "$MNT is still mounted"
    check_log
}

# mount_wait_death: wait for a daemon that kills itself; sets $status.
mount_wait_death() {
    wait "$daemon" 2>/dev/null
    status=$?
    daemon=''
}

# run_job JOB: trigger it through the mount and wait; its result is in $result.
run_job() {
    echo "$1" >"$MNT/.control/trigger" || {
        fail "trigger of $1 was refused"
        return 1
    }
    result=$(cat "$MNT/.control/wait/$1") || {
        fail "waiting for $1 failed"
        return 1
    }
}

# stop_and_continue PID: Ctrl-Z and `fg` while it waits for the mount, asleep. Its wait is of another
# kind once the kernel has told the daemon of the signal.
is_in_state() { [ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat")" = "$2" ]; }
stop_and_continue() {
    wait_until is_in_state "$1" S
    kill -STOP "$1"
    wait_until is_in_state "$1" D
    kill -CONT "$1"
}
