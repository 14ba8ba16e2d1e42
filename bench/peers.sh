#!/usr/bin/env bash
# Times luxgrad against PyTorch, ONNX Runtime and OpenVINO in turn, with one and with two threads, and prints the
# tables. The peers are fetched into an environment outside of the project when it is not there yet.
set -euo pipefail

case ${1:-} in
  -h | --help)
    cat << 'TEXT'
bench/peers.sh [ARGUMENTS of bench/peers.py]
  LUX_PEERS   the Python environment of the peers (default /tmp/luxgrad-peers; 6 GB where it has to be made)
Needs build/release/tools/luxgrad. The tables of all models take about half an hour on two idle cores.
TEXT
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=${LUX_PEERS:-/tmp/luxgrad-peers}
if [ ! -x build/release/tools/luxgrad ]; then
  echo "peers.sh: no build/release/tools/luxgrad; cmake --build --preset release makes it" >&2
  exit 1
fi
if [ ! -x "$peers/bin/python" ]; then
  python3 -m venv "$peers"
  "$peers/bin/pip" install --quiet torch numpy onnx onnxscript onnxruntime openvino
fi

uptime
for threads in 1 2; do
  "$peers/bin/python" bench/peers.py --threads "$threads" "$@"
  echo
done
