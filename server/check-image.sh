#!/usr/bin/env bash
# server/check-image.sh BINARY PORT [POSTGRES_URL]: the image of the server without a container engine, and the files that
# deploy it. `cargo xtask deep --only server-image` builds the static binary and names a free port.
#
# The binary runs with the files of the Dockerfile's last stage as its root folder, as the image's user, with the image's
# variables and commands. The commands of the first stage are not run. Prints `ok NAME`, `FAILED NAME: REASON` or
# `skipped NAME: REASON` for each check.
set -euo pipefail
binary=$1 port=$2 postgres=${3:-}
cd "$(dirname "$0")/.."
work=$PWD/target/server-image
root=$work/root
rm -rf "$work"
mkdir -p "$root"
export REJOIN_AUTH_JWT_SECRET='a secret of at least thirty-two bytes'

fail() {
  echo "$1"
  exit 1
}

# check NAME FUNCTION: prints whether the function succeeds; in the background, where errexit stays in force.
check() {
  "$2" >"$work/log" 2>&1 &
  if wait $!; then echo "ok $1"; else echo "FAILED $1: $(tail -n 5 "$work/log" | tr '\n' ' ')"; fi
}

# start COMMAND...: starts a server, and waits until it listens.
start() {
  "$@" >"$work/server.log" 2>&1 &
  server=$!
  trap 'kill -KILL $server 2>/dev/null || true' EXIT
  for _ in {1..300}; do
    if grep -q '^listening on ' "$work/server.log"; then return; fi
    kill -0 $server || fail "serve: $(cat "$work/server.log")"
    sleep 0.1
  done
  fail "the server does not listen"
}

# stop: SIGTERM, and the exit code 0.
stop() {
  kill -TERM $server
  wait $server || fail "after SIGTERM: $?"
}

# The only code block of a language on a page.
block() {
  [ "$(grep -cFx "\`\`\`$2" "$1")" = 1 ] || fail "$1 has not one block of $2"
  awk -v fence="\`\`\`$2" '$0 == fence { on = 1; next } on && /^```/ { exit } on' "$1"
}

# The text of a configuration in compose.yaml.
configuration() {
  awk -v name="  $1:" '$0 == name { on = 1; next } on && /^ ? ?[^ ]/ { exit } on && !/^    [^ ]/ { print substr($0, 7) }' compose.yaml
}

# instruction NAME: the arguments of an instruction in the last stage.
instruction() {
  sed -z -e 's/\\\n/ /g' -e 's/.*\nFROM //' server/Dockerfile | sed -n "s/^$1 //p"
}

# The words of a command, which is a JSON list: an image without files has no shell.
words() {
  jq -r '.[]' <<<"$1"
}

# contained COMMAND...: runs a command in the container. The image's user owns what this one owns.
contained() {
  local user group variables
  IFS=: read -r user group <<<"$(instruction USER)"
  [ "$user" -gt 0 ] && [ "$group" -gt 0 ] || fail "USER is not two numbers above 0"
  mapfile -t variables < <(instruction ENV)
  exec env -i "${variables[@]}" REJOIN_LISTEN="0.0.0.0:$port" REJOIN_AUTH_JWT_SECRET="$REJOIN_AUTH_JWT_SECRET" "${store[@]}" \
    "$(command -v unshare)" "--map-user=$user" "--map-group=$group" "--root=$root" "--wd=$(instruction WORKDIR)" "$@"
}

image() {
  local from to data printed entrypoint command healthcheck
  store=()
  data=$(instruction WORKDIR)
  while read -r from to; do
    mkdir -p "$root$(dirname "$to")"
    case "$from" in
      "$data") mkdir -p "$root$to" ;;
      */rejoin-server) cp "$binary" "$root$to" ;;
      # A file of the first stage's Debian.
      *) cp "$from" "$root$to" ;;
    esac
  done < <(instruction COPY | sed 's/--[^ ]* //g')
  mapfile -t entrypoint < <(words "$(instruction ENTRYPOINT)")
  mapfile -t command < <(words "$(instruction CMD)")
  mapfile -t healthcheck < <(words "$(instruction HEALTHCHECK | sed 's/.*CMD //')")
  [ ${#entrypoint[@]} -gt 0 ] && [ ${#command[@]} -gt 0 ] && [ ${#healthcheck[@]} -gt 0 ] || fail "a command of the image is missing"

  (contained "${entrypoint[@]}" --version) | grep '^rejoin-server'
  { echo 'database = "app.db"'; configuration rejoin; } >"$root$data/rejoin.toml"
  sqlite3 "$root$data/app.db" \
    'CREATE TABLE tasks (id TEXT PRIMARY KEY, title TEXT NOT NULL, owner_id TEXT NOT NULL, updated_at TEXT)'
  (contained "${entrypoint[@]}" check) | grep 'are good'
  # A connection with `verify-full` fails at the connection, after the server has found root certificates.
  store=(REJOIN_STORE='postgres://a:b@127.0.0.1:1/c?sslmode=verify-full')
  printed=$(contained "${entrypoint[@]}" check 2>&1) || true
  store=()
  [[ $printed == *refused* && $printed != *'root certificates'* ]] || fail "check: $printed"

  start contained "${entrypoint[@]}" "${command[@]}"
  curl --silent --show-error --fail "http://127.0.0.1:$port/healthz" | grep '"status":"ok"'
  (contained "${healthcheck[@]}") | grep '"status":"ready"'
  stop
  if (contained "${healthcheck[@]}"); then fail "${healthcheck[*]} succeeds without a server"; fi
}

# The configuration serves its tables over PostgreSQL to a token that is made as docs/install.md says.
compose() {
  local request
  configuration tables >"$work/tables.sql"
  psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --file "$work/tables.sql" "$postgres"
  configuration rejoin >"$work/rejoin.toml"
  request=$(block docs/install.md 'sh token')
  [[ $request == *localhost:7878* ]] || fail "docs/install.md: the request has another address"
  start env REJOIN_STORE="$postgres" REJOIN_LISTEN="127.0.0.1:$port" "$binary" serve --config "$work/rejoin.toml"
  bash -euo pipefail -c "${request//localhost:7878/127.0.0.1:$port}" | grep '"tasks"'
  stop
}

unit() {
  local installed=/usr/local/bin/rejoin-server text problems
  text=$(block docs/production.md ini)
  [[ $text == *$installed* ]] || fail "docs/production.md: the unit does not start $installed"
  echo "${text//$installed/$binary}" >"$work/rejoin.service"
  problems=$(systemd-analyze verify --man=no --recursive-errors=no "$work/rejoin.service" 2>&1) || fail "$problems"
  [[ $problems != *rejoin.service* ]] || fail "$problems"
}

check "the image's commands run in its root folder" image
if [ -n "$postgres" ] && command -v psql >/dev/null && command -v openssl >/dev/null; then
  check "the configuration of compose.yaml serves a device with a token" compose
else
  echo "skipped compose.yaml: needs PostgreSQL, psql and openssl"
fi
if command -v systemd-analyze >/dev/null; then
  check "systemd reads the unit without a warning" unit
else
  echo "skipped the systemd unit: there is no systemd-analyze"
fi
