#!/usr/bin/env bash
# Runs govulncheck. Its database is on the network: where it cannot be reached the check is skipped, and says so.
set -uo pipefail
cd "$(dirname "$0")/.."

out=$(go tool -modfile=tools/go.mod govulncheck ./... 2>&1)
status=$?
if [ $status -ne 0 ] && grep -qE 'fetching vulnerabilities|no such host|connection refused|i/o timeout' <<<"$out"; then
  echo "SKIPPED: govulncheck, its database cannot be reached from here: $(tail -1 <<<"$out")"
  exit 0
fi
echo "$out"
exit $status
