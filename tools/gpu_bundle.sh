#!/usr/bin/env bash
# Packs what tools/gpu_check.sh needs into one file, on a machine with the CUDA toolkit and without a GPU: programs for
# sm_90 that need no library but the C library, the golden files, a photo, and the script that times PyTorch as well.
set -euo pipefail

usage() {
  cat << 'TEXT'
tools/gpu_bundle.sh [-o FILE] [--preset PRESET] [--add FILE]...
  -o FILE          the bundle (default luxgrad-gpu-check.tar.gz)
  --preset PRESET  what is built and packed (default gpu-check; emulated is for trying the scripts without a GPU)
  --add FILE       something more, for example a script that times other programs; it lies in the bundle's folder `more`
On the machine with the GPU: tar xf FILE && luxgrad-gpu-check/gpu_check.sh
TEXT
}

preset=gpu-check bundle=luxgrad-gpu-check.tar.gz more=()
while [ $# -gt 0 ]; do
  case $1 in
    -o) bundle=$2; shift 2 ;;
    --preset) preset=$2; shift 2 ;;
    --add) more+=("$(realpath "$2")"); shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "gpu_bundle.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
bundle=$(realpath -m "$bundle")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly most_bytes=60000000 oldest_glibc=GLIBC_2.35  # of Ubuntu 22.04, which images with PyTorch are built on
tests=(gpu_test network_golden_test zero_dce_golden_test gan_step_golden_test)

cmake --preset "$preset"
cmake --build --preset "$preset" --target luxgrad_tool "${tests[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/luxgrad-gpu-check
mkdir -p "$folder/bin" "$folder/golden" "$folder/peers"
cp "build/$preset/tools/luxgrad" "${tests[@]/#/build/$preset/tests/}" "$folder/bin/"
strip "$folder"/bin/*
cp tests/golden/*.safetensors "$folder/golden/"
cp bench/{gpu_peers,networks,steps}.py "$folder/peers/"
cp tools/gpu_check.sh docs/photos/street.jpg LICENSE "$folder/"
if [ ${#more[@]} -gt 0 ]; then mkdir "$folder/more" && cp -r "${more[@]}" "$folder/more/"; fi
{
  echo "commit $(git describe --always --dirty 2> /dev/null || echo unknown)"
  echo "preset $preset"
  sed -n 's/^CMAKE_CUDA_COMPILER:[A-Z]*=//p' "build/$preset/CMakeCache.txt" |
    while read -r nvcc; do
      "$nvcc" --version | sed -n 's/^.*release.*, V/nvcc /p'
      "$nvcc" --version | sed -n 's/^.*release 12\..*/needs driver 525 or newer/p; s/^.*release 13\..*/needs driver 580 or newer/p'
    done
} > "$folder/version"

# What every Linux has; a machine with an older C library cannot run the programs.
needed=$(LC_ALL=C readelf -dW "$folder"/bin/* | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u | tr '\n' ' ')
if [ "$preset" = gpu-check ] && grep -qE 'libstdc|libgcc|libcu|libz' <<< "$needed"; then
  echo "gpu_bundle.sh: the programs need more than the C library: $needed" >&2
  exit 1
fi
glibc=$(LC_ALL=C readelf -VW "$folder"/bin/* | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
if [ "$preset" = gpu-check ] && [ "$(printf '%s\n' "$glibc" $oldest_glibc | sort -V | tail -n 1)" != $oldest_glibc ]; then
  echo "gpu_bundle.sh: the programs need $glibc, and have to run by $oldest_glibc" >&2
  exit 1
fi

tar -C "$work" -c luxgrad-gpu-check | gzip -9 > "$bundle"
bytes=$(stat -c %s "$bundle")
echo "$bundle: $((bytes / 1000000)) MB, needs $needed of $glibc or newer"
[ "$bytes" -lt $most_bytes ] || { echo "gpu_bundle.sh: expected less than $((most_bytes / 1000000)) MB" >&2; exit 1; }
