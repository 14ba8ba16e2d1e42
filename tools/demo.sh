#!/usr/bin/env bash
# Builds luxgrad and brightens a photo: the given one, or the example that comes along.
set -euo pipefail

if [ $# -gt 1 ] || [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  echo "tools/demo.sh [PHOTO]   brightens PHOTO (JPEG, PNG, BMP, PNM) and writes a before/after picture"
  [ $# -le 1 ] && exit 0 || exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
photo=$(realpath -e -- "${1:-$root/docs/photos/street.jpg}") || exit 3

cd "$root"
tools/packages.sh
cmake --preset release
cmake --build --preset release --target luxgrad_tool

mkdir -p build/demo
name=$(basename -- "$photo")
name=${name%.*}
tool=build/release/tools/luxgrad
"$tool" enhance -i "$photo" -o "build/demo/$name.png" --overwrite
"$tool" enhance -i "$photo" -o "build/demo/$name-before-after.png" --compare --overwrite
echo "Enhanced:     $root/build/demo/$name.png"
echo "Before/after: $root/build/demo/$name-before-after.png"
