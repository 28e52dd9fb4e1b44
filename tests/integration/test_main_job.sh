#!/usr/bin/env bash
# The four built-in jobs from trigger to archive, as a user sees them: what moves, what stays, what
# the archives hold (checked by PostgreSQL against a copy of the rows), and what the catalog says.
# On a local folder, and once more on S3.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

test_tree_before_the_first_job_is_empty() {
    assert_eq "listing" "" "$(ls -A "$MNT")"
    assert_eq "archives in the catalog" 0 "$(sql 'select count(*) from archived_partitions')"
    assert_eq "database reachable" true "$(jq .database.reachable "$MNT/.status")"
    assert_eq "job states" "idle idle idle idle" "$(jq -r '[.jobs[].state] | join(" ")' "$MNT/.status")"
}

test_dry_run_names_what_is_due_and_changes_nothing() {
    local before after
    before=$(everything)
    assert_status 0 amberfs archive session-archival --dry-run --env-file "$ENVFILE"
    assert_match "plan" "flow_execution_deltas" "$out"
    assert_match "plan" "nothing was changed" "$out"
    after=$(everything)
    assert_eq "database and store" "$before" "$after"
}

test_jobs_move_exactly_what_is_due() {
    local job table
    for job in log-archival session-archival call-archival memory-cleanup; do
        run_job $job || return
        assert_match "result of $job" '^state: ok$' "$result"
        assert_match "rows of $job" '^rows: [1-9]' "$result"
    done
    for table in "${demo_tables[@]}"; do
        assert_eq "$table: rows that stayed" "0" "$(sql "
            select count(*) from (select * from public.$table) p
            full join (select * from keep.$table where not $(due "$table")) k using (id)
            where p.id is null or k.id is null or p::text <> k::text")"
    done
}

test_archives_hold_exactly_the_moved_rows() {
    local table folder
    for table in "${demo_tables[@]}"; do
        folder=$(folder_of "$table")
        load_archives "$table" "$MNT/$folder"/*.json
        assert_eq "$table: archived rows that differ" "0" "$(sql "
            select count(*) from loaded.$table l
            full join (select (k).id::text, to_jsonb(k) doc from keep.$table k where $(due "$table")) k
                on l.doc ->> 'id' = k.id
            where l.doc is distinct from k.doc")"
    done
}

test_lines_have_the_columns_in_table_order() {
    assert_eq "keys" "id session_id node_id level message data created_at" \
        "$(head -qn 1 "$MNT"/flow_logs/*.json | head -n 1 | jq -r 'keys_unsorted | join(" ")')"
}

test_names_carry_the_dates_of_oldest_and_newest_row() {
    local file name span
    for file in "$MNT"/flow_logs/*.json; do
        name=${file##*/}
        span=$(jq -r .created_at "$file" | cut -c 1-10 | sort | sed -n '1p;$p' | paste -sd ' ')
        assert_eq "dates" "flow_logs_${span% *}_to_${span#* }.json" "$name"
        assert_eq "one quarter in $name" 1 "$(sql "
            select count(distinct date_trunc('quarter', d)) from unnest(array['${span% *}', '${span#* }']::date[]) d")"
    done
    assert_eq "deltas carry their sessions' dates" \
        "$(cd "$MNT/flow_sessions" && printf '%s\n' *.json | sed 's/flow_sessions_//')" \
        "$(cd "$MNT/flow_deltas" && printf '%s\n' *.json | sed 's/flow_deltas_//')"
    assert_match "memory's name" '^expired_chunks_[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{13}\.json$' "$(ls "$MNT/memory_chunks")"
}

test_children_are_archived_with_their_parents() {
    local file
    for file in "$MNT"/flow_sessions/*.json; do
        assert_eq "sessions of ${file##*/}" "$(jq -r .id "$file" | sort)" \
            "$(jq -r .session_id "${file//flow_sessions/flow_deltas}" | sort -u)"
    done
}

test_catalog_agrees_with_the_files() {
    local path rows size
    while IFS='|' read -r path rows size; do
        assert_eq "rows of $path" "$rows" "$(gunzip -c "$MNT/.raw/$path" | wc -l)"
        assert_eq "stored size of $path" "$size $path" "$(store_list "$path")"
    done < <(sql 'select archive_path, row_count, compressed_size from archived_partitions')
    assert_eq "archives" "$(sql 'select count(*) from archived_partitions')" \
        "$(find "$MNT" -type f | wc -l)"
    assert_eq "each archive has a marker's run" \
        "$(sql 'select count(distinct run_id) from amberfs.archived_partitions')" \
        "$(store_list .amberfs/commits/ | wc -l)"
}

test_status_tells_the_results() {
    assert_eq "last results" "ok ok ok ok" "$(jq -r '[.jobs[].lastResult.state] | join(" ")' "$MNT/.status")"
    assert_eq "rows of session-archival" \
        "$(cat "$MNT"/flow_sessions/*.json "$MNT"/flow_deltas/*.json | wc -l)" \
        "$(jq '.jobs[] | select(.name == "session-archival").lastResult.rows' "$MNT/.status")"
    assert_match "nextRun" '^[0-9]{4}-[0-9]{2}-01T02:00:00Z$' \
        "$(jq -r '.jobs[] | select(.name == "log-archival").nextRun' "$MNT/.status")"
    assert_status 0 amberfs status "$MNT"
    assert_match "table for people" 'session-archival +idle' "$out"
}

test_second_run_moves_nothing() {
    local before
    before=$(store_list)
    run_job session-archival || return
    assert_match "result" '^rows: 0$' "$result"
    assert_eq "store" "$before" "$(store_list)"
}

test_late_rows_get_an_archive_of_their_own() {
    local day first
    first=$(basename "$(printf '%s\n' "$MNT"/flow_logs/*.json | head -n 1)" .json)
    day=${first#flow_logs_}
    sql "insert into flow_execution_logs select md5('late' || d)::uuid, md5('s')::uuid, 'n', 'info', 'late', null, d
         from unnest(array['${day%_to_*} 12:00Z', '${day#*_to_} 12:00Z']::timestamptz[]) d" >/dev/null
    run_job log-archival || return
    assert_eq "rows of $first"_2.json 2 "$(wc -l <"$MNT/flow_logs/${first}_2.json")"
}

pg_start
make_demo_data 5000
write_env
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1
mount_start || exit 1
at_exit 'mount_stop'

test_daemon_ends_cleanly() { mount_stop; }

tap_run test_tree_before_the_first_job_is_empty \
    test_dry_run_names_what_is_due_and_changes_nothing \
    test_jobs_move_exactly_what_is_due \
    test_archives_hold_exactly_the_moved_rows \
    test_lines_have_the_columns_in_table_order \
    test_names_carry_the_dates_of_oldest_and_newest_row \
    test_children_are_archived_with_their_parents \
    test_catalog_agrees_with_the_files \
    test_status_tells_the_results \
    test_second_run_moves_nothing \
    test_late_rows_get_an_archive_of_their_own \
    test_daemon_ends_cleanly
