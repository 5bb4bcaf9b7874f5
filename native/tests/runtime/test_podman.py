"""An engine drives the runtime: podman from the distribution, when it is installed."""
from harness import *


class Podman:
    def __init__(self):
        if not OURS:
            raise Skip("podman drives crun and runc every day")
        if not shutil.which("podman") or not shutil.which("conmon"):
            raise Skip("podman is not installed")
        self.place = os.path.join(Suite.folder, "podman")
        conf = os.path.join(self.place, "containers.conf")
        if not os.path.exists(conf):
            os.makedirs(self.place)
            with open(conf, "w") as f:  # this host may not raise limits, and has no systemd
                f.write('[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\ncgroupns="private"\n'
                        '[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\n')
            tar = os.path.join(self.place, "base.tar")
            subprocess.run(["tar", "-C", os.path.join(Suite.folder, "base"), "-cf", tar, "."], check=True)
            expect(self("import", tar, "suite:1"))

    def __call__(self, *args):
        full = ["podman", "--root", os.path.join(self.place, "store"), "--runroot", os.path.join(self.place, "run"),
                "--tmpdir", os.path.join(self.place, "tmp"), "--storage-driver", "vfs", "--runtime", RUNTIME,
                "--cgroup-manager", "cgroupfs", *args]
        env = dict(os.environ, CONTAINERS_CONF=os.path.join(self.place, "containers.conf"))
        return Result(subprocess.run(full, text=True, errors="replace", timeout=60, env=env,
                                     stdin=subprocess.DEVNULL, capture_output=True))

    def run(self, *args):
        return self("run", "--rm", "--network", "none", "--cgroup-parent", GROUP, *args)


@test
def podman_runs_with_limits_capabilities_and_mounts():
    podman = Podman()
    expect(podman.run("suite:1", "echo", "hello"), 0, "hello")
    expect(podman.run("suite:1", "sh", "-c", "exit 42"), 42)
    assert podman.run("suite:1", "missing").code == 127
    expect(podman.run("--read-only", "suite:1", "touch", "/x"), 1, None, "Read-only")
    expect(podman.run("--cap-drop", "all", "--cap-add", "chown", "suite:1", "grep", "CapEff", "/proc/self/status"),
           0, "0000000000000001")
    names = ("memory.max", "pids.max") if PURE_V2 else ("memory/memory.limit_in_bytes", "pids/pids.max")
    r = expect(podman.run("--memory", "64m", "--cpus", "0.5", "--pids-limit", "20", "suite:1", "cat",
                          *["/sys/fs/cgroup/" + n for n in names]))
    assert r.out.split() == ["67108864", "20"], r
    r = expect(podman.run("--tmpfs", "/t:size=1m", "-v", podman.place + ":/v:ro", "suite:1", "sh", "-c",
                          "df -k /t | tail -1; ls /v; touch /v/x || echo refused"))
    assert " 1024 " in r.out and "containers.conf" in r.out and "refused" in r.out, r
    expect(podman.run("--uidmap", "0:100000:65536", "suite:1", "cat", "/proc/self/uid_map"), 0, "100000")


@test
def podman_keeps_a_container_and_executes_in_it():
    podman = Podman()
    expect(podman("run", "-d", "--network", "none", "--cgroup-parent", GROUP, "--name", "web", "suite:1", "sh", "-c", "echo line; sleep 1000"))
    try:
        expect(podman("exec", "web", "sh", "-c", "echo inside"), 0, "inside")
        expect(podman("exec", "-u", "1000:1000", "-w", "/tmp", "web", "sh", "-c", "id -u; pwd; exit 4"), 4, "1000\n/tmp")
        wait_until(lambda: "line" in podman("logs", "web").out, what="the log line")
        expect(podman("stats", "--no-stream", "web"), 0, "web")
        expect(podman("top", "web"), 0, "sleep")
        expect(podman("pause", "web"))
        expect(podman("unpause", "web"))
        assert podman("inspect", "-f", "{{.State.Status}}", "web").out.strip() == "running"
        expect(podman("stop", "-t", "0", "web"))
        expect(podman("start", "web"))
        expect(podman("kill", "web"))
    finally:
        expect(podman("rm", "-f", "web"))
