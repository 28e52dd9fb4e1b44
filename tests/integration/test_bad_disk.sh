#!/usr/bin/env bash
# Damage below the mount: a flipped bit, a cut-off file, a missing file, a full disk. A reader gets
# the right bytes or an error, never wrong bytes; a run that can't write leaves the rows where they are.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

# flip FILE OFFSET: change one bit of the byte there.
flip() {
    chmod u+w "$1" # archives are read-only, for their owner too
    python3 -c '
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)[0]
    f.seek(int(sys.argv[2]))
    f.write(bytes([b ^ 4]))' "$1" "$2"
}

# A manifest of the deltas' largest archive, and its data blocks as "stored_off stored_len raw_off
# raw_len" lines, for the tests to aim with.
choose_archive() {
    stored=$(find "$STORE/flow_deltas" -type f -printf '%s %p\n' | sort -rn | sed -n '1s/^[0-9]* //p')
    name=${stored#"$STORE"/}
    name=${name%.gz}
    good=$T/good.json
    gunzip -c "$stored" >"$good"
    manifest=$(find "$STORE/.amberfs/manifests/$name.gz" -name '*.json')
    data_blocks "$manifest" >"$T/blocks"
    n_blocks=$(wc -l <"$T/blocks")
}
data_blocks() { # source docs/format.md, "Manifest": kind, offsets, lengths
    jq -r '.archive.blocks[] | select(.[0] == "data") | .[1:5] | join(" ")' "$1"
}

# read_block I [BAD]: the raw bytes of data block I through the mount, compared; prints same, differs
# or the error. The kernel reads whole pages: those that block BAD has a part of are left out.
read_block() {
    python3 - "$MNT/$name" "$good" "$T/blocks" "$@" <<'END'
import os, sys
path, good, blocks, i, *bad = sys.argv[1:]
spans = [tuple(map(int, line.split()))[2:4] for line in open(blocks)]
first, end = spans[int(i)][0], sum(spans[int(i)])
if bad and int(bad[0]) != int(i):
    bad_first, bad_end = spans[int(bad[0])][0], sum(spans[int(bad[0])])
    first = max(first, -(-bad_end // 4096) * 4096) if first >= bad_end else first
    end = min(end, bad_first // 4096 * 4096) if end <= bad_first else end
want = open(good, "rb").read()[first:end]
got = b""
try:
    fd = os.open(path, os.O_RDONLY)
    while len(got) < len(want):
        part = os.pread(fd, len(want) - len(got), first + len(got))
        if not part:
            break
        got += part
except OSError as e:
    print(os.strerror(e.errno))
else:
    print("same" if got == want else "differs")
END
}

test_flipped_bit_spoils_its_own_block_only() {
    local at i expect middle=$((n_blocks / 2))
    [ "$n_blocks" -ge 3 ] || { fail "the archive has $n_blocks data blocks; the test needs 3"; return; }
    read -r at _ < <(sed -n "$((middle + 1))p" "$T/blocks")
    expect_error "$name.*block"
    flip "$stored" $((at + 25))
    mount_start || return
    for ((i = 0; i < n_blocks; i++)); do
        expect=same
        [ $i != $middle ] || expect="Input/output error"
        assert_eq "block $i" "$expect" "$(read_block $i $middle)"
    done
    assert_match "log" "error .*$name.*block .*" "$(cat "$MNT/.control/log")"
    assert_status 1 cat "$MNT/$name"
    cmp -n "$(stat -c %s "$T/.out")" "$good" "$T/.out" >/dev/null || fail "cat gave wrong bytes before the error"
    mount_stop
    assert_status 1 amberfs verify "$name" --env-file "$ENVFILE"
    assert_match "verify" 'damaged' "$out"
    flip "$stored" $((at + 25))
    assert_status 0 amberfs verify "$name" --env-file "$ENVFILE"
}

test_every_flipped_byte_gives_right_bytes_or_an_error() {
    local size at i said
    size=$(stat -c %s "$stored")
    expect_error "$name"
    assert_status 0 amberfs cat "$name" --env-file "$ENVFILE"
    assert_same "before" "$good" "$T/.out" || return
    for i in $(seq 0 15) $((size - 1)) $((size - 8)) $((size / 3)); do
        at=$i
        [ "$i" -ge 16 ] || at=$((i * size / 16))
        flip "$stored" $at
        amberfs cat "$name" --env-file "$ENVFILE" >"$T/got" 2>"$T/said"
        said=$?
        if [ $said = 0 ]; then
            assert_same "byte $at flipped: content" "$good" "$T/got"
        else
            cmp -n "$(stat -c %s "$T/got")" "$good" "$T/got" >/dev/null ||
                fail "byte $at flipped: wrong bytes before the error"
        fi
        assert_status 1 amberfs verify "$name" --env-file "$ENVFILE"
        flip "$stored" $at
    done
}

test_cut_off_archive_is_an_error_not_a_shorter_file() {
    local at
    read -r at _ < <(sed -n '2p' "$T/blocks")
    expect_error "$name"
    cp -p "$stored" "$T/whole"
    chmod u+w "$stored"
    truncate -s $((at + 10)) "$stored"
    mount_start || return
    assert_eq "size" "$(stat -c %s "$good")" "$(stat -c %s "$MNT/$name")"
    assert_status 1 cat "$MNT/$name"
    cmp -n "$(stat -c %s "$T/.out")" "$good" "$T/.out" >/dev/null || fail "wrong bytes before the error"
    assert_eq "the last block" "Input/output error" "$(read_block $((n_blocks - 1)))"
    mount_stop
    assert_status 1 amberfs verify "$name" --env-file "$ENVFILE"
    cp -pf "$T/whole" "$stored"
}

test_missing_archive_is_an_error_and_others_read() {
    local other=("$STORE"/flow_logs/*.gz)
    mv "$stored" "$T/whole"
    expect_error "$name"
    mount_start || return
    assert_status 1 cat "$MNT/$name"
    assert_status 0 cat "$MNT/flow_logs/$(basename "${other[0]}" .gz)"
    mount_stop
    mv "$T/whole" "$stored"
}

# An archive that is gone with all that the store says of it: the catalog misses it.
missing() { jq .store.missingArchives "$MNT/.status"; }
told_missing() { [ "$(missing)" = "$1" ]; }
test_vanished_archive_is_told_by_the_catalog() {
    local run files
    run=$(basename "$manifest")
    run=${run%%.*}
    files=("$name.gz" ".amberfs/manifests/$name.gz" ".amberfs/commits/$run.json")
    expect_error 'missing from the store: 1 archive of'
    mount_start || return
    assert_eq "missing before" 0 "$(missing)"
    tar -C "$STORE" -cf "$T/vanished.tar" "${files[@]}" && (cd "$STORE" && rm -rf "${files[@]}")
    sql "notify amberfs"
    wait_until told_missing 1 || return
    assert_eq "the missing one" "$name" "$(jq -r .store.firstMissing "$MNT/.status")"
    assert_match "metrics" '^amberfs_missing_archives 1$' "$(cat "$MNT/.metrics")"
    assert_match "status" "^MISSING   1 archive.*$name" "$(amberfs status "$MNT")"
    tar -C "$STORE" -xf "$T/vanished.tar"
    sql "notify amberfs"
    wait_until told_missing 0 || return
    assert_eq "none is named" null "$(jq .store.firstMissing "$MNT/.status")"
    (cd "$STORE" && rm -rf "${files[@]}")
    mount_stop
    assert_status 1 amberfs verify --all --env-file "$ENVFILE"
    assert_match "verify" "FAILED  $name: neither the archive nor a good manifest" "$out"
    PGHOST=/nowhere assert_status 0 amberfs verify --all --env-file "$ENVFILE"
    assert_match "verify without a database" "the catalog can't be asked, so that an archive" "$msg"
    tar -C "$STORE" -xf "$T/vanished.tar"
    assert_status 0 amberfs verify --all --env-file "$ENVFILE"
}

test_missing_manifest_gives_eio_until_rebuilt() {
    mv "$manifest" "$T/manifest"
    expect_error "$name"
    mount_start || return
    assert_status 1 cat "$MNT/$name"
    assert_match "message" "Input/output error" "$msg"
    mount_stop
    assert_status 0 amberfs rebuild-manifest "$name" --env-file "$ENVFILE"
    mount_start || return
    assert_same "content" "$good" "$MNT/$name"
    mount_stop
}

test_full_disk_moves_nothing() {
    local small=$T/small
    mkdir "$small"
    mount -t tmpfs -o size=96k amberfs-test "$small" 2>/dev/null || {
        skip "can't mount a tmpfs here"
        return
    }
    at_exit "umount -l $small 2>/dev/null"
    sql "set client_min_messages = error; drop schema amberfs cascade" >/dev/null
    sed "s|^ARCHIVAL_PATH=.*|ARCHIVAL_PATH=$small|" "$ENVFILE" >"$T/env.small"
    head -c 60000 /dev/zero >"$small/filler"
    assert_status 1 amberfs archive session-archival --env-file "$T/env.small"
    assert_match "message" 'No space left on device: nothing is lost, .*still in the database: make room there and run job session-archival again' "$msg"
    assert_eq "sessions" "$(sql "select count(*) from keep.flow_execution_sessions")" "$(sql "select count(*) from flow_execution_sessions")"
    assert_eq "archives" 0 "$(sql "select count(*) from archived_partitions")"
    rm "$small/filler"
    mount -o remount,size=64m "$small"
    assert_status 0 amberfs archive session-archival --env-file "$T/env.small"
    assert_status 0 amberfs verify --all --env-file "$T/env.small"
    umount "$small"
}

pg_start
make_demo_data 12000
write_env ARCHIVAL_BLOCK_SIZE=65536
assert_status 0 amberfs init --env-file "$ENVFILE" || exit 1
for job in log-archival session-archival; do
    assert_status 0 amberfs archive $job --env-file "$ENVFILE" || exit 1
done
sql "set client_min_messages = error;
     truncate flow_execution_sessions cascade;
     insert into flow_execution_sessions select * from keep.flow_execution_sessions;
     insert into flow_execution_deltas select * from keep.flow_execution_deltas" >/dev/null
choose_archive

tap_run test_flipped_bit_spoils_its_own_block_only \
    test_every_flipped_byte_gives_right_bytes_or_an_error \
    test_cut_off_archive_is_an_error_not_a_shorter_file \
    test_missing_archive_is_an_error_and_others_read \
    test_vanished_archive_is_told_by_the_catalog \
    test_missing_manifest_gives_eio_until_rebuilt \
    test_full_disk_moves_nothing
