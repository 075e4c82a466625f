#!/bin/sh
# tests/fuzz/search.sh TARGET MINUTES: coverage-guided fuzzing of a decoder with libFuzzer, for `cargo xtask fuzz TARGET`.
#
# Needs only the pinned toolchain and a C++ compiler. Starts with the known inputs of the target and ends with the first
# crashing input, or after the given time. New short inputs are then stored in tests/fuzz/corpus.
set -eu
target=$1 minutes=$2
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo}
place=target/fuzz-work/$target
rm -rf "$place/short"
mkdir -p "$place/found" "$place/short"

# Built separately, because all its crates are instrumented; with the host named, build scripts are not. All flags that
# instrument the code are stable options.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg rejoin_fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1" \
  CARGO_PROFILE_RELEASE_LTO=off \
  "$cargo" build --release --package rejoin-fuzz --target-dir target/fuzz --target "$host"
fuzzer=target/fuzz/$host/release/rejoin-fuzz

"$cargo" run --package rejoin-fuzz -- seeds "$target" "$place/found"
export REJOIN_FUZZ_TARGET="$target"
if ! "$fuzzer" -max_total_time=$((minutes * 60)) -max_len=1024 -timeout=10 -print_final_stats=1 \
  "-artifact_prefix=$place/bad-" "$place/found"; then
  echo "the crashing input is next to $place/bad-"
  exit 1
fi
# Only inputs that reach code which shorter inputs do not.
"$fuzzer" -merge=1 -max_len=300 "$place/short" "$place/found"
"$cargo" run --package rejoin-fuzz -- keep "$target" "$place/short"
