#!/bin/sh
# Unit tests and the runtime suite; the last line is `N passed, N failed`.
# OCI_RUNTIME names another runtime to test (then only the suite runs).
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
if [ -z "${OCI_RUNTIME:-}" ]; then
	"$here/../build/unit" | tee -a "$out" || status=1
	"$here/netd.py" 2>&1 | tee -a "$out"
	"$here/monitor/run.py" 2>&1 | tee -a "$out"
fi
python3 "$here/runtime/run.py" "$@" 2>&1 | tee -a "$out"
awk '/^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3; n++ }
	END { printf "%d passed, %d failed\n", p, f; exit f > 0 || n == 0 }' "$out" || status=1
exit $status
