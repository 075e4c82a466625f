#!/bin/sh
# zig as the C compiler of a phone's target, for `cargo check`: it has headers where there is no vendor's kit. What names the
# target in words that zig does not know is left out, and ZIG_TARGET said instead.
skip=no
for argument do
  shift
  if [ "$skip" = yes ]; then
    skip=no
    continue
  fi
  case "$argument" in
    -arch | -isysroot | -target) skip=yes ;;
    --target=* | -mios-version-min=* | -miphoneos-version-min=* | -mtargetos=*) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "${0%/*}/ziglang/zig" cc -target "$ZIG_TARGET" "$@"
