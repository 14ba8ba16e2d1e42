#!/usr/bin/env bash
# Compiles the kernels for sm_90, or for every architecture, and prints what each uses. Fails where registers are spilled,
# where a tuned kernel keeps any in memory, and where PTX adds floats by atomics: sums have one order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --help ]; then
  cat << 'TEXT'
tools/cuda_kernels.sh [FILE.cu...]   the tuned kernels, all of kernels/cuda/ where none are named; needs a configured preset
tools/cuda_kernels.sh --architectures [FILE.cu...]   the same for every architecture of the preset `cuda-all`
tools/cuda_kernels.sh --all          every source of the preset `cuda` that nvcc compiles, by the commands of the configured build/cuda
All need nvcc (in PATH, $CUDACXX or /usr/local/cuda).
TEXT
  exit 0
fi
nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if [ ! -x "$nvcc" ]; then
  echo "skipped: no nvcc (in PATH, \$CUDACXX or /usr/local/cuda)"
  exit 0
fi

# A command per source, without what says where the object goes.
commands=()
if [ "${1:-}" = --all ]; then
  # All but `-c FILE -o OBJECT` of what CMake wrote down, which has no quoted words.
  mapfile -t commands < <(sed -n 's/^ *"command": "\(.*nvcc .*\) -c \([^ ]*\) -o [^ ]*",$/\1 \2/p' build/cuda/compile_commands.json)
  [ ${#commands[@]} -gt 0 ] || { echo "cuda_kernels.sh: build/cuda names no source for nvcc" >&2; exit 1; }
else
  headers=$(ls -d build/*/include 2> /dev/null | head -n 1)
  [ -n "$headers" ] || { echo "cuda_kernels.sh: no preset is configured; try cmake --preset release" >&2; exit 1; }
  architectures=90
  if [ "${1:-}" = --architectures ]; then
    shift
    architectures=$(sed -n '/"name": "cuda-all", "inherits"/,/}/s/.*"CMAKE_CUDA_ARCHITECTURES": "\([^"]*\)".*/\1/p' CMakePresets.json)
    architectures=${architectures//-real/}
  fi
  codes=
  for architecture in ${architectures//;/ }; do codes+=" -gencode arch=compute_$architecture,code=sm_$architecture"; done
  [ -n "$codes" ] || { echo "cuda_kernels.sh: the preset cuda-all names no architecture" >&2; exit 1; }
  if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(ls kernels/cuda/*.cu); fi
  for file in "${files[@]}"; do
    commands+=("$nvcc -std=c++20 -O3 --expt-relaxed-constexpr -I $headers$codes $file")
  done
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bad=0
printf '%-6s %9s %6s %7s  %s\n' code registers stack shared kernel
for command in "${commands[@]}"; do
  read -ra words <<< "$command"
  file=${words[-1]#"$PWD"/}
  rm -rf "$out/kept" && mkdir "$out/kept"
  "${words[@]}" -Xptxas -v --keep --keep-dir "$out/kept" -c -o "$out/object" 2> "$out/log" || { cat "$out/log" && exit 1; }
  grep -v '^ptxas info\|bytes stack frame' "$out/log" || true  # warnings
  c++filt < "$out/log" | awk -v file="$file" '
    /Compiling entry function/ { code = $NF; gsub(/\047/, "", code); sub(/.*entry function ./, ""); sub(/. for .*/, ""); sub(/^void lux::cuda::run</, ""); name = $0 }
    /bytes stack frame/ { stack = $1; spills = $5 + $9 }
    /Used [0-9]+ registers/ {
      match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
      shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH - 11) : 0
      gsub(/lux::cuda::|lux::|\(anonymous namespace\)::/, "", name)
      gsub(/\((Activation|PixelLoss)\)/, "", name)
      sub(/> ?\(.*/, "", name)
      printf "%-6s %9d %6d %7d  %s\n", code, registers, stack, shared, name
      # The trees of the plain sums are arrays.
      if (spills > 0 || (stack > 0 && file ~ /[.]cu$/)) { printf "%s: %s for %s has %d bytes in memory, %d of them spilled\n", file, name, code, stack, spills; failed = 1 }
    }
    END { exit failed }' || bad=1
  if grep -nE '(red|atom)\.[a-z.]*add\.[a-z0-9.]*f(16|32|64)' "$out"/kept/*.ptx; then
    echo "$file: adds floats by atomics"
    bad=1
  fi
done
exit $bad
