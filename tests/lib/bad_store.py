"""A store in which each archive is damaged in one way: bad_store.py STORE > EXPECTATIONS

Archives of three blocks are made from docs/format.md alone, then damaged before or after their
digests are recorded. For each, a line with a JSON array of:

    NAME  path in the mounted tree, or - for one that isn't shown
    READ  what reading it gives: same, or the error's name; several, parted by |, are right
    VERIFY  ok, FAILED or UNKNOWN
    TEXT  a regular expression that verify's line must match

"sealed" damages come before the recording: every digest is right, and the content isn't.
"""
import copy
import gzip
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import uuid

STORE = sys.argv[1]
ROWS = [f'{{"id":{i},"note":"row {i}"}}\n'.encode() for i in range(10, 16)]
TEXT = b"".join(ROWS)
COLUMNS = [{"name": "id", "type": "bigint", "kind": "number"}, {"name": "note", "type": "text", "kind": "text"}]
SUFFIX = {"none": "", "gzip": ".gz", "zstd": ".zst"}
expectations = []
taken = set()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def tagged(data):
    return "sha256:" + sha(data)


def write(key, data):
    path = os.path.join(os.fsencode(STORE), os.fsencode(key))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def unit(codec, raw):
    if codec == "none":
        return raw
    if codec == "gzip":
        return gzip.compress(raw, mtime=0)
    with tempfile.NamedTemporaryFile() as f:  # a file's size goes into the frame
        f.write(raw)
        f.flush()
        return subprocess.run(["zstd", "-qc", "--check", f.name], capture_output=True, check=True).stdout


class Part:
    """A stored object: its units as (kind, stored bytes, raw bytes, rows)."""

    def __init__(self, key, codec, units):
        self.key, self.codec, self.units = key, codec, units
        if codec == "zstd":
            entries = b"".join(struct.pack("<II", len(s), len(r)) for _, s, r, _ in units)
            body = entries + struct.pack("<IB", len(units), 0) + b"\xb1\xea\x92\x8f"
            self.units = units + [("trailer", b"\x5e\x2a\x4d\x18" + struct.pack("<I", len(body)) + body, b"", 0)]

    def stored(self):
        return b"".join(u[1] for u in self.units)

    def raw(self):
        return b"".join(u[2] for u in self.units)

    def describe(self):
        blocks, at, raw_at, row = [], 0, 0, 0
        for kind, stored, raw, rows in self.units:
            blocks.append([kind, at, len(stored), raw_at, len(raw), row, rows, sha(stored)])
            at, raw_at, row = at + len(stored), raw_at + len(raw), row + rows
        return {"key": self.key, "codec": self.codec, "rows": row, "raw_bytes": raw_at, "stored_bytes": at,
                "raw_digest": tagged(self.raw()), "stored_digest": tagged(self.stored()),
                "block_digest": "sha256", "blocks": blocks}


def document(form, members):
    return {"format": form, "version": 1, "compat": [], "read_incompat": [], "write_incompat": [], **members}


STORE_ID, CATALOG_ID = str(uuid.UUID(int=1 << 100)), str(uuid.UUID(int=2 << 100))


class Archive:
    def __init__(self, name, codec="gzip", split=(2, 4), overlay=None):
        self.run = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        self.path = f"bad/{name}.json"
        self.key = self.path + SUFFIX[codec]
        lines = [ROWS[: split[0]], ROWS[split[0]: split[1]], ROWS[split[1]:]]
        self.part = Part(self.key, codec, [("data", unit(codec, b"".join(l)), b"".join(l), len(l)) for l in lines])
        self.overlay = None
        if overlay is not None:
            raw = overlay
            self.overlay = Part(f".amberfs/attachments/{self.key}/{self.run}.overlay.zst", "zstd",
                                [("data", unit("zstd", raw), raw, raw.count(b"\n"))])
        self.stored = self.part.stored()
        self.rows, self.raw_bytes = len(ROWS), len(TEXT)

    def manifest(self):
        m = document("amberfs-manifest", {
            "archive_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, self.path)), "run_id": self.run,
            "store_id": STORE_ID, "catalog_id": CATALOG_ID, "job": "j", "database": "d",
            "server_version": "15.0", "amberfs_version": "0.1.0", "table_schema": "public",
            "table_name": "bad", "parent_table": None, "created": "2024-01-31T02:00:00Z",
            "start_day": 19723, "end_day": 19813, "start_date": "2024-01-01", "end_date": "2024-03-31",
            "columns": copy.deepcopy(COLUMNS), "partitions": [], "settings": [], "rebuilt": False,
            "typed": True, "crypto": None, "archive": self.part.describe(), "attachments": []})
        if self.overlay:
            m["attachments"] = [{"kind": "overlay", **self.overlay.describe()}]
        return m

    def manifest_key(self):
        return f".amberfs/manifests/{self.key}/{self.run}.{self.rows}.{self.raw_bytes}.json"

    def marker(self, text):
        try:
            digest = json.loads(text)["archive"]["stored_digest"]
        except (ValueError, KeyError, TypeError, RecursionError):
            digest = tagged(b"")
        return document("amberfs-commit", {
            "run_id": self.run, "job": "j", "committed": "2024-02-01T00:00:00Z",
            "archives": [{"manifest": self.manifest_key(), "manifest_digest": tagged(text),
                          "stored_digest": digest if isinstance(digest, str) else tagged(b"")}]})

    def put(self, manifest=None, text=None, marker=None, marker_text=None, written=None):
        """Write all four objects. text: the manifest's bytes that the marker's digest is of; written:
        what the store gets instead."""
        if text is None:
            text = json.dumps(manifest or self.manifest()).encode()
        if self.stored is not None:
            write(self.key, self.stored)
        if self.overlay and self.overlay.key:
            write(self.overlay.key, self.overlay_bytes if hasattr(self, "overlay_bytes") else self.overlay.stored())
        written = text if written is None else written
        if written is not False:
            write(self.manifest_key(), written)
        if marker_text is None:
            marker_text = json.dumps(marker or self.marker(text)).encode()
        write(f".amberfs/commits/{self.run}.json", marker_text)

    def expect(self, read, verify, text, shown=True):
        assert self.path not in taken, self.path
        taken.add(self.path)
        expectations.append((self.path if shown else "-", read, verify, text))


# --- sound ones: the generator itself is right ---------------------------------------------

for codec in SUFFIX:
    a = Archive(f"sound_{codec}", codec, overlay=b'[3,{"note":"row 13"}]\n')
    a.put()
    a.expect("same", "ok", "")
a = Archive("sound_unknown_write_flag")
a.put({**a.manifest(), "write_incompat": ["ledger"], "compat": ["bloom"], "later": {"x": [1]}})
a.expect("same", "ok", "")


# --- the stored file, damaged after everything was recorded --------------------------------

def stored(name, change, read, text, codec="gzip"):
    a = Archive(name, codec)
    a.stored = change(a)
    a.put()
    a.expect(read, "FAILED", text)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:] if at >= 0 else flip(data, len(data) + at)


def lens(a):
    return [len(u[1]) for u in a.part.units]


for codec in SUFFIX:
    for at, where in ((0, "first"), (-1, "last")):
        stored(f"flip_{where}_{codec}", lambda a: flip(a.stored, at),
               "same|EIO" if codec == "zstd" and at else "EIO", "block|stored", codec)
    stored(f"flip_middle_{codec}", lambda a: flip(a.stored, lens(a)[0] + 5), "EIO", "block 1 ", codec)
    stored(f"empty_{codec}", lambda a: b"", "EIO", "size|bytes", codec)
    for i in range(3):
        stored(f"cut_behind_block_{i}_{codec}",
               lambda a: a.stored[: sum(lens(a)[: i + 1])] if i < 2 or codec == "zstd" else a.stored[:-1],
               "EIO", "size|bytes", codec)
        stored(f"cut_within_block_{i}_{codec}", lambda a: a.stored[: sum(lens(a)[: i + 1]) - 3], "EIO", "size|bytes", codec)
    stored(f"longer_{codec}", lambda a: a.stored + b"\n", "EIO", "size|bytes", codec)
    stored(f"swapped_blocks_{codec}",
           lambda a: b"".join(a.part.units[i][1] for i in (1, 0, 2)) + a.stored[sum(lens(a)[:3]):], "EIO", "block 0", codec)
    stored(f"doubled_block_{codec}",
           lambda a: b"".join(a.part.units[i][1] for i in (0, 0, 2)) + a.stored[sum(lens(a)[:3]):], "EIO", "block 1|size|bytes", codec)
stored("other_text", lambda a: gzip.compress(TEXT.replace(b"row", b"ROW"), mtime=0), "EIO", "size|bytes|block")
a = Archive("missing_object")
a.stored = None
a.put()
a.expect("EIO|ENOENT", "FAILED", "no such|missing|not found")


# --- the manifest says something wrong, and its digest is right -----------------------------

def sealed(name, change, read, text, verify="FAILED", codec="gzip", **args):
    a = Archive(name, codec, **args)
    m = a.manifest()
    change(a, m)
    a.put(m)
    a.expect(read, verify, text)


def set_in(path, value):
    def change(a, m):
        *way, last = path
        for step in way:
            m = m[step]
        m[last] = value
    return change


def more_rows(a, m):
    m["archive"]["blocks"][1][6] += 1
    m["archive"]["blocks"][2][5] += 1
    m["archive"]["rows"] += 1
    a.rows += 1


def other_digest(path):
    def change(a, m):
        set_in(path, tagged(b"other") if isinstance(path[-1], str) else sha(b"other"))(a, m)
    return change


sealed("counts_wrong", more_rows, "same", "rows")
sealed("raw_digest_wrong", other_digest(["archive", "raw_digest"]), "same", "raw bytes")
sealed("stored_digest_wrong", other_digest(["archive", "stored_digest"]), "same", "stored bytes")
sealed("block_digest_wrong", other_digest(["archive", "blocks", 1, 7]), "EIO", "block 1")
sealed("type_wrong", set_in(["columns", 1, "kind"], "bool"), "same", "row 1")
sealed("column_missing", lambda a, m: m["columns"].pop(), "same", "row 1")

# Blocks that don't begin with a row.
a = Archive("block_begins_within_a_row")
cut = len(ROWS[0]) + len(ROWS[1]) + 4
pieces = [TEXT[:cut], TEXT[cut:]]
a.part = Part(a.key, "gzip", [("data", unit("gzip", pieces[0]), pieces[0], 3), ("data", unit("gzip", pieces[1]), pieces[1], 3)])
a.stored = a.part.stored()
a.put()
a.expect("same", "FAILED", "piece|lines")

for size in (2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -1, 0.5, "7", None):
    label = str(size).replace("-", "minus_").replace(".", "_")
    sealed(f"stored_bytes_{label}", set_in(["archive", "stored_bytes"], size), "EIO", r"archive\.stored_bytes|not JSON")
    for column, word in ((1, "stored_off"), (2, "stored_len"), (3, "raw_off"), (4, "raw_len"), (5, "first_row"), (6, "rows")):
        sealed(f"{word}_{label}", set_in(["archive", "blocks", 0, column], size), "EIO", r"archive\.blocks\[0\]|not JSON")
for column in range(8):
    sealed(f"block_column_{column}_missing", lambda a, m: m["archive"]["blocks"][1].pop(column), "EIO", r"archive\.blocks\[1\]")
    sealed(f"block_column_{column}_null", set_in(["archive", "blocks", 1, column], None), "EIO", r"archive\.blocks\[1\]")
sealed("raw_len_above_limit", set_in(["archive", "blocks", 0, 4], 4194305), "EIO", r"archive\.blocks\[0\]\.raw_len")
sealed("no_blocks", set_in(["archive", "blocks"], []), "EIO", r"archive\.[a-z_]*: ")

for label, key in (("dots", "../../outside.json.gz"), ("dots_within", "bad/../../outside.json.gz"),
                   ("absolute", "/tmp/outside.json.gz"), ("nul", "bad/a\0b.json.gz"),
                   ("newline", "bad/a\nb.json.gz"), ("control", "bad/a\x01\x7fb.json.gz"),
                   ("component_256", "bad/" + "x" * 256), ("long", "x/" * 501 + "y"), ("empty", ""),
                   ("slashes", "bad//x.json.gz"), ("another", "bad/sound_gzip.json.gz"),
                   ("metadata", ".amberfs/store.json")):
    sealed(f"key_{label}", set_in(["archive", "key"], key), "EIO", r"archive\.key|not JSON|it describes")
for label, key in (("dots", "../outside"), ("absolute", "/etc/passwd"), ("another", "bad/sound_gzip.json.gz")):
    sealed(f"overlay_key_{label}", set_in(["attachments", 0, "key"], key), "EIO|same", r"attachments\[0\]|sound_gzip", overlay=b'[3,{"note":"row 13"}]\n')
for member in ("format", "version", "archive_id", "run_id", "store_id", "catalog_id", "job", "database",
               "server_version", "amberfs_version", "table_schema", "table_name", "created", "start_day",
               "end_day", "columns", "partitions", "settings", "rebuilt", "typed", "archive", "attachments"):
    sealed(f"without_{member}", lambda a, m: m.pop(member), "EIO", rf"manifest.*json: {member}: is missing")
    sealed(f"null_{member}", set_in([member], None), "EIO", rf"manifest.*json: {member}: expected .* found null")
for label, path, value in (("version_2", ["version"], 2), ("read_flag", ["read_incompat"], ["parquet"]),
                           ("crypto", ["crypto"], {"cipher": "x"}), ("codec", ["archive", "codec"], "lzma"),
                           ("block_digest", ["archive", "block_digest"], "xxh3")):
    sealed(f"unsupported_{label}", set_in(path, value), "EIO", "newer|not known|unknown|read", "UNKNOWN")
sealed("other_run", set_in(["run_id"], str(uuid.UUID(int=7))), "EIO", "manifest")
sealed("days_reversed", set_in(["end_day"], 19722), "EIO", "manifest")
sealed("control_bytes_in_names", set_in(["table_name"], "a\nb\x01"), "same", "", "ok")

# The overlay: rows read, but their exact texts don't hold.
for label, text, why in (("row_beyond", b'[6,{"note":"x"}]\n', "row"), ("unsorted", b'[3,{"note":"x"}]\n[1,{"note":"x"}]\n', "row"),
                         ("twice", b'[3,{"note":"x"}]\n[3,{"note":"x"}]\n', "row"), ("not_json", b"hello\n", "line"),
                         ("open", b'[3,{"note":"x"}]', "attachments"), ("unknown_column", b'[3,{"nope":"x"}]\n', "row")):
    a = Archive(f"overlay_{label}", overlay=text)
    a.put()
    a.expect("EIO" if label == "open" else "same", "FAILED", why)
a = Archive("overlay_flipped", overlay=b'[3,{"note":"row 13"}]\n')
a.overlay_bytes = flip(a.overlay.stored(), 12)
a.put()
a.expect("same", "FAILED", "block 0")
a = Archive("overlay_missing", overlay=b'[3,{"note":"row 13"}]\n')
m = a.manifest()
a.overlay = None
a.put(m)
a.expect("same", "FAILED", "no such|missing|not found")

# --- the manifest itself is damaged, or another one ----------------------------------------

def text_of(name, change, verify_text, read="EIO"):
    a = Archive(name)
    text = json.dumps(a.manifest()).encode()
    a.put(text=text, written=change(text))
    a.expect(read, "FAILED", verify_text)


text_of("manifest_flipped", lambda t: flip(t, 200), "digest|manifest")
text_of("manifest_blank_added", lambda t: t + b" ", "digest|manifest")
text_of("manifest_cut", lambda t: t[:-30], "digest|manifest")
text_of("manifest_empty", lambda t: b"", "digest|manifest")
text_of("manifest_missing", lambda t: False, "manifest")
text_of("manifest_of_another_archive", lambda t: json.dumps(Archive("sound_gzip").manifest()).encode(), "digest|manifest")
for label, text in (("empty", b""), ("not_json", b"hello"), ("array", b"[]"), ("cut", json.dumps(Archive("x").manifest()).encode()[:-1]),
                    ("nul", b"\0" * 100), ("deep", b"[" * 5000), ("bad_utf8", b'{"format":"\xff"}'),
                    ("other_archive", json.dumps(Archive("sound_gzip").manifest()).encode()),
                    ("doubled_key", json.dumps(Archive("x").manifest()).encode()[:-1] + b',"job":"k"}')):
    a = Archive(f"sealed_manifest_{label}")
    a.put(text=text)
    a.expect("EIO", "FAILED", "manifest")

# --- commit markers: what they name isn't shown --------------------------------------------

def marked(name, change, text="commit marker"):
    a = Archive(name)
    m = a.marker(json.dumps(a.manifest()).encode())
    changed = change(a, m)
    if isinstance(changed, bytes):
        a.put(marker_text=changed)
    else:
        a.put(marker=m)
    a.expect("-", "FAILED", f"{text}.*{a.run}", shown=False)


marked("marker_empty", lambda a, m: b"")
marked("marker_cut", lambda a, m: json.dumps(m).encode()[:-9])
marked("marker_version", lambda a, m: m.update(version="1"))
marked("marker_other_run", lambda a, m: m.update(run_id=str(uuid.UUID(int=9))))
marked("marker_doubled_entry", lambda a, m: m["archives"].append(m["archives"][0]))
for label, key in (("dots", ".amberfs/manifests/../../../outside/{run}.6.1.json"),
                   ("absolute", "/.amberfs/manifests/bad/x.json.gz/{run}.6.1.json"),
                   ("nul", ".amberfs/manifests/bad/a\0.json.gz/{run}.6.1.json"),
                   ("component_256", ".amberfs/manifests/bad/" + "x" * 256 + "/{run}.6.1.json"),
                   ("no_archive", ".amberfs/manifests/{run}.6.1.json"),
                   ("elsewhere", "bad/sound_gzip.json.gz"),
                   ("rows_2_64", ".amberfs/manifests/bad/x.json.gz/{run}.18446744073709551616.1.json")):
    marked(f"marker_key_{label}", lambda a, m: m["archives"][0].update(manifest=key.replace("{run}", a.run)))
marked("marker_digest", lambda a, m: m["archives"][0].update(manifest_digest="md5:0"))
a = Archive("marker_stored_digest_wrong")
m = a.marker(json.dumps(a.manifest()).encode())
m["archives"][0]["stored_digest"] = tagged(b"other")
a.put(marker=m)
a.expect("same", "ok", "")
expectations.append(("-", "-", "FAILED", f"commit marker.*{a.run}.*stored_digest"))

# --- names that are odd and right ----------------------------------------------------------

for label, name in (("255", "n" * 247), ("newline", "a\nb"), ("control", "a\x01\x7fb"), ("blank", " a b "), ("percent", "%2e%2e"),
                    ("quote", "a'\"\\b"), ("utf8", "\u00e9\u202e")):
    a = Archive(name)
    a.put()
    a.expect("same", "ok", "")

write(".amberfs/store.json", json.dumps(document("amberfs-store", {"store_id": STORE_ID, "catalog_id": CATALOG_ID})).encode())
with open(1, "w", encoding="utf-8", newline="\n") as out:
    for line in expectations:
        out.write(json.dumps(line) + "\n")
