"""Each step of creation fails in turn (a build with fault injection), and nothing may be left."""
from harness import *

FAULTY = os.environ.get("BERTH_FAULTY", os.path.join(NATIVE, "build", "fault", "berth"))


def fixture(c):
    c.config["linux"]["resources"].update({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})
    c.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    c.config["linux"]["sysctl"] = {"kernel.shm_rmid_forced": "1"}
    c.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}


def leftovers(c):
    found = [os.path.join(b, c.id) for b, f, _ in os.walk("/sys/fs/cgroup") if c.id in f]
    if os.path.exists(os.path.join(Suite.root, c.id)):
        found.append("state folder")
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and c.id in open("/proc/%s/cmdline" % pid).read() and int(pid) != os.getpid():
                found.append("process " + pid)
        except OSError:
            pass
    return found


@test(ours=True)
def no_step_that_fails_leaves_anything():
    if not os.path.exists(FAULTY):
        raise Skip("no build with fault injection (make fault)")
    with Container("/bin/true") as c:
        fixture(c)
        r = c.run(runtime=FAULTY, env={"BERTH_FAULT": "list"})
        steps = sorted({l.split()[1] for l in r.err.splitlines() if l.startswith("fault-step ")})
        steps = [s for s in steps if s not in ("main", "ended", "deleted")]
        assert len(steps) > 15, steps
        mounts = open("/proc/self/mountinfo").read()
        for step in steps:
            r = c.run(runtime=FAULTY, env={"BERTH_FAULT": step})
            assert r.code != 0 and step in r.err, (step, r)
            assert r.err.count("\n") == 1, (step, r)
            assert not leftovers(c), (step, leftovers(c))
            assert open("/proc/self/mountinfo").read() == mounts, step


@test(ours=True)
def a_creation_killed_at_any_moment_is_removed_by_force():
    import random
    random.seed(7)
    with Container("/bin/sleep", "1000") as c:
        fixture(c)
        c.write()
        for _ in range(40):
            out = open(os.devnull, "w")
            p = subprocess.Popen([RUNTIME, "--root", Suite.root, "create", "--bundle", c.bundle, c.id],
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            time.sleep(random.random() * 0.012)  # the moment is the point of the test
            p.kill()
            p.wait()
            expect(command("delete", "--force", c.id))
            wait_until(lambda: not leftovers(c), what="the end of what was created")
