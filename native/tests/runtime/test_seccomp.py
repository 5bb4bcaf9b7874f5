from harness import *

ERRNO = {"SCMP_ACT_ERRNO": 1}


def profile(default, *rules, **more):
    return dict({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                 "syscalls": list(rules)}, **more)


def rule(action, *names, args=None, errno=None):
    r = {"names": list(names), "action": action}
    if args:
        r["args"] = args
    if errno is not None:
        r["errnoRet"] = errno
    return r


def with_profile(script, doc, privileged=False):
    def change(c):
        c["linux"]["seccomp"] = doc
        if privileged:
            c["process"]["noNewPrivileges"] = False
    return run_script(script, change)


def arg(index, op, value, two=None):
    a = {"index": index, "op": "SCMP_CMP_" + op, "value": value}
    if two is not None:
        a["valueTwo"] = two
    return a


DENY_MKDIR = rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat")


@test
def a_denied_call_gives_eperm():
    for privileged in (False, True):
        r = with_profile("mkdir /tmp/x; grep Seccomp: /proc/self/status", profile("SCMP_ACT_ALLOW", DENY_MKDIR), privileged)
        assert "not permitted" in r.err and "Seccomp:\t2" in r.out, r


@test
def errno_is_the_profile_s():
    r = with_profile("mkdir /tmp/x", profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "mkdir", "mkdirat", errno=28)))
    assert "No space left" in r.err, r


@test
def kill_process_ends_it_with_sigsys():
    expect(with_profile("(mkdir /tmp/x); echo $?", profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_KILL_PROCESS", "mkdir", "mkdirat"))),
           0, "159")


@test
def arguments_are_compared_by_every_operator():
    # kill(pid, signal): the second argument is what the shell's kill names.
    cases = [("EQ", 10, None, {10}), ("NE", 10, None, {0, 12}), ("LT", 11, None, {0, 10}), ("LE", 10, None, {0, 10}),
             ("GT", 10, None, {12}), ("GE", 10, None, {10, 12}), ("MASKED_EQ", 2, 2, {10}), ("MASKED_EQ", 6, 4, {12})]
    for op, value, two, denied in cases:
        doc = profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "kill", errno=13, args=[arg(1, op, value, two)]))
        r = with_profile("trap : USR1 USR2; for s in 0 10 12; do kill -$s $$ && echo ok $s; done", doc)
        for s in (0, 10, 12):
            assert (("ok %d\n" % s) in r.out) == (s not in denied), (op, value, s, r)


@test
def two_conditions_must_both_hold():
    doc = profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "kill", args=[arg(0, "EQ", 1), arg(1, "EQ", 10)]))
    r = with_profile("trap : USR1 USR2; kill -10 $$ && echo ten; kill -12 $$ && echo twelve", doc)
    assert "ten" not in r.out and "twelve" in r.out, r


@test
def conditions_on_one_argument_are_alternatives():
    doc = profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "kill", args=[arg(1, "EQ", 12), arg(1, "EQ", 10)]))
    r = with_profile("trap : USR1 USR2; kill -10 $$ && echo ten; kill -12 $$ && echo twelve; kill -0 $$ && echo zero", doc)
    assert r.out == "zero\n", r


@test
def values_above_32_bits_are_compared_whole():
    doc = profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "kill", args=[arg(1, "EQ", 10 + (1 << 32))]),
                  rule("SCMP_ACT_ERRNO", "ftruncate", args=[arg(1, "GT", 1 << 33)]))
    r = with_profile("trap : USR1; kill -10 $$ && echo ok; cd /dev/shm; truncate -s 1G a && echo small; truncate -s 20G a", doc)
    assert "ok\nsmall" in r.out and "not permitted" in r.err, r


@test(ours=True)
def a_call_newer_than_the_profile_gives_enosys():
    names = json.load(open(os.path.join(NATIVE, "profiles", "seccomp-default.json")))["syscalls"][0]["names"]
    old = [n for n in names if n not in ("statx", "clone3")]
    doc = profile("SCMP_ACT_ERRNO", rule("SCMP_ACT_ALLOW", *old), rule("SCMP_ACT_ALLOW", "clone", "chroot"))
    with Container("/bin/probe", "600") as c:
        build_probe(c)
        c.config["linux"]["seccomp"] = doc
        expect(c.run(), 38)
        c.config["process"]["args"] = ["/bin/probe", "321"]  # bpf: known when the profile was written
        expect(c.run(), 1)


def build_probe(c, *flags):
    source = os.path.join(c.bundle, "probe.c")
    with open(source, "w") as f:
        f.write("#include <errno.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n"
                "int main(int n, char **v) { errno = 0; long r = syscall(atol(v[1]), -1L, 0L, 0L, 0L, 0L, 0L);"
                " return r < 0 ? errno : 0; }\n")
    made = subprocess.run(["gcc", "-static", *flags, source, "-o", os.path.join(c.rootfs, "bin", "probe")],
                          capture_output=True, text=True)
    if made.returncode != 0:
        raise Skip("no static C compiler here")


def default_profile(c):
    c["linux"]["seccomp"] = json.load(open(os.path.join(NATIVE, "profiles", "seccomp-default.json")))


DANGEROUS = {  # by number on x86-64; what HARDENING wants refused
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "setns": 308,
    "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
    "io_uring_setup": 425, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438,
    "move_pages": 279, "open_by_handle_at": 304, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163,
    "quotactl": 179, "settimeofday": 164, "clock_settime": 227, "iopl": 172, "ioperm": 173, "syslog": 103,
    "lookup_dcookie": 212, "mbind": 237, "set_mempolicy": 238, "vhangup": 153, "fanotify_init": 300, "sethostname": 170,
}


@test(ours=True)
def the_default_profile_refuses_dangerous_calls_on_every_entry_point():
    with Container("/bin/probe", "0") as c:
        build_probe(c)
        for annotation in (False, True):
            if annotation:
                c.config["linux"].pop("seccomp")
                c.config["annotations"] = {"dev.gantry.seccomp": "default"}
            else:
                default_profile(c.config)
            c.start_args = None
            c.config["process"]["args"] = ["/bin/sh", "-c", "for n in $LIST; do /bin/probe $n; echo $n $?; done"]
            numbers = list(DANGEROUS.values()) + [n + 0x40000000 for n in DANGEROUS.values() if n < 512]
            c.config["process"]["env"] = ["PATH=/bin", "LIST=" + " ".join(str(n) for n in numbers)]
            r = expect(c.run())
            got = dict((int(a), int(b)) for a, b in (l.split() for l in r.out.splitlines()))
            for name, n in DANGEROUS.items():
                assert got[n] == 1, (name, got[n])
                assert got[n + 0x40000000] in (1, 38), ("x32 " + name, got[n + 0x40000000])


@test(ours=True)
def the_default_profile_lets_ordinary_programs_run():
    with Container(script="id && ls / > /dev/null && ps > /dev/null && ping -c 1 127.0.0.1 > /dev/null; echo $((1+1)) | cat; wget -q -O - http://127.0.0.1:1 ; date && sleep 0.01 && echo fine") as c:
        default_profile(c.config)
        expect(c.run(), 0, "fine")


@test(ours=True)
def the_default_profile_refuses_risky_socket_families():
    with Container("/bin/sock") as c:
        source = os.path.join(c.bundle, "s.c")
        open(source, "w").write(
            "#include <errno.h>\n#include <stdio.h>\n#include <sys/socket.h>\n"
            "static void t(int f, int k, int p) { int r = socket(f, k, p); printf(\"%d/%d %d\\n\", f, p, r < 0 ? errno : 0); }\n"
            "int main(void) { t(38, SOCK_SEQPACKET, 0); t(40, SOCK_STREAM, 0); t(16, SOCK_RAW, 9); t(16, SOCK_RAW, 0);"
            " t(2, SOCK_STREAM, 0); t(10, SOCK_DGRAM, 0); t(1, SOCK_STREAM, 0); return 0; }\n")
        if subprocess.run(["gcc", "-static", source, "-o", os.path.join(c.rootfs, "bin", "sock")]).returncode:
            raise Skip("no static C compiler here")
        default_profile(c.config)
        r = expect(c.run())
        got = dict(l.split() for l in r.out.splitlines())
        assert got["38/0"] == "1" and got["40/0"] == "1" and got["16/9"] == "1", got
        assert got["16/0"] == "0" and got["2/0"] == "0" and got["10/0"] in ("0", "97") and got["1/0"] == "0", got


@test
def exec_is_filtered_too():
    with Container("/bin/sleep", "1000") as c:
        c.config["linux"]["seccomp"] = profile("SCMP_ACT_ALLOW", DENY_MKDIR)
        c.start()
        assert "not permitted" in c.exec("mkdir", "/tmp/x").err


@test
def an_unknown_action_or_architecture_is_refused_an_unknown_call_ignored():
    assert with_profile("true", profile("SCMP_ACT_NONSENSE")).code != 0
    assert with_profile("true", profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_NONSENSE", "mkdir"))).code != 0
    assert with_profile("true", profile("SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_NONSENSE"])).code != 0
    expect(with_profile("true", profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_ERRNO", "no_such_call", "mkdir"))))


@test
def flags_are_taken():
    doc = profile("SCMP_ACT_ALLOW", DENY_MKDIR, flags=["SECCOMP_FILTER_FLAG_LOG"])
    assert "not permitted" in with_profile("mkdir /tmp/x", doc).err


@test(ours=True)
def the_listener_reaches_the_agent_with_the_state():
    import array
    import fcntl
    import socket
    import struct
    import threading
    with Container(script="mkdir /tmp/x; echo $?") as c:
        path = os.path.join(c.bundle, "agent")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen(1)
        c.config["linux"]["seccomp"] = profile("SCMP_ACT_ALLOW", rule("SCMP_ACT_NOTIFY", "mkdir", "mkdirat"),
                                               listenerPath=path, listenerMetadata="meta")
        seen = {}

        def agent():
            peer, _ = server.accept()
            text, ancillary, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(4))
            fds = array.array("i")
            fds.frombytes(ancillary[0][2])
            seen["state"] = json.loads(text)
            buf = bytearray(80)
            fcntl.ioctl(fds[0], 0xC0502100, buf)  # SECCOMP_IOCTL_NOTIF_RECV
            ident = struct.unpack_from("Q", buf)[0]
            fcntl.ioctl(fds[0], 0xC0182101, struct.pack("QqiI", ident, 0, -122, 0))  # answer EDQUOT

        thread = threading.Thread(target=agent, daemon=True)
        thread.start()
        r = c.run(timeout=10)
        thread.join(5)
        assert "quota" in r.err.lower(), r
        state = seen["state"]
        assert state["fds"] == ["seccompFd"] and state["metadata"] == "meta" and state["state"]["id"] == c.id, state
