#!/usr/bin/env bash
# Files of other programs in a bucket: their text, the index, which spares the next mount all but their
# heads, objects that are replaced or damaged behind the mount, and archives of ours beside them.
here=$(cd "$(dirname "$0")" && pwd -P)
STORE_KIND=s3
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

no_database() { write_env "DATABASE_URL=postgresql:///x?host=$T/none" "$@"; }
fresh() {
    store_make
    rm -rf "$T/cache"
}
put_all() {
    local f
    for f in "$T/made"/*; do store_put "d/${f##*/}" <"$f" || fail "$f isn't in the bucket"; done
}
# Beyond what opening an object brings along.
got_more() { grep -E "^GET /test/archives/d/$1 206 " "$S3_LOG" | grep -vc ' 0-65535$'; }

test_each_kind_reads_as_its_own_program_says() {
    local kind n
    fresh
    put_all
    no_database
    mount_start -o ro || return
    diff -r "$T/want" "$MNT" >/dev/null || fail "$(diff -rq "$T/want" "$MNT")"
    diff -r "$T/made" "$MNT/.raw/d" >/dev/null || fail ".raw: $(diff -rq "$T/made" "$MNT/.raw/d")"
    for kind in gzip.json pigz_i.ndjson bgzf.json zstd.jsonl frames.json; do
        python3 - "$T/want/d/$kind" "$MNT/d/$kind" <<'END' || fail "$kind: pread differs"
import os, random, sys
want, f = open(sys.argv[1], "rb").read(), os.open(sys.argv[2], os.O_RDONLY)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
random.seed(7)
for _ in range(50):
    off, n = random.randrange(len(want) + 10), random.choice([1, 100, 4096, 70000])
    if os.pread(f, n, off) != want[off:off + n]:
        sys.exit(f"{n} at {off}")
END
    done
    mount_stop
}

test_index_spares_the_next_mount_the_object() {
    : >"$S3_LOG"
    mount_start -o ro || return
    assert_eq "sizes" "$(cd "$T/want/d" && stat -c '%s %n' *)" "$(cd "$MNT/d" && stat -c '%s %n' *)"
    mount_stop
    assert_eq "bytes of objects that were asked for" 0 "$(got_more '[^ ]*')"
    rm -rf "$T/cache"
    mount_start -o ro || return
    stat "$MNT/d/gzip.json" >/dev/null
    mount_stop
    [ "$(got_more gzip.json.gz)" -gt 0 ] || fail "without its index the object wasn't read: the count counts nothing"
}

# By its ETag: a reader gets the old text or an error, whoever opens it anew the new one.
test_replaced_object_is_noticed() {
    head -c 1500000 /dev/urandom | base64 >"$T/one"
    tr A-Z b-za <"$T/one" >"$T/two"
    fresh
    gzip -c1 "$T/one" | store_put d/x.json.gz
    no_database
    expect_error 'd/x.json'
    mount_start -o ro || return
    assert_same "before" "$T/one" "$MNT/d/x.json"
    exec {fd}<"$MNT/d/x.json"
    head -c 100 <&$fd >/dev/null
    gzip -c1 "$T/two" | store_put d/x.json.gz
    python3 "$lib/old_or_error.py" "$fd" "$T/one" || fail "old and new bytes are mixed"
    exec {fd}<&-
    mount_stop
    mount_start -o ro || return
    assert_same "after" "$T/two" "$MNT/d/x.json"
    mount_stop
}

test_damage_gives_what_is_before_it_then_an_error() {
    local size
    fresh
    python3 - "$T/made/bgzf.json.gz" <<'END' >"$T/late"
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2] ^= 1
sys.stdout.buffer.write(data)
END
    store_put d/late.json.gz <"$T/late"
    no_database
    expect_error 'd/late.json'
    mount_start -o ro || return
    cat "$MNT/d/late.json" >"$T/got" 2>/dev/null && fail "no error"
    size=$(stat -c %s "$T/got")
    [ "$size" -gt 50000 ] || fail "$size bytes only"
    cmp -s "$T/got" <(head -c "$size" "$T/want/d/bgzf.json") || fail "wrong bytes"
    mount_stop
    assert_status 1 amberfs verify --env-file "$ENVFILE"
    assert_match "verify" "FAILED .*d/late.json" "$out"
}

test_own_archives_beside_them() {
    fresh
    write_env
    mount_start || return
    run_job log-archival
    mount_stop
    echo '{"id": 1}' | gzip -c | store_put d/other.json.gz
    mount_start || return
    [ "$(find "$MNT/flow_logs" -name 'flow_logs_*' | wc -l)" -gt 0 ] || fail "no archive of ours is shown"
    assert_eq "the other" '{"id": 1}' "$(cat "$MNT/d/other.json")"
    mount_stop
    assert_status 0 amberfs verify --env-file "$ENVFILE"
    assert_match "verify" "1 file of other programs, 0 damaged" "$out"
}

s3_proxy_start
mkdir -p "$T/made" "$T/want/d"
python3 "$lib/foreign_files.py" "$T/made" "$T/want/d"
pg_start
make_demo_data 4000
tap_run test_each_kind_reads_as_its_own_program_says \
    test_index_spares_the_next_mount_the_object \
    test_replaced_object_is_noticed \
    test_damage_gives_what_is_before_it_then_an_error \
    test_own_archives_beside_them
