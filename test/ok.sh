#!/usr/bin/env bash
# The one gate: what must hold at every commit. CI runs the same.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
step() { printf '\n== %s\n' "$*"; "$@"; }
step node proto/generate.ts --check
step biome ci --reporter=summary .
step tsc -b
step oxlint --type-aware --deny-warnings
step knip
step node test/run.ts
