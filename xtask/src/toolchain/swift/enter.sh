#!/bin/sh
# enter COMMAND ARGUMENTS: runs it where Swift is, in this folder's own Debian, by chroot. It sees the present folder, the
# temporary one, and those of the variables below at the paths that they have outside. Its mounts are in a namespace of its own and
# end with it. `swift` starts others, so it gets a namespace of processes too: they end with it. Any other command replaces this
# process, so that whoever kills it has killed the command.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../root" && pwd)
if [ "$(id -u)" != 0 ]; then
  echo "this Swift lies in a folder that only root can enter: run as root, or install Swift 6 yourself" >&2
  exit 77
fi
export REJOIN_SWIFT_ROOT="$root" HOME=/root
others=
[ "$1" != swift ] || others="--pid --fork --kill-child"
# shellcheck disable=SC2086
exec unshare --mount $others --propagation private sh -eu -c '
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
