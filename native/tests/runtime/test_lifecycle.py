from harness import *


@test
def create_start_and_end_go_through_the_states():
    with Container("/bin/sleep", "1000") as c:
        expect(c.create())
        assert c.status() == "created"
        expect(command("start", c.id))
        assert c.status() == "running"
        expect(command("kill", c.id, "KILL"))
        c.wait_status("stopped")
        expect(command("delete", c.id))
        assert command("state", c.id).code != 0


@test
def state_has_what_the_spec_demands():
    with Container("/bin/sleep", "1000") as c:
        c.config["annotations"] = {"a.b": "c"}
        c.start()
        s = c.state()
        assert s["id"] == c.id and s["bundle"] == c.bundle and s["pid"] > 0, s
        assert s["ociVersion"].startswith("1."), s
        assert s["annotations"]["a.b"] == "c", s
        os.kill(s["pid"], 0)


@test
def a_second_container_with_the_same_id_is_refused():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        assert c.create().code != 0
        assert c.status() == "running"


@test
def starting_twice_is_refused():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        assert command("start", c.id).code != 0
        assert c.status() == "running"


@test
def a_running_container_is_deleted_only_by_force():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        pid = c.state()["pid"]
        assert command("delete", c.id).code != 0
        expect(command("delete", "--force", c.id))
        assert not os.path.exists("/proc/%d/root/bin" % pid)


@test
def deleting_a_missing_container_fails_but_not_by_force():
    assert command("delete", "missing").code != 0
    expect(command("delete", "--force", "missing"))


@test
def the_exit_code_of_run_is_the_process_s():
    expect(run_script("exit 7"), 7)
    expect(run_script("exit 0"), 0)


@test
def a_process_killed_by_a_signal_gives_128_plus_it():
    with Container("/bin/sleep", "1000") as c:
        c.write()
        p = subprocess.Popen([RUNTIME, "--root", Suite.root, "run", "--bundle", c.bundle, c.id],
                             stdin=subprocess.DEVNULL)
        wait_until(lambda: command("state", c.id).code == 0 and c.status() == "running")
        expect(command("kill", c.id, "KILL"))
        assert p.wait(10) == 137


@test
def run_passes_signals_on():
    with Container(script="trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done") as c:
        c.write()
        p = subprocess.Popen([RUNTIME, "--root", Suite.root, "run", "--bundle", c.bundle, c.id],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert p.stdout.readline() == b"up\n"
        p.send_signal(signal.SIGTERM)
        assert p.wait(10) == 42


@test
def kill_takes_names_and_numbers_and_refuses_nonsense():
    script = "trap 'echo usr1' USR1; trap 'exit 3' 12; echo up; while :; do sleep 0.05; done"
    with Container(script=script) as c:
        c.start()
        wait_until(lambda: "up" in c.output())
        expect(command("kill", c.id, "SIGUSR1"))
        wait_until(lambda: "usr1" in c.output())
        assert command("kill", c.id, "NONSENSE").code != 0
        expect(command("kill", c.id, "12"))
        c.wait_status("stopped")
        assert command("kill", c.id, "TERM").code != 0


@test
def kill_all_reaches_every_process_without_a_pid_namespace():
    with Container(script="sleep 1000 & sleep 1000 & wait") as c:
        c.namespaces("network", "ipc", "uts", "mount", "cgroup")
        c.start()
        wait_until(lambda: len(json.loads(command("ps", "--format", "json", c.id).out)) == 3)
        pids = json.loads(command("ps", "--format", "json", c.id).out)
        expect(command("kill", "--all", c.id, "KILL"))
        wait_until(lambda: all(is_gone(p) for p in pids), what="end of all")


def is_gone(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@test
def list_shows_containers_as_table_and_json():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        assert c.id in command("list").out
        rows = json.loads(command("list", "--format", "json").out)
        row = [r for r in rows if r["id"] == c.id][0]
        assert row["status"] == "running" and row["pid"] == c.state()["pid"]
        assert c.id in command("list", "--quiet").out.split()


@test
def pid_file_holds_the_pid():
    with Container("/bin/sleep", "1000") as c:
        path = os.path.join(c.bundle, "pid")
        c.start("--pid-file", path)
        assert int(open(path).read()) == c.state()["pid"]


@test
def pause_stops_and_resume_continues():
    with Container(script="i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done") as c:
        c.start()
        wait_until(lambda: len(c.output()) > 10)
        expect(command("pause", c.id))
        assert c.status() == "paused"
        before = c.output()
        time.sleep(0.15)  # an absence can only be seen over time
        assert c.output() == before
        assert command("pause", c.id).code != 0
        expect(command("resume", c.id))
        assert c.status() == "running"
        wait_until(lambda: c.output() != before)


@test
def a_paused_container_is_deleted_by_force():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        expect(command("pause", c.id))
        expect(command("delete", "--force", c.id))
        assert command("state", c.id).code != 0


@test
def nothing_is_left_after_run():
    with Container("/bin/true") as c:
        expect(c.run())
        assert not os.path.exists(os.path.join(Suite.root, c.id))
        for base, folders, _ in os.walk("/sys/fs/cgroup"):
            assert c.id not in folders, base


@test
def hooks_run_in_order_with_the_state_on_stdin():
    with Container("/bin/true") as c:
        log = os.path.join(c.bundle, "hooks")
        kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
        c.config["hooks"] = {k: [{"path": "/bin/sh", "args": ["sh", "-c", "echo %s $(cat) >> %s" % (k, log)]}]
                             for k in kinds}
        expect(c.run())
        lines = [l.split(" ", 1) for l in open(log).read().splitlines()]
        assert [l[0] for l in lines] == kinds, lines
        for kind, text in lines:
            state = json.loads(text)
            assert state["id"] == c.id and state["bundle"] == c.bundle, (kind, state)
        assert json.loads(lines[-1][1])["status"] == "stopped"


@test
def a_start_container_hook_runs_inside():
    with Container("/bin/cat", "/tmp/hook") as c:
        c.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "hostname > /tmp/hook"]}]}
        expect(c.run(), 0, "suite")


@test
def a_failing_hook_ends_the_creation_and_leaves_nothing():
    with Container("/bin/true") as c:
        c.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
        assert c.run().code != 0
        assert command("state", c.id).code != 0


@test
def a_hook_that_hangs_is_ended_by_its_timeout():
    with Container("/bin/true") as c:
        c.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}
        begin = time.monotonic()
        assert c.run().code != 0
        assert time.monotonic() - begin < 10


@test
def bad_ids_are_refused_and_touch_nothing():
    witness = os.path.join(Suite.folder, "witness")
    os.makedirs(witness, exist_ok=True)
    with Container("/bin/true") as c:
        c.write()
        for bad in ("..", ".", "a/b", "../witness", "a\nb", "x" * 5000):
            assert command("run", "--bundle", c.bundle, bad).code != 0, bad
            if OURS:  # crun erases what lies beside its state folder when told to delete ".."
                command("delete", "--force", bad)
            assert os.path.isdir(witness) and os.path.isdir(Suite.folder), bad


@test
def errors_are_one_line_that_names_the_field():
    if not OURS:
        raise Skip("the wording is berth's")
    with Container("/bin/true") as c:
        c.config["process"]["cwd"] = "relative"
        r = c.run()
        assert r.code == 1 and r.err.count("\n") == 1 and "process: cwd" in r.err, r


@test
def log_options_write_the_error_as_json():
    path = os.path.join(Suite.folder, "log.json")
    r = command("--log", path, "--log-format", "json", "state", "missing")
    assert r.code != 0
    assert any(json.loads(l)["level"] == "error" for l in open(path)), open(path).read()


@test
def version_and_features_answer():
    assert "version" in subprocess.run([RUNTIME, "--version"], capture_output=True, text=True).stdout
    features = command("features")
    if features.code != 0 and not OURS:
        raise Skip("this version has no features command")
    doc = json.loads(features.out)
    assert "rbind" in doc["mountOptions"] and "createRuntime" in doc["hooks"]


@test
def spec_writes_a_configuration_that_runs():
    with Container("/bin/true") as c:
        os.makedirs(os.path.join(c.bundle, "x"))
        expect(subprocess_result([RUNTIME, "spec", "--bundle", os.path.join(c.bundle, "x")]))
        doc = json.load(open(os.path.join(c.bundle, "x", "config.json")))
        doc["process"]["args"] = ["/bin/true"]
        doc["process"]["terminal"] = False
        doc["linux"]["cgroupsPath"] = c.group
        c.config = doc
        expect(c.run())


def subprocess_result(args):
    return Result(subprocess.run(args, capture_output=True, text=True))
