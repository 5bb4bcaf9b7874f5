#!/usr/bin/env python3
"""Runs the tests of the container monitor; the last line is `N passed, N failed`. Arguments pick tests by name."""
import sys
import traceback

import test_clients
import test_life
from harness import run_one


def tests():
    for module in (test_life, test_clients):
        yield from [(n, f) for n, f in vars(module).items() if n.startswith("test_")]


def main():
    passed, failed = 0, 0
    sys.stdout.reconfigure(line_buffering=True)
    wanted = sys.argv[1:]
    for name, test in tests():
        if wanted and not any(w in name for w in wanted):
            continue
        try:
            run_one(test)
            passed += 1
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED monitor: {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
