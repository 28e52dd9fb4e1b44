#!/usr/bin/env bash
# Archives of each codec through the mount, read by the programs that people use, and random access.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
. "$here/../lib/demo_data.sh"

# Per codec: the suffix, and the standard program that decodes the stored file.
suffix_of() { case $1 in gzip) echo .gz ;; zstd) echo .zst ;; none) echo ;; esac; }
decode() { case $1 in gzip) gunzip -c "$2" ;; zstd) zstd -dcq "$2" ;; none) cat "$2" ;; esac; }

reads_with() { # CODEC
    local codec=$1 file name want=$T/want
    write_env "ARCHIVAL_COMPRESSION=$codec" ARCHIVAL_BLOCK_SIZE=65536
    sql "set client_min_messages = error;
         truncate flow_execution_sessions cascade;
         drop schema if exists amberfs cascade;
         insert into flow_execution_sessions select * from keep.flow_execution_sessions;
         insert into flow_execution_deltas select * from keep.flow_execution_deltas" >/dev/null
    rm -rf "$STORE" "$want" && mkdir "$STORE" "$want"
    assert_status 0 amberfs init --env-file "$ENVFILE" || return
    mount_start || return
    run_job session-archival || return
    for file in "$STORE"/flow_*/*; do
        name=${file#"$STORE"/}
        name=${name%"$(suffix_of "$codec")"}
        mkdir -p "$want/${name%/*}"
        decode "$codec" "$file" >"$want/$name" || fail "the standard program can't decode $file"
        touch -r "$MNT/$name" "$want/$name"
        assert_eq "size of $name" "$(stat -c %s "$want/$name")" "$(stat -c %s "$MNT/$name")"
        assert_same "$name" "$want/$name" "$MNT/$name"
        assert_same ".raw/$name" "$file" "$MNT/.raw/${file#"$STORE"/}"
        assert_eq "rows attribute of $name" "$(wc -l <"$want/$name")" \
            "$(getfattr --only-values -n user.amber.rows "$MNT/$name" 2>/dev/null)"
    done
    diff -r "$want" "$MNT" >/dev/null || fail "diff -r differs"
    assert_eq "grep -rc" "$(cd "$want" && grep -rc '"op":"set"' . | sort)" "$(cd "$MNT" && grep -rc '"op":"set"' . | sort)"
    assert_eq "tar" "$(tar -C "$want" -cf - . | tar -tf - | sort)" "$(tar -C "$MNT" -cf - . | tar -tf - | sort)"
    mkdir "$T/copy" && rsync -rt --chmod=Du+w "$MNT/" "$T/copy/" && diff -r "$want" "$T/copy" >/dev/null || fail "rsync differs"
    rm -rf "$T/copy"
    assert_eq "head" "$(head -qn 3 "$want"/flow_deltas/*)" "$(head -qn 3 "$MNT"/flow_deltas/*)"
    assert_eq "tail" "$(tail -qn 3 "$want"/flow_deltas/*)" "$(tail -qn 3 "$MNT"/flow_deltas/*)"
    python3 - "$want" "$MNT" <<'END' || fail "mmap, pread or several readers at once differ"
import mmap, os, random, sys, threading
want, mnt = sys.argv[1:]
random.seed(7)
bad = []
def check(path):
    rel = os.path.relpath(path, want)
    data = open(path, "rb").read()
    with open(os.path.join(mnt, rel), "rb") as f:
        with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            if m[:] != data:
                bad.append(rel + " mmap")
        for _ in range(300):
            off = random.randrange(len(data) + 10)
            n = random.choice([1, 7, 4096, 65536, 200000])
            if os.pread(f.fileno(), n, off) != data[off:off + n]:
                bad.append("%s pread %d %d" % (rel, off, n))
paths = [os.path.join(d, f) for d, _, fs in os.walk(want) for f in fs]
threads = [threading.Thread(target=check, args=(p,)) for p in paths * 2]
[t.start() for t in threads]
[t.join() for t in threads]
print("\n".join("# " + b for b in bad[:10]))
sys.exit(bool(bad))
END
    mount_stop
}

test_gzip_archives_read() { reads_with gzip; }
test_zstd_archives_read() { reads_with zstd; }
test_plain_archives_read() { reads_with none; }

pg_start
make_demo_data 12000

tap_run test_gzip_archives_read test_zstd_archives_read test_plain_archives_read
