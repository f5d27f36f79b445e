#!/usr/bin/env bash
# Mixed load with faults against the release binary, for as long as you like: memory, descriptors and threads must stay
# the same, and no call may end with a code that it should not.
#
#   tests/soak.sh [--minutes N]    10 unless told otherwise
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

minutes=10
case ${1-} in
  "") ;;
  --minutes) minutes=${2:?--minutes needs a number} ;;
  *) echo "error: unknown argument $1; there is --minutes N" >&2 && exit 2 ;;
esac

cargo build --locked --release --bin streamway
STREAMWAY=${CARGO_TARGET_DIR:-$PWD/target}/release/streamway SOAK_SECONDS=$((minutes * 60)) \
  cargo test --locked --all-features --test interop -- --nocapture soak::
