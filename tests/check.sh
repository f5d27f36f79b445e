#!/usr/bin/env bash
# Every check of the project, in the order of what it costs. What cannot run fails; nothing is skipped.
#
#   tests/check.sh            all of it: what a change has to pass
#   tests/check.sh --quick    format, clippy and tests: while writing
#   tests/check.sh STEP…      some of the steps: format clippy test simulation peers doc features dependencies fuzz attack
#                             interop conformance cases proxies h2spec instructions
#
# Needs Rust stable and nightly, and Go; and nginx and valgrind, which root of a Debian need not install. Other tools are
# installed at the versions below, under target/tools.
# FUZZ_SECONDS (10): how long each fuzz target runs, after its seeds and its corpus.
# SIM_SEEDS (200): how many seeds are simulated.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ALL=(format clippy test simulation peers doc features dependencies fuzz attack interop conformance cases proxies h2spec instructions)
readonly QUICK=(format clippy test)
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
readonly TOOLS=$TARGET/tools
export PATH=$TOOLS/bin:$PATH

# The cases of tests/it/peers. One more or less is meant, or a mistake.
readonly MISBEHAVING_SERVERS=263

# The attacks of tests/attack; each prints a line.
readonly ATTACKS=71

# The lean library: no-default-features, normal dependencies, itself included.
readonly MAX_LEAN_CRATES=39

# The implementation whose programs we talk to.
readonly GRPC_GO=google.golang.org/grpc GRPC_GO_VERSION=v1.85.0

# The tests in tests/interop/proxies.rs.
readonly PROXY_TESTS=10

step_format() {
  cargo fmt --check
  cargo fmt --check --manifest-path fuzz/Cargo.toml
  local unformatted
  rustfmt --check --edition 2024 benches/peers/*.rs benches/peers/*/src/*.rs
  unformatted=$(gofmt -l tests/interop/go benches/peers/go)
  [ -z "$unformatted" ] || fail "gofmt would change: $unformatted"
}

step_clippy() {
  cargo clippy --locked --all-targets --all-features -- -D warnings
  cargo clippy --locked --all-features --test interop --test attack -- -D warnings
}

# Unit and integration tests, examples in docs, the architecture, the seeds of the fuzz targets; of the simulation a few.
step_test() {
  SIM_SEEDS=20 cargo test --locked --all-features
}

# Our server and clients on a simulated network: 200 seeds, or SIM_SEEDS. A seed that fails is named, and SIM_SEED repeats it.
step_simulation() {
  local log=$TARGET/simulation.log
  timeout 600 cargo test --locked --all-features --test sim -- --show-output >"$log" 2>&1 ||
    { tail -n 60 "$log" >&2; fail "$log"; }
  grep '^simulation: ' "$log" || fail "no seed was run"
}

# The client against servers that misbehave: step_test runs the cases too, this counts them.
step_peers() {
  local log=$TARGET/peers.log count
  cargo test --locked --all-features --test it peers:: -- --show-output >"$log" 2>&1 || { tail -n 60 "$log" >&2; fail "$log"; }
  # grep fails when it counts none, which the comparison below tells better.
  count=$(grep -c '^misbehaving server, as the rule says: ' "$log") || true
  echo "misbehaving servers: $count of $MISBEHAVING_SERVERS"
  [ "$count" = "$MISBEHAVING_SERVERS" ] || fail "other cases than are known here"
}

step_doc() {
  RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features --document-private-items
}

# The library without its default features, then with each feature alone.
step_features() {
  local count feature
  count=$(cargo tree --locked -e normal --no-default-features --prefix none | awk '{ print $1, $2 }' | sort -u | wc -l)
  echo "the lean library is $count crates"
  [ "$count" -le "$MAX_LEAN_CRATES" ] || fail "more than $MAX_LEAN_CRATES"
  cargo clippy --locked --no-default-features -- -D warnings
  for feature in $(awk '/^\[/ { inside = $0 == "[features]" } inside && /^[a-z0-9-]+ *=/ { print $1 }' Cargo.toml); do
    [ "$feature" != default ] || continue
    echo "feature $feature"
    cargo clippy --locked --no-default-features --features "$feature" -- -D warnings
  done
}

# Nothing unused, nothing banned, no licence or source that was not agreed to.
step_dependencies() {
  cargo_tool cargo-machete 0.9.2
  cargo_tool cargo-deny 0.20.2
  # What only other systems build is looked at too, and has to be there.
  cargo fetch --quiet --locked
  cargo machete
  # A licence or a wrapper that nothing uses is not wrong.
  cargo deny --offline check -A license-not-encountered -A unused-wrapper bans licenses sources
}

# The seeds and what earlier runs found once more, then a little further.
step_fuzz() {
  cargo_tool cargo-fuzz 0.13.2
  cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >"$TARGET/fuzz-metadata.json" ||
    fail "fuzz/Cargo.lock is out of date: cargo update --workspace --manifest-path fuzz/Cargo.toml"
  cargo +nightly fuzz build --target-dir "$TARGET/fuzz" --codegen-units 16
  local program name log
  for program in fuzz/fuzz_targets/*.rs; do
    name=$(basename "$program" .rs)
    log=$TARGET/fuzz-$name.log
    mkdir -p "fuzz/corpus/$name"
    cargo +nightly fuzz run --target-dir "$TARGET/fuzz" --codegen-units 16 "$name" "fuzz/corpus/$name" "fuzz/seeds/$name" \
      -- "-max_total_time=${FUZZ_SECONDS:-10}" -timeout=20 -malloc_limit_mb=64 >"$log" 2>&1 || { tail -n 60 "$log" >&2; fail "$name"; }
    echo "$name: $(grep -o 'Done.*' "$log")"
  done
}

# The release binary, attacked: what each attack costs it, and that nobody else notices. See docs/known-attacks.md.
step_attack() {
  local log=$TARGET/attack.log count
  release_build
  # Those that wait for the server's five seconds wait together; what is measured is the server's own.
  STREAMWAY=$TARGET/release/streamway \
    cargo test --locked --all-features --test attack -- --show-output --test-threads 6 >"$log" 2>&1 || { tail -n 100 "$log" >&2; fail "$log"; }
  # grep fails when it finds none, which the comparison below tells better.
  grep '^attack, held: ' "$log" || true
  count=$(grep -c '^attack, held: ' "$log") || true
  echo "attacks: $count of $ATTACKS"
  [ "$count" = "$ATTACKS" ] || fail "other attacks than are known here"
}

# The release binary and the library against grpcurl and grpc-go.
step_interop() {
  go_tool github.com/fullstorydev/grpcurl/cmd/grpcurl v1.9.4
  build_interop
  release_build
  STREAMWAY=$TARGET/release/streamway GRPCURL=$TOOLS/bin/grpcurl INTEROP=$TOOLS/bin/interop \
    cargo test --locked --all-features --test interop -- --skip proxies::
}

# The public suite of gRPC servers and clients.
step_conformance() {
  go_tool connectrpc.com/conformance/cmd/connectconformance v1.0.7
  release_build
  tests/conformance/run.sh "$TOOLS/bin/connectconformance" "$TARGET/release/examples"
}

# The interop cases of the gRPC project, with the client and the server of grpc-go.
step_cases() {
  go_tool $GRPC_GO/interop/client $GRPC_GO_VERSION grpc-go
  go_tool $GRPC_GO/interop/server $GRPC_GO_VERSION grpc-go
  # For its certificates: the programs may have been built long ago.
  go mod download $GRPC_GO@$GRPC_GO_VERSION
  release_build
  build_interop
  tests/interop/cases.sh "$TOOLS/bin/grpc-go" "$TARGET/release/examples" \
    "$(go env GOMODCACHE)/$GRPC_GO@$GRPC_GO_VERSION/testdata" "$TOOLS/bin/interop"
}

# nginx between clients and our servers: the interop cases, exports, uploads, sums.
step_proxies() {
  local nginx log=$TARGET/proxies.log
  nginx=$(nginx_path)
  "$nginx" -v
  go_tool github.com/fullstorydev/grpcurl/cmd/grpcurl v1.9.4
  go_tool $GRPC_GO/interop/client $GRPC_GO_VERSION grpc-go
  build_interop
  release_build
  NGINX=$nginx STREAMWAY=$TARGET/release/streamway GRPCURL=$TOOLS/bin/grpcurl INTEROP=$TOOLS/bin/interop \
    GRPC_GO_CLIENT=$TOOLS/bin/grpc-go/client INTEROP_SERVER=$TARGET/release/examples/interop_server \
    INTEROP_CLIENT=$TARGET/release/examples/interop_client \
    cargo test --locked --all-features --test interop -- --show-output proxies:: >"$log" 2>&1 || {
    tail -n 100 "$log" >&2
    fail "through nginx"
  }
  grep ' behind nginx' "$log"
  grep "^test result: ok. $PROXY_TESTS passed; 0 failed; 0 ignored;" "$log" || fail "not $PROXY_TESTS tests"
}

# HTTP/2 itself, then once more with the cases that are strict.
step_h2spec() {
  go_tool github.com/summerwind/h2spec/cmd/h2spec v2.2.1+incompatible
  release_build
  local said=$TARGET/h2spec-serve.log address port
  # Not local: the trap outlives the function.
  data=$(mktemp -d)
  # Before the server opens it.
  : >"$said"
  "$TARGET/release/streamway" serve --data-dir "$data" --grpc-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 >"$said" 2>&1 &
  server=$!
  trap 'kill "$server"; rm -rf "$data"' EXIT
  for ((try = 0; try < 100; try++)); do
    address=$(awk '$1 == "gRPC" { print $2 }' "$said")
    [ -z "$address" ] || break
    sleep 0.1
  done
  port=${address##*:}
  [ -n "$port" ] || { cat "$said" >&2; fail "the server does not listen"; }
  h2spec_run "$port" 145
  h2spec_run "$port" 146 --strict
}

# h2spec_run PORT CASES [FLAG]
h2spec_run() {
  local log=$TARGET/h2spec.log
  h2spec -p "$1" -o 5 ${3:+"$3"} >"$log" 2>&1 || { cat "$log" >&2; fail "h2spec"; }
  tail -n 1 "$log"
  grep -q "^$2 tests, $2 passed, 0 skipped, 0 failed" "$log" || fail "not $2 cases"
}

# What a call and a message cost: no more than was recorded.
step_instructions() {
  if ! command -v valgrind >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind
  fi
  command -v valgrind >/dev/null || fail "needs valgrind (Debian: apt-get install valgrind)"
  benches/instructions
}

# Our own programs on grpc-go's library.
build_interop() {
  (cd tests/interop/go && go vet ./... && go build -o "$TOOLS/bin/interop" .)
}

# The binary and the programs of the suites, with the same features, so that nothing is built twice.
release_build() {
  cargo build --locked --release --bins --examples --features conformance
}

# cargo_tool NAME VERSION
cargo_tool() {
  grep -qs "^\"$1 $2 " "$TOOLS/.crates.toml" ||
    # Without optimizations: built four times as fast, and fast enough.
    CARGO_PROFILE_DEV_DEBUG=0 env -u CARGO_TARGET_DIR \
      cargo install --quiet --locked --debug --root "$TOOLS" --version "=$2" "$1"
}

# go_tool PACKAGE VERSION [FOLDER]: in a folder of its own when its name says too little
go_tool() {
  local folder=$TOOLS/bin${3:+/$3}
  local program=$folder/${1##*/}
  [ -x "$program" ] && go version -m "$program" | grep -q "^[[:space:]]mod[[:space:]].*[[:space:]]$2[[:space:]]" ||
    GOBIN=$folder go install "$1@$2"
}

# Where nginx is. It comes with the system's packages or not at all.
nginx_path() {
  local sudo=()
  export PATH=$PATH:/usr/local/sbin:/usr/sbin
  command -v nginx && return
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  {
    "${sudo[@]}" apt-get update --quiet &&
      "${sudo[@]}" apt-get install --quiet --yes --no-install-recommends nginx-light
  } >&2 ||
    fail "there is no nginx: install the package nginx-light (Debian), or nginx with its modules for HTTP/2, gRPC and TLS"
  command -v nginx
}

fail() {
  echo "error: $*" >&2
  exit 1
}

case ${1-} in
  "") steps=("${ALL[@]}") ;;
  --quick) steps=("${QUICK[@]}") ;;
  *) steps=("$@") ;;
esac
for step in "${steps[@]}"; do
  [[ " ${ALL[*]} " == *" $step "* ]] || fail "no step $step; there are: ${ALL[*]}"
done

mkdir -p "$TOOLS/bin"
summary=()
failed=0
for step in "${steps[@]}"; do
  printf '\n== %s\n' "$step"
  started=$SECONDS
  # In a shell of its own, where the first command that fails ends the step; the steps after it run all the same.
  (set -e; "step_$step")
  code=$?
  row=$(printf '%-6s %-12s %4d s' "$([ $code = 0 ] && echo ok || echo FAILED)" "$step" $((SECONDS - started)))
  echo "-- $row"
  summary+=("$row")
  [ $code = 0 ] || failed=1
done
printf '\n'
printf '%s\n' "${summary[@]}"
exit $failed
