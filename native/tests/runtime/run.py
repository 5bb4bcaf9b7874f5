"""Runs the runtime suite; the last line is `N passed, N failed`."""
import importlib
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402

MODULES = ["test_lifecycle", "test_process", "test_mounts", "test_namespaces", "test_cgroups",
           "test_seccomp", "test_exec", "test_safety", "test_faults", "test_podman"]


def main():
    wanted = sys.argv[1:]
    passed = failed = skipped = 0
    if os.geteuid() != 0:
        print("the runtime suite needs root")
        return 1
    for name in MODULES:
        importlib.import_module(name)
    harness.Suite.open()
    try:
        for function, ours in harness.TESTS:
            label = "%s.%s" % (function.__module__, function.__name__)
            if wanted and not any(w in label for w in wanted):
                continue
            if ours and not harness.OURS:
                skipped += 1
                continue
            try:
                function()
                passed += 1
            except harness.Skip as reason:
                skipped += 1
                print("skip %s: %s" % (label, reason))
            except Exception:
                failed += 1
                print("FAIL %s" % label)
                traceback.print_exc(limit=4, file=sys.stdout)
    finally:
        harness.Suite.close()
    print("%d skipped (%s)" % (skipped, harness.RUNTIME))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
