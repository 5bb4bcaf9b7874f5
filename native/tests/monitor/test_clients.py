"""What clients of the socket ask for: exec, attach, update, stats, and what hostile ones try."""
import contextlib
import json
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import BERTH, CONTROL, SANITIZED, STDIN, STDOUT, alive, until


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
