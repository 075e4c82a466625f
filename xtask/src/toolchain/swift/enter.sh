#!/bin/sh
# enter COMMAND ARGUMENTS: runs the command by chroot in the Debian that contains Swift. The current folder, the temporary one and
# those of the variables below have the same paths inside as outside. Mounts are in a separate namespace and end with it. `swift`
# starts other processes, so it also gets a process namespace, which ends them. Any other command replaces this process, so that
# killing this process kills the command.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../root" && pwd)
if [ "$(id -u)" != 0 ]; then
  echo "this Swift is in a folder that only root can enter: run as root, or install Swift 6 yourself" >&2
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
