#!/bin/sh
# Prints a token for a user, valid for a day and signed with the public secret of rejoin.toml. An app gets its tokens from the
# server that its users sign in to.
set -eu
user=${1:-inspectors}
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
header=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url)
expiry=$(($(date +%s) + 86400))
claims=$(printf '{"sub":"%s","iss":"rejoin-demo","aud":"rejoin-demo","exp":%s}' "$user" "$expiry" | base64url)
secret=$(sed -n 's/^secret = "\(.*\)"$/\1/p' "$(dirname "$0")/rejoin.toml")
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -hmac "$secret" -binary | base64url)
echo "$header.$claims.$signature"
