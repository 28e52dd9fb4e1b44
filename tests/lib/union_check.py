#!/usr/bin/env python3
"""Is each row in exactly one place, and is nothing to be seen that wasn't committed?

usage: union_check.py [--settled] [--tree DIR] [--set-back] STORE TABLE...

Written against docs/format.md and PostgreSQL alone: it shares nothing with amberfs but the published
format, decodes with gunzip and zstd, and lets PostgreSQL compare. PG* lead to the database.

 1. For each TABLE of schema public, its rows and those of the archives that the catalog has in STORE
    are together, as multisets, the rows of keep.TABLE.
 2. Each archive agrees with its manifest, and that with the digests of catalog and marker: sizes,
    rows, the digest of each block, of the stored file and of the decoded text.
 3. A marker is there for committed runs only; with --set-back (the database went back to an earlier
    point) markers of runs that it doesn't know are what is expected.
 --settled  nothing is under way either: no run in doubt, each committed run has its marker, no
            advisory lock, no session in a transaction, no unfinished file, and each stored object
            belongs to a run that the catalog knows.
 --tree     the mounted tree DIR shows exactly the catalog's archives, with the decoded bytes.

Findings go to stdout, one a line; exit status 1 if there is one.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
DECODERS = {".gz": ["gunzip", "-c"], ".zst": ["zstd", "-dcq"], "": ["cat"]}
findings = []


def found(text):
    findings.append(text)


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Session:
    """One transaction of one psql: all that is compared is seen in one snapshot."""

    def __init__(self):
        self.psql = subprocess.Popen(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, PGTZ="UTC", PGOPTIONS="-c synchronous_commit=local"))
        self.send("BEGIN ISOLATION LEVEL REPEATABLE READ;\n")

    def send(self, text):
        self.psql.stdin.write(text.encode())

    def ask(self, sql):
        """The one value, of type jsonb, that a query gives."""
        self.send(sql + ";\n")
        self.psql.stdin.flush()
        line = self.psql.stdout.readline()
        if not line:
            sys.exit("union_check: psql failed")
        return json.loads(line)


CATALOG = """SELECT jsonb_build_object(
 'archives', (SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') FROM amberfs.archived_partitions a),
 'runs', (SELECT coalesce(jsonb_object_agg(run_id, state), '{}') FROM amberfs.runs),
 'names', (SELECT coalesce(jsonb_agg(logical_name), '[]') FROM amberfs.names JOIN amberfs.runs
           USING (run_id) WHERE state <> 'committed'),
 'advisory', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
              AND pid <> pg_backend_pid()),
 'open', (SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL
          AND backend_type = 'client backend' AND pid <> pg_backend_pid()))"""

# Rows more often in keep than found, and the other way round; the first of each.
COMPARE = """SELECT jsonb_build_object('lost', coalesce(sum(n) FILTER (WHERE n > 0), 0),
 'extra', coalesce(-sum(n) FILTER (WHERE n < 0), 0), 'first', min(r::text)) FROM (
 SELECT r, sum(n) AS n FROM (SELECT to_jsonb(t) AS r, 1 AS n FROM keep.{t} t
  UNION ALL SELECT to_jsonb(t), -1 FROM public.{t} t
  UNION ALL SELECT to_jsonb(jsonb_populate_record(NULL::public.{t}, doc)), -1 FROM pg_temp.loaded
   WHERE name = '{t}') q GROUP BY r HAVING sum(n) <> 0) d"""


def read(store, key):
    try:
        with open(os.path.join(store, key), "rb") as f:
            return f.read()
    except OSError as e:
        found(f"{key}: {e.strerror}")
        return b""


def decode(store, key):
    """The text of an archive."""
    suffix = os.path.splitext(key)[1]
    command = DECODERS.get(suffix if suffix != ".json" else "")
    done = subprocess.run(command + [os.path.join(store, key)], capture_output=True, check=False)
    if done.returncode:
        found(f"{key}: {command[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def read_markers(store):
    """{run: marker} of runs that count, and the runs that are superseded."""
    markers, superseded = {}, set()
    folder = os.path.join(store, ".amberfs/commits")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        match = re.fullmatch(rf"({UUID})(\.superseded)?\.json", name)
        if not match:
            found(f".amberfs/commits/{name}: not the name of a marker")
        elif match[2]:
            superseded.add(match[1])
        else:
            markers[match[1]] = json.loads(read(store, ".amberfs/commits/" + name) or b"{}")
    return markers, superseded


def check_part(store, part):
    """A stored object against its part of the manifest; its text."""
    key = part["key"]
    stored, text = read(store, key), decode(store, key)
    for what, want, have in [
            ("stored bytes", part["stored_bytes"], len(stored)),
            ("digest of the file", part["stored_digest"], sha256(stored)),
            ("raw bytes", part["raw_bytes"], len(text)),
            ("digest of the text", part["raw_digest"], sha256(text)),
            ("rows", part["rows"], text.count(b"\n"))]:
        if want != have:
            found(f"{key}: {what}: {want} in the manifest, {have} found")
    for i, (_, off, length, *_, digest) in enumerate(part["blocks"]):
        if hashlib.sha256(stored[off:off + length]).hexdigest() != digest:
            found(f"{key}: block {i} differs from its digest")
    return text


def check_archive(store, row, markers):
    """An archive that the catalog has; its text."""
    key, run = row["key"], row["run_id"]
    document = read(store, row["manifest_key"])
    if not document:
        return b""
    manifest, digest = json.loads(document), sha256(document)
    if digest != "sha256:" + row["manifest_sha256"].removeprefix("\\x"):
        found(f"{key}: the catalog's digest isn't the manifest's")
    if run in markers:
        entries = [e for e in markers[run]["archives"] if e["manifest"] == row["manifest_key"]]
        if [(e["manifest_digest"], e["stored_digest"]) for e in entries] != [
                (digest, manifest["archive"]["stored_digest"])]:
            found(f"{key}: the marker of run {run} doesn't agree")
    for name, have in [("run_id", run), ("archive_id", row["archive_id"])]:
        if manifest[name] != have:
            found(f"{key}: {name} is {manifest[name]} in the manifest, {have} in the catalog")
    if manifest["archive"]["rows"] != row["row_count"] or manifest["archive"]["key"] != key:
        found(f"{key}: the manifest tells of another archive")
    for part in manifest["attachments"]:
        if part["kind"] == "overlay":
            found(f"{key}: has exact texts beside its JSON, which this checker doesn't compare")
    return check_part(store, manifest["archive"])


def check_settled(store, catalog, markers, superseded):
    committed = {run for run, state in catalog["runs"].items() if state == "committed"}
    for run in committed - set(markers):
        found(f"run {run} is committed and has no marker")
    for run, state in catalog["runs"].items():
        if state == "running":
            found(f"run {run} is in doubt")
    if catalog["advisory"] or catalog["open"]:
        found(f"{catalog['advisory']} advisory locks and {catalog['open']} open transactions")
    for name in os.listdir(os.path.join(store, ".amberfs/tmp")):
        found(f".amberfs/tmp/{name}: an unfinished file")
    known = {a["key"] for a in catalog["archives"]}
    reserved = set(catalog["names"])
    for run in superseded & set(markers):
        known |= {e["manifest"].removeprefix(".amberfs/manifests/").rsplit("/", 1)[0]
                  for e in markers[run]["archives"]}
    for key in files(store):
        match = re.match(rf"\.amberfs/(?:manifests|attachments)/.*/({UUID})\.[^/]*", key)
        if match and catalog["runs"].get(match[1], "running") == "running":
            found(f"{key}: of a run that the catalog doesn't know as settled")
        logical = re.sub(r"(\.gz|\.zst)$", "", key)
        if not key.startswith(".amberfs/") and key not in known and logical not in reserved:
            found(f"{key}: an object that nothing names")


def files(top):
    """Paths of the files below a folder, as a plain walk finds them."""
    return [os.path.relpath(os.path.join(folder, name), top)
            for folder, _, names in os.walk(top) for name in names]


def check_tree(tree, archives, texts):
    want = {a["logical_name"]: a["key"] for a in archives}
    have = set(files(tree))
    for name in sorted(have - set(want)):
        found(f"{name}: shown, but not committed")
    for name in sorted(set(want) - have):
        found(f"{name}: committed, but not shown")
    for name in have & set(want):
        data = read(tree, name)
        if data != texts[want[name]] or os.stat(os.path.join(tree, name)).st_size != len(data):
            found(f"{name}: the mounted file isn't its archive's text")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--settled", action="store_true")
    parser.add_argument("--set-back", action="store_true")
    parser.add_argument("--tree")
    parser.add_argument("store")
    parser.add_argument("tables", nargs="*")
    args = parser.parse_args()

    session = Session()
    catalog = session.ask(CATALOG)
    markers, superseded = read_markers(args.store)
    for run in set(markers) - superseded:
        if catalog["runs"].get(run) != "committed" and not args.set_back:
            found(f"run {run} has a marker and is {catalog['runs'].get(run, 'unknown')}")
    texts = {}
    for row in catalog["archives"]:
        if catalog["runs"].get(row["run_id"]) != "committed":
            found(f"{row['key']}: in the catalog by a run that isn't committed")
        texts[row["key"]] = check_archive(args.store, row, markers)

    session.send("CREATE TEMP TABLE loaded (name text, doc jsonb) ON COMMIT DROP;\n"
                 "COPY pg_temp.loaded FROM STDIN (FORMAT csv, DELIMITER e'\\x02', QUOTE e'\\x01');\n")
    for row in catalog["archives"]:
        for line in texts[row["key"]].decode().split("\n")[:-1]:
            session.send(f"{row['table_name']}\x02{line}\n")
    session.send("\\.\n")
    for table in args.tables:
        d = session.ask(COMPARE.format(t=table))
        if d["lost"] or d["extra"]:
            found(f"{table}: {d['lost']} rows lost, {d['extra']} twice or from nowhere; "
                  f"one of them: {d['first'][:200]}")
    if args.settled:
        check_settled(args.store, catalog, markers, superseded)
    if args.tree:
        check_tree(args.tree, catalog["archives"], texts)
    for text in findings[:20]:
        print(text)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
