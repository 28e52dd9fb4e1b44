#!/usr/bin/env bash
# Replicas: what each receives and when, what survives a kill, what is read when a copy fails. Folders
# here; test_s3_replicas.sh has buckets.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/small_job.sh"

WEST=$T/west
BACKUP=$T/backup

# first_day WEST_MODE: all rows in their tables, three empty folders, no catalog.
first_day() {
    rm -rf "$WEST" "$BACKUP" && mkdir "$WEST" "$BACKUP"
    write_small_job
    {
        echo "ARCHIVAL_S3_REPLICAS=west, Backup"
        echo "ARCHIVAL_S3_REPLICA_WEST_PATH=$WEST"
        echo "ARCHIVAL_S3_REPLICA_WEST_MODE=$1"
        echo "ARCHIVAL_S3_REPLICA_BACKUP_PATH=$BACKUP"
    } >>"$ENVFILE"
    reset_small_job
}

# same_objects WHEN FOLDER: it has each object of the store, byte for byte, and nothing else.
same_objects() {
    assert_eq "$1: objects of $(basename "$2")" \
        "$(cd "$STORE" && find . -type f ! -path './.amberfs/tmp/*' -exec sha256sum {} + | sort)" \
        "$(cd "$2" && find . -type f ! -path './.amberfs/tmp/*' -exec sha256sum {} + | sort)"
}

# lag REPLICA: archives behind, as the daemon shows it.
lag() { jq -r ".replicas[] | select(.name == \"$1\") | \"\(.state) \(.archivesBehind)\"" "$MNT/.status"; }
current() { [ "$(lag "$1")" = "current 0" ]; }

test_sync_has_all_when_the_job_ends_and_async_soon_after() {
    first_day sync
    mount_start || return
    run_job ev && assert_match "result" '^state: ok$' "$result"
    same_objects "when the job ended" "$WEST"
    wait_until current backup && same_objects "soon after" "$BACKUP"
    wait_until current west
    each_row_once "replicated"
    assert_match "status" 'replica   backup \(async\): current' "$("$AMBERFS" status "$MNT")"
    assert_match "metrics" 'amberfs_replica_archives_behind\{replica="backup"\} 0' "$(cat "$MNT/.metrics")"
    assert_eq "done in the catalog" "12" "$(sql "select count(*) from amberfs.replications where done_at is not null")"
    mount_stop
}

# Without a daemon: the queue waits for `amberfs replicate`.
test_queue_without_a_daemon_is_drained_by_replicate() {
    first_day async
    assert_status 0 amberfs archive ev
    assert_eq "queued" "12" "$(sql "select count(*) from amberfs.replications where done_at is null")"
    assert_eq "west" "" "$(ls -A "$WEST")"
    assert_status 0 amberfs replicate
    assert_match "words" '^west: 6 runs copied, 0 archives' "$out"
    same_objects "replicated" "$WEST" && same_objects "replicated" "$BACKUP"
    assert_status 0 amberfs replicate
    assert_match "again" '^west: 0 runs copied' "$out"
}

test_new_replica_gets_the_archives_that_are_there() {
    first_day async
    sed -i '/REPLICA/d' "$ENVFILE"
    assert_status 0 amberfs archive ev
    assert_eq "queued" "0" "$(sql "select count(*) from amberfs.replications")"
    printf '%s\n' "ARCHIVAL_S3_REPLICAS=backup" "ARCHIVAL_S3_REPLICA_BACKUP_PATH=$BACKUP" >>"$ENVFILE"
    mount_start || return
    wait_until current backup
    same_objects "caught up" "$BACKUP"
    mount_stop
}

# killed_at STEP MODE: the daemon dies there; the next one makes both replicas whole.
killed_at() {
    first_day "$2"
    AMBER_FAILPOINT=$1 mount_start || return
    { echo ev >"$MNT/.control/trigger" && cat "$MNT/.control/wait/ev"; } >/dev/null 2>&1
    mount_wait_death
    assert_eq "$1: the daemon's end" 137 "$status" || return
    mount_start || return
    run_job ev && assert_match "the next run" '^state: ok$' "$result"
    # The objects of the run that died are hidden until they are old; they aren't in this comparison.
    wait_until current west && wait_until current backup
    each_row_once "$1"
    mount_stop
    only_committed "$WEST" && only_committed "$BACKUP"
}
# only_committed FOLDER: it has every object of each committed run, as the store has it.
only_committed() {
    local run
    for run in $(sql "select run_id from amberfs.runs where state = 'committed'"); do
        assert_eq "run $run in $(basename "$1")" "$(objects_of "$run" "$STORE")" "$(objects_of "$run" "$1")" ||
            return
    done
}
objects_of() {
    (
        cd "$2" || exit
        find . -type f \( -name "$1*" $(sql "select '-o -path ./' || key from amberfs.archived_partitions
            where run_id = '$1'") \) -exec sha256sum {} + | sort
    )
}
test_killed_before_the_sync_copy() { killed_at proof-done sync; }
test_killed_in_the_sync_copy() { killed_at put-fsync:8 sync; }
test_killed_behind_the_sync_copy() { killed_at replicas-durable sync; }
test_killed_behind_commit() { killed_at committed sync; }
test_killed_between_commit_and_copy() { killed_at marker-durable async; }
test_killed_behind_the_copy() { killed_at replica-copied async; }

test_sync_replica_that_fails_holds_rows_back() {
    first_day sync
    expect_error 'job ev: failed'
    mount_start || return
    mv "$WEST" "$T/gone" && : >"$WEST" # what the daemon holds open is full: see below
    mv "$T/gone" "$T/west.real"
    chmod 0500 "$T/west.real"
    if [ "$(id -u)" = 0 ]; then # root may write anywhere: a file where a folder belongs
        mkdir -p "$T/west.real/ev.x" && rm -rf "$T/west.real/ev" && : >"$T/west.real/ev"
    fi
    run_job ev
    assert_match "result" '^state: failed$' "$result"
    assert_match "names the replica" 'replica west' "$result"
    assert_eq "rows" 600 "$(sql "select count(*) from ev")"
    assert_eq "committed" 0 "$(sql "select count(*) from amberfs.runs where state = 'committed'")"
    rm -f "$WEST"
    chmod 0700 "$T/west.real"
    rm -f "$T/west.real/ev"
    mv "$T/west.real" "$WEST"
    run_job ev
    assert_match "result when it is well again" '^state: ok$' "$result"
    mount_stop
    only_committed "$WEST"
}

# Its disk is gone when all but the COMMIT is done: the rows stay.
test_sync_replica_that_vanished_before_commit_holds_rows_back() {
    first_day sync
    step_begin
    AMBER_FAILPOINT=delete-done=pause amberfs archive ev >"$T/job.out" 2>&1 &
    step_wait
    rm -rf "${WEST:?}/ev" "$WEST/evc"
    step_go
    wait $! && fail "the run ended well"
    step_end
    assert_match "reason" 'gone or changed before its rows are' "$(cat "$T/job.out")"
    assert_eq "archives committed" 0 "$(sql "select count(*) from archived_partitions")"
    each_row_once "after the failure"
    next_run_completes "after the failure"
    each_row_once "after the next run"
}

test_async_replica_that_fails_is_shown_and_made_up_for() {
    first_day async
    : >"$BACKUP/ev" # a file where a folder belongs
    mount_start || return
    run_job ev && assert_match "result" '^state: ok$' "$result"
    failing() { lag backup | grep -q '^failing'; }
    wait_until failing
    assert_match "status" 'archives \(.*behind since' "$("$AMBERFS" status "$MNT")"
    assert_match "log" 'replica backup is behind' "$(cat "$MNT/.control/log")"
    wait_until current west # the other one isn't held up
    rm "$BACKUP/ev"
    mount_stop
    assert_status 0 amberfs replicate
    same_objects "made up for" "$BACKUP"
}

# --- reading --------------------------------------------------------------------------------

flip() { # FILE OFFSET
    chmod u+w "$1"
    python3 -c '
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); b = f.read(1); f.seek(-1, 1); f.write(bytes([b[0] ^ 1]))' "$1" "$2"
}
digests() { (cd "$MNT" && find . -type f | sort | xargs sha256sum); }

test_reads_come_from_the_copy_that_has_right_bytes() {
    first_day async
    assert_status 0 amberfs archive ev
    assert_status 0 amberfs replicate
    mount_start || return
    local right archive
    right=$(digests)
    mount_stop
    # One archive damaged here, one missing, one cut, a manifest damaged; another damaged in west.
    mapfile -t archives < <(cd "$STORE" && find ev evc -name '*.gz' | sort)
    flip "$STORE/${archives[0]}" 2000
    rm "$STORE/${archives[1]}"
    chmod u+w "$STORE/${archives[2]}" && truncate -s -7 "$STORE/${archives[2]}"
    flip "$(find "$STORE/.amberfs/manifests/${archives[3]}" -name '*.json')" 100
    flip "$WEST/${archives[0]}" 2000
    flip "$WEST/${archives[4]}" 2000
    mount_start || return
    assert_eq "bytes" "$right" "$(digests)"
    assert_match "metrics" 'amberfs_replica_reads_total\{replica="west"\} [1-9]' "$(cat "$MNT/.metrics")"
    assert_match "metrics" 'amberfs_replica_reads_total\{replica="backup"\} [1-9]' "$(cat "$MNT/.metrics")"
    assert_match "log" "storage copy primary is passed over: ${archives[0]}" "$(cat "$MNT/.control/log")"
    mount_stop
    # The same block damaged in all copies: an error, never wrong bytes.
    flip "$BACKUP/${archives[0]}" 2000
    assert_status 1 amberfs cat "${archives[0]%.gz}"
    assert_match "message" "SHA-256" "$msg"
}

# The primary is lost: a new, empty folder in its place. Everything is still there.
test_primary_lost_is_read_from_a_replica() {
    first_day async
    assert_status 0 amberfs archive ev
    assert_status 0 amberfs replicate
    mount_start || return
    local right
    right=$(digests)
    mount_stop
    rm -rf "${STORE:?}" && mkdir "$STORE"
    sql "insert into ev table keep.ev; insert into evc table keep.evc"
    expect_error 'job ev: failed'
    mount_start || return
    assert_eq "with the database" "$right" "$(digests)"
    # The folder may be one below which a disk isn't mounted.
    run_job ev && assert_match "job" 'mount the disk.*--new-store' "$result"
    mount_stop
    assert_status 1 amberfs verify --all --repair
    assert_match "repair" "^FAILED .*primary.*can't be repaired: .*mount its disk.*--new-store" "$out"
    assert_eq "written there" '' "$(find "$STORE" -type f)"
    assert_status 0 amberfs init --new-store
    assert_same "identity" "$WEST/.amberfs/store.json" "$STORE/.amberfs/store.json"
    assert_status 0 amberfs verify --all --repair
    same_objects "repaired" "$WEST"
    assert_status 0 amberfs archive ev
    rm -rf "${STORE:?}" && mkdir "$STORE"
    PGHOST=$T/nowhere mount_start -o ro || return
    assert_eq "without a database" "$right" "$(digests)"
    mount_stop
}

# A replica that can't be asked might have the store: an empty primary isn't begun anew then, neither
# when somebody wants it to, nor by a catalog that knows no archives.
test_primary_is_not_begun_anew_while_a_replica_cannot_be_asked() {
    local begin
    first_day async
    mkdir -p "$WEST/.amberfs" && : >"$WEST/.amberfs/store.json"
    assert_status 0 amberfs archive ev
    for begin in 'init --new-store' 'archive ev'; do
        store_make
        [ "$begin" != 'archive ev' ] || sql "set client_min_messages = error; drop schema amberfs cascade;
            insert into ev table keep.ev; insert into evc table keep.evc"
        assert_status 1 amberfs $begin
        assert_match "$begin" 'holds no store yet, and whether replica west does can.t be seen' "$msg"
        assert_eq "$begin: written there" '' "$(find "$STORE" -type f)"
    done
}

# A run that died behind its COMMIT has its archive in the sync replica, and no marker yet. When the
# primary is lost then, neither recovery nor who fills the other replica makes the marker there, and
# nobody else writes there either: it may be the folder below a disk that isn't mounted.
database_is_up() { jq -e .database.reachable "$MNT/.status"; }
needs_primary() { lag backup | grep -q failing && grep -q 'the primary holds no store' "$DAEMON_LOG"; }
test_lost_primary_is_written_to_by_nobody() {
    local run folder
    first_day sync
    AMBER_FAILPOINT=committed amberfs archive ev >/dev/null 2>&1
    assert_eq "committed" 1 "$(sql "select count(*) from amberfs.runs where state = 'committed'")"
    store_make
    mount_start || return
    wait_until database_is_up
    wait_until needs_primary
    assert_eq "written by the daemon" '' "$(find "$STORE" -type f)"
    mount_stop
    replicated
    store_make
    for folder in "$WEST" "$BACKUP"; do rm "$(manifest_of "$folder" "${archives[0]}")"; done
    assert_status 1 amberfs rebuild-manifest "${archives[0]%.gz}"
    assert_match "rebuild" 'mount its disk' "$msg"
    run=$(sql "select run_id from amberfs.archived_partitions where key = '${archives[1]}'")
    sql "delete from amberfs.archived_partitions where run_id = '$run'; delete from amberfs.replications where run_id = '$run';
         delete from amberfs.names where run_id = '$run'; delete from amberfs.runs where run_id = '$run'"
    assert_status 1 amberfs reconcile --supersede "$run"
    assert_match "supersede" 'mount its disk' "$msg"
    assert_eq "written by a command" '' "$(find "$STORE" -type f)"
}

# --- verify and repair ------------------------------------------------------------------------

# replicated: archives in all three copies; their names in the array archives.
replicated() {
    first_day async
    assert_status 0 amberfs archive ev
    assert_status 0 amberfs replicate
    mapfile -t archives < <(cd "$STORE" && find ev evc -name '*.gz' | sort)
}
manifest_of() { find "$1/.amberfs/manifests/$2" -name '*.json'; } # FOLDER ARCHIVE

test_verify_tells_of_each_copy_and_repair_makes_it_whole() {
    replicated
    assert_status 0 amberfs verify --all
    assert_match "sound" '^ok .* in 3 copies' "$out"
    flip "$STORE/${archives[0]}" 2000
    rm "$STORE/${archives[1]}"
    flip "$(manifest_of "$WEST" "${archives[2]}")" 300
    rm "$WEST/.amberfs/commits/$(sql "select run_id from amberfs.archived_partitions where key = '${archives[3]}'").json"
    chmod u+w "$BACKUP/${archives[0]}" && truncate -s 100 "$BACKUP/${archives[0]}"
    rm "$BACKUP/.amberfs/store.json"
    assert_status 1 amberfs verify --all
    assert_match "damaged" "^FAILED  ${archives[0]%.gz}: primary: damaged: .*SHA-256" "$out"
    assert_match "missing" "^FAILED  ${archives[1]%.gz}: primary: missing: " "$out"
    assert_match "manifest" "^FAILED  ${archives[2]%.gz}: west: damaged: manifest " "$out"
    assert_match "marker" "^FAILED  ${archives[3]%.gz}: west: missing: .*commits/" "$out"
    assert_match "cut" "^FAILED  ${archives[0]%.gz}: backup: damaged: .*100 bytes" "$out"
    assert_match "store.json" "store.json: backup: it isn't copied yet, or was lost" "$out"
    assert_match "sum" '^primary: 10 sound, 1 missing, 1 damaged$' "$out"
    assert_status 0 amberfs verify --all --repair
    assert_match "repaired" "^repaired ${archives[0]%.gz}: primary: it was damaged: " "$out"
    assert_match "sum" '^primary: 12 sound, 2 of them repaired$' "$out"
    assert_status 0 amberfs verify --all
    assert_eq "faults left" "" "$(grep -v '^ok ' <<<"$out" | grep -vE '^[a-z]+: 12 sound$|^12 archives')"
    same_objects "repaired" "$WEST" && same_objects "repaired" "$BACKUP"
}

# Damaged alike in all copies: nothing is touched. A lost replica is absent, and filled by repair.
test_repair_without_a_good_copy_changes_nothing() {
    replicated
    local before folder
    for folder in "$STORE" "$WEST" "$BACKUP"; do flip "$folder/${archives[0]}" 2000; done
    before=$(sha256sum "$STORE"/ev*/* "$WEST"/ev*/* "$BACKUP"/ev*/*)
    assert_status 1 amberfs verify --repair "${archives[0]%.gz}"
    assert_match "words" "primary: damaged: it can't be repaired: " "$out"
    assert_eq "files" "$before" "$(sha256sum "$STORE"/ev*/* "$WEST"/ev*/* "$BACKUP"/ev*/*)"
    for folder in "$STORE" "$WEST" "$BACKUP"; do flip "$folder/${archives[0]}" 2000; done
    rm -rf "${WEST:?}" && mkdir "$WEST"
    assert_status 0 amberfs verify --all
    assert_match "lost" '^west: 0 sound, 12 absent$' "$out"
    assert_status 0 amberfs verify --all --repair
    same_objects "filled again" "$WEST"
    grep -v REPLICA "$ENVFILE" >"$T/alone"
    assert_status 1 "$AMBERFS" verify --all --repair --env-file "$T/alone"
    assert_match "no replica" 'needs another copy' "$msg"
}

test_repair_through_the_mount() {
    replicated
    mount_start || return
    expect_error 'verify: .*primary is damaged'
    flip "$STORE/${archives[0]}" 2000
    echo "--all" >"$MNT/.control/verify"
    assert_match "result" '^state: failed$' "$(cat "$MNT/.control/wait/verify")"
    assert_match "copies" '^copy primary: 11 sound, 1 damaged$' "$(cat "$MNT/.control/wait/verify")"
    echo "--repair ${archives[0]%.gz}" >"$MNT/.control/verify"
    assert_match "result" '^state: ok$' "$(cat "$MNT/.control/wait/verify")"
    assert_match "copies" '^copy primary: 1 sound, 1 of them repaired$' "$(cat "$MNT/.control/wait/verify")"
    mount_stop
    same_objects "repaired" "$WEST"
}

# --- configuration ----------------------------------------------------------------------------

refused() { # WHAT LINE...
    local want=$1
    shift
    { grep -v REPLICA "$ENVFILE"; printf '%s\n' "$@"; } >"$T/wrong"
    assert_status 1 "$AMBERFS" list --env-file "$T/wrong"
    assert_match "message" "$want" "$msg"
}
test_wrong_replicas_are_refused_at_start() {
    first_day async
    refused 'ARCHIVAL_S3_REPLICA_WEST_PATH is not set' ARCHIVAL_S3_REPLICAS=west
    refused 'ARCHIVAL_S3_REPLICA_WEST_MODE is "soon": allowed: sync, async' \
        ARCHIVAL_S3_REPLICAS=west "ARCHIVAL_S3_REPLICA_WEST_PATH=$WEST" ARCHIVAL_S3_REPLICA_WEST_MODE=soon
    refused 'ARCHIVAL_S3_REPLICAS is "a b".*names like west,backup' "ARCHIVAL_S3_REPLICAS=a b"
    refused 'each name may stand once' ARCHIVAL_S3_REPLICAS=west,West "ARCHIVAL_S3_REPLICA_WEST_PATH=$WEST"
    refused 'ARCHIVAL_S3_REPLICA_WEST_PATH names the place of ARCHIVAL_PATH' \
        ARCHIVAL_S3_REPLICAS=west "ARCHIVAL_S3_REPLICA_WEST_PATH=$STORE/"
    refused 'west: the storage folder .*nowhere' \
        ARCHIVAL_S3_REPLICAS=west "ARCHIVAL_S3_REPLICA_WEST_PATH=$T/nowhere"
    { grep -v REPLICA "$ENVFILE"; echo ARCHIVAL_S3_REPLICA_EAST_PATH=/x; } >"$T/wrong"
    assert_status 0 "$AMBERFS" list --env-file "$T/wrong"
    assert_match "warning" 'ARCHIVAL_S3_REPLICA_EAST_PATH is no variable' "$msg"
}
test_another_stores_folder_is_refused() {
    first_day async
    assert_status 0 amberfs archive ev
    cp -a "$STORE/." "$WEST/"
    sed -i 's/"store_id":"[0-9a-f]\{8\}/"store_id":"00000000/' "$WEST/.amberfs/store.json" ||
        fail "store.json can't be changed"
    assert_status 1 amberfs replicate
    assert_match "message" 'west: it holds the store 00000000' "$msg"
}

pg_start
make_small_job
tap_run test_sync_has_all_when_the_job_ends_and_async_soon_after \
    test_queue_without_a_daemon_is_drained_by_replicate \
    test_new_replica_gets_the_archives_that_are_there \
    test_killed_before_the_sync_copy test_killed_in_the_sync_copy test_killed_behind_the_sync_copy \
    test_killed_behind_commit test_killed_between_commit_and_copy test_killed_behind_the_copy \
    test_sync_replica_that_fails_holds_rows_back \
    test_sync_replica_that_vanished_before_commit_holds_rows_back \
    test_async_replica_that_fails_is_shown_and_made_up_for \
    test_reads_come_from_the_copy_that_has_right_bytes \
    test_primary_lost_is_read_from_a_replica \
    test_primary_is_not_begun_anew_while_a_replica_cannot_be_asked \
    test_lost_primary_is_written_to_by_nobody \
    test_verify_tells_of_each_copy_and_repair_makes_it_whole \
    test_repair_without_a_good_copy_changes_nothing test_repair_through_the_mount \
    test_wrong_replicas_are_refused_at_start test_another_stores_folder_is_refused
