"""The main process: start, records, logs, signals, restart."""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys

from harness import Container, until


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
