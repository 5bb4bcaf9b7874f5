"""What every runtime test uses: a bundle, a container, a skip with its reason.

A test is a function with the decorator `test`; it fails by an exception. The runtime under test is
named by $OCI_RUNTIME (berth, crun, runc, ...), so that the suite tests the specification and not one
program. Tests of extensions carry `ours=True` and are skipped for other runtimes.
"""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NATIVE = os.path.dirname(os.path.dirname(HERE))
RUNTIME = os.environ.get("OCI_RUNTIME", os.path.join(NATIVE, "build", "berth"))
OURS = os.path.basename(RUNTIME).startswith("berth")
PURE_V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
GROUP = "/berth-suite-%d" % os.getpid()

CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
        "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"]
NAMESPACES = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
MASKED = ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
          "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
          "/proc/scsi", "/sys/firmware"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

TESTS = []


class Skip(Exception):
    """A test that cannot run here; the text says why."""


def test(function=None, *, ours=False):
    def add(f):
        TESTS.append((f, ours))
        return f
    return add(function) if function else add


def mount(destination, kind, *options, source=None):
    return {"destination": destination, "type": kind, "source": source or kind,
            "options": list(options)}


def bind(source, destination, *options):
    return mount(destination, "bind", "rbind", *options, source=source)


def default_config(*args):
    """The configuration that engines write by default."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": list(args), "cwd": "/",
            "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
            "capabilities": {s: list(CAPS) for s in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1000, "hard": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "hostname": "suite",
        "mounts": [
            mount("/proc", "proc", "nosuid", "noexec", "nodev"),
            mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666",
                  "mode=0620", "gid=5"),
            mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        ],
        "linux": {
            "namespaces": [{"type": n} for n in NAMESPACES],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": list(MASKED), "readonlyPaths": list(READONLY),
        },
    }


class Result:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    def __repr__(self):
        return "exit %d, out %r, err %r" % (self.code, self.out[-600:], self.err[-600:])


def command(*args, runtime=None, env=None, timeout=30, **kwargs):
    """Runs the runtime with its own state folder."""
    full = [runtime or RUNTIME, "--root", Suite.root, *args]
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    environment = dict(os.environ, **(env or {}))
    return Result(subprocess.run(full, text=True, errors="replace", timeout=timeout,
                                 env=environment, **kwargs))


class Suite:
    folder = None
    root = None
    count = 0

    @classmethod
    def open(cls):
        # A mount namespace of our own: what others mount meanwhile must not look like a leak.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x00020000) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        cls.folder = tempfile.mkdtemp(prefix="berth-suite-", dir=os.environ.get("TMPDIR", "/tmp"))
        os.chmod(cls.folder, 0o755)
        cls.root = os.path.join(cls.folder, "state")
        base = os.path.join(cls.folder, "base")
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "root", "usr/bin", "var"):
            os.makedirs(os.path.join(base, name))
        os.chmod(os.path.join(base, "tmp"), 0o1777)
        busybox = shutil.which("busybox")
        shutil.copy(busybox, os.path.join(base, "bin", "busybox"))
        names = subprocess.run([busybox, "--list"], capture_output=True, text=True).stdout.split()
        for name in names:
            if name != "busybox":
                os.symlink("busybox", os.path.join(base, "bin", name))
        with open(os.path.join(base, "etc", "passwd"), "w") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")

    @classmethod
    def close(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)
        for base, folders, _ in os.walk("/sys/fs/cgroup", topdown=False):
            for name in folders:
                if GROUP in os.path.join(base, name):
                    try:
                        os.rmdir(os.path.join(base, name))
                    except OSError:
                        pass


class Container:
    """A bundle with its own root file system, and the container made from it."""

    def __init__(self, *args, script=None, config=None):
        Suite.count += 1
        self.id = "s%d-%d" % (os.getpid(), Suite.count)
        self.bundle = os.path.join(Suite.folder, self.id)
        self.rootfs = os.path.join(self.bundle, "rootfs")
        os.makedirs(self.bundle)
        subprocess.run(["cp", "-a", "-l", os.path.join(Suite.folder, "base"), self.rootfs], check=True)
        args = ("/bin/sh", "-c", script) if script is not None else args
        self.config = config or default_config(*args)
        self.group = "%s/%s" % (GROUP, self.id)
        self.config["linux"].setdefault("cgroupsPath", self.group)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        command("delete", "--force", self.id)
        shutil.rmtree(self.bundle, ignore_errors=True)

    def write(self):
        with open(os.path.join(self.bundle, "config.json"), "w") as f:
            json.dump(self.config, f)

    def run(self, *flags, **kwargs):
        self.write()
        return command("run", *flags, "--bundle", self.bundle, self.id, **kwargs)

    def create(self, *flags, **kwargs):
        self.write()
        # The container keeps the descriptors: a pipe would never end.
        out = open(os.path.join(self.bundle, "out"), "w")
        kwargs.setdefault("stdout", out)
        with open(os.path.join(self.bundle, "err"), "w+") as err:
            kwargs.setdefault("stderr", err)
            result = command("create", *flags, "--bundle", self.bundle, self.id, **kwargs)
            err.seek(0)
            result.out, result.err = "", err.read()
        out.close()
        return result

    def start(self, *flags, **kwargs):
        made = self.create(*flags, **kwargs)
        assert made.code == 0, made
        begun = command("start", self.id)
        assert begun.code == 0, begun
        return self

    def output(self):
        with open(os.path.join(self.bundle, "out")) as f:
            return f.read()

    def state(self):
        result = command("state", self.id)
        assert result.code == 0, result
        return json.loads(result.out)

    def status(self):
        return self.state()["status"]

    def wait_status(self, want, seconds=10):
        wait_until(lambda: self.status() == want, seconds, "status %s" % want)

    def exec(self, *args, flags=(), **kwargs):
        return command("exec", *flags, self.id, *args, **kwargs)

    def namespaces(self, *kinds):
        self.config["linux"]["namespaces"] = [{"type": k} if isinstance(k, str) else k for k in kinds]

    def cgroup_file(self, controller, name):
        base = "/sys/fs/cgroup" if PURE_V2 else "/sys/fs/cgroup/" + controller
        with open(base + self.group + "/" + name) as f:
            return f.read().strip()


def wait_until(condition, seconds=10, what="condition"):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out waiting for " + what
        time.sleep(0.005)


def run_script(script, change=None, **kwargs):
    """Runs a shell script in a default container after `change(config)`."""
    with Container(script=script) as c:
        if change:
            change(c.config)
        return c.run(**kwargs)


def expect(result, code=0, out=None, err=None):
    assert result.code == code, "exit code %d wanted: %r" % (code, result)
    if out is not None:
        assert out in result.out, "%r wanted in output: %r" % (out, result)
    if err is not None:
        assert err in result.err, "%r wanted in errors: %r" % (err, result)
    return result


def user_namespace(c, host=100000, size=65536):
    """A user namespace whose root owns the container's files."""
    c.namespaces(*NAMESPACES, "user")
    for key in ("uidMappings", "gidMappings"):
        c.config["linux"][key] = [{"containerID": 0, "hostID": host, "size": size}]
    # Hard links to the base would change its owner, so the files are copied.
    shutil.rmtree(c.rootfs)
    subprocess.run(["cp", "-a", os.path.join(Suite.folder, "base"), c.rootfs], check=True)
    subprocess.run(["chown", "-hR", "%d:%d" % (host, host), c.rootfs], check=True)


__all__ = [n for n in dir() if not n.startswith("__")]
