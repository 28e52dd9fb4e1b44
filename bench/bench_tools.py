"""What the benchmarks share: running programs in turn, mounts, and the table of results."""
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
CACHE_MIB = 32  # ARCHIVAL_CACHE_BYTES of all runs
ENV = {k: v for k, v in os.environ.items()
       if not k.startswith(("ARCHIVAL_", "MEMORY_CLEANUP_", "PG", "AMBER_", "AWS_", "S3_"))
       and k != "DATABASE_URL"}
ENV["LC_ALL"] = "C"


def say(text):
    print(text, file=sys.stderr, flush=True)


def sh(command, **kw):
    """Run a shell line; its output goes away. Raises if it fails."""
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, env=ENV,
                   stdin=subprocess.DEVNULL, **{"stdout": subprocess.DEVNULL, **kw})


def timed(command):
    start = time.monotonic()
    sh(command)
    return time.monotonic() - start


def drop(path):
    """Forget the file's pages. What it was made from stays where it is."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def drop_names():
    """Forget names and inodes of all file systems; False where that isn't allowed."""
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("2\n")
        return True
    except OSError:
        return False


def mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == path for line in f)


def same_readahead(path, like):
    """Give a FUSE mount the readahead of another one, where that is allowed."""
    def knob(p):
        dev = os.stat(p).st_dev
        return f"/sys/class/bdi/{os.major(dev)}:{os.minor(dev)}/read_ahead_kb"
    with contextlib.suppress(OSError):
        with open(knob(like)) as f, open(knob(path), "w") as g:
            g.write(f.read())


def realtime():
    """From here on this process and its children go before all others."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def status_kib(pid, key):
    with open(f"/proc/{pid}/status") as f:
        return next((int(line.split()[1]) for line in f if line.startswith(key + ":")), 0)


class Mounts:
    """Mounts and their servers; all gone at the end, however it comes."""

    def __init__(self, top):
        self.top, self.live, self.n = top, [], 0

    def point(self):
        self.n += 1
        path = f"{self.top}/mnt{self.n}"
        os.mkdir(path)
        return path

    def amberfs(self, program, store):
        """Mount a store without a database; returns (mount point, pid, seconds until ready)."""
        self.n += 1
        env_file = f"{self.top}/mnt{self.n}.env"
        with open(env_file, "w") as f:
            f.write(f"ARCHIVAL_PATH={store}\nARCHIVAL_ENABLED=false\nMEMORY_CLEANUP_ENABLED=false\n"
                    f"ARCHIVAL_CACHE_BYTES={CACHE_MIB}M\nARCHIVAL_LOG_LEVEL=warn\n")
        start = time.monotonic()
        # No server listens in that folder: the mount works without a database, read-only.
        path, pid = self.daemon(program, env_file, "-o", "ro", PGHOST=f"{self.top}/no-server")
        return path, pid, time.monotonic() - start

    def daemon(self, program, env_file, *options, **env):
        """A daemon in the foreground, once it is ready; returns (mount point, pid)."""
        path = self.point()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(f"{path}.ready")
        sock.settimeout(120)
        with open(f"{path}.log", "w") as log:
            p = subprocess.Popen([program, "mount", "-f", "--env-file", env_file, *options, path],
                                 env={**ENV, **env, "NOTIFY_SOCKET": f"{path}.ready"},
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.live.append((path, p))
        try:
            while b"READY=1" not in sock.recv(4096):
                pass
        except TimeoutError:
            raise RuntimeError(f"amberfs isn't ready after 120 s: {open(path + '.log').read()}")
        finally:
            sock.close()
        return path, p.pid

    def server(self, *command):
        """A FUSE server in the foreground; the mount point is its last argument. Readahead stays as
        it comes: nobody who mounts an image by hand changes it."""
        path = self.point()
        p = subprocess.Popen([*command, path], env=ENV, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.live.append((path, p))
        deadline = time.monotonic() + 30
        while not mounted(path):
            if p.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not mount: {p.stderr.read().decode()}")
            time.sleep(0.01)
        return path

    def kernel(self, image):
        path = self.point()
        sh(f"mount -t squashfs -o loop,ro '{image}' '{path}'", stderr=subprocess.DEVNULL)
        self.live.append((path, None))
        return path

    def end(self):
        for path, p in reversed(self.live):
            if mounted(path):
                tool = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
                if subprocess.run([*tool, path]).returncode != 0:
                    subprocess.run([tool[0], "-l" if tool[0] == "umount" else "-uz", path])
            if p:
                try:
                    p.wait(20)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        self.live = []


class Report:
    """Lines of the table; the same as JSON."""

    def __init__(self):
        self.groups, self.memory = [], {}

    def group(self, title, unit, ours, values, goals):
        """values: {program: [numbers]}, or a text instead of the list. goals: {program: ratio}."""
        base = statistics.median(values[ours]) if isinstance(values.get(ours), list) else None
        rows = []
        for name, v in values.items():
            row = {"program": name, "goal": goals.get(name)}
            if isinstance(v, list):
                row.update(median=statistics.median(v), runs=v)
                if base is not None and name != ours:
                    row["ratio"] = base / row["median"]
            else:
                row["note"] = v
            rows.append(row)
        self.groups.append({"work": title, "unit": unit, "rows": rows})
        self.show(self.groups[-1])

    def fact(self, title, text, goal, number=None):
        """A line that stands alone."""
        self.groups.append({"work": title, "rows": [
            {"program": "amberfs", "note": text, "goal": goal, "median": number}]})
        self.show(self.groups[-1])

    @staticmethod
    def show(g):
        print(f"\n{g['work']}")
        for r in g["rows"]:
            if "note" in r:
                value, ratio = r["note"], ""
            else:
                scale, digits = {"ms": (1e3, 0), "us": (1e6, 0)}[g["unit"]]
                value = f"{r['median'] * scale:.{digits}f} {g['unit']}"
                ratio = f"{r['ratio']:.2f} x" if "ratio" in r else ""
            goal = r["goal"]
            if isinstance(goal, (int, float)):
                met = "" if "ratio" not in r else "  met" if r["ratio"] <= goal else "  missed"
                goal = f"goal <= {goal:.2f} x{met}"
            print(f"  {r['program']:<26} {value:>12} {ratio:>8}   {goal or ''}".rstrip(), flush=True)


def child(work):
    """Run work in a process of its own, which never gets into this one's tidying up."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work()
            status = 0
        except OSError as e:
            say(f"bench: {e}")
        finally:
            os._exit(status)
    return pid


def alternate(rounds, programs):
    """{name: (prepare or None, command or function)}: run all in turn, round by round."""
    values = {}
    for i in range(rounds + 1):
        for name, entry in programs.items():
            if isinstance(entry, str):
                values[name] = entry
                continue
            prepare, run = entry
            if prepare:
                prepare()
            took = timed(run) if isinstance(run, str) else run()
            if i > 0:  # the first round brings the stored files and the programs into memory
                values.setdefault(name, []).append(took)
    return values


def have(*programs):
    return all(shutil.which(p) for p in programs)


def tool(name, command):
    return (None, command) if have(name) else f"{name} is not installed"


def cold(path, command):
    return (lambda: drop(path), command.format(path)) if path else "not mounted"
