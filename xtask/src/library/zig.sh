#!/bin/sh
# zig as the C compiler of a phone's target, for `cargo check`: it has headers without the vendor's SDK. Arguments that name the
# target in a form unknown to zig are replaced by ZIG_TARGET.
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
