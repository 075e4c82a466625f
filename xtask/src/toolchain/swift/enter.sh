#!/bin/sh
# enter COMMAND ARGUMENTS: runs it where Swift is, in this folder's own Debian, by chroot. It sees the present folder, the
# temporary one, and those of the variables below at the paths that they have outside. Its mounts and its processes are in
# namespaces of its own: they end with it, and it ends with whoever called.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../root" && pwd)
if [ "$(id -u)" != 0 ]; then
  echo "this Swift lies in a folder that only root can enter: run as root, or install Swift 6 yourself" >&2
  exit 77
fi
export REJOIN_SWIFT_ROOT="$root" HOME=/root
exec unshare --mount --pid --fork --kill-child --propagation private sh -eu -c '
  show() {
    case "$1" in "" | /) return ;; esac
    [ -d "$1" ] || return 0
    mkdir -p "$REJOIN_SWIFT_ROOT$1"
    mount --rbind "$1" "$REJOIN_SWIFT_ROOT$1"
  }
  show "${TMPDIR:-/tmp}"
  show "${CARGO_TARGET_DIR:-}"
  show "${REJOIN_LIBRARY_DIR:-}"
  [ -z "${REJOIN_STORY_SERVER:-}" ] || show "$(dirname -- "$REJOIN_STORY_SERVER")"
  show "$PWD"
  mount -t proc proc "$REJOIN_SWIFT_ROOT/proc"
  exec chroot "$REJOIN_SWIFT_ROOT" /bin/sh -c "cd \"\$0\" && exec \"\$@\"" "$PWD" "$@"
' enter "$@"
