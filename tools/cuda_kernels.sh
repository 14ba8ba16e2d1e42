#!/usr/bin/env bash
# Compiles the tuned kernels (kernels/cuda/*.cu) for sm_90 and prints what each uses. Fails where registers are
# spilled or kept in memory, and where PTX adds floats by atomics: sums have one order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --help ]; then
  echo "tools/cuda_kernels.sh [FILE.cu...]   needs nvcc (in PATH, \$CUDACXX or /usr/local/cuda) and a configured build/release"
  exit 0
fi
nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if [ ! -x "$nvcc" ]; then
  echo "skipped: no nvcc (in PATH, \$CUDACXX or /usr/local/cuda)"
  exit 0
fi
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(ls kernels/cuda/*.cu); fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bad=0
printf '%9s %6s %7s  %s\n' registers stack shared kernel
for file in "${files[@]}"; do
  flags=(-std=c++20 -O3 --expt-relaxed-constexpr -I build/release/include)
  "$nvcc" "${flags[@]}" -gencode arch=compute_90,code=sm_90 -Xptxas -v --keep --keep-dir "$out" -c "$file" \
    -o "$out/object" 2> "$out/log" || { cat "$out/log" && exit 1; }
  grep -v '^ptxas info\|bytes stack frame' "$out/log" || true  # warnings
  c++filt < "$out/log" | awk -v file="$file" '
    /Compiling entry function/ { sub(/.*entry function ./, ""); sub(/. for .*/, ""); sub(/^void lux::cuda::run</, ""); name = $0 }
    /bytes stack frame/ { stack = $1; spills = $5 + $9 }
    /Used [0-9]+ registers/ {
      match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
      shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH - 11) : 0
      gsub(/lux::cuda::|lux::|\(anonymous namespace\)::/, "", name)
      gsub(/\((Activation|PixelLoss)\)/, "", name)
      sub(/> ?\(.*/, "", name)
      printf "%9d %6d %7d  %s\n", registers, stack, shared, name
      if (spills + stack > 0) { printf "%s: %s has %d bytes in memory, %d of them spilled\n", file, name, stack, spills; failed = 1 }
    }
    END { exit failed }' || bad=1
  if grep -nE '(red|atom)\.[a-z.]*add\.[a-z0-9.]*f(16|32|64)' "$out/$(basename "$file" .cu).ptx"; then
    echo "$file: adds floats by atomics"
    bad=1
  fi
done
exit $bad
