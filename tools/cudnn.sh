#!/usr/bin/env bash
# Fetches NVIDIA's cuDNN 9.19 with what it loads into a folder outside the project, for the test that plans for GPUs
# without one, and prints how to name it. About 2 GB on the disk; nothing of it is built against. Of later versions
# 9.28 was seen to need a driver even for that.
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
"$folder/bin/pip" install --quiet --no-cache-dir nvidia-cudnn-cu13==9.19.0.56
echo "LUX_CUDNN=$(echo "$folder"/lib/python3*/site-packages/nvidia/cudnn/lib) ctest --preset release -R cudnn_graphs -V"
