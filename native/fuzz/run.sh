#!/bin/sh
# Builds every fuzz_*.c with libFuzzer and runs each for FUZZ_SECONDS (60). Needs clang.
set -eu
cd "$(dirname "$0")/.."
out=build/fuzz
mkdir -p "$out"
sources=$(ls src/*.c | grep -v '^src/main.c$')
for target in fuzz/fuzz_*.c; do
	name=$(basename "$target" .c)
	clang -std=gnu17 -D_GNU_SOURCE -Isrc -Ibuild/gen -g -O1 -w \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		"$target" $sources -o "$out/$name"
	mkdir -p "$out/$name.corpus"
	[ -d "fuzz/seeds/$name" ] && cp -n fuzz/seeds/"$name"/* "$out/$name.corpus"/ || true
	"$out/$name" -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -timeout=5 -rss_limit_mb=512 \
		-print_final_stats=1 -artifact_prefix="$out/" "$out/$name.corpus" 2>&1 | tail -8
done
