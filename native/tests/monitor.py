#!/usr/bin/python3
"""The container monitor against a real container. Needs root and busybox-static."""
import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
BERTH = os.path.abspath(os.environ.get("BERTH", os.path.join(HERE, "..", "build", "berth")))
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


def test_output_and_exit_code_are_recorded_and_nothing_stays(make):
    c = make("echo out; echo err >&2; printf unfinished; exit 7")
    started = c.start()
    record = c.ended()
    assert json.loads(c.read("started")) == started
    assert sorted(c.log()) == [("stderr", "F", "err"), ("stdout", "F", "out"),
                               ("stdout", "P", "unfinished")]
    assert (record["exitCode"], record["signal"], record["oomKilled"]) == (7, 0, False)
    assert record["pid"] == started["pid"] and record["startedAtUs"] == started["startedAtUs"]
    assert record["exitedAtUs"] >= record["startedAtUs"]
    assert set(record["usage"]) == {"cpuUs", "memoryPeakBytes", "ioReadBytes", "ioWriteBytes",
                                    "ioReadOps", "ioWriteOps", "oomKills"}
    assert record["usage"]["cpuUs"] > 0, record
    assert not os.path.exists(f"{c.dir}/monitor.sock")
    assert c.groups() == [] and os.listdir(c.root) == []


def test_monitor_is_a_small_process_of_its_own(make):
    c = make("exec sleep 1000")
    started = c.start()
    assert len(c.groups()) >= 1
    pid = c.monitor_pid()
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    assert fields[3] == str(pid) and c.read("monitor.pid").split()[1] == fields[19]
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    for number in range(3):
        assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null"
    with open(f"/proc/{started['pid']}/stat", encoding="utf-8") as file:
        assert file.read().rsplit(")", 1)[1].split()[19] == started["startTime"]
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        figures = dict(re.findall(r"^(\w+): +(\d+) kB", file.read(), re.M))
    private = int(figures["Private_Dirty"]) + int(figures["Private_Clean"])
    print(f"  monitor of one container: PSS {figures['Pss']} kB, of which private {private} kB")
    c.ok(op="kill")
    assert c.ended()["exitCode"] == 137


def test_container_inherits_neither_descriptors_nor_signal_settings(make):
    c = make("ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status; umask")
    done = subprocess.run(["/usr/bin/python3", "-c", "import os,signal,sys; os.umask(0o77);"
                           "signal.signal(signal.SIGQUIT, signal.SIG_IGN);"
                           "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]);"
                           "os.dup2(1, 9); os.execv(sys.argv[1], sys.argv[1:])", *c.command()],
                          stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    c.ended()
    lines = [text for _, _, text in c.log()]
    assert lines[0] in ("3", "4"), lines  # ls itself has the folder open
    assert [line.split()[-1] for line in lines[1:]] == ["0" * 16, "0" * 16, "0022"], lines


def test_signal_of_the_socket_reaches_the_main_process(make):
    c = make("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 1 & wait; done")
    c.start()
    until(lambda: ("stdout", "F", "ready") in c.log(), "ready")
    c.ok(op="signal", signal=15)
    record = c.ended()
    assert record["exitCode"] == 3 and ("stdout", "F", "got") in c.log()


def test_killed_main_process_is_recorded_with_its_signal(make):
    c = make("exec sleep 1000")
    os.kill(c.start()["pid"], signal.SIGKILL)
    record = c.ended()
    assert (record["exitCode"], record["signal"], record["oomKilled"]) == (137, 9, False), record


def test_signal_to_all_reaches_children(make):
    c = make("sleep 1000 & echo $!; wait; echo waited; sleep 1000")
    c.start()
    until(lambda: c.log(), "start of the child")
    refused = c.call(op="signal", signal=99)
    assert not refused["ok"] and "1 to 64" in refused["error"]
    c.ok(op="signal", signal=15, all=True)
    until(lambda: ("stdout", "F", "waited") in c.log(), "end of the child")
    c.ok(op="kill")
    assert c.ended()["signal"] == 9


def test_failed_start_says_why_and_leaves_nothing(make):
    c = make("", args=["/bin/missing"])
    text = c.fail()
    assert "missing" in text, text
    assert os.listdir(c.dir) == [] and os.listdir(c.root) == [] and c.groups() == []
    os.unlink(f"{c.bundle}/config.json")
    assert "config.json" in c.fail()
    assert os.listdir(c.dir) == [] and os.listdir(c.root) == []


def test_bad_options_are_refused(make):
    c = make("true")
    for options in (("--log-max-files", "0"), ("--log-max-bytes", "10"), ("--log-driver", "x"),
                    ("--nonsense",), ("stray",), ("--dir", "/no/such/folder")):
        c.fail(*options)
    assert os.listdir(c.dir) == []


def test_second_monitor_of_a_folder_is_refused_while_the_first_lives(make):
    c = make("exec sleep 1000")
    c.start()
    other = Container(c.folder, "true", 1)
    other.dir = c.dir
    assert "another monitor" in other.fail()
    assert c.ok(op="stats")["pids"] == 1
    c.ok(op="kill")
    c.ended()


def test_restart_in_the_same_folder_continues_the_log_and_replaces_the_records(make):
    c = make("echo one; exit 1")
    c.start()
    assert c.ended()["exitCode"] == 1
    c.configure("echo two; exit 2")
    c.start()
    until(lambda: len(c.log()) == 2, "second line")
    assert c.ended()["exitCode"] == 2
    assert [text for _, _, text in c.log()] == ["one", "two"]


def test_start_right_after_the_word_of_the_end_succeeds(make):
    c = make("exec sleep 1000")
    for _ in range(5):
        c.start()
        watcher, idle = c.connect(), c.connect()
        assert watcher.call(op="watch")["ok"] and idle.call(op="attach")["ok"]
        c.ok(op="kill")
        assert watcher.reply()["event"] == "exit"
        os.unlink(f"{c.dir}/exit")
    c.start()
    c.ok(op="kill")
    c.ended()


def test_long_lines_are_cut_into_tagged_parts(make):
    c = make("head -c 40000 /dev/zero | tr '\\0' x; echo; echo short")
    c.start()
    c.ended()
    assert [(tag, len(text)) for _, tag, text in c.log()] == [("P", 16384), ("P", 16384),
                                                             ("F", 40000 - 2 * 16384), ("F", 5)]


def test_logs_rotate_by_size_and_lose_no_line(make):
    c = make("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
    c.start("--log-max-bytes", "65536", "--log-max-files", "4")
    c.ended()
    files = sorted(n for n in os.listdir(c.dir) if n.startswith("log"))
    assert files == ["log", "log.1", "log.2"], files
    assert all(os.path.getsize(f"{c.dir}/{n}") <= 65536 for n in files)
    texts = [t for name in reversed(files) for _, _, t in c.log(name)]
    assert texts == [f"line {n}" for n in range(3000)]


def test_only_the_newest_log_files_are_kept(make):
    c = make("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done")
    c.start("--log-max-bytes", "40000", "--log-max-files", "2")
    c.ended()
    assert sorted(n for n in os.listdir(c.dir) if n.startswith("log")) == ["log", "log.1"]
    assert c.log()[-1][2] == "line 4999"


def test_log_driver_none_writes_nothing(make):
    c = make("echo gone; exit 4")
    c.start("--log-driver", "none")
    assert c.ended()["exitCode"] == 4
    assert not os.path.exists(f"{c.dir}/log")


def test_full_disk_loses_lines_but_neither_container_nor_exit_record(make):
    c = make("i=0; while [ $i -lt 4000 ]; do echo $i-$(printf %0100d 0); i=$((i+1)); done;"
             "echo filled > /filled; read go < /first; echo after; read go < /second; exit 5")
    fifos = {name: f"{c.folder}/rootfs/{name}" for name in ("filled", "first", "second")}
    for fifo in fifos.values():
        os.mkfifo(fifo)

    def go(name):
        with open(fifos[name], "w", encoding="utf-8") as file:
            file.write("go\n")

    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=700", "tmpfs", c.dir], check=True)
    try:
        c.start()
        assert open(fifos["filled"], encoding="utf-8").read() == "filled\n"
        subprocess.run(["mount", "-o", "remount,size=512k", c.dir], check=True)
        lost = re.compile(r"gantry: (\d+) lines lost: no space left on device")

        def accounted():
            told = sum(int(lost.fullmatch(t)[1]) for s, _, t in c.log() if s == "stderr")
            written = [int(t.split("-")[0]) for s, _, t in c.log() if s == "stdout"]
            assert written == sorted(written)
            return told > 0 and len(written) > 100 and told + len(written) == 4000

        until(accounted, "every line written or told as lost")
        go("first")
        until(lambda: any(t == "after" for _, _, t in c.log()), "line after the disk was freed")
        with contextlib.suppress(OSError), open(f"{c.dir}/ballast", "wb") as ballast:
            while True:
                ballast.write(b"x" * 4096)
                ballast.flush()
        go("second")
        assert c.ended()["exitCode"] == 5
    finally:
        c.clean()
        subprocess.run(["umount", "-l", c.dir], check=True)


def test_watchers_are_told_after_the_record_is_on_disk(make):
    c = make("exec sleep 1000")
    started = c.start()
    watchers = [c.connect() for _ in range(5)]
    for watcher in watchers:
        reply = watcher.call(op="watch")
        assert reply["ok"] and reply["state"] == "running" and reply["pid"] == started["pid"]
    c.ok(op="kill")
    event = watchers[0].reply()
    record = json.loads(c.read("exit"))
    assert event == {"event": "exit", **record}, (event, record)
    assert watchers[0].frame() == (None, b"")
    for watcher in watchers[1:]:
        assert watcher.reply()["exitCode"] == 137
    c.ended()


def test_exec_gives_output_and_exit_code(make):
    c = make("exec sleep 1000")
    c.start()
    assert c.exec("/bin/sh", "-c", "echo out; echo err >&2; exit 9").rest() == (
        b"out\n", b"err\n", [{"event": "exit", "exitCode": 9}])
    assert c.exec("/bin/sh", "-c", "kill -9 $$").rest()[2] == [{"event": "exit", "exitCode": 137}]
    with contextlib.closing(c.connect()) as connection:
        reply = connection.call(op="exec", process={"args": ["/bin/none"], "cwd": "/"})
        assert not reply["ok"] and "none" in reply["error"], reply
        assert connection.call(op="stats")["ok"]
    c.ok(op="kill")
    c.ended()


def test_exec_takes_input_of_any_size_and_its_end(make):
    c = make("exec sleep 1000")
    c.start()
    data = os.urandom(300_000)
    connection = c.exec("/bin/cat", stdin=True)
    got = b""
    sent = 0
    while sent < len(data):
        connection.send(STDIN, data[sent:sent + 30_000])
        sent += 30_000
        while len(got) < sent and len(got) < len(data):
            kind, payload = connection.frame()
            assert kind == STDOUT
            got += payload
    connection.send(STDIN, b"")
    assert connection.rest() == (b"", b"", [{"event": "exit", "exitCode": 0}])
    assert got == data
    half = c.exec("/bin/cat", stdin=True)
    half.send(STDIN, b"last words")
    half.socket.shutdown(socket.SHUT_WR)
    assert half.rest()[0] == b"last words"
    c.ok(op="kill")
    c.ended()


def test_exec_on_a_terminal_has_size_and_resizes(make):
    c = make("exec sleep 1000")
    c.start()
    connection = c.exec("/bin/sh", "-c", "stty size; trap 'stty size; exit 0' WINCH;"
                        "echo ready; while :; do sleep 0.05; done", tty=True, rows=40, cols=100)
    seen = b""
    while b"ready" not in seen:
        seen += connection.frame()[1]
    assert b"40 100" in seen, seen
    connection.request(op="resize", rows=41, cols=99)
    out, error, events = connection.rest()
    assert b"41 99" in out and error == b"" and events == [{"event": "exit", "exitCode": 0}]
    c.ok(op="kill")
    c.ended()


def test_exec_signal_and_background_children_do_not_hold_up_the_end(make):
    c = make("exec sleep 1000")
    c.start()
    connection = c.exec("/bin/sh", "-c", "trap 'exit 12' USR1; echo ready; while :; do sleep 0.05; done")
    assert connection.frame() == (STDOUT, b"ready\n")
    connection.request(op="signal", signal=10)
    assert connection.rest()[2] == [{"event": "exit", "exitCode": 12}]
    assert c.exec("/bin/sh", "-c", "sleep 1000 & exit 0").rest()[2] == [{"event": "exit", "exitCode": 0}]
    c.ok(op="kill")
    c.ended()


def test_exec_whose_client_leaves_gets_a_hang_up(make):
    c = make("exec sleep 1000")
    c.start()
    polite, deaf = c.exec("/bin/sleep", "1000"), c.exec("/bin/sh", "-c", "trap '' HUP; echo deaf; sleep 1000; :")
    assert deaf.frame() == (STDOUT, b"deaf\n")
    polite.close()
    deaf.close()
    until(lambda: not alive(polite.pid), "end of the polite one", 2)
    assert alive(deaf.pid)
    until(lambda: not alive(deaf.pid), "end of the deaf one", 8)
    c.ok(op="kill")
    c.ended()


def test_exec_with_a_slow_reader_is_slowed_and_the_monitor_stays_small(make):
    c = make("exec sleep 1000")
    c.start()
    connection = c.exec("/bin/sh", "-c", "head -c 20000000 /dev/zero")
    other = c.exec("/bin/echo", "quick")
    assert other.rest()[0] == b"quick\n"
    assert alive(connection.pid)
    with open(f"/proc/{c.monitor_pid()}/status", encoding="utf-8") as file:
        memory = int(re.search(r"RssAnon:\s+(\d+)", file.read())[1])
    assert memory < 600 or SANITIZED, f"{memory} kB"
    out, _, events = connection.rest()
    assert len(out) == 20_000_000 and events == [{"event": "exit", "exitCode": 0}]
    c.ok(op="kill")
    c.ended()


def test_many_exec_and_attach_cycles_leave_nothing_in_the_monitor(make):
    c = make("exec sleep 1000", annotations={"dev.gantry.stdin": "true"})
    c.start()
    pid = c.monitor_pid()

    def cycle(count):
        for _ in range(count):
            assert c.exec("/bin/echo", "x", stdin=True).rest()[0] == b"x\n"
            c.exec("/bin/sleep", "1000", tty=True).close()
            with contextlib.closing(c.connect()) as connection:
                assert connection.call(op="attach", stdin=True)["ok"]
        until(lambda: c.ok(op="stats")["pids"] == 1, "end of what was executed")

    def figures():
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            anon = int(re.search(r"RssAnon:\s+(\d+)", file.read())[1])
        children = open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8").read().split()
        return len(os.listdir(f"/proc/{pid}/fd")), len(children), anon

    cycle(10)
    before = figures()
    cycle(int(os.environ.get("MONITOR_CYCLES", "100")))
    until(lambda: all(now <= then for now, then in zip(figures()[:2], before)),
          f"descriptors and children as before, {before}")
    after = figures()
    assert after[2] <= before[2] + 16 or SANITIZED, (before, after)
    c.ok(op="kill")
    c.ended()


def test_attach_shows_live_output_and_gives_input(make):
    c = make("exec cat", annotations={"dev.gantry.stdin": "true"})
    c.start()
    first, second = c.connect(), c.connect()
    assert first.call(op="attach", stdin=True)["ok"] and second.call(op="attach")["ok"]
    first.send(STDIN, b"hello\n")
    assert first.frame() == (STDOUT, b"hello\n") == second.frame()
    assert not first.call(op="stats")["ok"]
    first.send(STDIN, b"")
    assert first.rest() == (b"", b"", []) == second.rest()
    assert c.ended()["exitCode"] == 0
    assert c.log() == [("stdout", "F", "hello")]


def test_attach_to_a_terminal(make):
    c = make("read line; echo got $line; exit 6", terminal=True)
    c.start()
    connection = c.connect()
    assert connection.call(op="attach", stdin=True)["ok"]
    connection.send(STDIN, b"word\n")
    out, _, _ = connection.rest()
    assert b"got word" in out, out
    assert c.ended()["exitCode"] == 6
    assert ("stdout", "F", "got word\r") in c.log()


def test_attached_client_that_does_not_read_never_stops_the_container(make):
    c = make("read go; head -c 5000000 /dev/zero | tr '\\0' 'x' | fold -w 100; exit 0",
             annotations={"dev.gantry.stdin": "true"})
    c.start("--log-driver", "none")
    lazy = c.connect()
    assert lazy.call(op="attach", stdin=True)["ok"]
    lazy.send(STDIN, b"go\n")
    assert c.ended()["exitCode"] == 0
    refused = make("exec sleep 1000", number=2)
    refused.start()
    assert "without one" in refused.call(op="attach", stdin=True)["error"]
    refused.ok(op="kill")
    refused.ended()


def test_update_and_stats(make):
    c = make("exec sleep 1000", resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 50}})
    c.start()
    c.ok(op="update", resources={"memory": {"limit": 96 << 20}, "pids": {"limit": 40}})
    names = ("memory.limit_in_bytes", "memory.max", "pids.max")
    values = {n: open(f"{g}/{n}", encoding="utf-8").read().strip()
              for g in c.groups() for n in names if os.path.exists(f"{g}/{n}")}
    assert values.get("memory.limit_in_bytes", values.get("memory.max")) == str(96 << 20), values
    assert values["pids.max"] == "40", values
    stats = c.ok(op="stats")
    assert stats["pids"] == 1 and stats["memoryBytes"] > 0 and stats["usage"]["cpuUs"] > 0, stats
    for bad in ({}, {"resources": {"pids": {"limit": "x"}}}):
        assert not c.call(op="update", **bad)["ok"]
    c.ok(op="kill")
    c.ended()


def test_out_of_memory_is_recorded(make):
    c = make("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done",
             resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    c.start()
    record = c.ended()
    assert record["oomKilled"] and record["signal"] == 9, record
    c.configure("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", annotations={"dev.gantry.init": "true"},
                resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    c.start()
    record = c.ended()
    assert record["oomKilled"] and record["exitCode"] == 137, record
    assert record["usage"]["oomKills"] >= 1 and record["usage"]["memoryPeakBytes"] > 8 << 20, record


def test_broken_and_hostile_clients_harm_nobody(make):
    c = make("exec sleep 1000")
    c.start()
    for bytes_ in (b"\xff\xff\xff\xff\x00", b"\x05\x00\x00\x00\x09hello", struct.pack("<IB", 1, 1) + b"x"):
        connection = c.connect()
        connection.socket.sendall(bytes_)
        with contextlib.suppress(ConnectionResetError):
            assert connection.frame() == (None, b"")
    with contextlib.closing(c.connect()) as connection:
        for text in (b"", b"{", b"[]", b'{"op":7}', b'{"op":"none"}', b"{}", b"\xff"):
            connection.send(CONTROL, text)
            assert not connection.reply()["ok"], text
        for byte in struct.pack("<IB", 14, 0) + b'{"op":"stats"}':
            connection.socket.sendall(bytes([byte]))
        assert connection.reply()["ok"]
        connection.socket.sendall(2 * (struct.pack("<IB", 14, 0) + b'{"op":"stats"}'))
        assert connection.reply()["ok"] and connection.reply()["ok"]
    c.ok(op="kill")
    c.ended()


def test_random_frames_harm_nobody(make):
    c = make("cat; exec sleep 1000", annotations={"dev.gantry.stdin": "true"})
    c.start()
    seed = int(os.environ.get("MONITOR_SEED", "1"))
    chance = random.Random(seed)
    words = [b'{"op":"', b"exec", b"watch", b"attach", b"stats", b"update", b'","stdin":true', b',"tty":true',
             b',"process":{"args":["/bin/cat"],"cwd":"/"}', b',"resources":{"pids":{"limit":', b"9", b"}}", b"}",
             b'"}', b"[", b"\x00", b"\xff", b'"rows":70000', b',"op":"resize"']
    process = {"args": ["/bin/cat"], "cwd": "/"}
    whole = [json.dumps(request).encode() for request in (
        {"op": "exec", "process": process, "stdin": True}, {"op": "exec", "process": process, "tty": True},
        {"op": "exec", "process": {"args": ["/bin/yes"], "cwd": "/"}}, {"op": "watch"}, {"op": "stats"},
        {"op": "attach"}, {"op": "attach", "stdin": True}, {"op": "resize", "rows": 3, "cols": 4},
        {"op": "signal", "signal": 28}, {"op": "update", "resources": {"pids": {"limit": 500}}})]
    for _ in range(int(os.environ.get("MONITOR_FRAMES", "150"))):
        connection = c.connect()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(chance.randint(1, 6)):
                payload = b"".join(chance.choice(words) for _ in range(chance.randint(0, 9)))
                if chance.random() < 0.5:
                    payload = chance.choice(whole)
                length = len(payload) if chance.random() < 0.8 else chance.randint(0, 1 << 21)
                connection.socket.sendall(struct.pack("<IB", length, chance.choice((0, 0, 0, 3, 1, 200))) + payload)
            if chance.random() < 0.3:
                connection.socket.shutdown(socket.SHUT_WR)
        connection.close()
    assert c.ok(op="stats")["pids"] >= 1, f"seed {seed}"
    c.ok(op="kill")
    c.ended()


def test_sixty_four_clients_are_served_and_the_next_waits(make):
    c = make("exec sleep 1000")
    c.start()
    clients = [c.connect() for _ in range(64)]
    assert all(client.call(op="stats")["ok"] for client in clients)
    late = c.connect()
    late.request(op="stats")
    assert not select.select([late.socket], [], [], 0.1)[0]
    clients.pop().close()
    assert late.reply()["ok"]
    late.request(op="kill")
    late.close()
    assert c.ended()["exitCode"] == 137


def test_only_root_and_the_owner_may_connect(make):
    c = make("exec sleep 1000")
    c.start()
    assert os.stat(f"{c.dir}/monitor.sock").st_mode & 0o777 == 0o600
    code = ("import os,socket,sys; s=socket.socket(socket.AF_UNIX); os.chdir(sys.argv[1]); os.setuid(65534);"
            "s.settimeout(5); s.connect('monitor.sock'); s.sendall(b'\\x0e\\0\\0\\0\\0{\"op\":\"stats\"}');"
            "print(len(s.recv(10)))")
    os.chmod(f"{c.dir}/monitor.sock", 0o666)
    for path in (c.folder, c.dir):
        os.chmod(path, 0o755)
    done = subprocess.run(["/usr/bin/python3", "-c", code, c.dir], capture_output=True, text=True,
                          check=False)
    assert done.stdout != "10\n" and (done.stdout == "0\n" or "reset" in done.stderr.lower()
                                      or "Broken pipe" in done.stderr), done
    assert c.ok(op="stats")
    c.ok(op="kill")
    c.ended()


def test_monitor_outlives_its_caller_and_polite_signals(make):
    c = make("exec sleep 1000")
    caller = subprocess.Popen(["/bin/sh", "-c", '"$@"; kill -9 0', "sh", *c.command()],
                              start_new_session=True, stdout=subprocess.DEVNULL)
    caller.wait(timeout=10)
    pid = c.monitor_pid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        os.kill(pid, number)
    assert c.ok(op="stats")["pids"] == 1
    c.ok(op="kill")
    assert c.ended()["exitCode"] == 137


def test_container_stays_when_its_monitor_is_killed(make):
    c = make("exec sleep 1000")
    started = c.start()
    os.kill(c.monitor_pid(), signal.SIGKILL)
    until(lambda: not alive(c.monitor_pid()), "end of the monitor")
    assert alive(started["pid"]) and not os.path.exists(f"{c.dir}/exit")
    done = subprocess.run([BERTH, "--root", c.root, "delete", "--force", c.id], capture_output=True,
                          text=True, timeout=20, check=False)
    assert done.returncode == 0, done
    assert not alive(started["pid"]) and c.groups() == [] and os.listdir(c.root) == []
    c.start()
    c.ok(op="kill")
    assert c.ended()["exitCode"] == 137


def test_many_monitors_are_small(make):
    containers = [make("exec sleep 1000", number=n) for n in range(20)]
    began = time.monotonic()
    for c in containers:
        c.start()
    took = (time.monotonic() - began) * 1000 / len(containers)
    sizes = []
    for c in containers:
        with open(f"/proc/{c.monitor_pid()}/smaps_rollup", encoding="utf-8") as file:
            sizes.append(int(re.search(r"^Pss: +(\d+)", file.read(), re.M)[1]))
    print(f"  {len(containers)} monitors: PSS {min(sizes)} to {max(sizes)} kB each; start {took:.1f} ms each")
    assert max(sizes) < 150 or SANITIZED
    for c in containers:
        c.ok(op="kill")
    for c in containers:
        c.ended()


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


def main():
    passed, failed = 0, 0
    sys.stdout.reconfigure(line_buffering=True)
    wanted = sys.argv[1:]
    for name, test in [(n, f) for n, f in globals().items() if n.startswith("test_")]:
        if wanted and not any(w in name for w in wanted):
            continue
        try:
            run_one(test)
            passed += 1
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED monitor: {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
