from harness import *


def namespace_of(c, kind):
    return os.readlink("/proc/%d/ns/%s" % (c.state()["pid"], kind))


@test
def every_kind_is_new():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        for kind in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
            assert namespace_of(c, kind) != os.readlink("/proc/self/ns/" + kind), kind


@test
def kinds_that_are_not_asked_for_are_the_caller_s():
    with Container("/bin/sleep", "1000") as c:
        c.namespaces("pid", "mount", "ipc", "uts")
        c.start()
        for kind in ("net", "user"):
            assert namespace_of(c, kind) == os.readlink("/proc/self/ns/" + kind), kind


@test
def namespaces_are_joined_by_path():
    with Container("/bin/sleep", "1000") as a, Container("/bin/sleep", "1000") as b:
        a.start()
        paths = "/proc/%d/ns/" % a.state()["pid"]
        b.namespaces("mount", "cgroup", {"type": "network", "path": paths + "net"},
                     {"type": "ipc", "path": paths + "ipc"}, {"type": "uts", "path": paths + "uts"},
                     {"type": "pid", "path": paths + "pid"})
        del b.config["hostname"]
        b.start()
        for kind in ("net", "ipc", "uts", "pid"):
            assert namespace_of(a, kind) == namespace_of(b, kind), kind
        expect(b.exec("hostname"), 0, "suite")


@test
def joining_the_wrong_kind_is_refused():
    with Container("/bin/true") as c:
        c.namespaces("pid", "mount", "ipc", "uts", {"type": "network", "path": "/proc/self/ns/uts"})
        assert c.run().code != 0


@test
def the_first_process_is_pid_1_and_loopback_is_up():
    r = expect(run_script("echo pid $$; ip addr show lo | head -1; ping -c 1 -W 1 127.0.0.1 | head -1"))
    assert "pid 1" in r.out and "UP" in r.out, r


@test
def hostname_and_domainname_are_set():
    def change(c):
        if OURS:
            c["domainname"] = "example"
    r = expect(run_script("hostname; cat /proc/sys/kernel/domainname", change))
    assert "suite" in r.out
    assert not OURS or "example" in r.out, r


@test
def a_hostname_without_a_uts_namespace_is_refused():
    with Container("/bin/true") as c:
        c.namespaces("pid", "mount")
        assert c.run().code != 0


@test
def a_user_namespace_maps_root_to_nobody_s_ids():
    with Container(script="id -u; cat /proc/self/uid_map; touch /tmp/x && echo wrote; echo > /dev/null && echo null;"
                          "stat -c %u /dev/shm") as c:
        user_namespace(c)
        r = expect(c.run())
        assert r.out.startswith("0\n") and "100000" in r.out and "wrote" in r.out and "null" in r.out, r
        assert os.stat(os.path.join(c.rootfs, "tmp", "x")).st_uid == 100000


@test
def a_user_namespace_reaches_bind_sources_that_only_root_can():
    with Container(script="cat /data/f") as c:
        user_namespace(c)
        closed = os.path.join(c.bundle, "closed")
        os.makedirs(os.path.join(closed, "src"), mode=0o700)
        os.chmod(closed, 0o700)
        os.chmod(os.path.join(closed, "src"), 0o755)
        open(os.path.join(closed, "src", "f"), "w").write("reached")
        c.config["mounts"].append(bind(os.path.join(closed, "src"), "/data"))
        r = c.run()
        if not OURS and r.code != 0:
            raise Skip("this runtime opens sources inside")
        expect(r, 0, "reached")


@test
def exec_enters_a_user_namespace():
    with Container("/bin/sleep", "1000") as c:
        user_namespace(c)
        c.start()
        r = expect(c.exec("sh", "-c", "id -u; cat /proc/self/uid_map"))
        assert r.out.startswith("0\n") and "100000" in r.out, r


@test
def a_user_namespace_needs_mappings():
    with Container("/bin/true") as c:
        c.namespaces(*NAMESPACES, "user")
        if not OURS:
            raise Skip("others make up a mapping")
        assert c.run().code != 0


@test
def a_user_namespace_is_joined_by_path():
    with Container("/bin/sleep", "1000") as a, Container(script="cat /proc/self/uid_map; id -u") as b:
        user_namespace(a)
        a.start()
        user_namespace(b)
        paths = "/proc/%d/ns/" % a.state()["pid"]
        b.namespaces("pid", "ipc", "uts", "mount", "cgroup", {"type": "user", "path": paths + "user"},
                     {"type": "network", "path": paths + "net"})
        del b.config["linux"]["uidMappings"], b.config["linux"]["gidMappings"]
        r = b.run()
        if r.code != 0 and not OURS:
            raise Skip("this runtime wants mappings, too")
        expect(r, 0, "100000")


@test
def a_network_namespace_made_before_is_joined_with_a_user_namespace():
    name = "berth-suite-%d" % os.getpid()
    if subprocess.run(["ip", "netns", "add", name]).returncode != 0:
        raise Skip("ip netns does not work here")
    try:
        with Container(script="readlink /proc/self/ns/net") as c:
            user_namespace(c)
            c.namespaces("pid", "ipc", "uts", "mount", "cgroup", "user",
                         {"type": "network", "path": "/run/netns/" + name})
            c.config["mounts"] = [m for m in c.config["mounts"] if m["type"] != "sysfs"
                                  and m["destination"] != "/sys/fs/cgroup"]
            r = expect(c.run())
            want = "net:[%d]" % os.stat("/run/netns/" + name).st_ino
            assert r.out.strip() == want, r
    finally:
        subprocess.run(["ip", "netns", "delete", name])


@test
def time_offsets_are_applied():
    if not OURS:
        raise Skip("newer than Debian's crun and runc")
    with Container(script="cut -d. -f1 /proc/uptime") as c:
        c.namespaces(*NAMESPACES, "time")
        c.config["linux"]["timeOffsets"] = {"boottime": {"secs": 5000000}, "monotonic": {"secs": 7}}
        assert int(expect(c.run()).out) > 5000000


@test
def sysctls_of_the_container_s_namespaces_are_set_others_refused():
    def change(c):
        c["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1"}
    expect(run_script("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced", change),
           0, "0\n1\n")
    for key in ("kernel.panic", "vm.swappiness", "net.ipv4.ip_forward/../../../kernel/panic"):
        assert run_script("true", lambda c: c["linux"].update(sysctl={key: "1"})).code != 0, key


@test
def a_network_sysctl_without_a_network_namespace_is_refused():
    with Container("/bin/true") as c:
        c.namespaces("pid", "mount", "ipc", "uts")
        c.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
        assert c.run().code != 0


@test
def the_cgroup_namespace_hides_the_path():
    r = expect(run_script("cat /proc/self/cgroup"))
    assert GROUP not in r.out, r


@test(ours=True)
def a_container_runs_inside_a_container():
    inner = ("mkdir -p /inner/rootfs && cd /inner && cp -a /bin rootfs/ && mkdir rootfs/proc rootfs/dev rootfs/sys rootfs/tmp"
             " && /berth spec && sed -i 's/\"terminal\": true/\"terminal\": false/; s/\\[\"sh\"\\]/[\"hostname\"]/' config.json"
             " && /berth --root /tmp/state %s run inner")
    for flags, writable in (("--cgroup-manager disabled", False), ("", True)):
        with Container(script=inner % flags) as c:
            # The static build: the root file system has no libraries.
            shutil.copy(os.path.join(NATIVE, "build", "berth"), os.path.join(c.rootfs, "berth"))
            every = ["CAP_" + n for n in ("CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE "
                                          "NET_ADMIN NET_RAW SYS_CHROOT SYS_ADMIN SYS_PTRACE MKNOD AUDIT_WRITE SETFCAP").split()]
            c.config["process"]["capabilities"] = {s: every for s in ("bounding", "effective", "permitted")}
            c.config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
            c.config["linux"]["maskedPaths"] = c.config["linux"]["readonlyPaths"] = []
            for m in c.config["mounts"]:
                if writable and m["destination"] == "/sys/fs/cgroup":
                    m["options"].remove("ro")
            if not writable:  # the inner specification mounts cgroups, which it then cannot
                c.config["process"]["args"][-1] = (inner % flags).replace("&& /berth --root", "&& sed -i '/sys\\/fs\\/cgroup/,+1d; s/\"ro\"\\] },/\"ro\"] }/' config.json && /berth --root")
            expect(c.run(), 0, "berth")
