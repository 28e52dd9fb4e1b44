"""foreign_files.py FOLDER WANT: files of every kind that other programs make, in FOLDER; the text
that each is shown with, under its shown name, in WANT."""
import gzip, os, random, struct, subprocess, sys, zlib
store, want = sys.argv[1:]
random.seed(3)
text = b"".join(b'{"id":%d,"name":"row %d","value":%d}\n' % (i, i * 7, random.randrange(10**9))
                for i in range(30000))

def put(name, stored, raw):
    open(f"{store}/{name}", "wb").write(stored)
    base, ext = os.path.splitext(name)
    open(f"{want}/{base if ext in ('.gz', '.zst') else name}", "wb").write(raw)

def run(data, *command):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

def member(data, level=6, extra=None, name=None, comment=None, crc=False):
    flags = (crc and 2) | (extra is not None and 4) | (name is not None and 8) | \
            (comment is not None and 16)
    head = bytes([31, 139, 8, flags, 0, 0, 0, 0, 0, 255])
    if extra is not None:
        head += struct.pack("<H", len(extra)) + extra
    for s in (name, comment):
        if s is not None:
            head += s + b"\0"
    if crc:
        head += struct.pack("<H", zlib.crc32(head) & 0xffff)
    c = zlib.compressobj(level, zlib.DEFLATED, -15)
    return head + c.compress(data) + c.flush() + \
        struct.pack("<II", zlib.crc32(data), len(data) & 0xffffffff)

def bgzf(data):
    out = b""
    for i in range(0, len(data) + 1, 65280):
        piece = data[i:i + 65280]
        m = member(piece, extra=b"BC\2\0\0\0")
        out += m[:16] + struct.pack("<H", len(m) - 1) + m[18:]
    return out

put("gzip.json.gz", run(text, "gzip", "-c"), text)
put("best.json.gz", run(text, "gzip", "-9c"), text)
put("pigz.ndjson.gz", run(text, "pigz", "-c"), text)
put("pigz_i.ndjson.gz", run(text, "pigz", "-ic"), text)
put("python.csv.gz", gzip.compress(text, 6), text)
put("stored.json.gz", member(text, level=0), text)
put("bgzf.json.gz", bgzf(text), text)
put("many.json.gz", b"".join(member(text[i:i + 3000]) for i in range(0, len(text), 3000)), text)
put("cat.json.gz", run(text[:1000], "gzip", "-c") + member(text[1000:]) + member(b""), text)
put("padded.json.gz", member(text) + bytes(100000), text)
put("fields.json.gz", member(text, extra=b"XY\2\0ab", name=b"a b", comment=b"c", crc=True), text)
put("empty.json.gz", member(b""), b"")
put("nothing.json.gz", b"", b"")
put("zstd.jsonl.zst", run(text, "zstd", "-cq"), text)
put("nocheck.jsonl.zst", run(text, "zstd", "-cq", "--no-check", "-19"), text)
put("sized.json.zst", subprocess.run(["zstd", "-cq", f"{want}/gzip.json"],
                                     stdout=subprocess.PIPE, check=True).stdout, text)
skip = struct.pack("<II", 0x184D2A53, 5) + b"hello"
put("frames.json.zst", b"".join(skip + run(text[i:i + 300000], "zstd", "-cq")
                                for i in range(0, len(text), 300000)) + skip, text)
put("none.json.zst", b"", b"")
put("as_is.log.xz", b"\xfd7zXZ\0 not looked at", b"\xfd7zXZ\0 not looked at")
put("plain.txt", text[:5000], text[:5000])
