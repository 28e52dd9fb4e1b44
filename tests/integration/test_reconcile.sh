#!/usr/bin/env bash
# The database is set back to a point before a run (failover to a lagging standby, point-in-time
# recovery): the archives of the lost future are found, their tables wait, and `amberfs reconcile`
# settles them. No row is lost, and none is archived twice unseen.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/small_job.sh"

remember() { # the server's data as it is now
    pg_crash && rm -rf "$T/pg/past" && cp -a "$T/pg/data" "$T/pg/past" && pg_restart
}
set_back() {
    pg_crash && rm -rf "$T/pg/data" && cp -a "$T/pg/past" "$T/pg/data" && pg_restart
}
# The database as before the run that the store has archives of.
lose_future() {
    reset_small_job && remember || return
    assert_status 0 amberfs archive ev || return
    n_runs=$(find "$STORE/.amberfs/commits" -name '*.json' | wc -l)
    n_archives=$(find "$STORE/ev" "$STORE/evc" -type f | wc -l)
    set_back
}
archives_listed() { amberfs list | awk '{print $NF}' | grep -c /; }

test_job_refuses_and_reconcile_lists() {
    lose_future || return
    assert_status 1 amberfs archive ev
    assert_match "message" 'public\.evc?.* reconcile' "$msg"
    assert_eq "rows" 600 "$(sql "select count(*) from ev")"
    assert_eq "archives in the store" "$n_archives" "$(find "$STORE/ev" "$STORE/evc" -type f | wc -l)"
    assert_status 1 amberfs reconcile
    assert_eq "runs listed" "$n_runs" "$(grep -c '^run ' <<<"$out")"
    assert_match "what to do" '--supersede RUN' "$out"
    each_row_once "set back" --set-back
}

# The tree with a database is what that has committed; without one, all that was ever committed.
test_tree_with_and_without_database() {
    expect_error 'reconcile'
    mount_start || return
    assert_eq "files with the database" "" "$(find "$MNT" -type f -printf '%P\n')"
    run_job ev && assert_match "job" 'reconcile' "$result"
    mount_stop
    PGHOST=/nowhere mount_start || return
    assert_eq "files without it" "$n_archives" "$(find "$MNT" -type f | wc -l)"
    assert_eq "rows without it" 1800 "$(cat "$MNT"/*/*.json | wc -l)"
    mount_stop
}

test_supersede_when_the_rows_are_back() {
    assert_status 0 amberfs reconcile --supersede all
    assert_status 0 amberfs reconcile
    assert_eq "shown without the database" 0 "$(PGHOST=/nowhere archives_listed)"
    assert_eq "archives in the store" "$n_archives" "$(find "$STORE/ev" "$STORE/evc" -type f | wc -l)"
    assert_status 0 amberfs archive ev
    each_row_once "superseded"
    assert_eq "names" 0 "$(sql "select count(*) from amberfs.archived_partitions where logical_name !~ '_2\\.json\$'")"
    assert_eq "shown without the database" "$n_archives" "$(PGHOST=/nowhere archives_listed)"
    assert_status 0 amberfs verify --all
}

test_adopt_when_the_rows_are_not_in_the_table() {
    lose_future || return
    # Somebody has taken the rows out of the tables that came back.
    sql "set client_min_messages = error; truncate ev cascade"
    assert_status 0 amberfs reconcile --adopt all
    assert_status 0 amberfs reconcile
    each_row_once "adopted"
    next_run_completes "adopted"
}

test_one_run_at_a_time() {
    local first run
    lose_future || return
    assert_status 1 amberfs reconcile
    first=$(sed -n 's/^run \([^,]*\),.*/\1/p' <<<"$out" | head -n 1)
    assert_status 1 amberfs reconcile --supersede "$first"
    assert_eq "left" $((n_runs - 1)) "$(amberfs reconcile 2>/dev/null | grep -c '^run ')"
    assert_status 1 amberfs archive ev
    for run in $(amberfs reconcile 2>/dev/null | sed -n 's/^run \([^,]*\),.*/\1/p'); do
        amberfs reconcile --supersede "$run" >/dev/null 2>&1
    done
    assert_status 0 amberfs archive ev
    each_row_once "one after the other"
}

# Set back into the middle of a run: the catalog knows a run as running that the store has a marker of.
test_set_back_into_the_middle_of_a_run() {
    local pid
    reset_small_job || return
    step_begin
    AMBER_FAILPOINT=recorded:2=pause "$AMBERFS" archive ev --env-file "$ENVFILE" >/dev/null 2>&1 &
    pid=$!
    step_wait
    # With a crash the unit would be done anew, by another run. Nobody writes meanwhile.
    sql checkpoint && rm -rf "$T/pg/past" && cp -a "$T/pg/data" "$T/pg/past" && rm "$T/pg/past/postmaster.pid"
    step_go
    wait $pid
    set_back
    assert_eq "running" 1 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
    each_row_once "set back" --set-back
    assert_status 1 amberfs archive ev
    assert_match "message" 'reconcile' "$msg"
    assert_eq "left alone" 1 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
    assert_status 0 amberfs reconcile --supersede all
    next_run=$(amberfs archive ev 2>&1) || fail "the next run: $next_run"
    each_row_once "superseded"
    assert_eq "in doubt" 0 "$(sql "select count(*) from amberfs.runs where state = 'running'")"
    assert_status 0 amberfs verify --all
}

# A disk that isn't mounted leaves an empty folder: no new store is begun there by accident.
test_folder_without_the_store_is_not_taken_for_it() {
    local committed
    write_small_job
    reset_small_job || return
    assert_status 0 amberfs archive ev || return
    committed=$(sql "select count(*) from amberfs.archived_partitions")
    sql "insert into ev table keep.ev; insert into evc table keep.evc"
    mv "$STORE" "$STORE.disk" && mkdir "$STORE"
    local command
    for command in init 'archive ev' reconcile; do
        # shellcheck disable=SC2086 # two words
        assert_status 1 amberfs $command
        assert_match "$command" "has $committed archives, in store $(jq -r .store_id "$STORE.disk/.amberfs/store.json"): .*mount the disk.*--new-store" "$msg"
    done
    assert_status 1 timeout 60 "$AMBERFS" mount -f --env-file "$ENVFILE" "$MNT"
    assert_match "mount" "mount the disk.*--new-store" "$msg"
    assert_eq "written there" '' "$(find "$STORE" -type f)"
    assert_status 0 amberfs init --new-store
    assert_status 0 amberfs archive ev
    rm -rf "${STORE:?}" && mv "$STORE.disk" "$STORE"
    assert_status 0 amberfs verify --all
    # What is asked of a folder below a mount isn't silently left undone.
    local MNT=$STORE
    mount_start || return
    assert_status 1 amberfs init --new-store
    assert_match "below a mount" 'covered by the amberfs mount.*unmount' "$msg"
    mount_stop
}

# A path with a typing error: refused before its folder is made. Where there are no archives yet, the
# folder is made.
test_mistaken_path_is_refused_and_not_made() {
    local command mistaken=$T/strore
    write_small_job
    reset_small_job || return
    assert_status 0 amberfs archive ev || return
    sed -i "s|^ARCHIVAL_PATH=.*|ARCHIVAL_PATH=$mistaken/deep|" "$ENVFILE"
    for command in init 'archive ev' "mount -f $MNT"; do
        # shellcheck disable=SC2086 # several words
        assert_status 1 amberfs $command
        assert_match "$command" "strore/deep doesn't exist.*correct the path.*--new-store" "$msg"
        [ ! -e "$mistaken" ] || fail "$command made $mistaken"
    done
    PGPORT=1 assert_status 1 amberfs archive ev
    assert_match "no database" "strore/deep doesn't exist, and whether it is a new one can't be asked" "$msg"
    [ ! -e "$mistaken" ] || fail "made without asking"
    assert_status 0 amberfs init --new-store
    assert_status 0 amberfs verify --all
    rm -rf "${mistaken:?}"
    sql "set client_min_messages = error; drop schema amberfs cascade; truncate ev cascade;
         insert into ev table keep.ev; insert into evc table keep.evc"
    assert_status 0 amberfs archive ev
    [ -d "$mistaken/deep/ev" ] || fail "the first run didn't make its folder"
    rm -rf "${mistaken:?}"
    write_small_job
}

# A database with another catalog may neither archive into the store nor restore from it.
test_store_of_another_catalog_is_refused() {
    local command
    write_small_job
    reset_small_job || return
    sql "set client_min_messages = error; drop schema amberfs cascade" >/dev/null
    for command in init 'archive ev' reconcile; do
        # shellcheck disable=SC2086 # two words
        assert_status 1 amberfs $command
        assert_match "$command" 'belongs to the catalog .*store folder of its own' "$msg"
    done
    assert_eq "rows" 600 "$(sql "select count(*) from ev")"
}

# Many tables with long names: every one of them waits, and one whose name begins like another's
# doesn't wait with it.
test_every_table_of_the_lost_future_waits() {
    local i table jobs='' name
    name=a_rather_long_name_of_a_table_that_fills_the_room_for_names_
    for i in 0 1 2 3 4 5 6 7 8 9; do
        table=$name$i
        sql "create table $table (at timestamptz); insert into $table values ('2024-02-01 00:00Z')"
        jobs+='{"name": "job'$i'", "tables": [{"schema": "public", "name": "'$table'", "folder": "f'$i'"}], "time_column": "at", "retention_days": 30},'
    done
    sql "create table a_rather (at timestamptz); insert into a_rather values ('2024-02-01 00:00Z')"
    jobs+='{"name": "short", "tables": [{"schema": "public", "name": "a_rather", "folder": "short"}], "time_column": "at", "retention_days": 30}'
    echo "{\"version\": 1, \"jobs\": [$jobs]}" >"$T/jobs.json"
    sql "set client_min_messages = error; drop schema amberfs cascade" >/dev/null
    rm -rf "${STORE:?}" && mkdir "$STORE"
    assert_status 0 amberfs init
    remember || return
    for i in 0 1 2 3 4 5 6 7 8 9; do
        assert_status 0 amberfs archive job$i
    done
    set_back
    for i in 0 1 2 3 4 5 6 7 8 9; do
        assert_status 1 amberfs archive job$i
        assert_match "job$i" 'reconcile' "$msg"
        assert_eq "rows of job$i" 1 "$(sql "select count(*) from $name$i")"
    done
    assert_status 0 amberfs archive short
}

# A file that somebody puts under the reserved name of a run that died isn't that run's.
test_leftovers_are_removed_but_no_stranger() {
    local name
    write_small_job
    reset_small_job || return
    AMBER_FAILPOINT=proof-done amberfs archive ev >/dev/null 2>&1
    find "$STORE/ev" "$STORE/evc" -type f -exec sha256sum {} + >"$T/left"
    assert_status 0 amberfs archive ev
    assert_status 0 sha256sum -c "$T/left" # until they are old
    reset_small_job || return
    echo ARCHIVAL_ORPHAN_DAYS=0 >>"$ENVFILE"
    AMBER_FAILPOINT=name-reserved amberfs archive ev >/dev/null 2>&1
    name=$(sql "select logical_name from amberfs.names")
    mkdir -p "$STORE/ev"
    echo "somebody's own" | gzip >"$STORE/$name.gz"
    cp "$STORE/$name.gz" "$T/stranger"
    next_run_completes "stranger"
    assert_same "the stranger's file" "$T/stranger" "$STORE/$name.gz"
    # What the run itself left goes, with a manifest and without.
    local step
    for step in archive-durable manifest-durable proof-done:1; do
        reset_small_job || return
        AMBER_FAILPOINT=$step amberfs archive ev >/dev/null 2>&1
        [ "$(find "$STORE" -path "$STORE/.amberfs" -prune -o -type f -print | wc -l)" -gt 0 ] || fail "$step left nothing"
        next_run_completes "$step"
        assert_eq "$step: objects" "$(sql "select key from amberfs.archived_partitions order by 1")" \
            "$(cd "$STORE" && find . -path ./.amberfs -prune -o -type f -print | sed 's,^\./,,' | sort)"
    done
}


pg_start
make_small_job
tap_run test_job_refuses_and_reconcile_lists \
    test_tree_with_and_without_database test_supersede_when_the_rows_are_back \
    test_adopt_when_the_rows_are_not_in_the_table test_one_run_at_a_time \
    test_set_back_into_the_middle_of_a_run test_every_table_of_the_lost_future_waits \
    test_leftovers_are_removed_but_no_stranger test_store_of_another_catalog_is_refused \
    test_folder_without_the_store_is_not_taken_for_it \
    test_mistaken_path_is_refused_and_not_made
