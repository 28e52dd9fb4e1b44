#!/usr/bin/env bash
# Archives, manifests, overlays and commit markers of which each is damaged in one way (made by
# tests/lib/bad_store.py, which tells what each must give): through the mount, by `amberfs verify
# --all` and by .control/verify. Never a wrong byte, never a crash, nothing written anywhere; verify
# finds each and names it. Without a database: the store alone must do.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"
unset "${!PG@}"

tree_sum() { (cd "$T" && find store outside -type f -exec sha256sum {} + | sort); }

# judge HOW: compare what was found with what was expected; prints what differs.
judge() {
    python3 - "$1" "$T" <<'END2'
import errno, json, os, re, sys
how, top = sys.argv[1:]
expected = [json.loads(line) for line in open(f"{top}/expected", encoding="utf-8")]
text = b"".join(b'{"id":%d,"note":"row %d"}\n' % (i, i) for i in range(10, 16))

def read(path):
    got = b""
    try:
        with open(path, "rb", buffering=0) as f:
            while part := f.read(37):
                got += part
    except OSError as e:
        assert text.startswith(got), f"{path}: wrong bytes before the error: {got!r}"
        return errno.errorcode[e.errno]
    return "same" if got == text else f"other bytes: {got!r}"

def lines():
    with open(f"{top}/.out", encoding="utf-8", errors="replace") as f:
        return f.read()

if how == "mount":
    for path, want, _, _ in expected:
        if path != "-" and (got := read(f"{top}/mnt/{path}")) not in want.split("|"):
            print(f"{path!r}: {got} instead of {want}")
    shown = {os.path.join("bad", n) for n in os.listdir(f"{top}/mnt/bad")}
    for path in shown - {e[0] for e in expected}:
        print(f"{path!r} is shown")
elif how == "raw":
    for folder, _, names in os.walk(f"{top}/mnt/.raw/bad"):
        for name in names:
            stored = open(f"{top}/store/bad/{name}", "rb").read() if os.path.exists(f"{top}/store/bad/{name}") else b""
            try:
                got = open(f"{folder}/{name}", "rb", buffering=0).read()
            except OSError:
                continue
            if not stored.startswith(got):
                print(f".raw/bad/{name!r} isn't what is stored")
else:
    said = lines()
    for path, _, word, pattern in expected:
        head = "FAILED  " if path == "-" else f"{word:8}{path}: "
        found = [part.split("\n")[0] for part in said.split(head)[1:]]
        if not any(re.search(pattern, path + ": " + rest) for rest in found):
            print(f"{path!r}: no line {head!r} that matches {pattern}: {found if path != '-' else ''}")
    bad = sum(e[2] == "FAILED" for e in expected)
    if f", {bad} damaged, {sum(e[2] == 'UNKNOWN' for e in expected)} could not be checked" not in said:
        print(f"not {bad} damaged: {said.splitlines()[-1]}")
END2
}

test_verify_all_finds_and_names_each() {
    assert_status 1 amberfs verify --all --env-file "$ENVFILE"
    assert_eq "what verify says" "" "$(judge verify)"
    ! grep -qE 'Sanitizer|runtime error' "$T/.msg" || fail "$(grep -m 3 -E 'Sanitizer|runtime error' "$T/.msg")"
}
test_mount_gives_right_bytes_or_the_error() {
    expect_error .
    mount_start || return
    assert_eq "what reading gives" "" "$(judge mount)"
    assert_eq "what the stored files give" "" "$(judge raw)"
}
test_verify_through_the_mount_counts_the_same() {
    local damaged
    damaged=$(grep -c '"FAILED"' "$T/expected")
    echo --all >"$MNT/.control/verify"
    assert_match "result" "^damaged: $damaged\$" "$(cat "$MNT/.control/wait/verify" 2>&1)"
    mount_stop
}
test_each_command_refuses_a_damaged_archive() {
    local name
    for name in flip_middle_gzip swapped_blocks_zstd manifest_cut key_dots stored_len_2147483648; do
        assert_status 1 amberfs verify "bad/$name.json" --env-file "$ENVFILE"
        assert_status 1 amberfs cat "bad/$name.json" --env-file "$ENVFILE"
        [ -s "$T/.msg" ] || fail "$name: no message"
    done
}
test_damaged_store_document_is_found() {
    cp -r "$STORE" "$T/other"
    echo "ARCHIVAL_PATH=$T/other" >"$T/env.other"
    printf '{' >"$T/other/.amberfs/store.json"
    assert_status 1 amberfs verify --all --env-file "$T/env.other"
    assert_match "message" '^FAILED  \.amberfs/store\.json: not JSON' "$out"
    rm "$T/other/.amberfs/store.json"
    assert_status 1 amberfs verify --all --env-file "$T/env.other"
    assert_match "message" '^FAILED  .*\.amberfs/store\.json' "$out"
}
test_nothing_was_written() {
    assert_eq "the store and what lies beside it" "$(cat "$T/sum")" "$(tree_sum)"
}

write_env
mkdir "$T/outside"
echo safe >"$T/outside/file"
python3 "$here/../lib/bad_store.py" "$STORE" >"$T/expected" || exit 1
tree_sum >"$T/sum"
tap_run test_verify_all_finds_and_names_each test_mount_gives_right_bytes_or_the_error \
    test_verify_through_the_mount_counts_the_same test_each_command_refuses_a_damaged_archive \
    test_damaged_store_document_is_found test_nothing_was_written
