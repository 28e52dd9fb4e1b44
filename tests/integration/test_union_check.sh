#!/usr/bin/env bash
# The checker of the proofs is proven itself: each thing that it should find is done to a good store
# and database, found, and undone.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"

# check [OPTION...]: its findings into $out.
check() { out=$("$lib/union_check.py" "$@" "$STORE" ev evc 2>&1); }
# finds REGEX [OPTION...]
finds() {
    local regex=$1
    shift
    check "$@" && fail "nothing was found; expected: $regex"
    assert_match "findings" "$regex" "$out"
}
finds_nothing() { check --settled || fail "found in a good state: $out"; }

test_good_state_passes() {
    finds_nothing
    check --settled --tree "$T/tree" || fail "found in a good tree: $out"
}
test_rows_lost_twice_or_changed_are_found() {
    sql "insert into keep.ev values (-1, now(), 'lost')"
    finds '^ev: 1 rows lost, 0 twice'
    sql "insert into ev table keep.ev limit 3"
    finds '^ev: 1 rows lost, 3 twice'
    sql "delete from keep.ev where id = -1; delete from ev"
    sql "update keep.evc set payload = payload || '{\"n\": 7}' where id = 11"
    finds '^evc: 1 rows lost, 1 twice'
    sql "update keep.evc set payload = payload || '{\"n\": 1}' where id = 11"
    finds_nothing
}
test_damaged_archive_is_found() {
    local file
    file=$(find "$STORE/ev" -type f | head -n 1)
    cp -p "$file" "$T/whole"
    gunzip -c "$file" | sed '1s/"note":"./"note":"_/' | gzip -n >"$T/other"
    chmod u+w "$file" && cat "$T/other" >"$file"
    finds 'digest of the file'
    finds 'digest of the text'
    finds '^ev: 1 rows lost, 1 twice'
    rm "$file"
    finds 'No such file'
    cp -p "$T/whole" "$file"
    finds_nothing
}
test_markers_and_catalog_are_compared() {
    local marker
    marker=$(find "$STORE/.amberfs/commits" -name '*.json' | head -n 1)
    mv "$marker" "$T/marker"
    finds 'is committed and has no marker' --settled
    jq '.archives[0].stored_digest = "sha256:0"' "$T/marker" >"$marker"
    finds "the marker of run .* doesn't agree"
    mv "$T/marker" "$marker"
    cp "$marker" "$STORE/.amberfs/commits/11111111-2222-4333-8444-555555555555.json"
    finds 'has a marker and is unknown'
    check --set-back || fail "found: $out"
    rm "$STORE/.amberfs/commits/11111111-2222-4333-8444-555555555555.json"
    sql "update amberfs.runs set state = 'running', ended_at = null where run_id = (select min(run_id::text)::uuid from amberfs.runs)"
    finds "by a run that isn't committed"
    finds 'is in doubt' --settled
    sql "update amberfs.runs set state = 'committed', ended_at = now() where state = 'running'"
    finds_nothing
}
test_what_is_under_way_is_found() {
    coproc HOLD { psql -XAtq; }
    local holder=$HOLD_PID
    echo "begin; select pg_advisory_xact_lock(1);" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
    finds '1 advisory locks and 1 open transactions' --settled
    echo "rollback; \\q" >&"${HOLD[1]}"
    wait "$holder" 2>/dev/null
    : >"$STORE/.amberfs/tmp/half"
    finds 'tmp/half: an unfinished file' --settled
    rm "$STORE/.amberfs/tmp/half"
    echo >"$STORE/ev/stray.json"
    finds 'ev/stray.json: an object that nothing names' --settled
    rm "$STORE/ev/stray.json"
    finds_nothing
}
test_tree_is_compared() {
    local first
    first=$(cd "$T/tree" && find . -type f -printf '%P\n' | head -n 1)
    : >"$T/tree/ev/extra.json"
    finds 'ev/extra.json: shown, but not committed' --tree "$T/tree"
    rm "$T/tree/ev/extra.json"
    mv "$T/tree/$first" "$T/first"
    finds "$first: committed, but not shown" --tree "$T/tree"
    sed '1s/^.//' "$T/first" >"$T/tree/$first"
    finds "$first: the mounted file isn't" --tree "$T/tree"
}

pg_start
make_small_job 60
amberfs init >/dev/null && assert_status 0 amberfs archive ev || exit 1
# What a mount would show.
mkdir "$T/tree" "$T/tree/ev" "$T/tree/evc"
for file in "$STORE"/ev/*.gz "$STORE"/evc/*.gz; do
    name=${file#"$STORE"/}
    gunzip -c "$file" >"$T/tree/${name%.gz}"
done
tap_run test_good_state_passes test_rows_lost_twice_or_changed_are_found test_damaged_archive_is_found \
    test_markers_and_catalog_are_compared test_what_is_under_way_is_found test_tree_is_compared
