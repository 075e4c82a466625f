#!/bin/sh
# Runs zig as the C compiler or archiver of one target: it has headers without the vendor's SDK. Arguments that name the
# target or the processor in a form unknown to zig are left out.
# set
export ZIG_GLOBAL_CACHE_DIR="$ZIG/cache"
if [ "$COMMAND" != cc ]; then
  exec "$ZIG/ziglang/zig" "$COMMAND" "$@"
fi
skip=no
for argument do
  shift
  if [ "$skip" = yes ]; then
    skip=no
    continue
  fi
  case "$argument" in
    -arch | -isysroot | -target) skip=yes ;;
    --target=* | -march=armv7-a | -mfpu=* | -mios-version-min=* | -miphoneos-version-min=* | -mtargetos=*) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "$ZIG/ziglang/zig" cc -target "$TARGET" "$@"
