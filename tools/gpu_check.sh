#!/usr/bin/env bash
# Shows what luxgrad does on the GPU of this machine, in at most eight minutes, and writes a report. It needs a driver,
# cuDNN and cuBLAS (PyTorch's will do) and the bundle of tools/gpu_bundle.sh, or a build.
set -uo pipefail

usage() {
  cat << 'TEXT'
gpu_check.sh [-o REPORT] [--build FOLDER] [--part NAME] [--quick]
  -o REPORT       where the report goes (default gpu_report.md)
  --build FOLDER  a build to check, for example build/cuda (default: the bundle that this script lies in)
  --part NAME     only the parts whose names begin so; `benchmark` alone has time for more rows
  --quick         of each part a few seconds; always where the CPU plays the device (preset `emulated`)
cuDNN and cuBLAS: LUX_CUDNN, LUX_CUBLAS, the loader, a toolkit, a Python environment (LUX_PYTHON, VIRTUAL_ENV, CONDA_PREFIX,
or found in the usual places). PyTorch, which the benchmark compares with: in LUX_PEERS, one of those environments, or python3.
Exit status: 0 all passed, 5 there is no GPU, 7 a part, or the look for a GPU, failed or was cut off.
TEXT
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
report=gpu_report.md build='' only='' quick=''
while [ $# -gt 0 ]; do
  case $1 in
    -o) report=$2; shift 2 ;;
    --build) build=$(realpath "$2"); shift 2 ;;
    --part) only=$2; shift 2 ;;
    --quick) quick=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "gpu_check.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done

if [ -n "$build" ]; then
  luxgrad=$build/tools/luxgrad tests=$build/tests golden=$here/../tests/golden peers=$here/../bench version=$build/version
else
  luxgrad=$here/bin/luxgrad tests=$here/bin golden=$here/golden peers=$here/peers version=$here/version
fi
if [ ! -x "$luxgrad" ]; then
  echo "gpu_check.sh: $luxgrad is not there; unpack a bundle of tools/gpu_bundle.sh, or name a build with --build" >&2
  exit 2
fi
export LUX_GOLDEN=$golden LUX_GOLDEN_DEVICE=cuda:0

# PyTorch's cuDNN, wherever Python packages lie on this machine.
if [ -z "${LUX_PYTHON:-}${LUX_CUDNN:-}${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
  for packages in /opt/*/lib/python3*/site-packages /usr/local/lib/python3*/{dist,site}-packages /usr/lib/python3*/{dist,site}-packages \
    "${HOME:-/root}"/.local/lib/python3*/site-packages; do
    if [ -d "$packages/nvidia/cudnn/lib" ]; then export LUX_PYTHON=$packages; break; fi
  done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
started=$(date +%s)

head_of_report() {
  echo "# GPU report"
  echo
  echo "Written by \`tools/gpu_check.sh\` on $(date -u '+%Y-%m-%d %H:%M UTC')."
  echo
}

timeout 20 "$luxgrad" info --json > "$work/info.json" 2> "$work/info.err"
code=$?
if ! grep -q '"cuda:0"' "$work/info.json"; then
  why=$(sed -n 's/.*"no_cuda":"\([^"]*\)".*/\1/p' "$work/info.json") status=5
  if [ -z "$why" ]; then
    why="luxgrad info failed with status $code$(sed '1s/^/: /;q' "$work/info.err")" status=7
    if [ $code -eq 124 ]; then why='luxgrad info was cut off after 20 s'; fi
  fi
  {
    head_of_report
    if [ $status -eq 5 ]; then echo "No GPU was at hand: $why. Nothing was measured, and nothing ran on a device."; else echo "Nothing was measured: $why."; fi
  } > "$report"
  echo "gpu_check.sh: $why; nothing was measured" >&2
  exit $status
fi
played=''
if grep -q 'the CPU plays the device' "$work/info.json"; then played=yes quick=yes; fi

# part NAME SECONDS COMMAND...: its output goes below the table, the last lines of it if it is long.
rows=() failed=0 details=$work/details
: > "$details"
part() {
  local name=$1 seconds=$2 begin code outcome
  shift 2
  [[ $name == "$only"* ]] || return 0
  begin=$(date +%s)
  timeout --kill-after=1 "$seconds" "$@" > "$work/out" 2>&1
  code=$?
  case $code in
    0) outcome=passed ;;
    124 | 137) outcome="cut off after $seconds s" ;;
    *) outcome="FAILED, status $code" ;;
  esac
  if [ $code -eq 0 ] && grep -q '^skipped: ' "$work/out"; then outcome=$(grep -m 1 '^skipped: ' "$work/out"); fi
  [ $code -eq 0 ] || failed=1
  rows+=("| $name | $outcome | $(($(date +%s) - begin)) s of $seconds |")
  printf '%s\n' "$name: $outcome"
  {
    echo "## $name"
    echo
    echo '```'
    if [ "$(wc -l < "$work/out")" -gt 400 ]; then echo "... the last 400 of $(wc -l < "$work/out") lines"; fi
    tail -n 400 "$work/out"
    echo '```'
    echo
  } >> "$details"
}

networks=(zero_dce zero_dce_plus unet gan reference_guided mirnet_keras mirnet_v1 mirnet_v2)
size=64x64 some_rows=() some_cases=()
if [ -n "$quick" ]; then
  networks=(zero_dce)
  size=24x16
  some_rows=(--filter '^(relu|softmax|curve_iterations|avg_pool2d)')
  some_cases=(-tc="ten runs*")
fi

networks_agree() {
  local status=0 name
  for name in "${networks[@]}"; do
    echo "$name"
    "$luxgrad" parity -n "$name" --with "cuda:0/$1" --against cpu/f64 --size "$size" || status=$?
  done
  return $status
}
goldens() {
  local status=0
  if [ -n "$quick" ]; then
    mkdir "$work/golden" && cp "$golden"/zero_dce_1x37x53.safetensors "$work/golden/" || return
    LUX_GOLDEN=$work/golden "$tests/zero_dce_golden_test" -tc="zero_dce equals*in f32" || status=$?
    return $status
  fi
  "$tests/zero_dce_golden_test" -tc="*in f32" || status=$?
  "$tests/network_golden_test" -tc="*in f32" || status=$?
  "$tests/gan_step_golden_test" -tc="*in f32" || status=$?
  return $status
}
# With kernels of their own, each of another kind.
watched=(curve_iterations batch_norm weighted_sum pooled_sum attention_pool attention_scale max_pool2d softmax concat resize
  'conv2d, depthwise' 'loss zero_dce' 'loss hsv_distance' 'loss charbonnier')
sanitized() {
  local name sanitizer tool status=0
  for name in "${watched[@]}"; do  # they follow the operators' names
    if ! "$luxgrad" parity --with cpu --filter "^$name" > "$work/case" 2>&1; then echo "no case $name"; return 1; fi
  done
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null)
  if [ -z "$sanitizer" ]; then echo "skipped: no compute-sanitizer here"; return 0; fi
  if [ -n "$played" ]; then echo "skipped: there is no GPU whose threads it could watch"; return 0; fi
  for tool in memcheck racecheck; do
    "$sanitizer" --tool "$tool" --error-exitcode 9 "$luxgrad" parity --with cuda:0 --against cpu/f32 \
      --filter "^($(IFS='|'; echo "${watched[*]}"))" || status=$?
  done
  return $status
}
# Kernels against the time that their memory needs, in networks that have most of them.
floors() {
  local precision row rows=('zero_dce --size 1200x900 --crop 256 --batch 8' 'mirnet_v2 --size 256x256 --crop 128 --batch 4'
    'gan --size 256x256 --crop 256 --batch 1') status=0
  if [ -n "$quick" ]; then rows=('zero_dce --size 24x16 --crop 16 --batch 1 --repeat 1'); fi
  for precision in fp32 bf16; do
    for row in "${rows[@]}"; do
      # shellcheck disable=SC2086
      "$luxgrad" bench --device cuda:0 --operators --precision $precision -n $row > "$work/floors" 2>&1 || status=$?
      if [ -n "$played" ] && [ $status -eq 0 ]; then
        echo "$row, $precision: ran; the CPU plays the device, whose times mean nothing"
      else
        cat "$work/floors"
      fi
    done
  done
  return $status
}
# The first Python with a PyTorch that reaches the device, else any.
python_for_peers() {
  local python probe='import torch; torch.cuda.init()'
  if [ -n "$played" ]; then probe='import torch'; fi
  for python in "${LUX_PEERS:-/tmp/luxgrad-peers}/bin/python" "${VIRTUAL_ENV:-}/bin/python" "${CONDA_PREFIX:-}/bin/python" python3 \
    /opt/*/bin/python3 /usr/local/bin/python3; do
    if command -v "$python" > /dev/null && "$python" -c "$probe" 2> /dev/null; then
      command -v "$python"
      return
    fi
  done
  command -v python3
}
bench() {
  local python
  if ! python=$(python_for_peers); then echo "skipped: no Python here, which times luxgrad and PyTorch in turn"; return 0; fi
  "$python" "$peers/gpu_peers.py" --luxgrad "$luxgrad" --seconds "$1" ${played:+--dry-run}
}
export -f networks_agree goldens sanitized floors python_for_peers bench
# What the functions above read, for the shells that `timeout` starts.
in_shell() { printf '%s; %s' "$(declare -p luxgrad tests golden peers quick played networks size watched work)" "$*"; }

# Together 395 s at most, so that the benchmark has most of a minute of the eight.
part "operators, f32" 45 "$luxgrad" parity --with cuda:0/f32 --against cpu/f64 "${some_rows[@]}"
[ -n "$played" ] || part "operators, tf32" 20 "$luxgrad" parity --with cuda:0/tf32 --against cpu/f64
part "operators, bf16" 20 "$luxgrad" parity --with cuda:0/bf16 --against cpu/f64 "${some_rows[@]}"
part "networks, f32" 45 bash -c "$(in_shell networks_agree f32)"
[ -n "$played" ] || part "networks, tf32" 20 bash -c "$(in_shell networks_agree tf32)"
part "networks, bf16" 20 bash -c "$(in_shell networks_agree bf16)"
part "gradients" 60 "$luxgrad" gradcheck --device cuda:0 "${some_rows[@]}"
part "goldens" 55 bash -c "$(in_shell goldens)"
part "ten runs, failing allocations" 35 "$tests/gpu_test" "${some_cases[@]}"
part "compute-sanitizer" 40 bash -c "$(in_shell sanitized)"
part "kernels against their floor" 35 bash -c "$(in_shell floors)"
# What the other parts have left of eight minutes; the peers end ten seconds before they would be cut off.
left=$((470 - ($(date +%s) - started)))
if [ $left -lt 50 ]; then left=50; fi
part "benchmark" $left bash -c "$(in_shell "bench $((left - 10))")"

{
  head_of_report
  if [ -n "$played" ]; then
    echo "**There was no GPU: the CPU played the device (preset \`emulated\`). This only shows that the script works; nothing was measured.**"
    echo
  fi
  [ -f "$version" ] && sed 's/^/* /' "$version"
  echo "* $("$luxgrad" --version 2> /dev/null | head -n 1)"
  echo "* libraries: $(sed -n 's/.*"libraries":"\([^"]*\)".*/\1/p' "$work/info.json")"
  if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null | sed 's/^/* /'
  fi
  echo "* $(uname -sr), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors"
  echo
  echo "| part | outcome | time |"
  echo "|---|---|---|"
  printf '%s\n' "${rows[@]}"
  echo
  echo "All in $(($(date +%s) - started)) s."
  echo
  cat "$details"
  echo "## The device, as cuDNN describes it"
  echo
  echo '```json'
  sed -n 's/.*"cuda":\({.*}\)}$/\1/p' "$work/info.json"
  echo '```'
} > "$report"
echo "$report written"
[ $failed -eq 0 ] || exit 7
