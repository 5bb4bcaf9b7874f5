#!/usr/bin/python3
"""gantry-netd against the real kernel, inside a network namespace of the test's own: whatever
happens, everything goes with it. Needs root, iproute2 and util-linux."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
NETD = os.environ.get("NETD", os.path.join(HERE, "..", "build", "gantry-netd"))
GATEWAY, SUBNET = "10.99.0.1", 20

if os.environ.get("NETD_TEST_INSIDE") != "1":
    os.environ["NETD_TEST_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, __file__])


class Netd:
    """The program and its line protocol."""

    def __init__(self):
        self.process = subprocess.Popen([NETD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.id = 0

    def call(self, op, **members):
        self.id += 1
        request = {"id": self.id, "op": op, **{k: v for k, v in members.items() if v is not None}}
        self.send(json.dumps(request).encode())
        reply = self.read()
        assert reply["id"] == self.id, reply
        return reply

    def ok(self, op, **members):
        reply = self.call(op, **members)
        assert reply["ok"], reply
        return reply

    def send(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self):
        return json.loads(self.process.stdout.readline())

    def prepare(self, number, **members):
        address = f"10.99.{number // 250}.{number % 250 + 2}"
        return self.call("prepare", bridge="gbr", host_if=f"g{number}",
                         address=f"{address}/{SUBNET}", gateway=GATEWAY, **members)

    def close(self):
        self.process.stdin.close()
        return self.process.wait(timeout=10)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def ip(*arguments, netns=None):
    enter = ["nsenter", f"--net={netns}"] if netns else []
    return json.loads(run(*enter, "ip", "-j", *arguments) or "[]")


def links():
    return {link["ifname"] for link in ip("link")}


def until(condition, what, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def inside(netns, code):
    return run("nsenter", f"--net={netns}", sys.executable, "-c", code)


def setup(netd):
    netd.ok("bridge", name="gbr", address=f"{GATEWAY}/{SUBNET}", mtu=1400)


def test_bridge_has_address_forwarding_and_stays_the_same(netd):
    for name in ("ip_forward", "conf/all/route_localnet"):  # new namespaces take the host's values
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
            file.write("0")
    for _ in range(2):
        setup(netd)
    address = ip("addr", "show", "dev", "gbr")[0]
    assert [(a["local"], a["prefixlen"]) for a in address["addr_info"]] == [(GATEWAY, SUBNET)]
    assert address["mtu"] == 1400 and "UP" in address["flags"]
    assert address["address"] == "02:67:0a:63:00:01"
    assert open("/proc/sys/net/ipv4/ip_forward").read() == "1\n"
    assert open("/proc/sys/net/ipv4/conf/gbr/rp_filter").read() == "2\n"
    assert open("/proc/sys/net/ipv4/conf/all/route_localnet").read() == "0\n"
    netd.ok("bridge", name="gbr", address=f"{GATEWAY}/{SUBNET}", localnet=True)
    assert open("/proc/sys/net/ipv4/conf/all/route_localnet").read() == "1\n"


def test_bridge_with_another_subnet_drops_the_former_address(netd):
    setup(netd)
    netd.ok("bridge", name="gbr", address="10.50.0.1/24")
    found = ip("addr", "show", "dev", "gbr")[0]["addr_info"]
    assert [a["local"] for a in found] == ["10.50.0.1"], found


def test_prepared_container_has_eth0_route_and_reaches_others(netd):
    setup(netd)
    first, second = netd.prepare(1)["netns"], netd.prepare(2, mac="02:00:00:00:00:09")["netns"]
    eth0 = ip("addr", "show", "dev", "eth0", netns=first)[0]
    assert (eth0["addr_info"][0]["local"], eth0["address"]) == ("10.99.0.3", "02:67:0a:63:00:03")
    assert all(a["family"] == "inet" for a in eth0["addr_info"]), eth0
    assert ip("link", "show", "dev", "eth0", netns=second)[0]["address"] == "02:00:00:00:00:09"
    assert ip("addr", "show", "dev", "lo", netns=first)[0]["addr_info"][0]["local"] == "127.0.0.1"
    assert ip("route", "show", "default", netns=first)[0]["gateway"] == GATEWAY
    server = subprocess.Popen(
        ["nsenter", f"--net={second}", sys.executable, "-c",
         "import socket; s=socket.create_server(('',7000)); print('up',flush=True);"
         "c,a=s.accept(); c.sendall(a[0].encode())"], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "up\n"
    heard = inside(first, "import socket;"
                          "print(socket.create_connection(('10.99.0.4',7000),3).recv(99).decode())")
    server.wait(timeout=5)
    assert heard == "10.99.0.3\n", heard


def test_prepare_again_gives_the_same_and_another_address_a_new_one(netd):
    setup(netd)
    first = netd.prepare(1)["netns"]
    inode = os.stat(first).st_ino
    again = netd.prepare(1)["netns"]
    assert (again, os.stat(again).st_ino) == (first, inode)
    moved = netd.ok("prepare", bridge="gbr", host_if="g1", address="10.99.0.77/20",
                    gateway=GATEWAY)["netns"]
    assert os.stat(moved).st_ino != inode
    assert ip("addr", "show", "dev", "eth0", netns=moved)[0]["addr_info"][0]["local"] == "10.99.0.77"


def test_namespace_at_a_path_is_bound_and_released(netd):
    setup(netd)
    with tempfile.TemporaryDirectory(prefix="netd-test-") as folder:
        path = f"{folder}/ns"
        for _ in range(2):
            assert netd.prepare(3, netns=path)["netns"] == path
        assert ip("link", "show", "dev", "eth0", netns=path)
        netd.ok("release", host_if="g3", netns=path)
        assert not os.path.exists(path)
        until(lambda: "g3" not in links(), "removal of g3")
        open(f"{folder}/own", "w").write("text")
        refused = netd.call("netns-delete", path=f"{folder}/own")
        assert not refused["ok"] and os.path.exists(f"{folder}/own"), refused


def test_single_steps_make_and_remove_the_same(netd):
    setup(netd)
    with tempfile.TemporaryDirectory(prefix="netd-test-") as folder:
        path = f"{folder}/ns"
        for _ in range(2):
            netd.ok("netns-create", path=path)
        for _ in range(2):
            netd.ok("attach", netns=path, bridge="gbr", host_if="g4", address="10.99.0.9/20",
                    gateway=GATEWAY, mtu=1300)
        assert ip("link", "show", "dev", "eth0", netns=path)[0]["mtu"] == 1300
        for _ in range(2):
            netd.ok("detach", host_if="g4")
        assert "g4" not in links()
        for _ in range(2):
            netd.ok("netns-delete", path=path)
        assert not os.path.exists(path)


def test_release_is_silent_at_once_and_unknown_names_are_fine(netd):
    setup(netd)
    netd.prepare(1)
    netd.ok("release", host_if="g1")
    assert "g1" not in {port["host_if"] for port in netd.ok("list", bridge="gbr")["ports"]}
    netd.ok("release", host_if="never")
    until(lambda: "g1" not in links(), "removal of g1")


def test_release_removes_the_link_of_a_namespace_that_someone_keeps(netd):
    setup(netd)
    with open(netd.prepare(1)["netns"], encoding="ascii"):
        netd.ok("release", host_if="g1")
        until(lambda: "g1" not in links(), "removal of g1")


def test_released_name_can_be_prepared_at_once_and_stays(netd):
    setup(netd)
    with open(netd.prepare(1)["netns"], encoding="ascii"):
        netd.ok("release", host_if="g1")
        netns = netd.prepare(1)["netns"]
        # g2 is kept as well, so it goes by the check that comes after the former g1's.
        with open(netd.prepare(2)["netns"], encoding="ascii"):
            netd.ok("release", host_if="g2")
            until(lambda: "g2" not in links(), "removal of g2")
        assert "g1" in links() and ip("link", "show", "dev", "eth0", netns=netns)


def test_left_over_interface_of_the_same_name_is_replaced(netd):
    setup(netd)
    run("ip", "link", "add", "g1", "type", "veth", "peer", "name", "stale")
    netns = netd.prepare(1)["netns"]
    assert "stale" not in links() and ip("link", "show", "dev", "eth0", netns=netns)


def test_failed_prepare_leaves_nothing(netd):
    setup(netd)
    before = links()
    missing = netd.call("prepare", bridge="nobr", host_if="g1", address="10.99.0.2/20",
                        gateway=GATEWAY)
    assert (missing["ok"], missing["errno"]) == (False, 19), missing
    outside = netd.call("prepare", bridge="gbr", host_if="g1", address="10.99.0.2/20",
                        gateway="192.168.1.1")
    assert not outside["ok"] and "default route" in outside["error"], outside
    with tempfile.TemporaryDirectory(prefix="netd-test-") as folder:
        path = f"{folder}/no/such/folder"
        assert netd.prepare(1, netns=path)["errno"] == 2
    until(lambda: links() == before, "removal of what failed")
    assert netd.ok("list", bridge="gbr")["held"] == []


def test_routes_are_replaced_and_foreign_ones_stay(netd):
    setup(netd)
    run("ip", "route", "add", "10.77.0.0/24", "via", "10.99.0.200")
    wanted = [{"to": f"10.{n}.0.0/24", "via": "10.99.0.250"} for n in range(100, 140)]
    for routes in (wanted, wanted, wanted[10:] + [{"to": "10.100.0.0/24", "via": "10.99.0.251"}]):
        netd.ok("routes", routes=routes)
        assert sorted(map(str, netd.ok("list", bridge="gbr")["routes"])) == sorted(map(str, routes))
        assert len(ip("route", "show", "proto", "117")) == len(routes)
    broken = netd.call("routes", routes=[{"to": "10.3.0.0/24", "via": "192.168.7.7"},
                                         {"to": "10.4.0.0/24", "via": "10.99.0.250"}])
    assert not broken["ok"] and "add a route" in broken["error"], broken
    assert [r["to"] for r in netd.ok("list", bridge="gbr")["routes"]] == ["10.4.0.0/24"]
    netd.ok("routes", device="gbr", routes=[])
    assert [r["dst"] for r in ip("route") if "gateway" in r] == ["10.77.0.0/24"]


def send_bytes(netd, number, count):
    """Seconds that a container needs to send `count` bytes to the node."""
    netns = netd.prepare(number)["netns"]
    with socket.create_server((GATEWAY, 0)) as server:
        code = (f"import socket; s=socket.create_connection(('{GATEWAY}',{server.getsockname()[1]}),5);"
                f"s.sendall(b'x'*{count}); s.shutdown(1); s.recv(1)")
        sender = subprocess.Popen(["nsenter", f"--net={netns}", sys.executable, "-c", code])
        connection, _ = server.accept()
        began, got = time.monotonic(), 0
        while chunk := connection.recv(1 << 20):
            got += len(chunk)
        connection.close()
        sender.wait(timeout=10)
    assert got == count
    return time.monotonic() - began


def receive_bytes(netd, number, count):
    """Seconds that the node needs to send `count` bytes to a container."""
    netns = netd.prepare(number)["netns"]
    code = (f"import socket; s=socket.create_connection(('{GATEWAY}',%d),5); n=0\n"
            "while True:\n d=s.recv(1<<20); n+=len(d)\n if not d: break\nprint(n)")
    with socket.create_server((GATEWAY, 0)) as server:
        reader = subprocess.Popen(["nsenter", f"--net={netns}", sys.executable, "-c",
                                   code % server.getsockname()[1]], stdout=subprocess.PIPE)
        connection, _ = server.accept()
        began = time.monotonic()
        connection.sendall(b"x" * count)
        connection.close()
        got = int(reader.communicate(timeout=20)[0])
    assert got == count
    return time.monotonic() - began


def test_figures_count_as_the_container_sees_them(netd):
    setup(netd)
    send_bytes(netd, 1, 3_000_000)
    figures = netd.ok("stats", bridge="gbr")["stats"]["g1"]
    assert 3_000_000 <= figures["txBytes"] <= 3_300_000, figures
    assert figures["rxBytes"] < 1_000_000 and figures["rxPackets"] > 10, figures


def test_rate_limits_hold_both_ways_and_can_be_lifted(netd):
    setup(netd)
    netd.prepare(1)
    for _ in range(2):
        netd.ok("rate", host_if="g1", rxBytesPerSecond=5_000_000, txBytesPerSecond=10_000_000)
    assert 0.35 < send_bytes(netd, 1, 5_000_000) < 0.8
    assert 0.35 < receive_bytes(netd, 1, 2_500_000) < 0.8
    for _ in range(2):
        netd.ok("rate", host_if="g1", rxBytesPerSecond=0, txBytesPerSecond=0)
    assert send_bytes(netd, 1, 5_000_000) < 0.3
    unknown = netd.call("rate", host_if="g9", txBytesPerSecond=1)
    assert not unknown["ok"] and unknown["errno"] == 19, unknown


def test_bad_requests_are_told_why_and_change_nothing(netd):
    setup(netd)
    good = {"bridge": "gbr", "host_if": "g1", "address": "10.99.0.2/20", "gateway": GATEWAY}
    cases = [("nonsense", {}), ("prepare", {}), ("prepare", {**good, "host_if": "x" * 16}),
             ("prepare", {**good, "host_if": "a/b"}), ("prepare", {**good, "host_if": ""}),
             ("prepare", {**good, "host_if": 7}), ("prepare", {**good, "address": "10.99.0.2"}),
             ("prepare", {**good, "address": "10.99.0.2/33"}), ("prepare", {**good, "mtu": -1}),
             ("prepare", {**good, "address": "999.1.1.1/8"}), ("prepare", {**good, "mac": "01:00:00:00:00:01"}),
             ("prepare", {**good, "mac": "02:00:00:00:00"}), ("prepare", {**good, "gateway": "::1"}),
             ("routes", {}), ("routes", {"routes": [{"to": "10.0.0.0/8"}]}),
             ("bridge", {"name": "b", "address": "10.0.0.1/+4"}), ("list", {"bridge": "none"}),
             ("attach", {**good, "netns": "/etc/passwd"}), ("stats", {"bridge": "-x"})]
    before = links()
    for op, members in cases:
        reply = netd.call(op, **members)
        assert not reply["ok"] and reply["errno"] > 0 and reply["error"], (op, members, reply)
    for line in (b"{", b"[]", b"nul", b'{"id":"x"}', b'{"id":1,"op":"li\xff"}'):
        netd.send(line)
        assert not netd.read()["ok"], line
    assert links() == before


def test_requests_in_one_write_are_answered_in_order(netd):
    lines = [json.dumps({"id": n, "op": "list", "bridge": "none"}).encode() for n in range(200)]
    netd.send(b"\n".join(lines))
    assert [netd.read()["id"] for _ in lines] == list(range(200))


def test_an_endless_line_ends_the_program(netd):
    try:
        netd.process.stdin.write(b"x" * (2 << 20))
        netd.process.stdin.flush()
    except BrokenPipeError:
        pass
    assert netd.process.wait(timeout=5) == 1


def test_end_of_input_ends_it_and_lets_unused_namespaces_go(netd):
    setup(netd)
    used = netd.prepare(1)["netns"]
    netd.prepare(2)
    sleeper = subprocess.Popen(["nsenter", f"--net={used}", "sleep", "30"])
    until(lambda: os.readlink(f"/proc/{sleeper.pid}/exe").endswith("sleep"), "start of sleep")
    try:
        assert netd.close() == 0
        until(lambda: "g2" not in links(), "removal of g2")
        assert "g1" in links() and "gbr" in links()
    finally:
        sleeper.kill()
        sleeper.wait()
    until(lambda: "g1" not in links(), "removal of g1")


def milliseconds(call):
    began = time.perf_counter()
    reply = call()
    assert reply["ok"], reply
    return (time.perf_counter() - began) * 1000


def test_three_hundred_containers_stay_quick(netd):
    setup(netd)
    add = [milliseconds(lambda n=n: netd.prepare(n)) for n in range(300)]
    stats = milliseconds(lambda: netd.ok("stats", bridge="gbr"))
    remove = [milliseconds(lambda n=n: netd.ok("release", host_if=f"g{n}")) for n in range(300)]
    median = lambda figures: sorted(figures)[len(figures) // 2]
    print(f"  add: first ten {median(add[:10]):.2f} ms, last ten {median(add[-10:]):.2f} ms; "
          f"remove {median(remove):.2f} ms (worst {max(remove):.1f}); stats of 300 {stats:.1f} ms")
    assert median(add[-10:]) < 20 and median(remove) < 20
    until(lambda: links() <= {"lo", "gbr", "ifb0", "ifb1"}, "removal of 300", 20)


def main():
    passed, failed = 0, 0
    sys.stdout.reconfigure(line_buffering=True)
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_")]
    for name, test in tests:
        netd = Netd()
        try:
            test(netd)
            passed += 1
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED netd: {name}")
            traceback.print_exc(file=sys.stdout)
        finally:
            if netd.process.poll() is None:
                netd.process.kill()
            netd.process.wait()
            subprocess.run(["ip", "link", "del", "gbr"], capture_output=True, check=False)
            own = {"lo", "ifb0", "ifb1"}
            try:
                until(lambda: links() <= own, "clean-up between tests")
            except AssertionError as left:
                print(left, links())
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
