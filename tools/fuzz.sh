#!/bin/sh
# Fuzzes every target of fuzz/ for FUZZ_SECONDS each, 30 unless set. New inputs are kept in target/fuzz/corpus, where
# the next run continues. There is no sanitizer: they need a nightly compiler, and our code has no unsafe blocks for
# them to check.
#
#   tools/fuzz.sh CARGO_FUZZ      CARGO_FUZZ is the path of the program cargo-fuzz
set -eu

cargo_fuzz=$1
seconds=${FUZZ_SECONDS:-30}
export CARGO_TARGET_DIR=target/fuzz/build
cd "$(dirname -- "$0")/.."

"$cargo_fuzz" build --fuzz-dir fuzz --sanitizer none
for file in fuzz/targets/*.rs; do
    target=$(basename "$file" .rs)
    log=target/fuzz/$target.log
    mkdir -p "target/fuzz/corpus/$target"
    echo "fuzz: $target, for $seconds s"
    "$cargo_fuzz" run --fuzz-dir fuzz --sanitizer none "$target" "target/fuzz/corpus/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=512 \
        -artifact_prefix="target/fuzz/$target-" 2>&1 |
        tee "$log" | grep -a --line-buffered -E '^#[0-9]+[[:blank:]]+(pulse|DONE)' || true
    if ! grep -aqE '^#[0-9]+[[:blank:]]+DONE' "$log"; then
        grep -aA3 panicked "$log" || true
        echo "fuzz: $target failed; the input is in $log. After the fix, add it to fuzz/corpus/$target." >&2
        exit 1
    fi
done
