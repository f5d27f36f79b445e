#!/usr/bin/env bash
# Every check of the project, in the order of what it costs. What cannot run fails.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

step format
cargo fmt --check
step clippy
cargo clippy --locked --all-targets -- -D warnings
cargo clippy --locked --lib --no-default-features -- -D warnings
step tests
cargo test --locked
step docs
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
