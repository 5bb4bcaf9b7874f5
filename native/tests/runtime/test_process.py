from harness import *


@test
def arguments_environment_and_directory_arrive():
    def change(c):
        c["process"]["args"] = ["/bin/sh", "-c", 'echo "$0|$1|$A|$PWD"', "zero", "o n e"]
        c["process"]["env"].append("A=b c")
        c["process"]["cwd"] = "/tmp"
    expect(run_script("", change), 0, "zero|o n e|b c|/tmp")


@test
def a_missing_working_directory_is_made():
    expect(run_script("pwd", lambda c: c["process"].update(cwd="/a/b")), 0, "/a/b")


@test
def the_program_is_found_in_the_path_of_the_process():
    with Container("hostname") as c:
        expect(c.run(), 0, "suite")


@test
def a_missing_program_fails_at_create():
    for name in ("/bin/missing", "missing", "/etc"):
        with Container(name) as c:
            assert c.create().code != 0, name
            assert command("state", c.id).code != 0


@test
def user_groups_and_umask_are_set():
    def change(c):
        c["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o027}
    r = expect(run_script("id; umask; grep Cap /proc/self/status", change))
    assert "uid=1000" in r.out and "gid=1001" in r.out and "0027" in r.out, r
    assert "7" in r.out and "8" in r.out
    assert "CapEff:\t0000000000000000" in r.out


@test
def home_comes_from_passwd_when_it_is_not_given():
    def change(c):
        c["process"]["user"] = {"uid": 1000, "gid": 1000}
    expect(run_script("echo $HOME", change), 0, "/home/user")


@test
def a_hostile_passwd_does_not_stop_the_start():
    if not OURS:
        raise Skip("crun and runc read any passwd")
    for kind in ("fifo", "link", "huge"):
        with Container("/bin/true") as c:
            path = os.path.join(c.rootfs, "etc", "passwd")
            os.unlink(path)
            if kind == "fifo":
                os.mkfifo(path)
            elif kind == "link":
                os.symlink("/proc/self/fd/0", path)
            else:
                with open(path, "w") as f:
                    f.truncate(300 << 20)
            begin = time.monotonic()
            expect(c.run(timeout=5))
            assert time.monotonic() - begin < 2, kind


@test
def capabilities_are_exactly_those_given():
    def change(c):
        c["process"]["capabilities"] = {
            "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    r = expect(run_script("grep Cap /proc/self/status", change))
    caps = dict(l.split(":\t") for l in r.out.split("\n") if l)
    assert int(caps["CapBnd"], 16) == 0x21 and int(caps["CapInh"], 16) == 0x20, caps
    assert int(caps["CapAmb"], 16) == 0x20, caps


@test
def capabilities_are_not_inheritable_by_default():
    r = expect(run_script("grep -E 'CapInh|CapAmb' /proc/self/status"))
    assert r.out.count("0000000000000000") == 2, r


@test
def no_new_privileges_is_set():
    expect(run_script("grep NoNewPrivs /proc/self/status"), 0, "NoNewPrivs:\t1")
    expect(run_script("grep NoNewPrivs /proc/self/status",
                      lambda c: c["process"].update(noNewPrivileges=False)), 0, "NoNewPrivs:\t0")


@test
def rlimits_are_set_and_an_impossible_one_is_an_error():
    def change(c):
        c["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                                   {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    expect(run_script("ulimit -Sn; ulimit -Hn; ulimit -c", change), 0, "100\n200\n0\n")

    def wrong(c):
        c["process"]["rlimits"] = [{"type": "RLIMIT_WRONG", "soft": 1, "hard": 1}]
    assert run_script("true", wrong).code != 0


@test
def the_same_rlimit_twice_is_refused():
    def change(c):
        c["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2
    if not OURS:
        raise Skip("crun takes it")
    assert run_script("true", change).code != 0


@test
def oom_score_is_written():
    expect(run_script("cat /proc/self/oom_score_adj", lambda c: c["process"].update(oomScoreAdj=77)), 0, "77")


@test
def standard_descriptors_are_passed_and_no_others():
    r = expect(run_script("cat; echo e >&2; ls /proc/self/fd", stdin=None, input="hello"))
    assert "hello" in r.out and "e" in r.err
    assert set(r.out.replace("hello", "").split()) == {"0", "1", "2", "3"}, r


@test
def descriptors_of_the_caller_do_not_leak():
    fd = os.open("/", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        r = expect(run_script("ls -l /proc/self/fd", close_fds=False))
        assert len([l for l in r.out.splitlines() if "->" in l]) <= 4, r
    finally:
        os.close(fd)


@test
def preserved_descriptors_stay_open():
    with Container(script="cat <&3") as c:
        path = os.path.join(c.bundle, "data")
        open(path, "w").write("kept")
        c.write()
        script = 'exec 3<%s; exec "$@"' % path
        p = subprocess.run(["sh", "-c", script, "x", RUNTIME, "--root", Suite.root, "run",
                            "--preserve-fds", "1", "--bundle", c.bundle, c.id],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert p.stdout == "kept", p


@test
def sockets_of_systemd_are_passed_on():
    with Container(script="cat <&3; echo $LISTEN_FDS $LISTEN_PID") as c:
        path = os.path.join(c.bundle, "data")
        open(path, "w").write("socket ")
        c.write()
        p = subprocess.run(["sh", "-c", 'exec 3<%s; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"' % path, "x", RUNTIME, "--root",
                            Suite.root, "run", "--bundle", c.bundle, c.id],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert p.stdout == "socket 1 1\n", p


@test
def terminal_is_a_pty_of_the_container():
    with Container(script="tty; stty size; echo x > /dev/console; test -t 0 && echo yes") as c:
        c.config["process"]["terminal"] = True
        c.config["process"]["consoleSize"] = {"height": 33, "width": 99}
        master = receive_terminal(c)
        text = read_all(master)
        assert "/dev/pts/0" in text and "33 99" in text and "yes" in text and "x" in text, text


def receive_terminal(c, start=True):
    import array
    import socket
    path = os.path.join(c.bundle, "console")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    expect(c.create("--console-socket", path))
    peer, _ = server.accept()
    _, ancillary, _, _ = peer.recvmsg(100, socket.CMSG_SPACE(4))
    fds = array.array("i")
    fds.frombytes(ancillary[0][2])
    if start:
        expect(command("start", c.id))
    return fds[0]


def read_all(fd):
    text = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    os.close(fd)
    return text.decode()


@test
def an_interactive_terminal_ends_with_its_shell():
    with Container("/bin/sh") as c:
        c.config["process"]["terminal"] = True
        master = receive_terminal(c)
        os.write(master, b"echo $((20+22))\nexit\n")
        assert "42" in read_all(master)


@test
def io_priority_and_scheduler_are_set():
    def change(c):
        c["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
        c["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    if not OURS:
        raise Skip("newer than Debian's crun and runc")
    r = expect(run_script("ionice; cat /proc/self/stat", change))
    fields = r.out.rsplit(")", 1)[1].split()
    assert "idle" in r.out and fields[19 - 3] == "5" and fields[41 - 3] == "3", r


@test
def labels_that_this_kernel_cannot_apply_are_refused():
    if not OURS:
        raise Skip("crun ignores some of them")
    if not os.path.exists("/sys/kernel/security/apparmor"):
        assert run_script("true", lambda c: c["process"].update(apparmorProfile="x")).code != 0
    if not os.path.exists("/sys/fs/selinux/enforce"):
        assert run_script("true", lambda c: c["process"].update(selinuxLabel="a:b:c:s0")).code != 0
        assert run_script("true", lambda c: c["linux"].update(mountLabel="a:b:c:s0")).code != 0


@test
def personality_is_set():
    r = expect(run_script("uname -m", lambda c: c["linux"].update(personality={"domain": "LINUX32"})))
    assert r.out.strip() in ("i686", "i386"), r


@test
def bad_users_are_refused():
    for uid in (-1, 4294967295, "abc", 1.5):
        def change(c):
            c["process"]["user"]["uid"] = uid
        if uid == 4294967295 and not OURS:
            continue
        assert run_script("id", change).code != 0, uid


@test(ours=True)
def own_init_reaps_forwards_and_gives_the_exit_code():
    def change(c):
        c["annotations"] = {"dev.gantry.init": "true"}
    r = expect(run_script("(sh -c 'sleep 0.01 & exit' &) ; sleep 0.1; ps | grep -c '\\[sleep\\]'; exit 5", change), 5)
    assert r.out.strip() == "0", r
    with Container(script="trap 'exit 9' TERM; echo up; while :; do sleep 0.02; done") as c:
        change(c.config)
        c.write()
        p = subprocess.Popen([RUNTIME, "--root", Suite.root, "run", "--bundle", c.bundle, c.id],
                             stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert p.stdout.readline() == b"up\n"
        expect(command("kill", c.id, "TERM"))
        assert p.wait(10) == 9


@test(ours=True)
def own_init_shows_nothing_of_the_host():
    def change(c):
        c["annotations"] = {"dev.gantry.init": "true"}
    r = expect(run_script("tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/environ; ls /proc/1/fd; echo end", change))
    assert Suite.folder not in r.out and r.out.startswith("init"), r


@test(ours=True)
def own_init_passes_a_killed_process_on_as_128_plus_signal():
    def change(c):
        c["annotations"] = {"dev.gantry.init": "true"}
    expect(run_script("kill -9 $$", change), 137)
