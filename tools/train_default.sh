#!/usr/bin/env bash
# Trains the weights that come with luxgrad: from normal photos alone, which the program darkens by itself.
set -euo pipefail

usage() {
  cat << 'TEXT'
tools/train_default.sh PHOTOS [RUN [FLAG...]]
  PHOTOS   folder of well-exposed photos (JPEG, PNG, BMP, PNM), subfolders included
  RUN      run folder, default build/train_default; an interrupted run in it is continued
  FLAG...  further flags of `luxgrad train`, such as --epochs 50 or -j 4
The result is RUN/best.safetensors. Copied to models/weights/zero_dce.safetensors it is the default of the next build.
TEXT
}

if [ $# -lt 1 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
  usage
  [ $# -ge 1 ] && exit 0 || exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
photos=$(realpath -e -- "$1") || exit 3
run=$(realpath -m -- "${2:-$root/build/train_default}")
shift $(($# > 2 ? 2 : $#))

cd "$root"
tools/packages.sh
cmake --preset release
cmake --build --preset release --target luxgrad_tool

resume=()
[ ! -e "$run/config.toml" ] || resume=(--resume)
build/release/tools/luxgrad train zero_dce --recipe default --data "$photos" --run "$run" "${resume[@]}" "$@"
echo "Weights: $run/best.safetensors"
