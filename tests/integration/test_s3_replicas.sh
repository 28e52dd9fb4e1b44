#!/usr/bin/env bash
# Replicas in S3: a bucket's prefix with a sync copy in another and an async one in a folder. What the
# prefixes hold is compared by a client that isn't the program's.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/small_job.sh"
. "$here/../lib/s3.sh"

# objects PREFIX: key and digest of each object below it.
objects() {
    rm -rf "$T/got" && s3 copy "$1/" "$T/got" >/dev/null &&
        (cd "$T/got" && find . -type f -exec sha256sum {} + | sed "s|\./$1/|./|" | sort)
}
first_archive() { s3 list one/ev/ | sed -n '1s|^[0-9]* one/||p'; }
# damage PREFIX KEY: put the object back with one bit flipped.
damage() {
    s3 cat "$1/$2" >"$T/bad" && python3 -c '
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(2000); b = f.read(1); f.seek(2000); f.write(bytes([b[0] ^ 1]))' "$T/bad" && s3 put "$1/$2" <"$T/bad"
}

test_sync_copy_is_there_when_the_job_ends() {
    assert_status 0 amberfs archive ev
    local one
    one=$(objects one)
    assert_match "objects" 'ev/ev_' "$one"
    assert_eq "objects of west" "$one" "$(objects two)"
    assert_eq "the folder" "" "$(ls -A "$T/folder")"
    assert_status 0 amberfs replicate
    assert_eq "objects of the folder" "$one" \
        "$(cd "$T/folder" && find . -type f ! -path './.amberfs/tmp/*' -exec sha256sum {} + | sort)"
    assert_status 0 amberfs verify --all
    assert_match "sum" '^west: 12 sound$' "$out"
}

test_damaged_object_is_read_from_another_copy_and_repaired() {
    local archive right
    archive=$(first_archive)
    right=$(gunzip -c "$T/folder/$archive" | sha256sum)
    rm -rf "$T/cache"
    damage one "$archive"
    assert_eq "bytes" "$right" "$(amberfs cat "${archive%.gz}" | sha256sum)"
    s3 remove "two/$archive"
    assert_status 1 amberfs verify "${archive%.gz}"
    assert_match "primary" 'primary: damaged: ' "$out"
    assert_match "west" 'west: missing: ' "$out"
    assert_status 0 amberfs verify --repair "${archive%.gz}"
    assert_status 0 amberfs verify --all
    assert_eq "objects" "$(objects one)" "$(objects two)"
}

# What the disk cache has isn't fetched again, and isn't believed if it is damaged.
test_disk_cache_answers_the_second_reader() {
    local archive right cold
    archive=$(first_archive)
    right=$(gunzip -c "$T/folder/$archive" | sha256sum)
    rm -rf "$T/cache"
    assert_eq "cold" "$right" "$(amberfs cat "${archive%.gz}" | sha256sum)"
    assert_match "kept" '[0-9a-f]{64}' "$(ls -R "$T/cache/blocks")"
    damage one "$archive"
    s3 remove "two/$archive"
    mv "$T/folder/$archive" "$T/kept"
    assert_eq "from the cache" "$right" "$(amberfs cat "${archive%.gz}" | sha256sum)"
    find "$T/cache/blocks" -type f -exec sh -c 'printf x | dd of="$1" bs=1 seek=50 conv=notrunc 2>/dev/null' _ {} \;
    assert_status 1 amberfs cat "${archive%.gz}"
    mv "$T/kept" "$T/folder/$archive"
    assert_status 0 amberfs verify --repair "${archive%.gz}"
}

s3_start
pg_start
make_small_job
mkdir "$T/folder"
{
    grep -v ARCHIVAL_PATH "$ENVFILE"
    s3_env one
    echo "ARCHIVAL_S3_REPLICAS=west,folder"
    s3_env two | sed -nE \
        's/^ARCHIVAL_(S3_)?(PATH|REGION|ENDPOINT|ACCESS_KEY_ID|SECRET_ACCESS_KEY)=/ARCHIVAL_S3_REPLICA_WEST_\2=/p'
    echo "ARCHIVAL_S3_REPLICA_WEST_MODE=sync"
    echo "ARCHIVAL_S3_REPLICA_FOLDER_PATH=$T/folder"
} >"$T/env.new" && mv "$T/env.new" "$ENVFILE"
tap_run test_sync_copy_is_there_when_the_job_ends \
    test_damaged_object_is_read_from_another_copy_and_repaired test_disk_cache_answers_the_second_reader
