#!/usr/bin/env bash
# Archives in a real S3 server, as a user sees them: jobs, reading, .raw, restore, verify, and the
# mount without its database. What the bucket holds is read by a client that isn't the program's.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"
. "$here/../lib/s3.sh"

test_jobs_move_rows_into_the_bucket() {
    local job
    for job in log-archival session-archival call-archival memory-cleanup; do
        run_job $job || return
        assert_match "result of $job" '^state: ok$' "$result"
    done
    assert_match "objects" "data/set/flow_logs/flow_logs_.*\.json\.gz" "$(s3 list data/set/flow_logs/)"
    assert_match "markers" "data/set/\.amberfs/commits/" "$(s3 list data/set/.amberfs/commits/)"
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

test_stored_bytes_are_the_buckets() {
    local file
    for file in "$MNT"/.raw/flow_logs/*.json.gz; do
        s3 cat "data/set/flow_logs/${file##*/}" | cmp - "$file" || fail "$file differs"
        gunzip -c "$file" | cmp - "$MNT/flow_logs/$(basename "$file" .gz)" || fail "$file unpacks to something else"
    done
}

test_verify_finds_everything_sound() {
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
}

test_restore_brings_the_rows_back() {
    local first
    first=$(printf '%s\n' "$MNT"/flow_logs/*.json | head -n 1)
    cp "$first" "$MNT/.restore/" || fail "cp fails"
    assert_eq "rows in the table" "$(wc -l <"$first")" \
        "$(sql "select count(*) from flow_execution_logs t join loaded.flow_execution_logs l on t.id::text = l.doc ->> 'id'")"
}

test_manifest_is_rebuilt_from_the_bucket() {
    local key
    key=$(cd "$MNT/.raw" && printf '%s\n' call_events/*.json.gz | head -n 1)
    mount_stop
    s3 list "data/set/.amberfs/manifests/$key" | sed 's/^[0-9]* //' | xargs -d '\n' python3 "$lib/s3.py" remove
    assert_status 0 amberfs rebuild-manifest "$key" --env-file "$ENVFILE"
    mount_start || return
    gunzip -c "$MNT/.raw/$key" | cmp - "$MNT/${key%.gz}" || fail "$key reads otherwise now"
}

test_without_its_database_the_tree_is_the_same() {
    local before
    before=$(cd "$MNT" && sha256sum */*.json)
    mount_stop
    (
        export PGHOST=$T/nowhere
        mount_start || exit 1
        assert_eq "tree" "$before" "$(cd "$MNT" && sha256sum */*.json)"
        mount_stop
    ) || fail "no mount without the database"
    mount_start
}

more_than_fewer() { find "$MNT" -name '*.json' | sort >"$T/all" && ! cmp "$T/fewer" "$T/all"; }
# A commit by another host: its marker, and what it names, come into the bucket behind this mount's
# back.
test_commit_of_another_host_appears_without_the_database() {
    local marker
    marker=$(s3 list data/set/.amberfs/commits/ | head -n 1 | sed 's/^[0-9]* //')
    s3 cat "$marker" >"$T/marker"
    mount_stop
    s3 remove "$marker"
    (
        export PGHOST=$T/nowhere
        mount_start || exit 1
        find "$MNT" -name '*.json' | sort >"$T/fewer"
        s3 put "$marker" <"$T/marker"
        wait_until more_than_fewer
        assert_eq "archives that are new" "$(jq -r '.archives | length' "$T/marker")" \
            "$(comm -13 "$T/fewer" "$T/all" | wc -l)"
        mount_stop
    ) || fail "no mount without the database"
    mount_start
}

test_disk_cache_is_counted() {
    local hits
    mount_stop
    mount_start || return
    cat "$MNT"/flow_logs/*.json >/dev/null
    hits=$(jq .mount.diskCacheHits "$MNT/.status")
    [ "$hits" -ge "$(find "$MNT/flow_logs" -type f | wc -l)" ] || fail "$hits hits only"
    assert_match "metric" "^amberfs_disk_cache_hits_total $hits\$" "$(cat "$MNT/.metrics")"
}

test_secrets_are_in_no_output() {
    assert_eq "in the log" "" "$(grep -F "$S3_SECRET_KEY" "$DAEMON_LOG")"
    assert_eq "in .status" "" "$(grep -F "$S3_SECRET_KEY" "$MNT/.status")"
    assert_eq "in the process list" "" "$(tr '\0' ' ' <"/proc/$daemon/cmdline" | grep -F "$S3_SECRET_KEY")"
}

test_wrong_settings_are_refused_at_once() {
    local line
    while IFS='|' read -r setting want; do
        { s3_env data/set; echo "$setting"; } >"$T/wrong"
        assert_status 1 amberfs list --env-file "$T/wrong"
        assert_match "message for $setting" "$want" "$msg"
    done <<END
ARCHIVAL_S3_SECRET_ACCESS_KEY=wrong-one|SignatureDoesNotMatch.*ARCHIVAL_S3_SECRET_ACCESS_KEY
ARCHIVAL_S3_ACCESS_KEY_ID=nobody|InvalidAccessKeyId.*ARCHIVAL_S3_ACCESS_KEY_ID
ARCHIVAL_PATH=s3://no-such-bucket|NoSuchBucket.*ARCHIVAL_PATH
END
}

test_daemon_ends_cleanly() { mount_stop; }

pg_start
s3_start
make_demo_data 3000
s3_env data/set >"$ENVFILE"
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1
mount_start || exit 1
at_exit 'mount_stop'

tap_run test_jobs_move_rows_into_the_bucket \
    test_archives_hold_exactly_the_moved_rows \
    test_stored_bytes_are_the_buckets \
    test_verify_finds_everything_sound \
    test_restore_brings_the_rows_back \
    test_manifest_is_rebuilt_from_the_bucket \
    test_without_its_database_the_tree_is_the_same \
    test_commit_of_another_host_appears_without_the_database \
    test_disk_cache_is_counted \
    test_secrets_are_in_no_output \
    test_wrong_settings_are_refused_at_once \
    test_daemon_ends_cleanly
