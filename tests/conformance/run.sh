#!/usr/bin/env bash
# The conformance suite against our server and our client; fails when a case fails or fewer run than should.
#
#   tests/conformance/run.sh CONNECTCONFORMANCE EXAMPLES      the runner, and the folder of the two programs
set -euo pipefail
RUNNER=$(realpath "$1")
EXAMPLES=$(realpath "$2")
readonly RUNNER EXAMPLES
cd "$(dirname "${BASH_SOURCE[0]}")"

# suite MODE CASES
suite() {
  local log=$EXAMPLES/conformance_$1.log
  "$RUNNER" --mode "$1" --conf grpc-full.yaml -- "$EXAMPLES/conformance_$1" >"$log" 2>&1 || {
    tail -n 100 "$log" >&2
    exit 1
  }
  grep -qx "$2 passed, 0 failed" "$log" || {
    echo "error: not $2 cases: $(tail -n 1 "$log")" >&2
    exit 1
  }
  echo "connectconformance, $1: $2 of $2"
}

suite server 1278
suite client 1490
