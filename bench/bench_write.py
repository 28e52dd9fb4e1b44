"""What `bench/run --write` measures: archiving and restoring against PostgreSQL's own tools.

A private server in the temporary folder; every run gets a fresh database, copied from a template, and
a fresh store. "default" is how amberfs runs if nothing is set, "fast" is with FAST. The catalog is
there already, as it is from the second run on.
"""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

from bench_tools import ENV, Report, alternate, have, say, sh, status_kib

FAST = {"ARCHIVAL_EXPORT_CONNECTIONS": "2"}
FAST_LEVEL = {"zstd": "1", "gzip": "5"}  # their defaults are 3 and 6
RECENT = 200000  # rows of the last days, which the concurrent load works on
TABLE = "flow_execution_deltas"
PIPE = f"psql -Xqc 'COPY (SELECT row_to_json(t) FROM {TABLE} t) TO STDOUT'"
MAKE = f"""
CREATE TABLE {TABLE} (id bigint PRIMARY KEY, session_id uuid NOT NULL, sequence integer NOT NULL,
  op text NOT NULL, path text NOT NULL, value jsonb, latency_ms double precision,
  cost numeric(12,6), created_at timestamptz NOT NULL);
CREATE INDEX ON {TABLE} (session_id, sequence);
CREATE INDEX ON {TABLE} (created_at);
"""
JOBS = {"version": 1, "jobs": [{
    "name": "deltas", "tables": [{"schema": "public", "name": TABLE, "folder": "deltas",
                                  "pattern": "deltas_{start}_to_{end}"}],
    "time_column": "created_at", "retention_days": 90, "period": "quarter"}]}
# Each transaction takes one number of the sequence, by which they are counted.
LOAD = f"""
\\set old random(1, {RECENT})
UPDATE {TABLE} SET latency_ms = latency_ms + 1 WHERE id = :old;
SELECT value FROM {TABLE} WHERE id = :old;
INSERT INTO {TABLE} SELECT nextval('recent'), session_id, sequence, op, path, value, latency_ms, cost,
  now() FROM {TABLE} WHERE id = :old;
"""


class Server:
    """A private PostgreSQL, on a unix socket in its folder, durable as a real one."""

    def __init__(self, top):
        self.dir = f"{top}/pg"
        self.bin = max(glob.glob("/usr/lib/postgresql/*/bin"), default=None,
                       key=lambda p: [int(n) for n in re.findall(r"\d+", p)])
        if not self.bin or not have("psql"):
            raise RuntimeError("PostgreSQL's programs (initdb, psql) aren't installed")
        self.user = (["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
                     if os.geteuid() == 0 else [])
        self.up = False

    def tool(self, name, *args):
        subprocess.run([*self.user, f"{self.bin}/{name}", *args], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, cwd="/", env={**ENV, "HOME": "/"})

    def start(self):
        os.makedirs(self.dir)
        if self.user:
            os.chmod(os.path.dirname(self.dir), 0o711)
            shutil.chown(self.dir, "postgres")
        data = f"{self.dir}/data"
        self.tool("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8",
                  "--locale=C.UTF-8", f"--pgdata={data}")
        with open(f"{data}/postgresql.conf", "a") as f:
            f.write(f"listen_addresses = ''\nunix_socket_directories = '{self.dir}'\n"
                    "shared_buffers = 1GB\nmax_wal_size = 16GB\nautovacuum = off\n")
        self.tool("pg_ctl", f"--pgdata={data}", f"--log={self.dir}/log", "--silent", "start")
        self.up = True
        ENV.update(PGHOST=self.dir, PGUSER="postgres", PGDATABASE="postgres")
        self.version = int(self.sql("SHOW server_version_num"))

    def stop(self):
        if self.up:
            self.tool("pg_ctl", f"--pgdata={self.dir}/data", "--silent", "--mode=immediate", "stop")

    def sql(self, text, db="postgres"):
        r = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", db], input=text, text=True,
                           stdout=subprocess.PIPE, check=True,
                           env={**ENV, "PGOPTIONS": "-c client_min_messages=warning"})
        return r.stdout.strip()

    def copy(self, name, template):
        """A fresh database, in shared buffers as far as it fits."""
        how = " STRATEGY = FILE_COPY" if self.version >= 150000 else ""
        self.sql(f"DROP DATABASE IF EXISTS {name};\n"
                 f"CREATE DATABASE {name} TEMPLATE {template}{how};\n")
        self.sql(f"SELECT count(*) FROM {TABLE}", name)
        ENV["PGDATABASE"] = name


class Runs:
    """What archive runs told of themselves."""

    def __init__(self):
        self.phases, self.stored = [], 0

    def add(self, log, store):
        line = re.search(r"job deltas: [\d,]+ rows; (.*)", log)
        if not line:
            raise RuntimeError("the run said nothing of its phases:\n" + log)
        self.phases.append({k: float(v) for k, v in re.findall(r"(\w+) ([\d.]+) s", line[1])})
        self.stored = sum(os.path.getsize(p) for p in glob.glob(f"{store}/deltas/*"))

    def median(self, phase):
        return statistics.median(p[phase] for p in self.phases)


class WriteBench:
    def __init__(self, args, top, mounts):
        self.a, self.top, self.mounts, self.report = args, top, mounts, Report()
        self.server, self.program = Server(top), f"{args.build}/src/app/amberfs"
        self.tsv, self.out = f"{top}/rows.tsv", f"{top}/pipe.out"
        with open(f"{top}/jobs.json", "w") as f:
            json.dump(JOBS, f)

    # ---- the parts ----

    def fill(self, db, rows):
        say(f"data: {rows} rows in database {db}")
        data = f"{self.a.build}/bench/bench_data"
        if rows == self.a.rows:
            sh(f"'{data}' rows {rows} > '{self.tsv}'")
        source = f"cat '{self.tsv}'" if rows == self.a.rows else f"'{data}' rows {rows}"
        self.server.sql(f"CREATE DATABASE {db}")
        self.server.sql(MAKE, db)
        sh(f"{source} | psql -Xqd {db} -c '\\copy {TABLE} FROM pstdin'")
        self.server.sql(f"VACUUM (ANALYZE) {TABLE}", db)

    def env_file(self, store, settings):
        path = f"{self.top}/env"
        values = {"ARCHIVAL_PATH": store, "ARCHIVAL_JOBS_FILE": f"{self.top}/jobs.json",
                  "ARCHIVAL_ENABLED": "false", "MEMORY_CLEANUP_ENABLED": "false", **settings}
        with open(path, "w") as f:
            f.writelines(f"{k}={v}\n" for k, v in values.items())
        return path

    def new_store(self):
        path = f"{self.top}/store"
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
        return path

    def archive(self, codec, settings, runs=None):
        """A run of the job in the current database; returns seconds without VACUUM."""
        store = self.new_store()
        if settings == FAST:
            settings = {**FAST, "ARCHIVAL_COMPRESSION_LEVEL": FAST_LEVEL[codec]}
        env_file = self.env_file(store, {"ARCHIVAL_COMPRESSION": codec, **settings})
        sh(f"'{self.program}' init --env-file '{env_file}'")
        start = time.monotonic()
        r = subprocess.run([self.program, "archive", "deltas", "--verbose", "--env-file", env_file], env=ENV,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
        took = time.monotonic() - start
        if r.returncode:
            raise RuntimeError("amberfs archive failed:\n" + r.stderr)
        one = Runs()
        one.add(r.stderr, store)
        if runs:
            runs.add(r.stderr, store)
        return took - one.median("vacuum")

    def fresh(self, template="rows"):
        self.server.copy("work", template)

    # ---- the lines ----

    def whole_runs(self):
        for codec, peer, level, goal, size_goal in (("zstd", "zstd", "zstd -q", 0.6, 1.0),
                                                    ("gzip", "pigz", "pigz", 0.8, 1.1)):
            runs = {"fast": Runs(), "default": Runs()}
            pipe = f"{PIPE} | {level} > '{self.out}'"
            self.report.group(
                f"whole archive run, {codec} (without VACUUM)", "ms", "amberfs, fast",
                alternate(self.a.rounds, {
                    "amberfs, fast": (self.fresh, lambda: self.archive(codec, FAST, runs["fast"])),
                    "amberfs, default": (self.fresh,
                                         lambda: self.archive(codec, {}, runs["default"])),
                    f"COPY | {peer}": (self.fresh, pipe) if have(peer) else f"no {peer}",
                }), {f"COPY | {peer}": goal})
            for name, r in runs.items():
                work = sum(r.median(p) for p in r.phases[0] if p != "vacuum")
                share = r.median("delete") / work
                self.report.fact(
                    f"{codec}, {name}: phases",
                    ", ".join(f"{p} {r.median(p):.2f}" for p in r.phases[0]) + " s",
                    f"delete {share * 100:.0f} % of the run: goal <= 30 %", share)
            if have(peer):
                ratio = runs["fast"].stored / os.path.getsize(self.out)
                self.report.fact(f"{codec}: stored size against {peer}'s",
                                 f"{ratio:.3f} x ({runs['fast'].stored / 1e6:.1f} MB)",
                                 f"goal <= {size_goal:.2f} x", ratio)

    def backend_cpu(self, statement):
        """Seconds of processor time that a backend takes for a statement."""
        ticks = self.server.sql(
            "SELECT pg_backend_pid() AS pid \\gset\n\\setenv PID :pid\n"
            f"\\! cut -d' ' -f14,15 /proc/$PID/stat\n{statement};\n"
            "\\! cut -d' ' -f14,15 /proc/$PID/stat\n", ENV["PGDATABASE"]).split()
        before, after = (int(a) + int(b) for a, b in (ticks[:2], ticks[-2:]))
        return (after - before) / os.sysconf("SC_CLK_TCK")

    def encoded(self):
        r = subprocess.run([f"{self.a.build}/bench/bench_row", "1", self.tsv], check=True, env=ENV,
                           stdout=subprocess.PIPE, text=True)
        speed = re.search(r"encode +\d+ MB/s +([\d.]+) million", r.stdout)
        return self.a.rows / float(speed[1]) / 1e6

    def row_format(self):
        self.fresh()
        self.report.group("rows as JSON, processor time of one core", "ms", "amberfs",
                          alternate(self.a.rounds, {
                              "amberfs": (None, self.encoded),
                              "row_to_json": (None, lambda: self.backend_cpu(
                                  f"COPY (SELECT row_to_json(t) FROM {TABLE} t) TO '/dev/null'")),
                          }), {"row_to_json": 1 / 3})

    @contextlib.contextmanager
    def mounted(self, settings):
        env_file = self.env_file(f"{self.top}/store", settings)
        path, pid = self.mounts.daemon(self.program, env_file)
        try:
            yield path, pid
        finally:
            self.mounts.end()

    def restored(self, command):
        """Seconds of a restore through a new mount of the archived database."""
        self.fresh("archived")
        with self.mounted({}) as (path, _):
            name = os.path.basename(glob.glob(f"{path}/deltas/*")[0])
            start = time.monotonic()
            sh(command.format(mnt=path, name=name))
            took = time.monotonic() - start
        if int(self.server.sql(f"SELECT count(*) FROM {TABLE}", "work")) != self.a.rows:
            raise RuntimeError("rows are missing after the restore")
        return took

    def restores(self):
        self.fresh()
        self.archive("zstd", FAST)
        self.server.sql("DROP DATABASE IF EXISTS archived;\nALTER DATABASE work RENAME TO archived")
        values = alternate(self.a.rounds, {
            "cp": (None, lambda: self.restored("cp '{mnt}/deltas/{name}' '{mnt}/.restore/'")),
            "\\copy FROM": (lambda: self.fresh("archived"),
                            f"psql -Xqc \"\\copy {TABLE} FROM '{self.tsv}'\""),
            ".control/restore": (None, lambda: self.restored(
                "echo 'deltas/{name}' > '{mnt}/.control/restore';"
                "cat '{mnt}/.control/wait/restore' | grep -q inserted")),
        })
        self.report.group("restore into the indexed table, cp through .restore", "ms", "cp",
                          {k: values[k] for k in ("cp", "\\copy FROM")}, {"\\copy FROM": 1.25})
        self.report.group("restore into the indexed table, .control/restore", "ms",
                          ".control/restore", {k: values[k] for k in (".control/restore", "cp")},
                          {"cp": 1.0})

    def peak(self, template):
        """MiB above idle that a daemon reaches while it runs the job."""
        self.fresh(template)
        self.new_store()
        with self.mounted({"ARCHIVAL_COMPRESSION": "zstd", **FAST}) as (path, pid):
            idle = status_kib(pid, "VmRSS")
            sh(f"echo deltas > '{path}/.control/trigger'; cat '{path}/.control/wait/deltas'")
            return (status_kib(pid, "VmHWM") - idle) / 1024

    def peak_memory(self):
        small = self.peak("rows")
        self.report.fact(f"daemon's peak above idle, {self.a.rows} rows", f"{small:.0f} MiB",
                         "goal <= 128 MiB", small)
        if not self.a.large:
            self.report.fact("daemon's peak above idle, ten times the rows", "left out", "--large")
            return
        self.fill("rows10", self.a.rows * 10)
        large = self.peak("rows10")
        self.server.sql("DROP DATABASE work;\nDROP DATABASE rows10")
        self.report.fact(f"daemon's peak above idle, {self.a.rows * 10} rows", f"{large:.0f} MiB",
                         f"goal: equal ({small:.0f} MiB)", large)

    def transactions(self):
        return int(self.server.sql("SELECT last_value FROM recent", "work"))

    def rate(self, work):
        """Transactions a second of the load while work runs."""
        first, start = self.transactions(), time.monotonic()
        work()
        return (self.transactions() - first) / (time.monotonic() - start)

    def loaded(self, settings):
        """The load's rate beside a run, against its rate alone before and behind it."""
        self.fresh()
        self.server.sql(
            f"INSERT INTO {TABLE} SELECT i, gen_random_uuid(), i, 'set', '/recent', '{{\"a\": 1}}', "
            f"1, 0, now() - i * interval '1 second' FROM generate_series(1, {RECENT}) i;\n"
            f"VACUUM (ANALYZE) {TABLE};\nCREATE SEQUENCE recent START 100000000;", "work")
        with open(f"{self.top}/load.sql", "w") as f:
            f.write(LOAD)
        load = subprocess.Popen([f"{self.server.bin}/pgbench", "-n", "-c", "4", "-T", "600", "-f",
                                 f"{self.top}/load.sql", "work"], env=ENV, cwd=self.top,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(5)
            before = self.rate(lambda: time.sleep(5))
            beside = self.rate(lambda: self.archive("zstd", settings))
            behind = self.rate(lambda: time.sleep(5))
        finally:
            load.send_signal(signal.SIGTERM)
            load.wait()
        return 2 * beside / (before + behind)

    def politeness(self):
        kinds = {"default": {}, "10000 rows a second": {"ARCHIVAL_MAX_ROWS_PER_SECOND": "10000"},
                 "fast": FAST}
        for name, settings in kinds.items():
            n = 1 if "second" in name else self.a.rounds
            shares = [self.loaded(settings) for _ in range(n)]
            mid = statistics.median(shares)
            self.report.fact(f"pgbench on the same table beside a run, {name}",
                             f"{mid * 100:.0f} % of its throughput alone",
                             "goal >= 70 %" if name == "default" else "", mid)

    STEPS = {"run": whole_runs, "row": row_format, "restore": restores, "memory": peak_memory,
             "load": politeness}

    def run(self):
        self.server.start()
        try:
            self.fill("rows", self.a.rows)
            print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start, "
                  f"{self.a.rows} rows, {self.a.rounds} rounds, PostgreSQL "
                  f"{self.server.sql('SHOW server_version').split()[0]}; fast: "
                  + " ".join(f"{k}={v}" for k, v in FAST.items()) + ", "
                  + ", ".join(f"{c} level {n}" for c, n in FAST_LEVEL.items()))
            for name, step in self.STEPS.items():
                if not self.a.only or name in self.a.only:
                    step(self)
        finally:
            self.server.stop()
