from harness import *
from test_process import read_all


@test
def exec_runs_beside_the_main_process():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        r = expect(c.exec("sh", "-c", "echo $0; hostname; ps | grep -c sleep; cat /proc/self/cgroup"))
        assert "suite" in r.out and GROUP not in r.out, r
        assert "sleep" in expect(c.exec("ps")).out


@test
def exec_gives_the_exit_code():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        expect(c.exec("sh", "-c", "exit 9"), 9)
        expect(c.exec("sh", "-c", "kill -9 $$"), 137)
        assert c.exec("missing").code != 0


@test
def exec_has_the_container_s_limits_and_identity():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        r = expect(c.exec("sh", "-c", "grep -E 'CapBnd|NoNew' /proc/self/status; ulimit -n; ls /proc/self/fd"))
        assert "00000000a80425fb" in r.out and "NoNewPrivs:\t1" in r.out and "1000" in r.out, r
        assert len(r.out.split("1000\n")[1].split()) == 4, r
        line = [l for l in open("/proc/%d/cgroup" % c.state()["pid"]).read().splitlines() if l]
        pid_file = os.path.join(c.bundle, "pid")
        expect(c.exec("sleep", "100", flags=("--detach", "--pid-file", pid_file),
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        pid = int(open(pid_file).read())
        assert [l for l in open("/proc/%d/cgroup" % pid).read().splitlines() if l] == line
        for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
            assert os.readlink("/proc/%d/ns/%s" % (pid, kind)) == os.readlink("/proc/%d/ns/%s" % (c.state()["pid"], kind))


@test
def exec_flags_change_user_directory_and_environment():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        r = expect(c.exec("sh", "-c", "id; pwd; echo $A", flags=("--user", "1000:1001", "--cwd", "/tmp", "--env", "A=b")))
        assert "uid=1000" in r.out and "gid=1001" in r.out and "/tmp\nb" in r.out, r
        for bad in ("abc", "1x:0", "4294967295", "-1"):
            assert c.exec("id", flags=("--user", bad)).code != 0 or not OURS, bad


@test
def exec_takes_a_process_document():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        path = os.path.join(c.bundle, "p.json")
        json.dump({"args": ["/bin/sh", "-c", "id; pwd; grep CapEff /proc/self/status"], "cwd": "/tmp", "env": ["PATH=/bin"],
                   "user": {"uid": 5, "gid": 6}, "noNewPrivileges": True,
                   "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                                    "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}}, open(path, "w"))
        r = expect(command("exec", "--process", path, c.id))
        assert "uid=5" in r.out and "/tmp" in r.out and "0000000000000020" in r.out, r


@test
def exec_with_a_terminal_over_a_console_socket():
    import array
    import socket
    with Container("/bin/sleep", "1000") as c:
        c.start()
        path = os.path.join(c.bundle, "console")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(1)
        expect(c.exec("sh", "-c", "tty; echo end", flags=("--tty", "--detach", "--console-socket", path),
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        peer, _ = server.accept()
        _, ancillary, _, _ = peer.recvmsg(100, socket.CMSG_SPACE(4))
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        assert "/dev/pts/" in read_all(fds[0])


@test
def exec_in_a_stopped_or_paused_container_is_refused():
    with Container("/bin/true") as c:
        c.start()
        c.wait_status("stopped")
        assert c.exec("true").code != 0
    with Container("/bin/sleep", "1000") as c:
        c.start()
        expect(command("pause", c.id))
        assert c.exec("true", timeout=10).code != 0
        expect(command("resume", c.id))
        expect(c.exec("true"))


@test
def exec_ends_with_the_container():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        c.write()
        p = subprocess.Popen([RUNTIME, "--root", Suite.root, "exec", c.id, "/bin/sh", "-c", "echo up; sleep 1000"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert p.stdout.readline() == b"up\n"
        expect(command("kill", c.id, "KILL"))
        assert p.wait(10) == 137


@test
def many_execs_leave_nothing_behind():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        for _ in range(60):
            expect(c.exec("true"))
        assert json.loads(command("ps", "--format", "json", c.id).out) == [c.state()["pid"]]
