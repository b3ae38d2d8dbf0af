#!/usr/bin/env bash
# Brings a machine to the point where the Makefile's targets work: Go 1.25 or later and npm, and with the argument "test"
# what only the tests need (curl). As root on Debian or Ubuntu it installs what is missing, otherwise it says how.
set -euo pipefail

# install NAME...: Debian packages, or how to get them.
install() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  else
    echo "setup: this machine lacks $*; install it with your package manager (on Debian: sudo apt-get install $*)" >&2
    exit 1
  fi
}

if ! command -v go >/dev/null; then
  echo "setup: Go 1.25 or later is needed and 'go' is not in the PATH; see https://go.dev/doc/install" >&2
  exit 1
fi

# Go 1.21 and later fetch the toolchain that go.mod asks for, so what counts is what "go" becomes in this module.
version=$(go env GOVERSION 2>/dev/null || true)
minor=$(sed -nE 's/^go1\.([0-9]+).*/\1/p' <<<"$version")
if [ -z "$minor" ] || [ "$minor" -lt 25 ]; then
  echo "setup: Go 1.25 or later is needed, found '${version:-$(go version)}'; see https://go.dev/doc/install" >&2
  exit 1
fi

command -v npm >/dev/null || install npm

if [ "${1:-}" = test ]; then
  command -v curl >/dev/null || install curl
fi
