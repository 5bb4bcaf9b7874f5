"""What a container or an image may try against the host."""
import stat
from harness import *

WITNESS = "unchanged"


def host_file(c):
    """A file outside the root that an image's links point at."""
    path = os.path.join(c.bundle, "host", "file")
    os.makedirs(os.path.dirname(path))
    open(path, "w").write(WITNESS)
    return path


def assert_untouched(path):
    assert os.listdir(os.path.dirname(path)) == ["file"], os.listdir(os.path.dirname(path))
    assert open(path).read() == WITNESS


@test
def a_symlink_as_mount_point_stays_in_the_root():
    for target in ("host", "../../../../../../..%s/host"):
        with Container(script="true") as c:
            path = host_file(c)
            link = os.path.join(c.bundle, "host") if target == "host" else target % c.bundle
            os.symlink(link, os.path.join(c.rootfs, "data"))
            c.config["mounts"].append(mount("/data", "tmpfs"))
            c.config["process"]["args"][-1] = "mount | grep -c tmpfs; touch /data/x"
            c.run()
            assert_untouched(path)


@test
def an_image_whose_dev_proc_or_sys_is_a_symlink_does_not_reach_the_host():
    for name in ("dev", "proc", "sys"):
        with Container("/bin/true") as c:
            path = host_file(c)
            os.rmdir(os.path.join(c.rootfs, name))
            os.symlink(os.path.dirname(path), os.path.join(c.rootfs, name))
            for drop in (False, True):
                if drop:  # without a mount there, nodes are made in the image's folder itself
                    c.config["mounts"] = [m for m in c.config["mounts"] if not m["destination"].startswith("/" + name)]
                c.run()
                if not OURS and os.listdir(os.path.dirname(path)) != ["file"]:
                    raise Skip("this runtime writes to the host here")
                assert_untouched(path)


@test
def a_console_that_is_a_symlink_does_not_reach_the_host():
    with Container("/bin/true") as c:
        path = host_file(c)
        c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] not in ("/dev",)]
        os.makedirs(os.path.join(c.rootfs, "dev", "pts"), exist_ok=True)
        os.symlink(path, os.path.join(c.rootfs, "dev", "console"))
        c.config["process"]["terminal"] = True
        c.run()
        assert_untouched(path)


@test
def what_covers_a_masked_file_cannot_be_changed():
    """A writable clone of the host's null would give its inode, mode and owner, to the container."""
    with Container(script="chmod 666 /proc/keys && echo changed; true") as c:
        c.config["linux"].setdefault("maskedPaths", []).append("/proc/keys")
        before = os.stat("/dev/null").st_ctime_ns
        r = expect(c.run())
        if not OURS and os.stat("/dev/null").st_ctime_ns != before:
            raise Skip("this runtime lets the container change the host's null")
        assert "changed" not in r.out, r
        assert os.stat("/dev/null").st_ctime_ns == before


@test(ours=True)
def a_masked_path_is_covered_by_the_real_null():
    with Container(script="cat /proc/keys /etc/secret; stat -c %t:%T /etc/secret") as c:
        open(os.path.join(c.rootfs, "etc", "secret"), "w").write("secret")
        # An image's own /dev/null must not become the cover.
        os.symlink("/etc/passwd", os.path.join(c.rootfs, "dev", "null"))
        c.config["linux"]["maskedPaths"].append("/etc/secret")
        r = expect(c.run())
        assert "secret" not in r.out.replace("/etc/secret", "") and "1:3" in r.out, r


@test(ours=True)
def a_device_node_that_is_a_file_or_link_of_the_image_is_refused():
    with Container("/bin/true") as c:
        c.config["mounts"] = [m for m in c.config["mounts"] if not m["destination"].startswith("/dev")]
        path = host_file(c)
        os.symlink(path, os.path.join(c.rootfs, "dev", "null"))
        r = c.run()
        assert r.code != 0 and "/dev/null" in r.err, r
        assert_untouched(path)


@test
def mount_points_that_race_with_renames_stay_inside():
    """A neighbour on a shared volume swaps a folder with a link while containers start."""
    with Container("/bin/true") as c:
        path = host_file(c)
        volume = os.path.join(c.bundle, "volume")
        os.makedirs(os.path.join(volume, "real"))
        os.symlink(os.path.dirname(path), os.path.join(volume, "link"))
        c.config["mounts"] += [bind(volume, "/v"), mount("/v/real/sub", "tmpfs")]
        c.config["process"]["args"] = ["/bin/true"]
        c.write()
        swap = ("import ctypes, os\nlibc = ctypes.CDLL(None)\nos.chdir(%r)\n"
                "while True: libc.renameat2(-100, b'real', -100, b'link', 2)\n" % volume)
        racer = subprocess.Popen(["/usr/bin/python3", "-c", swap])
        try:
            for i in range(60):
                command("run", "--bundle", c.bundle, "%s-%d" % (c.id, i))
        finally:
            racer.kill()
            racer.wait()
        assert_untouched(path)


@test(ours=True)
def the_runtime_s_file_cannot_be_opened_for_writing_from_inside():
    """CVE-2019-5736: the container runs /proc/self/exe, which is the runtime, and reopens it."""
    with Container("/proc/self/exe", "events", "x") as c:
        digest = subprocess.run(["sha256sum", RUNTIME], capture_output=True, text=True).stdout
        c.run()
        assert subprocess.run(["sha256sum", RUNTIME], capture_output=True, text=True).stdout == digest
    with Container("/bin/sleep", "1000") as c:
        c.create()
        # An attacker keeps the file open and reopens it for writing when the process has ended.
        held = os.open("/proc/%d/exe" % c.state()["pid"], os.O_RDONLY)
        sealed = "memfd:" in os.readlink("/proc/self/fd/%d" % held)
        assert sealed or os.fstatvfs(held).f_flag & os.ST_RDONLY, "the file's mount is writable"
        expect(command("delete", "--force", c.id))
        try:
            again = os.open("/proc/self/fd/%d" % held, os.O_WRONLY)
            os.write(again, b"x")  # a sealed copy opens, but takes no byte
            raise AssertionError("the runtime's file can be written")
        except OSError as e:
            assert e.errno in (1, 26, 30), e
        finally:
            os.close(held)


@test
def a_waiting_container_holds_no_descriptor_of_the_host():
    with Container("/bin/sleep", "1000") as c:
        c.create()
        pid = c.state()["pid"]
        links = {f: os.readlink("/proc/%d/fd/%s" % (pid, f)) for f in os.listdir("/proc/%d/fd" % pid)}
        for f, target in links.items():
            assert int(f) < 3 or target.startswith(("socket:", "pipe:")) or "exec.fifo" in target or not OURS, links


@test
def the_working_directory_cannot_be_outside():
    for cwd in ("/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8", "/proc/self/fd/10"):
        with Container(script="cat ../../../../../../etc/hostname; ls -d ../../..%s" % Suite.folder) as c:
            c.config["process"]["cwd"] = cwd
            r = c.run()
            assert Suite.folder not in r.out, (cwd, r)


@test
def a_processfd_symlink_as_working_directory_of_exec_is_refused():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        for n in range(3, 12):
            r = c.exec("ls", "-d", "../../.." + Suite.folder, flags=("--cwd", "/proc/self/fd/%d" % n))
            assert Suite.folder not in r.out, r


@test
def escapes_through_cgroup_files_fail():
    script = ("for f in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release -o -name cgroup.procs 2>/dev/null);"
              " do echo 1 > $f && echo WROTE $f; done; mkdir /tmp/c && mount -t cgroup -o memory none /tmp/c && echo MOUNTED; true")
    r = expect(run_script(script))
    assert "WROTE" not in r.out and "MOUNTED" not in r.out, r


@test
def dangerous_proc_files_are_closed():
    script = ("for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /proc/sys/fs/binfmt_misc/register;"
              " do (echo x > $f) 2>/dev/null && echo WROTE $f; done; for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts;"
              " do [ -s $f ] && head -c 1 $f | grep -q . && echo READ $f; done; true")
    r = expect(run_script(script))
    assert "WROTE" not in r.out and "READ" not in r.out, r


@test
def setuid_programs_gain_nothing():
    def change(c):
        c["process"]["user"] = {"uid": 1000, "gid": 1000}
    with Container(script="/tmp/suid -u") as c:
        change(c.config)
        path = os.path.join(c.rootfs, "tmp", "suid")
        subprocess.run(["cp", os.path.join(c.rootfs, "bin", "busybox"), path], check=True)
        os.unlink(path)
        with open(path, "w") as f:
            f.write("")
        subprocess.run(["cp", shutil.which("busybox"), path], check=True)
        os.chmod(path, 0o4755)
        c.config["process"]["args"] = ["/bin/sh", "-c", "cp /tmp/suid /dev/shm/ 2>/dev/null; /tmp/suid id -u"]
        r = c.run()
        assert r.out.strip() in ("1000", ""), r


@test
def the_state_folder_is_closed_to_others():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        assert stat.S_IMODE(os.stat(os.path.join(Suite.root, c.id)).st_mode) & 0o077 in (0, 0o011), "mode"


@test
def a_reused_pid_is_never_signalled():
    if not OURS:
        raise Skip("needs the format of the state file")
    with Container("/bin/true") as c:
        c.start()
        c.wait_status("stopped")
        time.sleep(0.03)  # start times count in hundredths of a second
        stranger = subprocess.Popen(["sleep", "1000"])
        try:
            path = os.path.join(Suite.root, c.id, "state.json")
            doc = json.load(open(path))
            doc["pid"] = stranger.pid
            json.dump(doc, open(path, "w"))
            assert c.status() == "stopped"
            assert command("kill", c.id, "KILL").code != 0
            expect(command("delete", "--force", c.id))
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


@test
def hostile_configurations_are_refused_without_a_crash():
    base = json.dumps(default_config("/bin/true"))
    texts = ["", "{", "[]", "null", "{}", base[:-5], base + "x", "[" * 100000, '{"a":' * 5000,
             base.replace('"1.0.2"', '"9.0"'), base.replace('"1.0.2"', "5"), '{"ociVersion":"1.0.2","ociVersion":"1.0.2"}',
             base.replace("/bin/true", "\\u0000"), base.replace('"cwd": "/"', '"cwd": ""'), "\x00" * 100,
             base.replace('"args": ["/bin/true"]', '"args": []'), base.replace('"rootfs"', '"/missing/root"'),
             base.replace('"path": "rootfs"', '"path": "/"')]
    with Container("/bin/true") as c:
        for text in texts:
            open(os.path.join(c.bundle, "config.json"), "w").write(text)
            r = command("run", "--bundle", c.bundle, c.id)
            assert r.code not in (0, -11, -6, 139, 134), (text[:60], r)
            assert command("state", c.id).code != 0


@test
def cycles_leave_nothing_behind():
    before = (len(open("/proc/self/mountinfo").readlines()), len(os.listdir("/proc/self/fd")))
    for _ in range(40):
        with Container("/bin/true") as c:
            expect(c.run())
    assert (len(open("/proc/self/mountinfo").readlines()), len(os.listdir("/proc/self/fd"))) == before
    left = [d for b, f, _ in os.walk("/sys/fs/cgroup") for d in f if d.startswith("s%d-" % os.getpid())]
    assert not left, left
