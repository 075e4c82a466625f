#!/usr/bin/env bash
# bench/page.sh ARGUMENT...: runs `cargo xtask bench ARGUMENT...`, and writes its output into docs/performance.md, with the
# measured commit and a note of uncommitted changes.
#
# The page has a block for each command, from `<!-- bench: ARGUMENT... -->` to `<!-- end -->`, which is replaced as a whole.
# The text around the blocks is written by hand.
set -euo pipefail
cd "$(dirname "$0")/.."
page=docs/performance.md
begin="<!-- bench: $* -->"
if ! grep -qxF -e "$begin" "$page"; then
  echo "$page has no place for this command; it has:" >&2
  grep '^<!-- bench: ' "$page" >&2
  exit 1
fi
commit=$(git log -1 '--format=%h (%cs)')
[ -z "$(git status --porcelain -- . ":!$page")" ] || commit="$commit with changes"
block=$(mktemp)
fresh=$(mktemp)
trap 'rm -f "$block" "$fresh"' EXIT
{
  printf '`cargo xtask bench %s` at commit %s, %s cores, %s:\n\n```text\n' "$*" "$commit" "$(nproc)" "$(uname -m)"
  cargo xtask bench "$@" | tee /dev/stderr | grep -v -e '^\$ ' -e '^$'
  printf '```\n'
} >"$block"
awk -v begin="$begin" -v block="$block" '
  !inside { print }
  $0 == begin { inside = 1; while ((getline line < block) > 0) print line }
  inside && $0 == "<!-- end -->" { inside = 0; print }
' "$page" >"$fresh"
cat "$fresh" >"$page"
