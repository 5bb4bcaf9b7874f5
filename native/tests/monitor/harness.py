"""The container monitor against a real container. Needs root and busybox-static."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BERTH = os.path.abspath(os.environ.get("BERTH", os.path.join(HERE, "..", "..", "build", "berth")))
SANITIZED = "asan" in BERTH  # its shadow memory says nothing about the real size
BUSYBOX = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p)), None)
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)$")
CONTROL, STDOUT, STDERR, STDIN = range(4)


def until(condition, what, seconds=8.0):
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)


class Connection:
    """A client of the monitor's socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        folder = os.open(os.path.dirname(path), os.O_PATH)
        try:
            self.socket.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        finally:
            os.close(folder)
        self.socket.settimeout(10)

    def send(self, kind, payload):
        self.socket.sendall(struct.pack("<IB", len(payload), kind) + payload)

    def request(self, **members):
        self.send(CONTROL, json.dumps(members).encode())

    def exactly(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                assert not data, "end in the middle of a frame"
                return None
            data += chunk
        return data

    def frame(self):
        header = self.exactly(5)
        if header is None:
            return None, b""
        length, kind = struct.unpack("<IB", header)
        return kind, self.exactly(length) if length else b""

    def reply(self):
        kind, payload = self.frame()
        assert kind == CONTROL, (kind, payload)
        return json.loads(payload)

    def call(self, **members):
        self.request(**members)
        return self.reply()

    def rest(self):
        """Outputs and events up to the end."""
        out, error, events = b"", b"", []
        while True:
            kind, payload = self.frame()
            if kind is None:
                return out, error, events
            if kind == STDOUT:
                out += payload
            elif kind == STDERR:
                error += payload
            else:
                events.append(json.loads(payload))

    def close(self):
        self.socket.close()


class Container:
    """One container under a monitor, in folders of its own."""

    def __init__(self, folder, script, number=0, **config):
        self.id = f"mt-{os.getpid()}-{number}"
        self.folder, self.bundle, self.dir = folder, f"{folder}/bundle{number}", f"{folder}/state{number}"
        self.root = f"{folder}/run"
        self.cgroup = f"/gantry-mt-{os.getpid()}/{self.id}"
        for path in (self.bundle, self.root):
            os.makedirs(path, exist_ok=True)
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        self.configure(script, **config)

    def configure(self, script, args=None, terminal=False, annotations=None, resources=None):
        config = {
            "ociVersion": "1.2.0",
            "root": {"path": f"{self.folder}/rootfs"},
            "process": {"terminal": terminal, "user": {"uid": 0, "gid": 0}, "cwd": "/",
                        "args": args or ["/bin/sh", "-c", script],
                        "env": ["PATH=/bin", "TERM=xterm"], "noNewPrivileges": True},
            "hostname": "mt",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
            ],
            "annotations": annotations or {},
            "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "network")],
                      "cgroupsPath": self.cgroup, "resources": resources or {}},
        }
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)

    def command(self, *options):
        return [BERTH, "--root", self.root, "monitor", "--id", self.id, "--bundle", self.bundle,
                "--dir", self.dir, *options]

    def start(self, *options):
        done = subprocess.run(self.command(*options), capture_output=True, text=True, timeout=20,
                              check=False)
        assert done.returncode == 0, (done.returncode, done.stderr)
        assert done.stderr == "", done.stderr
        self.started = json.loads(done.stdout)
        return self.started

    def fail(self, *options):
        done = subprocess.run(self.command(*options), capture_output=True, text=True, timeout=20,
                              check=False)
        assert done.returncode == 1, done
        assert done.stdout == "" and done.stderr.count("\n") == 1, done
        return done.stderr

    def connect(self):
        return Connection(f"{self.dir}/monitor.sock")

    def call(self, **members):
        with contextlib.closing(self.connect()) as connection:
            return connection.call(**members)

    def ok(self, **members):
        reply = self.call(**members)
        assert reply["ok"], reply
        return reply

    def exec(self, *args, **members):
        connection = self.connect()
        process = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        reply = connection.call(op="exec", process=process, **members)
        assert reply["ok"], reply
        connection.pid = reply["pid"]
        return connection

    def monitor_pid(self):
        return int(self.read("monitor.pid").split()[0])

    def read(self, name):
        with open(f"{self.dir}/{name}", encoding="utf-8") as file:
            return file.read()

    def log(self, name="log"):
        """(stream, tag, text) of each record; each line must be one."""
        with open(f"{self.dir}/{name}", encoding="utf-8", newline="\n") as file:
            lines = file.read().split("\n")
        assert lines.pop() == "", "the log does not end with a record"
        found = [LINE.match(line) for line in lines]
        assert all(found), [l for l, f in zip(lines, found) if not f][:3]
        return [f.groups() for f in found]

    def ended(self):
        """The exit record, after the monitor has gone."""
        until(lambda: os.path.exists(f"{self.dir}/exit"), "exit record")
        until(lambda: not os.path.exists(f"/proc/{self.monitor_pid()}"), "end of the monitor")
        return json.loads(self.read("exit"))

    def groups(self):
        found = []
        for top in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{n}" for n in os.listdir("/sys/fs/cgroup"))):
            if os.path.isdir(top + self.cgroup):
                found.append(top + self.cgroup)
        return found

    def clean(self):
        subprocess.run([BERTH, "--root", self.root, "delete", "--force", self.id],
                       capture_output=True, timeout=20, check=False)
        with contextlib.suppress(OSError, ValueError, AssertionError):
            pid = self.monitor_pid()
            if open(f"/proc/{pid}/comm", encoding="utf-8").read() == "berth-monitor\n":
                until(lambda: not os.path.exists(f"/proc/{pid}"), "end of the monitor", 4)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def prepare_rootfs(folder):
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        os.makedirs(f"{folder}/rootfs/{name}")
    shutil.copy(BUSYBOX, f"{folder}/rootfs/bin/busybox")
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    for applet in applets.split():
        if applet != "busybox":
            os.symlink("busybox", f"{folder}/rootfs/bin/{applet}")


def too_late(*_):
    raise AssertionError("the test took more than a minute")


def run_one(test):
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(60)
    made = []
    folder = tempfile.mkdtemp(prefix="monitor-test-")

    def make(script, number=0, **config):
        made.append(Container(folder, script, number, **config))
        return made[-1]

    try:
        prepare_rootfs(folder)
        test(make)
    finally:
        signal.alarm(0)
        for container in made:
            container.clean()
        shutil.rmtree(folder, ignore_errors=True)
        for top in (f"/sys/fs/cgroup/{n}" for n in (".", *os.listdir("/sys/fs/cgroup"))):
            with contextlib.suppress(OSError):
                os.rmdir(f"{top}/gantry-mt-{os.getpid()}")
