from harness import *


def limits(c):
    c["linux"]["resources"].update({
        "memory": {"limit": 64 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 30000, "period": 100000},
        "pids": {"limit": 20}})


@test
def limits_are_written():
    with Container("/bin/sleep", "1000") as c:
        limits(c.config)
        c.start()
        if PURE_V2:
            got = [c.cgroup_file("", n) for n in ("memory.max", "memory.low", "cpu.max", "pids.max", "cpu.weight")]
            assert got[:4] == [str(64 << 20), str(32 << 20), "30000 100000", "20"], got
            assert got[4] in ("20", "59"), got  # the old and the new conversion
        else:
            assert c.cgroup_file("memory", "memory.limit_in_bytes") == str(64 << 20)
            assert c.cgroup_file("memory", "memory.soft_limit_in_bytes") == str(32 << 20)
            assert c.cgroup_file("cpu", "cpu.cfs_quota_us") == "30000"
            assert c.cgroup_file("cpu", "cpu.shares") == "512"
            assert c.cgroup_file("pids", "pids.max") == "20"


@test
def the_process_is_in_every_group():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        pid = c.state()["pid"]
        lines = open("/proc/%d/cgroup" % pid).read().splitlines()
        for line in lines:
            _, names, path = line.split(":", 2)
            place = "/sys/fs/cgroup/" + (names.replace("name=", "") or "unified")
            if names and (not os.path.ismount(place) or names == "name=systemd"):
                continue  # not mounted on this host, or only systemd's own
            if not names and not PURE_V2 and not OURS:
                continue
            assert path == c.group, line


@test
def memory_above_the_limit_is_killed():
    def change(c):
        c["linux"]["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    r = run_script("head -c 100m /dev/zero | tail -c 90m > /dev/null; echo survived $?", change)
    assert "survived 0" not in r.out, r


@test
def a_fork_bomb_stays_inside_the_pids_limit():
    def change(c):
        c["linux"]["resources"]["pids"] = {"limit": 8}
    r = run_script("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo end", change)
    assert "fork" in r.err, r


@test
def devices_that_are_not_allowed_are_refused():
    r = run_script("mknod /tmp/loop b 7 0; mknod /tmp/mem c 1 1; cat /tmp/mem; cat /tmp/loop; echo end")
    assert "end" in r.out and "permitted" in r.err, r


@test
def a_device_that_is_allowed_works():
    def change(c):
        c["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"})
        c["linux"]["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]
    if not os.path.exists("/dev/fuse"):
        raise Skip("no fuse on this host")
    expect(run_script("exec 3<>/dev/fuse && echo open", change), 0, "open")


@test
def a_privileged_container_may_use_every_device():
    def change(c):
        c["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}, {"allow": True, "access": "rwm"}]
    expect(run_script("mknod /tmp/mem c 1 11 && exec 3>/tmp/mem && echo open", change), 0, "open")


@test
def a_later_rule_takes_back_what_an_earlier_one_gave():
    def change(c):
        c["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}, {"allow": True, "access": "rwm"},
                                              {"allow": False, "type": "c", "major": 1, "minor": 5, "access": "w"}]
    r = run_script("mknod /tmp/zero c 1 5 && (exec 3</tmp/zero) && echo read; (exec 3>/tmp/zero) && echo write; true", change)
    assert "read" in r.out and "write" not in r.out, r


@test
def update_changes_limits_in_place():
    with Container("/bin/sleep", "1000") as c:
        limits(c.config)
        c.start()
        flags = ["--memory", str(48 << 20), "--cpu-quota", "20000", "--cpu-period", "50000"]
        if os.path.basename(RUNTIME) != "runc":
            flags += ["--pids-limit", "33"]
        expect(command("update", *flags, c.id))
        if PURE_V2:
            assert c.cgroup_file("", "memory.max") == str(48 << 20)
            assert c.cgroup_file("", "cpu.max") == "20000 50000"
        else:
            assert c.cgroup_file("memory", "memory.limit_in_bytes") == str(48 << 20)
            assert c.cgroup_file("cpu", "cpu.cfs_period_us") == "50000"


@test
def update_raises_memory_and_swap_in_the_right_order():
    if PURE_V2:
        raise Skip("the order matters on cgroup v1")
    with Container("/bin/sleep", "1000") as c:
        c.config["linux"]["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
        c.start()
        if not os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"):
            raise Skip("no swap accounting")
        for size in (128 << 20, 40 << 20):
            expect(command("update", "--memory", str(size), "--memory-swap", str(size), c.id))
            assert c.cgroup_file("memory", "memory.limit_in_bytes") == str(size)
            assert c.cgroup_file("memory", "memory.memsw.limit_in_bytes") == str(size)


@test(ours=True)
def update_takes_block_io_and_json():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        device = block_device()
        expect(command("update", "--device-read-bps", device + ":1048576", c.id))
        text = c.cgroup_file("", "io.max") if PURE_V2 else c.cgroup_file("blkio", "blkio.throttle.read_bps_device")
        assert device in text and "1048576" in text, text
        path = os.path.join(c.bundle, "r.json")
        json.dump({"pids": {"limit": 44}}, open(path, "w"))
        expect(command("update", "--resources", path, c.id))
        assert c.cgroup_file("" if PURE_V2 else "pids", "pids.max") == "44"


def block_device():
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram")):
            return open("/sys/block/%s/dev" % name).read().strip()
    raise Skip("no block device")


@test
def a_failing_update_says_what_was_wrong():
    with Container("/bin/sleep", "1000") as c:
        c.start()
        assert command("update", "--cpu-period", "1", "--cpu-quota", "5", c.id).code != 0
        assert c.status() == "running"


@test
def events_gives_usage():
    with Container(script="i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo up; sleep 1000") as c:
        c.start()
        wait_until(lambda: "up" in c.output())
        r = command("events", "--stats", c.id)
        if os.path.basename(RUNTIME) == "crun":
            raise Skip("crun has no events")
        doc = json.loads(r.out)
        assert doc["type"] == "stats" and doc["data"]["cpu"]["usage"]["total"] > 0, doc
        assert doc["data"]["pids"]["current"] >= 1, doc


@test
def cgroup_paths_that_climb_are_refused_or_kept_below():
    for path in ("/../../x", "../x", "/a/../../b"):
        with Container("/bin/true") as c:
            c.config["linux"]["cgroupsPath"] = path
            r = c.run()
            if OURS:
                assert r.code != 0, path
            assert not os.path.exists("/sys/fs/x") and not os.path.exists("/sys/x")


@test
def the_container_sees_only_its_own_group():
    def change(c):
        limits(c)
    name = "/sys/fs/cgroup/pids.max" if PURE_V2 else "/sys/fs/cgroup/pids/pids.max"
    r = run_script("cat %s; touch /sys/fs/cgroup/x" % name, change)
    assert "20\n" in r.out and ("Read-only" in r.err or not OURS), r


@test
def a_group_with_processes_is_not_taken_over():
    if not OURS:
        raise Skip("crun joins it")
    with Container("/bin/sleep", "1000") as a, Container("/bin/true") as b:
        a.start()
        b.config["linux"]["cgroupsPath"] = a.group
        r = b.run()
        assert r.code != 0 and a.status() == "running", r


@test(ours=True)
def a_frozen_group_is_refused_instead_of_waited_for():
    if PURE_V2:
        base, name, on, off = "/sys/fs/cgroup", "cgroup.freeze", "1", "0"
    else:
        base, name, on, off = "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"
    with Container("/bin/true") as c:
        parent = base + GROUP + "/frozen"
        os.makedirs(parent, exist_ok=True)
        open(os.path.join(parent, name), "w").write(on)
        try:
            c.config["linux"]["cgroupsPath"] = GROUP + "/frozen/" + c.id
            begin = time.monotonic()
            r = c.run(timeout=10)
            assert r.code != 0 and "frozen" in r.err and time.monotonic() - begin < 5, r
        finally:
            open(os.path.join(parent, name), "w").write(off)


@test
def groups_that_the_container_made_are_removed_with_it():
    place = "/sys/fs/cgroup" if PURE_V2 else "/sys/fs/cgroup/memory"
    with Container("/bin/sleep", "1000") as c:
        c.start()
        os.makedirs(place + c.group + "/a/b")
        expect(command("delete", "--force", c.id))
        assert not os.path.exists(place + c.group)


@test(ours=True)
def unified_values_are_written_where_the_kernel_has_them():
    with Container("/bin/sleep", "1000") as c:
        c.config["linux"]["resources"]["unified"] = {"cgroup.max.depth": "5"}
        c.start()
        base = "/sys/fs/cgroup" if PURE_V2 else "/sys/fs/cgroup/unified"
        assert open(base + c.group + "/cgroup.max.depth").read().strip() == "5"
    with Container("/bin/true") as c:
        c.config["linux"]["resources"]["unified"] = {"cgroup.no.such": "5"}
        assert c.run().code != 0
