#!/usr/bin/env bash
# The n-th write, fsync, rename, mkdir or read below the store fails (EIO, no space, half a write),
# for n = 1.. until a run has no n-th any more. Each time: an error that names the cause, or a run
# that got along without; nothing lost, nothing twice; the next run completes.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"
: "${FAULT_IO:?names the library of tests/lib/fault_io.c}"

# Where calls are many only every second or third is tried; SWEEP_STEP=0 tries them all.
step=$((${SWEEP_STEP:-1} * slice_every))

# sweep OPERATION HOW MESSAGE [STEP]: n = 1, 1 + STEP, ...; STEP 1. The number of the last fault that
# struck is left in $struck.
sweep() {
    local n status
    struck=0
    reset_small_job || { fail "no reset"; return; }
    for ((n = 1; n < 500; n += ${4:-1} > 0 ? ${4:-1} : 1)); do
        : >"$T/fault.log"
        env LD_PRELOAD="$FAULT_IO" FAULT_IO="$1:$n:$2" FAULT_IO_DIR="$STORE" FAULT_IO_LOG="$T/fault.log" \
            ASAN_OPTIONS=verify_asan_link_order=0 \
            "$AMBERFS" archive ev --env-file "$ENVFILE" >"$T/.out" 2>"$T/.msg" </dev/null
        status=$?
        if grep -qE 'AddressSanitizer|runtime error' "$T/.msg" || [ $status -gt 1 ]; then
            fail "$1 $n: status $status"
            head -n 20 "$T/.msg" | sed 's/^/#   /'
        fi
        if [ ! -s "$T/fault.log" ]; then
            [ $status = 0 ] || fail "no fault struck, but: $(tail -n 1 "$T/.msg")"
            break
        fi
        struck=$n
        grep -qE -- "$3" "$T/.msg" || fail "$1 $n: not its message: $(tail -n 1 "$T/.msg")"
        # A run that got through has said that it kept something back, or none was needed.
        each_row_once "$1 $n $2" || return
        put_back || return
    done
    [ $struck -gt 0 ] || fail "no fault ever struck"
    next_run_completes "$1 $2"
}
# Rows that were moved come back, so that the next run has all the work again.
put_back() {
    [ "$(sql "select count(*) from amberfs.archived_partitions")" = 0 ] || reset_small_job
}

test_failed_write_moves_nothing() { sweep write EIO 'Input/output error' $step; }
test_full_disk_moves_nothing() { sweep write ENOSPC+ 'No space left' $((3 * step)); }
test_failed_fsync_moves_nothing() { sweep fsync EIO 'Input/output error' $((2 * step)); }
test_failed_rename_moves_nothing() { sweep rename EIO 'Input/output error' $step; }
test_failed_mkdir_moves_nothing() { sweep mkdir ENOSPC 'No space left' $((3 * step)); }
test_failed_read_back_moves_nothing() { sweep read EIO 'Input/output error' $((2 * step)); }
# Something damages what was written before it is read back; the manifest still makes sense then.
damage_manifest() {
    manifest=$(find "$STORE/.amberfs/manifests" -type f)
    chmod u+w "$manifest"
    sed -i 's/"job":"ev"/"job":"ew"/' "$manifest"
}
damage_archive() {
    chmod u+w "$STORE"/ev/*
    printf x | dd of="$(echo "$STORE"/ev/*)" bs=1 seek=2000 conv=notrunc status=none
}
damaged() { # WHAT CONNECTIONS
    local run manifest step
    reset_small_job || return
    step_begin
    ARCHIVAL_EXPORT_CONNECTIONS=$2 AMBER_FAILPOINT=manifest-durable=pause \
        "$AMBERFS" archive ev --env-file "$ENVFILE" >"$T/.out" 2>"$T/.msg" </dev/null &
    run=$!
    step_wait
    "damage_$1"
    step_go
    wait $run
    assert_eq "$*: status" 1 $?
    step_end
    assert_match "$*: message" 'reading the new archive back.*SHA-256' "$(cat "$T/.msg")"
    assert_eq "$*: archives" 0 "$(sql "select count(*) from amberfs.archived_partitions")"
    each_row_once "$*"
    next_run_completes "$*"
}
test_damage_before_the_read_back_moves_nothing() {
    damaged manifest 1
    damaged archive 1
    damaged archive 3
}
test_failed_unlink_hides_what_is_left() {
    # An unlink happens when a run is undone: the archive's second rename fails too.
    reset_small_job || return
    env LD_PRELOAD="$FAULT_IO" FAULT_IO="unlink:1:EIO+" FAULT_IO_DIR="$STORE" FAULT_IO_LOG="$T/fault.log" \
        ASAN_OPTIONS=verify_asan_link_order=0 AMBER_FAILPOINT=proof-done=error \
        "$AMBERFS" archive ev --env-file "$ENVFILE" >"$T/.out" 2>"$T/.msg" </dev/null
    assert_eq "status" 1 $?
    assert_match "message" 'stay hidden|stays? hidden' "$(cat "$T/.msg")"
    assert_eq "archives" 0 "$(sql "select count(*) from amberfs.archived_partitions")"
    each_row_once "left over"
    next_run_completes "left over"
    assert_eq "listed" "$(sql "select regexp_replace(key, '\\.gz\$', '') from amberfs.archived_partitions order by 1")" \
        "$(amberfs list | awk '{print $NF}' | grep / | sort)"
}
test_short_writes_are_completed() {
    reset_small_job || return
    assert_status 0 env LD_PRELOAD="$FAULT_IO" FAULT_IO=write:0:SHORT FAULT_IO_DIR="$STORE" \
        FAULT_IO_LOG="$T/fault.log" ASAN_OPTIONS=verify_asan_link_order=0 \
        "$AMBERFS" archive ev --env-file "$ENVFILE"
    each_row_once "short writes"
    next_run_completes "short writes"
}

# A step fails instead of dying. Failing right before COMMIT is a doubt to the program, which leaves the
# objects alone until they are old.
test_failed_step_moves_all_or_nothing() {
    local step
    for step in manifest-durable:2 commit-before commit-after committed; do
        reset_small_job || return
        AMBER_FAILPOINT=$step=error "$AMBERFS" archive ev --env-file "$ENVFILE" >"$T/.out" 2>"$T/.msg" </dev/null
        each_row_once "$step" || return
        [ $step = commit-before ] ||
            assert_eq "$step: objects that nothing names" \
                "$(sql "select key from amberfs.archived_partitions order by 1")" \
                "$(cd "$STORE" && find . -path ./.amberfs -prune -o -type f -print | sed 's,^\./,,' | sort)"
        next_run_completes "$step"
    done
}

pg_start
make_small_job 60
tap_run test_failed_write_moves_nothing test_full_disk_moves_nothing test_failed_fsync_moves_nothing \
    test_failed_rename_moves_nothing test_failed_mkdir_moves_nothing test_failed_read_back_moves_nothing \
    test_damage_before_the_read_back_moves_nothing test_failed_unlink_hides_what_is_left \
    test_short_writes_are_completed test_failed_step_moves_all_or_nothing
