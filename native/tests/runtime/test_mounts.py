import stat
from harness import *


def options_of(result, destination):
    """Mount options that /proc/self/mountinfo in the output gives for a place; the last one counts."""
    found = None
    for line in result.out.splitlines():
        fields = line.split()
        if len(fields) > 6 and fields[4] == destination:
            found = fields[5].split(",")
    assert found is not None, (destination, result)
    return found


def with_mount(script, *mounts, prepare=None):
    with Container(script=script) as c:
        if prepare:
            prepare(c)
        c.config["mounts"] += mounts
        return c.run()


@test
def default_file_systems_are_mounted():
    r = expect(run_script("cat /proc/self/mountinfo"))
    assert "ro" in options_of(r, "/sys") and "nosuid" in options_of(r, "/dev/shm")
    for place in ("/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys/fs/cgroup"):
        options_of(r, place)


@test
def default_devices_work_and_links_point_right():
    r = expect(run_script("echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c;"
                          "echo > /dev/full; for l in fd stdin ptmx; do readlink /dev/$l; done; stat -c '%t:%T %a' /dev/null"))
    for want in ("3\n", "4\n", "/proc/self/fd", "pts/ptmx", "1:3 666"):
        assert want in r.out, r
    assert "No space" in r.err


@test
def bind_mounts_show_the_source_with_their_options():
    with Container(script="cat /data/f; echo x > /data/g; cat /proc/self/mountinfo") as c:
        source = os.path.join(c.bundle, "src")
        os.makedirs(source)
        open(os.path.join(source, "f"), "w").write("content\n")
        c.config["mounts"].append(bind(source, "/data", "ro", "nosuid", "noexec"))
        r = expect(c.run(), 0, "content")
        assert "Read-only" in r.err
        assert {"ro", "nosuid", "noexec"} <= set(options_of(r, "/data"))
        assert os.listdir(source) == ["f"]


@test
def a_file_is_bound_on_a_file_that_is_made():
    with Container(script="cat /etc/new/conf") as c:
        source = os.path.join(c.bundle, "conf")
        open(source, "w").write("bound")
        c.config["mounts"].append(bind(source, "/etc/new/conf"))
        expect(c.run(), 0, "bound")


@test
def recursive_read_only_covers_mounts_below():
    with Container(script="touch /data/sub/x && echo wrote") as c:
        source = os.path.join(c.bundle, "src")
        os.makedirs(os.path.join(source, "sub"))
        subprocess.run(["mount", "-t", "tmpfs", "t", os.path.join(source, "sub")], check=True)
        try:
            c.config["mounts"].append(bind(source, "/data", "rro"))
            r = c.run()
            assert "wrote" not in r.out, r
            c.config["mounts"][-1] = bind(source, "/data", "ro")
            expect(c.run(), 0, "wrote")
        finally:
            subprocess.run(["umount", os.path.join(source, "sub")], check=True)


@test
def tmpfs_takes_size_and_mode():
    r = expect(with_mount("stat -c %a /t; df -k /t | tail -1", mount("/t", "tmpfs", "size=1m", "mode=1770")))
    assert "1770" in r.out and " 1024 " in r.out, r


@test
def a_wrong_option_of_a_file_system_is_an_error():
    r = with_mount("true", mount("/t", "tmpfs", "nonsense=1"))
    assert r.code != 0
    if OURS:
        assert "nonsense=1" in r.err and "/t" in r.err, r


@test
def tmpcopyup_copies_what_the_image_has():
    def prepare(c):
        os.makedirs(os.path.join(c.rootfs, "data", "sub"))
        open(os.path.join(c.rootfs, "data", "sub", "f"), "w").write("image")
        os.symlink("sub/f", os.path.join(c.rootfs, "data", "l"))
    expect(with_mount("cat /data/l; echo x > /data/sub/f", mount("/data", "tmpfs", "tmpcopyup"), prepare=prepare),
           0, "image")


@test
def propagation_of_the_container_does_not_reach_the_host():
    r = expect(run_script("cat /proc/self/mountinfo"))
    assert "shared:" not in r.out, r
    before = open("/proc/self/mountinfo").read()
    with Container("/bin/sleep", "1000") as c:
        c.start()
        assert open("/proc/self/mountinfo").read() == before


@test
def a_shared_mount_of_the_host_stays_as_it_was():
    with Container(script="echo up; sleep 1000") as c:
        place = os.path.join(c.bundle, "shared")
        os.makedirs(place)
        subprocess.run(["mount", "-t", "tmpfs", "t", place], check=True)
        try:
            subprocess.run(["mount", "--make-shared", place], check=True)
            subprocess.run(["cp", "-a", c.rootfs, os.path.join(place, "rootfs")], check=True)
            os.makedirs(os.path.join(place, "data"))
            c.config["root"]["path"] = os.path.join(place, "rootfs")
            c.config["mounts"] += [bind(os.path.join(place, "data"), "/data"), mount("/data/sub", "tmpfs")]
            before = open("/proc/self/mountinfo").read()
            c.start()
            wait_until(lambda: "up" in c.output())
            assert open("/proc/self/mountinfo").read() == before
            expect(command("delete", "--force", c.id))
        finally:
            subprocess.run(["umount", "-l", place], check=True)


@test
def a_read_only_root_is_read_only_but_its_mounts_are_not():
    r = run_script("touch /x; touch /dev/shm/x && echo ok", lambda c: c["root"].update(readonly=True))
    assert "Read-only" in r.err and "ok" in r.out, r


@test
def masked_paths_are_empty():
    def change(c):
        c["linux"]["maskedPaths"] += ["/etc/passwd", "/var", "/missing"]
    r = expect(run_script("cat /etc/passwd; ls /var; ls /proc/scsi /proc/acpi /sys/firmware 2>/dev/null; cat /proc/keys; echo end", change))
    assert "root" not in r.out and r.out.endswith("end\n"), r


@test
def read_only_paths_refuse_writes():
    r = run_script("echo 1 > /proc/sys/kernel/core_pattern; touch /etc/x",
                   lambda c: c["linux"]["readonlyPaths"].append("/etc"))
    assert r.err.count("Read-only") == 2, r


@test
def devices_of_the_configuration_are_made():
    def change(c):
        c["linux"]["devices"] = [
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600}]
        c["linux"]["resources"]["devices"].append(
            {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"})
    r = expect(run_script("stat -c '%t:%T %a %u:%g' /dev/mine; head -c 2 /dev/mine | wc -c; test -p /dev/pipe && echo pipe", change))
    assert "1:5 640 3:4" in r.out and "2\n" in r.out and "pipe" in r.out, r


@test
def mounts_happen_in_order():
    with Container(script="ls /a; ls /a/b") as c:
        for name in ("one", "two"):
            os.makedirs(os.path.join(c.bundle, name, name))
        os.makedirs(os.path.join(c.bundle, "one", "b"))
        c.config["mounts"] += [bind(os.path.join(c.bundle, "one"), "/a"), bind(os.path.join(c.bundle, "two"), "/a/b")]
        r = expect(c.run())
        assert "one" in r.out and "two" in r.out, r


@test
def a_missing_source_is_an_error():
    assert with_mount("true", bind("/missing/source", "/data")).code != 0


@test
def an_idmapped_bind_shows_shifted_owners():
    if not OURS:
        raise Skip("newer than Debian's crun and runc")
    with Container(script="stat -c %u:%g /data/f") as c:
        source = os.path.join(c.bundle, "src")
        os.makedirs(source)
        open(os.path.join(source, "f"), "w").close()
        os.chown(os.path.join(source, "f"), 1000, 1000)
        m = bind(source, "/data")
        maps = [{"containerID": 1000, "hostID": 5000, "size": 10}]
        m["uidMappings"] = m["gidMappings"] = maps
        c.config["mounts"].append(m)
        r = c.run()
        if r.code != 0 and "idmap" in r.err:
            raise Skip("this file system cannot be idmapped: " + r.err.strip())
        expect(r, 0, "5000:5000")


@test
def rootfs_propagation_shared_is_shared_inside_only():
    before = open("/proc/self/mountinfo").read()
    r = expect(run_script("grep ' / / ' /proc/self/mountinfo; cat /proc/self/mountinfo",
                          lambda c: c["linux"].update(rootfsPropagation="shared")))
    root = [l for l in r.out.splitlines() if l.split()[4] == "/"][0]
    assert "shared:" in root, root
    assert open("/proc/self/mountinfo").read() == before


@test
def no_pivot_moves_the_root():
    with Container(script="ls /; cat /proc/self/mountinfo | wc -l") as c:
        expect(c.run("--no-pivot"), 0, "proc")


@test(ours=True)
def an_overlay_root_is_mounted_by_the_runtime():
    with Container(script="cat /low1 /low2; echo new > /fresh; rm /low1; mount | head -1") as c:
        place = os.path.join(c.bundle, "t")
        os.makedirs(place)
        subprocess.run(["mount", "-t", "tmpfs", "t", place], check=True)
        try:
            for n in ("upper", "work", "l1", "l2", "root"):
                os.makedirs(os.path.join(place, n))
            open(os.path.join(place, "l1", "low1"), "w").write("first ")
            open(os.path.join(place, "l2", "low1"), "w").write("hidden ")
            open(os.path.join(place, "l2", "low2"), "w").write("second ")
            c.config["root"]["path"] = os.path.join(place, "root")
            c.config["annotations"] = {
                "dev.gantry.rootfs.lower": ":".join([os.path.join(place, "l1"), os.path.join(place, "l2"), c.rootfs]),
                "dev.gantry.rootfs.upper": os.path.join(place, "upper"),
                "dev.gantry.rootfs.work": os.path.join(place, "work")}
            before = open("/proc/self/mountinfo").read()
            r = expect(c.run())
            assert "first second" in r.out and "overlay on / " in r.out, r
            assert open("/proc/self/mountinfo").read() == before
            assert open(os.path.join(place, "upper", "fresh")).read() == "new\n"
            assert stat.S_ISCHR(os.lstat(os.path.join(place, "upper", "low1")).st_mode)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


@test(ours=True)
def an_overlay_of_many_layers_with_long_names_works():
    with Container(script="ls /n | wc -l") as c:
        place = os.path.join(c.bundle, "layers-with-a-rather-long-name-" + "x" * 100)
        lower = []
        for i in range(60):
            d = os.path.join(place, "%03d" % i)
            os.makedirs(os.path.join(d, "n"))
            open(os.path.join(d, "n", "f%d" % i), "w").close()
            lower.append(d)
        c.config["root"]["path"] = os.path.join(c.bundle, "m")
        os.makedirs(c.config["root"]["path"])
        c.config["annotations"] = {"dev.gantry.rootfs.lower": ":".join(lower + [c.rootfs])}
        expect(c.run(), 0, "60\n")
