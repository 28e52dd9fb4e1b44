"""bench/run --s3: archives in S3 against what one would use instead, on a private server.

The server (scripts/s3-server, on disk) runs on the same processors as everybody who asks it.
amberfs has no cache on disk here, and 32 MiB in memory.
"""
import json
import os
import random
import subprocess
import time

from bench_tools import (CACHE_MIB, ENV, ROOT, Report, alternate, cold, drop, have, say, sh)
from bench_write import FAST, WriteBench

PREADS = 200
PREAD_RATE = 100  # a second
KEY = "deltas/zstd.json.zst"


class S3Server:
    def __init__(self, top):
        self.dir, self.script = f"{top}/s3", f"{ROOT}/scripts/s3-server"

    def start(self):
        said = subprocess.run([self.script, "start", self.dir], check=True, env=ENV, text=True,
                              stdout=subprocess.PIPE).stdout
        words = [w for line in said.splitlines() for w in line.removeprefix("export ").split()]
        values = dict(w.split("=", 1) for w in words)
        self.endpoint, self.bucket = values["S3_ENDPOINT"], values["S3_BUCKET"]
        self.key, self.secret = values["S3_ACCESS_KEY"], values["S3_SECRET_KEY"]

    def stop(self):
        subprocess.run([self.script, "wipe", self.dir], env=ENV)

    def settings(self, prefix):
        return {"ARCHIVAL_STORAGE_TYPE": "s3", "ARCHIVAL_PATH": f"s3://{self.bucket}/{prefix}",
                "ARCHIVAL_S3_ENDPOINT": self.endpoint, "ARCHIVAL_S3_REGION": "us-east-1",
                "ARCHIVAL_S3_ACCESS_KEY_ID": self.key, "ARCHIVAL_S3_SECRET_ACCESS_KEY": self.secret,
                "ARCHIVAL_CACHE_DISK_BYTES": "0"}

    def aws(self, words):
        # Debian's, not another that comes first in somebody's PATH.
        aws = "/usr/bin/aws" if os.path.exists("/usr/bin/aws") else "aws"
        return (f"AWS_ACCESS_KEY_ID={self.key} AWS_SECRET_ACCESS_KEY={self.secret} "
                f"AWS_DEFAULT_REGION=us-east-1 {aws} --endpoint-url {self.endpoint} s3 {words}")

    def curl(self, url, transfers, rate=None):
        """Ranges to get, or files to put behind the URL: the seconds of each, on one connection, at
        most `rate` a second."""
        lines = []
        for t in transfers:
            what = (f'upload-file = "{t}"\nurl = "{url}/{os.path.basename(t)}"' if os.path.isabs(t)
                    else f'range = "{t}"\nurl = "{url}"')
            lines.append(f'{what}\nuser = "{self.key}:{self.secret}"\nsilent\nshow-error\nfail\n'
                         'aws-sigv4 = "aws:amz:us-east-1:s3"\noutput = "/dev/null"\n'
                         'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\n'
                         'write-out = "%{time_total}\\n"\n')
        pace = ["--rate", f"{rate}/s"] if rate else []
        r = subprocess.run(["curl", *pace, "-K", "-"], check=True, env=ENV, input="next\n".join(lines),
                           stdout=subprocess.PIPE, text=True)
        return [float(x) for x in r.stdout.split()]


class S3Bench:
    def __init__(self, args, top, mounts):
        self.a, self.top, self.mounts, self.report = args, top, mounts, Report()
        self.program, self.s3 = f"{args.build}/src/app/amberfs", S3Server(top)

    def make_data(self):
        self.store = f"{self.a.data or self.top}/s3-store"
        if not os.path.exists(f"{self.store}/{KEY}"):
            os.makedirs(self.store, exist_ok=True)
            say("data: " + subprocess.run(
                [f"{self.a.build}/bench/bench_data", "archive", self.store, KEY, "zstd",
                 str(self.a.rows)], check=True, env=ENV, text=True, stdout=subprocess.PIPE).stdout.strip())
        sh(self.s3.aws(f"cp --recursive --quiet '{self.store}' s3://{self.s3.bucket}/read"))

    def mount_all(self):
        env_file = f"{self.top}/s3.env"
        values = {**self.s3.settings("read"), "ARCHIVAL_ENABLED": "false",
                  "MEMORY_CLEANUP_ENABLED": "false", "ARCHIVAL_CACHE_BYTES": f"{CACHE_MIB}M",
                  "ARCHIVAL_LOG_LEVEL": "warn"}
        with open(env_file, "w") as f:
            f.writelines(f"{k}={v}\n" for k, v in values.items())
        mnt, _ = self.mounts.daemon(self.program, env_file, "-o", "ro", PGHOST=f"{self.top}/none")
        self.ours = f"{mnt}/{KEY.removesuffix('.zst')}"
        sh(f"zstd -dcq '{self.store}/{KEY}' | cmp - '{self.ours}'")
        self.rclone = self.s3fs = None
        if have("rclone"):
            mnt = self.mounts.server(
                "env", f"RCLONE_S3_ACCESS_KEY_ID={self.s3.key}",
                f"RCLONE_S3_SECRET_ACCESS_KEY={self.s3.secret}", "rclone", "--config", "/dev/null", "mount",
                "--read-only", "--s3-provider", "Ceph", "--s3-endpoint", self.s3.endpoint,
                f":s3:{self.s3.bucket}/read")
            self.rclone = f"{mnt}/{KEY}"
        if have("s3fs"):
            mnt = self.mounts.server(
                "env", f"AWSACCESSKEYID={self.s3.key}", f"AWSSECRETACCESSKEY={self.s3.secret}",
                "s3fs", "-f", "-o", f"ro,use_path_request_style,url={self.s3.endpoint}",
                f"{self.s3.bucket}:/read")
            self.s3fs = f"{mnt}/{KEY}"

    def cat(self):
        unpack = "zstd -dcq '{}'"
        self.report.group("cold cat over S3, zstd", "ms", "amberfs", alternate(self.a.rounds, {
            "amberfs": cold(self.ours, "cat '{}'"),
            "aws s3 cp | zstd -dc":
                (None, self.s3.aws(f"cp s3://{self.s3.bucket}/read/{KEY} -") + " | zstd -dcq")
                if have("aws") else "aws is not installed",
            "rclone mount, zstd -dc": cold(self.rclone, unpack),
            "s3fs, zstd -dc": cold(self.s3fs, unpack),
        }), {"aws s3 cp | zstd -dc": 0.9, "rclone mount, zstd -dc": 0.6})

    def pread(self):
        """Each read touches a block of its own, once; curl gets the same blocks, on one connection.
        Both at one pace: a server that just sent something answers sooner than one that slept."""
        folder = f"{self.store}/.amberfs/manifests/{KEY}"
        with open(f"{folder}/{os.listdir(folder)[0]}") as f:
            blocks = [b for b in json.load(f)["archive"]["blocks"] if b[0] == "data"]
        blocks = random.Random(7).sample(blocks, min(PREADS, len(blocks)))
        drop(self.ours)
        ours, fd = [], os.open(self.ours, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for _, _, _, raw_off, raw_len, *_ in blocks:
            off = (raw_off + raw_len // 2) & ~4095
            start = time.monotonic()
            os.pread(fd, 4096, off)
            ours.append(time.monotonic() - start)
            time.sleep(max(0, start + 1 / PREAD_RATE - time.monotonic()))
        os.close(fd)
        url = f"{self.s3.endpoint}/{self.s3.bucket}/read/{KEY}"
        curl = self.s3.curl(url, [f"{b[1]}-{b[1] + b[2] - 1}" for b in blocks], PREAD_RATE)
        self.report.group("4 KiB pread at random offsets over S3, uncached, p50", "us", "amberfs", {
            "amberfs": ours, "curl -r, connection kept": curl,
        }, {"curl -r, connection kept": 1.5})

    def write(self):
        bench = WriteBench(self.a, self.top, self.mounts)
        bench.server.start()
        try:
            bench.fill("rows", self.a.rows)
            local, far = [], []
            for i in range(self.a.rounds):
                bench.fresh()
                local.append(bench.archive("zstd", FAST))
                files = [os.path.join(d, f) for d, _, fs in os.walk(f"{self.top}/store/deltas") for f in fs]
                upload = sum(self.s3.curl(f"{self.s3.endpoint}/{self.s3.bucket}/put", files))
                bench.fresh()
                far.append((bench.archive("zstd", {**FAST, **self.s3.settings(f"write{i}")}),
                            local[-1] + upload))
            self.report.group("whole archive run to S3, zstd (without VACUUM)", "ms", "amberfs, S3", {
                "amberfs, S3": [a for a, _ in far], "amberfs, local": local,
                "local + upload by curl": [b for _, b in far],
            }, {"local + upload by curl": 1.2})
        finally:
            bench.server.stop()

    STEPS = {"s3-cat": cat, "s3-pread": pread, "s3-write": write}

    def run(self):
        self.s3.start()
        try:
            self.make_data()
            self.mount_all()
            print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start, "
                  f"{os.stat(self.ours).st_size / 1e6:.0f} MB of JSON, {self.a.rounds} rounds")
            for name, step in self.STEPS.items():
                if not self.a.only or name in self.a.only:
                    step(self)
        finally:
            self.mounts.end()
            self.s3.stop()
