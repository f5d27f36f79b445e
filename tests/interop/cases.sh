#!/usr/bin/env bash
# The gRPC project's interop cases between our programs and grpc-go's, both ways, in cleartext and over TLS; and the
# compression cases, which grpc-go's client does not have, with our own client and with one on grpc-go's library. Fails
# when a case fails or fewer ran than are known here.
#
#   tests/interop/cases.sh GRPC_GO EXAMPLES TESTDATA INTEROP
#       the folders of grpc-go's two programs, of ours, and of its certificates; the program of tests/interop/go
set -euo pipefail
readonly GRPC_GO=$1 EXAMPLES=$2 TESTDATA=$3 INTEROP=$4

readonly CASES=(
  empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server
  cancel_after_begin cancel_after_first_response status_code_and_message special_status_message custom_metadata
  unimplemented_method unimplemented_service rpc_soak channel_soak pick_first_unary
)
readonly COMPRESSION=(
  client_compressed_unary server_compressed_unary client_compressed_streaming server_compressed_streaming
)
readonly SERVER_TLS=(--use_tls "--tls_cert_file=$TESTDATA/server1.pem" "--tls_key_file=$TESTDATA/server1.key")
readonly CLIENT_TLS=(--use_tls --use_test_ca "--ca_file=$TESTDATA/ca.pem" --server_host_override=foo.test.google.fr)

# Of the two lists, and of all runs. One more or less is meant, or a mistake.
readonly ALL_CASES=17 ALL_COMPRESSION=4 ALL_PASSED=76

logs=$(mktemp -d)
servers=()
total=0
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$logs"' EXIT

# serve PROGRAM FLAGS…: on a port that the system chooses; sets port
serve() {
  local log
  log=$(mktemp -p "$logs")
  # grpc-go says where it listens in its log.
  GRPC_GO_LOG_SEVERITY_LEVEL=info "$1" --port=0 "${@:2}" >"$log" 2>&1 &
  servers+=($!)
  for _ in $(seq 100); do
    port=$(sed -n 's/.*listening on .*:\([0-9][0-9]*\)$/\1/p' "$log")
    [ -z "$port" ] || return 0
    sleep 0.1
  done
  cat "$log" >&2
  return 1
}

# run NAME NUMBER CLIENT FLAGS… -- CASES…: against the last server
run() {
  local name=$1 number=$2 case passed=0
  local client=()
  shift 2
  while [ "$1" != -- ]; do
    client+=("$1")
    shift
  done
  shift
  for case in "$@"; do
    if timeout 60 "${client[@]}" --server_host=127.0.0.1 "--server_port=$port" "--test_case=$case" \
      >"$logs/case" 2>&1; then
      passed=$((passed + 1))
    else
      echo "$name: $case failed:" >&2
      tail -n 20 "$logs/case" >&2
    fi
  done
  echo "$name: $passed of $number"
  [ $passed = "$number" ]
  total=$((total + passed))
}

serve "$EXAMPLES/interop_server"
run "grpc-go's client, our server" $ALL_CASES "$GRPC_GO/client" -- "${CASES[@]}"
run "our client, our server, compression" $ALL_COMPRESSION "$EXAMPLES/interop_client" -- "${COMPRESSION[@]}"
run "grpc-go's library, our server, compression" $ALL_COMPRESSION "$INTEROP" compression -- "${COMPRESSION[@]}"
serve "$EXAMPLES/interop_server" "${SERVER_TLS[@]}"
run "grpc-go's client, our server, TLS" $ALL_CASES "$GRPC_GO/client" "${CLIENT_TLS[@]}" -- "${CASES[@]}"
serve "$GRPC_GO/server"
run "our client, grpc-go's server" $ALL_CASES "$EXAMPLES/interop_client" -- "${CASES[@]}"
serve "$GRPC_GO/server" "${SERVER_TLS[@]}"
run "our client, grpc-go's server, TLS" $ALL_CASES "$EXAMPLES/interop_client" "${CLIENT_TLS[@]}" -- "${CASES[@]}"
echo "all runs: $total of $ALL_PASSED"
[ $total = $ALL_PASSED ]
