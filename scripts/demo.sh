#!/bin/sh
# Starts a node and puts the example platform of examples/platform on it: a dispatch Worker that routes by subdomain, an
# outbound Worker that customers' subrequests go to, and three customers' Workers. Every step is a command that you can type yourself; `make demo` runs this after `make build`.
#
# The node keeps its state in ./atoll-demo and goes on from there the next time. ATOLL_DATA, ATOLL_EDGE and ATOLL_API
# choose another directory and other addresses.
set -eu
cd "$(dirname "$0")/.."

data=${ATOLL_DATA:-./atoll-demo}
ATOLL_DATA=$data
export ATOLL_DATA
atoll=./bin/atoll
work=$(mktemp -d)
node=

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { # prints a command so that it can be typed
  line='  $'
  for arg; do
    case $arg in *[!A-Za-z0-9_./:=@%+,-]* | '') arg="'$(printf %s "$arg" | sed "s/'/'\\\\''/g")'" ;; esac
    line="$line $arg"
  done
  printf '%s\n' "$line"
}
run() { # shows a command and what it prints; a command that fails ends the demo
  show "$@"
  "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; fail "that failed"; }
  sed 's/^/    /' "$work/out"
}
fail() {
  printf '\ndemo: %s\n' "$1" >&2
  [ ! -s "$work/log" ] || { echo 'demo: the end of the node'"'"'s log:' >&2; tail -n 20 "$work/log" >&2; }
  exit 1
}

finish() {
  trap - INT TERM HUP EXIT
  if [ -n "$node" ]; then
    kill -TERM "$node" 2>/dev/null || true # the node finishes the requests it has
    wait "$node" 2>/dev/null || true
    printf '\nThe node has stopped. Its state is in %s; `make demo` goes on from there.\n' "$data"
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step "1. Start a node"
show export "ATOLL_DATA=$data"
show $atoll serve --api-alias api.cloudflare.com
# A shell without job control starts what is in the background with SIGINT ignored, and atoll leaves it so: Ctrl-C reaches
# this script alone, which then stops the node in order.
$atoll serve --api-alias api.cloudflare.com >"$work/ready" 2>"$work/log" &
node=$!
tries=0
until grep -q '^atoll: ready' "$work/ready"; do
  kill -0 "$node" 2>/dev/null || { node=; fail "the node did not start"; }
  tries=$((tries + 1))
  [ "$tries" -lt 300 ] || fail "the node is not ready after 30 seconds"
  sleep 0.1
done
sed 's/^/    /' "$work/ready"
value() { sed -n "s/.* $1=\\([^ ]*\\).*/\\1/p" "$work/ready"; }
edge=$(value edge)
ATOLL_API=$(value api)
export ATOLL_API
[ "$ATOLL_API" = http://127.0.0.1:8081 ] || show export "ATOLL_API=$ATOLL_API"
port=${edge##*:}

step "2. Make a dispatch namespace, where the customers' Workers live"
$atoll namespace get production >/dev/null 2>&1 || run $atoll namespace create production
run $atoll namespace list

step "3. Deploy the customers' Workers into it"
run $atoll script deploy examples/platform/alice/src/index.js --name alice --namespace production --tag alice --tag free
run $atoll script deploy examples/platform/bob/src/index.js --name bob --namespace production --tag bob --tag pro \
  --var SERVICE=calculator
$atoll kv namespace get carol-visits >/dev/null 2>&1 || run $atoll kv namespace create carol-visits
run $atoll script deploy examples/platform/carol/src/index.js --name carol --namespace production --tag carol --tag free \
  --module examples/platform/carol/src/page.html --kv VISITS=carol-visits
run $atoll script list --namespace production

step "4. Deploy the outbound Worker, which everything goes through that customers fetch"
run $atoll script deploy examples/platform/outbound/src/index.js --name outbound \
  --json-var 'BLOCKED=["malicious-site.example","spam-api.example"]' --var API_HOST=api.platform.example

step "5. Deploy the dispatch Worker and route the platform's hosts to it"
run $atoll script deploy examples/platform/dispatcher/src/index.js --name dispatcher \
  --module examples/platform/dispatcher/src/page.html --dispatch DISPATCHER=production --outbound DISPATCHER=outbound:customer_context \
  --var ZONE=atoll.localhost --json-var 'CUSTOMERS=["alice","bob","carol"]'
run $atoll route add 'atoll.localhost/*' dispatcher
run $atoll route add '*.atoll.localhost/*' dispatcher

step "6. Ask each of them"
# curl where there is one, else node, which npm has brought.
ask() {
  if command -v curl >/dev/null 2>&1; then
    curl -sS -o "$work/body" -w '%{http_code}' -H "Host: $1.atoll.localhost:$port" "$edge/$2"
  else
    node -e 'const [url, host, file] = process.argv.slice(1);
      require("http").get(url, { headers: { host } }, (res) => {
        res.pipe(require("fs").createWriteStream(file)).on("close", () => process.stdout.write(String(res.statusCode)));
      });' "$edge/$2" "$1.atoll.localhost:$port" "$work/body"
  fi
}
for who in alice bob carol nobody; do
  status=$(ask "$who" '') || fail "no answer for $who"
  want=200
  [ "$who" != nobody ] || want=404
  [ "$status" = "$want" ] || fail "$who answered $status instead of $want: $(head -c 300 "$work/body")"
  printf '  %-7s %s  %s\n' "$who" "$status" "$(tr -s '\n ' '  ' <"$work/body" | sed 's/.*<h1>//; s/<[^>]*>/ /g' | tr -s ' ' | cut -c1-80)"
done

status=$(ask bob 'fetch?url=https://malicious-site.example/') || fail "no answer for bob's fetch"
grep -q '"status":403' "$work/body" || fail "bob reached a blocked host: $status $(head -c 300 "$work/body")"
printf '  %-7s %s  fetches a blocked host: %s\n' bob "$status" "$(head -c 100 "$work/body")"

step "The platform is running"
printf '  http://atoll.localhost:%s/\n' "$port"
for who in alice bob carol nobody; do
  printf '  http://%s.atoll.localhost:%s/\n' "$who" "$port"
done
cat <<END

  In another terminal:  curl -H 'Host: alice.atoll.localhost' $edge/
                        export ATOLL_DATA=$data ATOLL_API=$ATOLL_API
                        bin/atoll script list --namespace production
  wrangler and SDKs:    export CLOUDFLARE_API_BASE_URL=$ATOLL_API/client/v4
                        export CLOUDFLARE_ACCOUNT_ID=$(value account)
                        export CLOUDFLARE_API_TOKEN=\$(cat $data/api-token)

Ctrl-C stops it.
END
trap 'exit 0' INT
wait "$node" || { node=; fail "the node has stopped"; }
