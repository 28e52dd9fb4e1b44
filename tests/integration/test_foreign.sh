#!/usr/bin/env bash
# Files that other programs made, in the storage folder: their names, their text against the programs'
# own, damage, changes behind the mount, the index, and archives of ours beside them.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

CACHE=$T/cache
plain_env() { # [LINE...]: no database
    write_env "ARCHIVAL_CACHE_PATH=$CACHE" "DATABASE_URL=postgresql:///x?host=$T/none" "$@"
}

# fresh: an empty store and cache.
fresh() {
    rm -rf "$STORE" "$CACHE"
    mkdir -p "$STORE/d"
}

# make_files: files of every kind in $STORE/d (made once), their text in $T/want/d.
make_files() {
    [ -d "$T/made" ] || make_them
    cp "$T/made"/* "$STORE/d/"
}
make_them() {
    local f
    mkdir -p "$T/made" "$T/want/d"
    python3 "$lib/foreign_files.py" "$T/made" "$T/want/d"
    for f in "$T/made"/*.gz; do # their own program's word for it
        [ ! -s "$f" ] || gzip -dc "$f" 2>/dev/null | cmp -s - "$T/want/d/$(basename "${f%.gz}")" ||
            fail "$f isn't what the test takes it for"
    done
}

test_each_kind_reads_as_its_own_program_says() {
    fresh
    make_files
    plain_env
    mount_start -o ro || return
    diff -r "$T/want" "$MNT" >/dev/null || fail "$(diff -rq "$T/want" "$MNT")"
    diff -r "$STORE/d" "$MNT/.raw/d" >/dev/null || fail ".raw: $(diff -rq "$STORE/d" "$MNT/.raw/d")"
    python3 - "$T/want/d" "$MNT/d" <<'END' || fail "mmap or pread differ"
import mmap, os, random, sys
want, mnt = sys.argv[1:]
random.seed(5)
for name in sorted(os.listdir(want)):
    data = open(f"{want}/{name}", "rb").read()
    f = open(f"{mnt}/{name}", "rb")
    if os.fstat(f.fileno()).st_size != len(data):
        sys.exit(f"{name}: size")
    if data and mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:] != data:
        sys.exit(f"{name}: mmap")
    for _ in range(100):
        off, n = random.randrange(len(data) + 10), random.choice([1, 100, 4096, 70000])
        if os.pread(f.fileno(), n, off) != data[off:off + n]:
            sys.exit(f"{name}: pread {n} at {off}")
END
    assert_eq "codec attribute" gzip "$(getfattr --only-values -n user.amber.codec "$MNT/d/bgzf.json" 2>/dev/null)"
    mount_stop
}

test_listing_names_indexes_nothing() {
    fresh
    make_files
    plain_env
    mount_start -o ro || return
    assert_eq "names" "$(cd "$T/want" && find . -type f | sort)" "$(cd "$MNT" && find . -type f | sort)"
    ls "$MNT/d" >/dev/null
    assert_eq "index files" '' "$(find "$CACHE" -type f 2>/dev/null)"
    ls -l "$MNT/d" >/dev/null
    [ -n "$(find "$CACHE" -name '*.index')" ] || fail "sizes were told without an index"
    mount_stop
}

test_names_that_collide_stay_apart() {
    fresh
    mkdir -p "$STORE/d/folder.json"
    for n in a.json b.json.gz b.json.zst c.json c.json.gz d.json folder.json/x .hidden .e.gz; do
        case $n in
        *.gz) echo "$n" | gzip -c >"$STORE/d/$n" ;;
        *.zst) echo "$n" | zstd -cq >"$STORE/d/$n" ;;
        *) echo "$n" >"$STORE/d/$n" ;;
        esac
    done
    echo folder.json.gz | gzip -c >"$STORE/d/folder.json.gz"
    plain_env
    mount_start -o ro || return
    assert_eq "names" "a.json
b.json~gz
b.json~zst
c.json
c.json~gz
d.json
folder.json
folder.json/x
folder.json~gz" "$(cd "$MNT/d" && find . -mindepth 1 | sed 's|^\./||' | LC_ALL=C sort)"
    for n in b.json.gz b.json.zst c.json.gz folder.json.gz; do
        assert_eq "$n" "$n" "$(cat "$MNT/d/${n%.*}~${n##*.}")"
        assert_same ".raw/d/$n" "$STORE/d/$n" "$MNT/.raw/d/$n"
    done
    assert_eq "c.json" c.json "$(cat "$MNT/d/c.json")"
    mount_stop
}

test_damage_gives_what_is_before_it_then_an_error() {
    fresh
    make_files
    python3 - "$STORE/d" <<'END'
import sys
d = sys.argv[1]
def change(name, new, f):
    data = bytearray(open(f"{d}/{name}", "rb").read())
    open(f"{d}/{new}", "wb").write(f(data))
def flip(data, at):
    data[at] ^= 1
    return data
change("gzip.json.gz", "cut.json.gz", lambda x: x[:len(x) // 2])
change("zstd.jsonl.zst", "cutz.json.zst", lambda x: x[:len(x) // 2])
change("gzip.json.gz", "crc.json.gz", lambda x: flip(x, len(x) - 8))
change("bgzf.json.gz", "late.json.gz", lambda x: flip(x, len(x) // 2))
change("gzip.json.gz", "behind.json.gz", lambda x: x + b"junk")
END
    plain_env
    expect_error 'd/(cut|crc|late|behind|cutz)\.json'
    mount_start -o ro || return
    for n in cut crc late behind cutz; do
        cat "$MNT/d/$n.json" >"$T/got" 2>/dev/null && fail "$n: no error"
        cmp -s -n "$(stat -c %s "$T/got")" "$T/got" "$T/want/d/gzip.json" || fail "$n: wrong bytes"
        eval "n_$n=$(stat -c %s "$T/got")"
        assert_eq "$n: size" $(($(stat -c %s "$T/got") + 1)) "$(stat -c %s "$MNT/d/$n.json")"
        grep -q "d/$n\.json\.[gz].*is damaged" "$DAEMON_LOG" || fail "$n: not in the log"
    done
    whole=$(stat -c %s "$T/want/d/gzip.json")
    [ "$n_cut" -gt 50000 ] && [ "$n_cutz" -gt 50000 ] || fail "cut: $n_cut and $n_cutz bytes only"
    [ "$n_late" -gt 50000 ] && [ "$n_late" -lt "$whole" ] || fail "late: $n_late bytes"
    assert_eq "a member whose checksum differs" 0 "$n_crc"
    assert_eq "bytes before junk" "$whole" "$n_behind"
    mount_stop
    assert_status 1 amberfs verify --env-file "$ENVFILE"
    for n in cut crc late behind cutz; do
        assert_match "verify" "FAILED .*d/$n.json" "$out"
    done
    assert_match "verify" "ok .*d/bgzf.json: not amberfs's" "$out"
    assert_match "verify" "^0 archives verified, 25 files of other programs, 5 damaged" "$out"
}

test_changed_file_is_noticed() {
    fresh
    head -c 1500000 /dev/urandom | base64 >"$T/one"
    tr A-Z b-za <"$T/one" >"$T/two"
    gzip -c1 "$T/one" >"$STORE/d/x.json.gz"
    cp "$T/one" "$STORE/d/p.txt"
    plain_env
    expect_error 'd/x.json.gz'
    mount_start -o ro || return
    assert_same "before" "$T/one" "$MNT/d/x.json"
    assert_same "before" "$T/one" "$MNT/d/p.txt"
    # By another file of the same name.
    gzip -c1 "$T/two" >"$T/new" && mv "$T/new" "$STORE/d/x.json.gz"
    tail -c 700000 "$T/two" >"$T/new" && mv "$T/new" "$STORE/d/p.txt"
    assert_same "replaced" "$T/two" "$MNT/d/x.json"
    cat "$MNT/d/p.txt" >"$T/got"
    assert_same "replaced plain" <(tail -c 700000 "$T/two") "$T/got"
    # In place, while it is open and what was read is forgotten: the old text, or an error.
    exec {fd}<"$MNT/d/x.json"
    head -c 100 <&$fd >/dev/null
    gzip -c1 "$T/one" >"$T/new"
    cat "$T/new" >"$STORE/d/x.json.gz"
    python3 "$lib/old_or_error.py" "$fd" "$T/two" || fail "old and new bytes are mixed"
    exec {fd}<&-
    assert_same "in place" "$T/one" "$MNT/d/x.json"
    # Two at once: what was opened before the change gives errors once the new text is shown.
    exec {fd}<"$MNT/d/x.json"
    gzip -c1 "$T/two" >"$T/new" && mv "$T/new" "$STORE/d/x.json.gz"
    assert_same "beside an older reader" "$T/two" "$MNT/d/x.json"
    cat <&$fd >"$T/got" 2>/dev/null
    cmp -s "$T/got" <(head -c "$(stat -c %s "$T/got")" "$T/two") || fail "an older reader mixes its text in"
    assert_same "beside an older reader" "$T/two" "$MNT/d/x.json"
    exec {fd}<&-
    mount_stop
}

test_index_is_kept_checked_and_made_anew() {
    local index
    fresh
    make_files
    plain_env
    mount_start -o ro || return
    ls -l "$MNT/d" >/dev/null
    mount_stop
    index=$(find "$CACHE" -name '*.index' | sort)
    assert_eq "mode of the folder" 700 "$(stat -c %a "$CACHE")"
    touch -d '2001-01-01' $index
    mount_start -o ro || return
    diff -r "$T/want" "$MNT" >/dev/null || fail "differs with indexes that were there"
    mount_stop
    assert_eq "indexes made anew" '' "$(find $index -newermt 2002-01-01)"
    for f in $index; do
        printf 'xx' | dd of="$f" bs=1 seek=70 conv=notrunc status=none
    done
    find "$CACHE" -name '*.w*' -o -name '*.c*' -type f | xargs rm -f
    mount_start -o ro || return
    diff -r "$T/want" "$MNT" >/dev/null || fail "differs with damaged indexes"
    mount_stop
    assert_match "log" 'index is damaged' "$(cat "$DAEMON_LOG")"
}

# A member of one deflate stream, whose length in its trailer is modulo 2^32. The checksum is zlib's of
# that text, which would take longer to compute than all else.
test_more_than_4_gib_is_whole() {
    fresh
    python3 - "$STORE/d/big.json.gz" <<'END'
import struct, sys, zlib
def compressed(data, end):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return c.compress(data) + c.flush(end)
with open(sys.argv[1], "wb") as f:
    f.write(bytes([31, 139, 8, 0, 0, 0, 0, 0, 0, 255]))
    f.write(compressed(bytes(1 << 26), zlib.Z_FULL_FLUSH) * 64)
    f.write(compressed(b"end\n", zlib.Z_FINISH) + struct.pack("<II", 0x69d751bb, 4))
END
    plain_env
    mount_start -o ro || return
    assert_eq "size" $((64 * 67108864 + 4)) "$(stat -c %s "$MNT/d/big.json")"
    assert_eq "end" end "$(tail -c 4 "$MNT/d/big.json")"
    mount_stop
    [ "$(du -sk "$CACHE" | cut -f1)" -lt 4096 ] || fail "the index takes $(du -sh "$CACHE")"
}

test_index_past_its_bound_is_refused() {
    fresh
    head -c 4000000 /dev/urandom | zstd -cq >"$STORE/d/large.bin.zst"
    echo small | gzip -c >"$STORE/d/small.json.gz"
    plain_env ARCHIVAL_CACHE_DISK_BYTES=1M
    expect_error 'd/large.bin.zst|d/large.bin'
    mount_start -o ro || return
    cat "$MNT/d/large.bin" >/dev/null 2>&1 && fail "no error"
    assert_eq "the other" small "$(cat "$MNT/d/small.json")"
    assert_match "log" 'large.bin.*ARCHIVAL_CACHE_DISK_BYTES' "$(cat "$DAEMON_LOG")"
    mount_stop
    [ "$(du -sk "$CACHE" | cut -f1)" -le 1100 ] || fail "the cache takes $(du -sk "$CACHE")"
}

# A frame of nothing but zeros, 128 KiB in four bytes: 32 GiB in one MiB. Each record of its text is
# small, but takes a file.
test_bomb_stays_within_its_bound() {
    fresh
    python3 - "$STORE/d/bomb.json.zst" <<'END'
import sys
block = (131072 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
open(sys.argv[1], "wb").write(bytes([0x28, 0xb5, 0x2f, 0xfd, 0, 0x38]) + block * 262144)
END
    plain_env ARCHIVAL_CACHE_DISK_BYTES=1M
    expect_error 'd/bomb.json'
    mount_start -o ro || return
    cat "$MNT/d/bomb.json" >/dev/null 2>&1 && fail "no error"
    assert_match "log" 'bomb.json.*ARCHIVAL_CACHE_DISK_BYTES' "$(cat "$DAEMON_LOG")"
    mount_stop
    [ "$(du -sk "$CACHE" | cut -f1)" -le 1100 ] || fail "the cache takes $(du -sk "$CACHE")"
}

# What runs left that died, one of each codec in one store, is no file of another program, with and
# without the database.
test_unfinished_run_stays_hidden() {
    local codec point left before shown
    for point in archive-durable committed; do
        fresh
        sql "set client_min_messages = error; drop schema if exists amberfs cascade" >/dev/null
        before=0
        for codec in gzip zstd none; do
            sql "set client_min_messages = error; truncate call_sessions cascade;
                 insert into call_sessions select * from keep.call_sessions;
                 insert into call_events select * from keep.call_events" >/dev/null
            write_env "ARCHIVAL_CACHE_PATH=$CACHE" "ARCHIVAL_COMPRESSION=$codec"
            AMBER_FAILPOINT=$point amberfs archive call-archival --env-file "$ENVFILE" >/dev/null 2>&1
            left=$(call_files "$STORE" | wc -l)
            [ "$left" -gt "$before" ] || fail "$codec: nothing was left at $point"
            before=$left
        done
        echo other | gzip -c >"$STORE/d/other.json.gz"
        mount_start -o ro || return
        shown=$(call_files "$MNT" | wc -l)
        assert_eq "$point: the other" other "$(cat "$MNT/d/other.json")"
        if [ "$point" = archive-durable ]; then
            assert_eq "shown of $left" 0 "$shown"
        else
            [ "$shown" -gt 0 ] || fail "nothing committed is shown"
        fi
        mount_stop
        plain_env
        amberfs list --json --env-file "$ENVFILE" | jq -r .archive >"$T/listed"
        assert_eq "$point: without a database" d/other.json "$(grep -v '^call_' "$T/listed")"
        [ "$point" = committed ] || assert_eq "without a database" '' "$(grep '^call_' "$T/listed")"
    done
}
call_files() { (cd "$1" && find . -path ./.amberfs -prune -o -name 'call_*' -type f -print); }

test_own_and_other_archives_side_by_side() {
    fresh
    sql "set client_min_messages = error; drop schema if exists amberfs cascade" >/dev/null
    write_env "ARCHIVAL_CACHE_PATH=$CACHE"
    mount_start || return
    echo '{"id": 1}' | gzip -c >"$STORE/d/other.json.gz"
    run_job log-archival
    n=$(cd "$MNT" && find . -name 'flow_logs_*' | wc -l)
    [ "$n" -gt 0 ] || fail "no archive of ours is shown"
    assert_eq "the other" '{"id": 1}' "$(cat "$MNT/d/other.json")"
    # Restoring: its table isn't known; as rows of a table that is named, it is like any text.
    expect_error "isn't an archive of amberfs"
    echo d/other.json >"$MNT/.control/restore" 2>/dev/null && result=$(cat "$MNT/.control/wait/restore")
    assert_match "restore" "isn't an archive of amberfs" "$result"
    sql "create table other (id int)" >/dev/null
    cp "$MNT/d/other.json" "$MNT/.restore/other/" || fail "cp into .restore/other failed"
    assert_eq "rows" 1 "$(sql 'select id from other')"
    mount_stop
    assert_status 0 amberfs verify --env-file "$ENVFILE"
    assert_match "verify" "1 file of other programs, 0 damaged" "$out"
}

pg_start
make_demo_data 4000
tap_run test_each_kind_reads_as_its_own_program_says \
    test_listing_names_indexes_nothing \
    test_names_that_collide_stay_apart \
    test_damage_gives_what_is_before_it_then_an_error \
    test_changed_file_is_noticed \
    test_index_is_kept_checked_and_made_anew \
    test_more_than_4_gib_is_whole \
    test_index_past_its_bound_is_refused \
    test_bomb_stays_within_its_bound \
    test_unfinished_run_stays_hidden \
    test_own_and_other_archives_side_by_side
