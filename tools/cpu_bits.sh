#!/usr/bin/env bash
# Whether two builds of luxgrad compute the same bits on the CPU: nvcc's host half must be what the C++ compiler makes
# alone. Every network takes one training step and enhances a picture by both; weights and pictures are compared.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --help ] || [ $# -eq 1 ] || [ $# -gt 2 ]; then
  echo "tools/cpu_bits.sh [LUXGRAD LUXGRAD]   the two programs; build/release's and build/cuda's where none are named"
  [ "${1:-}" = --help ] && exit 0 || exit 2
fi
programs=("$(realpath "${1:-build/release/tools/luxgrad}")" "$(realpath "${2:-build/cuda/tools/luxgrad}")")
for program in "${programs[@]}"; do
  if [ ! -x "$program" ]; then echo "cpu_bits.sh: $program is not there; build luxgrad_tool first" >&2; exit 2; fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Photos by their header, noise by their pixels: a photo's bytes are at hand on every machine.
picture() { { printf 'P6\n%d %d\n255\n' "$2" "$3"; head -c "$4" docs/photos/street.jpg | tail -c $(($2 * $3 * 3)); } > "$1"; }
mkdir "$work/photos"
picture "$work/photos/a.ppm" 64 48 20000
picture "$work/photos/b.ppm" 64 48 40000
picture "$work/dark.ppm" 80 56 60000

quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; echo "cpu_bits.sh: $* failed" >&2; exit 1; }; }
models=$("${programs[0]}" info --json | grep -o '"name":"[a-z0-9_]*"' | cut -d '"' -f 4)
[ -n "$models" ] || { echo "cpu_bits.sh: luxgrad info names no models" >&2; exit 1; }

differing=0
for model in $models; do
  for side in 0 1; do
    luxgrad=${programs[side]} out=$work/$model.$side
    quietly "$luxgrad" train "$model" --data "$work/photos" --run "$out" --steps 1 --batch 1 --size 32 --validation 1 \
      --device cpu --progress none
    quietly "$luxgrad" convert "$out"/checkpoints/step_00000001.safetensors "$out.safetensors"
    # Both by the weights of the first, so that each verdict speaks for itself.
    quietly "$luxgrad" enhance -i "$work/dark.ppm" -o "$out.png" -m "$work/$model.0.safetensors" --device cpu --progress none
    rm -r "$out"
  done
  for kind in safetensors png; do
    what=$([ $kind = png ] && echo "an enhanced picture" || echo "weights after a step")
    if cmp -s "$work/$model.0.$kind" "$work/$model.1.$kind"; then
      echo "same       $model, $what"
    else
      echo "DIFFERENT  $model, $what"
      differing=$((differing + 1))
    fi
  done
done
[ $differing -eq 0 ] || { echo "$differing differ"; exit 1; }
