#!/usr/bin/env bash
# Fetches NVIDIA's cuDNN, with cuBLAS and the compiler that it loads, into a folder outside the project, for the tests
# that plan for GPUs without one, and prints how to name it. About 2.5 GB on the disk; nothing of it is built against.
set -euo pipefail

case ${1:-} in
  -h | --help)
    echo "tools/cudnn.sh [FOLDER]   needs python3 with venv; the folder is /tmp/luxgrad-cudnn where none is named"
    exit 0
    ;;
esac
folder=${1:-/tmp/luxgrad-cudnn}

free=$(df --output=avail -k "$(dirname "$folder")" | tail -n 1)
if [ "$free" -lt 6000000 ]; then
  echo "tools/cudnn.sh: $(dirname "$folder") has $((free / 1000000)) GB free, 6 are needed" >&2
  exit 1
fi
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --no-cache-dir nvidia-cudnn-cu13
echo "LUX_PYTHON=$folder ctest --preset release -R cudnn_graphs -V"
