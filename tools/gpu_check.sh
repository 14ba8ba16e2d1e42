#!/usr/bin/env bash
# Shows what luxgrad does on the GPU of this machine, in at most eight minutes, and writes a report. It needs a driver,
# cuDNN and cuBLAS (PyTorch's will do) and the bundle of tools/gpu_bundle.sh, or a build.
set -uo pipefail

usage() {
  cat << 'TEXT'
gpu_check.sh [-o REPORT] [--build FOLDER] [--part NAME] [--quick]
  -o REPORT       where the report goes (default gpu_report.md)
  --build FOLDER  a build to check, for example build/gpu-check (default: the bundle that this script lies in)
  --part NAME     only the parts whose names begin so; `benchmark` alone has time for more rows
  --quick         of each part a few seconds; always where the CPU plays the device (preset `emulated`)
cuDNN and cuBLAS: LUX_CUDNN, LUX_CUBLAS, the loader, a toolkit, Python packages (LUX_PYTHON, else found in VIRTUAL_ENV,
CONDA_PREFIX, LUX_PEERS, where python3 looks, or in the usual places). PyTorch, which the benchmark compares with: in LUX_PEERS,
one of those environments, or python3. What luxgrad keeps for later (--autotune) it keeps in a folder that goes at the end.
Exit status: 0 all passed, 5 no GPU can be used, 7 a part, or the look for a GPU, failed, was cut off or not reached;
compute-sanitizer may be cut off.
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
  street=$here/../docs/photos/street.jpg
else
  luxgrad=$here/bin/luxgrad tests=$here/bin golden=$here/golden peers=$here/peers version=$here/version street=$here/street.jpg
fi
if [ ! -x "$luxgrad" ]; then
  echo "gpu_check.sh: $luxgrad is not there; unpack a bundle of tools/gpu_bundle.sh, or name a build with --build" >&2
  exit 2
fi
export LUX_GOLDEN=$golden LUX_GOLDEN_DEVICE=cuda:0

started=$(date +%s)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache  # plans are timed anew, and those of this machine's user are left alone

# PyTorch's cuDNN, wherever Python packages lie on this machine.
if [ -z "${LUX_PYTHON:-}${LUX_CUDNN:-}" ]; then
  mapfile -t searched < <(timeout 10 python3 -c 'import site; print(*site.getsitepackages(), site.getusersitepackages(), sep="\n")' 2> /dev/null)
  for packages in "${VIRTUAL_ENV:-/none}"/lib/python3*/site-packages "${CONDA_PREFIX:-/none}"/lib/python3*/site-packages \
    "${LUX_PEERS:-/tmp/luxgrad-peers}"/lib/python3*/site-packages "${searched[@]}" /opt/*/lib/python3*/site-packages \
    /usr/local/lib/python3*/{dist,site}-packages /usr/lib/python3*/{dist,site}-packages \
    "${HOME:-/root}"/.local/lib/python3*/site-packages; do
    if [ -d "$packages/nvidia/cudnn/lib" ]; then export LUX_PYTHON=$packages; break; fi
  done
fi

head_of_report() {
  echo "# GPU report"
  echo
  echo "Written by \`tools/gpu_check.sh\` on $(date -u '+%Y-%m-%d %H:%M UTC')."
  echo
}

# Lines of the report.
about_machine() {
  if command -v nvidia-smi > /dev/null; then
    timeout 10 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null | sed 's/^/* /'
  fi
  echo "* Python packages of NVIDIA: ${LUX_PYTHON:-none found}"
  echo "* $(uname -sr), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors"
}

# The first process that opens NVIDIA's libraries reads gigabytes.
timeout 60 "$luxgrad" info --json > "$work/info.json" 2> "$work/info.err"
code=$?
if ! grep -q '"cuda:0"' "$work/info.json"; then
  why=$(sed -n 's/.*"no_cuda":"\([^"]*\)".*/\1/p' "$work/info.json") status=5
  said="cuda:0 cannot be used: $why"
  if [ -z "$why" ]; then
    said="luxgrad info failed with status $code$(sed '1s/^/: /;q' "$work/info.err")" status=7
    if [ $code -eq 124 ]; then said='luxgrad info was cut off after 60 s'; fi
  fi
  {
    head_of_report
    echo "$said. Nothing was measured, and nothing was checked on a device."
    echo
    about_machine
  } > "$report"
  echo "gpu_check.sh: $said; nothing was measured" >&2
  exit $status
fi
played=''
if grep -q 'the CPU plays the device' "$work/info.json"; then played=yes quick=yes; fi

# Seconds since the start at which the checks end, and the benchmark.
readonly checks_end=420 benchmark_end=470
elapsed() { echo $(($(date +%s) - started)); }

# part [--may-be-cut-off] NAME SECONDS COMMAND...: its output goes below the table, the last lines of it if it is long.
rows=() failed=0 details=$work/details
: > "$details"
part() {
  local tolerated='' name seconds room begin code outcome
  if [ "$1" = --may-be-cut-off ]; then tolerated=yes; shift; fi
  name=$1 seconds=$2
  shift 2
  [[ $name == "$only"* ]] || return 0
  if [ -n "$played" ]; then seconds=$((3 * seconds)); fi  # an emulator, perhaps beside other tests
  room=$(($([ "$name" = benchmark ] && echo $benchmark_end || echo $checks_end) - $(elapsed)))
  if [ "$seconds" -gt "$room" ]; then seconds=$room; fi
  if [ "$seconds" -lt 2 ]; then
    rows+=("| $name | not reached, the time was over | |")
    echo "$name: not reached, the time was over"
    [ -n "$tolerated" ] || failed=1
    return 0
  fi
  begin=$(date +%s)
  timeout --kill-after=1 "$seconds" "$@" > "$work/out" 2>&1
  code=$?
  case $code in
    0) outcome=passed ;;
    124 | 137) outcome="cut off after $seconds s" ;;
    *) outcome="FAILED, status $code" ;;
  esac
  if [ $code -eq 0 ] && grep -q 'MESSAGE: skipped: ' "$work/out"; then  # of a test: there is a device, and there are files
    outcome="FAILED, something was skipped" code=7
  fi
  if [ $code -eq 0 ] && grep -q '^skipped: ' "$work/out"; then outcome=$(grep -m 1 '^skipped: ' "$work/out"); fi
  if [ $code -ne 0 ] && { [ -z "$tolerated" ] || { [ $code -ne 124 ] && [ $code -ne 137 ]; }; }; then failed=1; fi
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
size=64x64 photo=(360 240) side=64 some_rows=() some_cases=()
if [ -n "$quick" ]; then
  networks=(zero_dce)
  size=24x16 photo=(40 32) side=16
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
# picture FILE WIDTH HEIGHT MAXIMUM OFFSET: noise, of bytes of the golden files.
picture() {
  local bytes=$(($2 * $3 * 3 * ($4 > 255 ? 2 : 1)))
  { printf 'P6\n%d %d\n%d\n' "$2" "$3" "$4"; cat "$golden"/*.safetensors | tail -c "+$5" | head -c $bytes; } > "$1"
}
quietly() { "$@" > "$work/log" 2>&1 || { local status=$?; cat "$work/log"; echo "failed: $*"; return $status; }; }
# samples FILE WIDTH HEIGHT BYTES: one a line, of a PNM.
samples() { tail -c $(($2 * $3 * 3 * $4)) "$1" | od -An -v -w"$4" -tu1; }
# near FOLDER FOLDER STEPS DB: whether pictures differ by at most so many steps of 255, and their PSNR is so many dB.
near() {
  local file other width height maximum bytes status=0
  for file in "$1"/*; do
    other=$2/${file##*/}
    if ! cmp -s <(head -n 3 "$file") <(head -n 3 "$other"); then echo "$file and $other are not alike"; return 1; fi
    { read -r _; read -r width height; read -r maximum; } < "$file"
    bytes=$((maximum > 255 ? 2 : 1))
    paste -d ' ' <(samples "$file" "$width" "$height" $bytes) <(samples "$other" "$width" "$height" $bytes) |
      awk -v name="${file##*/}" -v all=$((width * height * 3)) -v most="$3" -v least="$4" '
        NF == 2 { step = $1 - $2 }
        NF == 4 { step = (256 * ($1 - $3) + $2 - $4) / 257 }
        { if (step < 0) step = -step; if (step > largest) largest = step; squares += step * step }
        END {
          psnr = squares == 0 ? 999 : 10 * log(NR * 255 * 255 / squares) / log(10)
          good = NR == all && largest <= most && psnr >= least
          printf "  %-12s at most %.3f of 255 (bound %s), %s (bound %s)%s\n", name, largest, most,
            squares == 0 ? "equal" : sprintf("%.1f dB", psnr), least, good ? "" : "  TOO FAR"
          exit !good
        }' || status=1
  done
  return $status
}
# on_device FOLDER OPTION...: the photos, enhanced there and nowhere else.
on_device() {
  local folder=$1
  shift
  quietly "$luxgrad" enhance -i "$work/photos" -o "$folder" -f pnm --device cuda:0 --progress none "$@" || return
  cat "$work/log"
  if grep -q 'on the CPU\|in f32\|would be' "$work/log"; then echo "the device did not do it as it was asked"; return 1; fi
}
# Photos of two sizes, of 8 and 16 bits in turn, and where there is time one that a camera made. In f32 the devices may differ
# by a step of 255, where a rounding falls to the other side; bf16 may be as far off as the probe admits (precision_choice.cpp).
enhanced() {
  local i status=0
  mkdir "$work/photos"
  for i in 1 2 3 4 5 6; do
    picture "$work/photos/$i.ppm" "${photo[i % 2]}" "${photo[1 - i % 2]}" $((i / 2 % 2 == 0 ? 255 : 65535)) $((i * 1300000))
  done
  [ -n "$quick" ] || cp "$street" "$work/photos/" || return
  on_device "$work/f32" || return
  on_device "$work/again" || return
  on_device "$work/bf16" --precision bf16 || return
  if diff -rq "$work/f32" "$work/again"; then echo "twice: the same bytes"; else status=1; fi
  quietly "$luxgrad" enhance -i "$work/photos" -o "$work/cpu" -f pnm --device cpu --progress none || return
  echo "f32 on the device and on the CPU:"
  near "$work/f32" "$work/cpu" 1 60 || status=1
  echo "bf16 on the device and f32 on the CPU:"
  near "$work/bf16" "$work/cpu" 255 40 || status=1
  if [ -n "$played" ]; then
    echo "--autotune: the CPU plays the device, which has no engines"
    return $status
  fi
  on_device "$work/tuned" --autotune && cp "$XDG_CACHE_HOME/luxgrad/plans" "$work/plans" || return
  on_device "$work/tuned-again" --autotune || return
  if cmp "$work/plans" "$XDG_CACHE_HOME/luxgrad/plans" && diff -rq "$work/tuned" "$work/tuned-again"; then
    echo "--autotune, twice: the second run found its plans in the book; the same bytes"
  else
    echo "--autotune, twice: not the same"
    status=1
  fi
  return $status
}
# losses RUN: number and loss of each step.
losses() { sed -n 's/.*"step":\([0-9]*\),.*"total":\([^,]*\),.*/\1 \2/p' "$1/log.jsonl"; }
# Three steps on the device and on the CPU, whose losses may differ by 1 %; and a run that lost its last step, as if it had
# been killed, resumed: the same weights.
trained() {
  local name i arguments names=(zero_dce unet) folder=$work/pairs status=0
  if [ -n "$quick" ]; then names=(zero_dce); fi  # a step of unet takes the emulator a quarter of a minute
  mkdir -p "$folder/low" "$folder/high"
  for i in 1 2 3; do
    picture "$folder/low/$i.ppm" "${photo[@]}" 255 $((i * 1100000))
    picture "$folder/high/$i.ppm" "${photo[@]}" 255 $((i * 1500000))
  done
  for name in "${names[@]}"; do
    arguments=(train "$name" --steps 3 --batch 2 --size "$side" --progress none)
    if [ "$name" = zero_dce ]; then arguments+=(--recipe official --data "$folder/low"); else arguments+=(--data "$folder" --validation 1); fi
    quietly "$luxgrad" "${arguments[@]}" --device cuda:0 --run "$work/$name" || return
    quietly "$luxgrad" "${arguments[@]}" --device cpu --run "$work/$name.cpu" || return
    paste -d ' ' <(losses "$work/$name") <(losses "$work/$name.cpu") | awk -v name="$name" '
      { off = ($2 - $4) / $4; if (off < 0) off = -off; good = NF == 4 && off <= 0.01; bad += !good
        printf "%s, step %d: loss %s, on the CPU %s%s\n", name, $1, $2, $4, good ? "" : "  TOO FAR" }
      END { exit NR != 3 || bad }' || status=1
    cp -r "$work/$name" "$work/$name.cut" && rm "$work/$name.cut/checkpoints/step_00000003.safetensors" || return
    quietly "$luxgrad" "${arguments[@]}" --device cuda:0 --run "$work/$name.cut" --resume || return
    grep '^resumed after step 2$' "$work/log" || { cat "$work/log"; return 1; }
    for i in "$name" "$name.cut"; do
      quietly "$luxgrad" convert "$work/$i/checkpoints/step_00000003.safetensors" "$work/$i.safetensors" || return
    done
    if cmp "$work/$name.safetensors" "$work/$name.cut.safetensors"; then echo "$name: the same weights"; else status=1; fi
  done
  return $status
}
gradients() {
  if "$luxgrad" gradcheck --device cuda:0 --filter '^relu$' 2>&1 | grep -q 'no f64 kernels'; then
    echo "skipped: this build has no f64 kernels; the preset gpu-check has them"
    return 0
  fi
  "$luxgrad" gradcheck --device cuda:0 "$@"
}
# Plans that --autotune finds are kept by the hash of this text: another text in the next process, and none is found again.
described() {
  local from hash hashes=()
  "$luxgrad" info --json > "$work/info.again" || return
  for from in "$work/info.json" "$work/info.again"; do
    hash=$(sed -n 's/.*"description":\(.*\)}}$/\1/p' "$from" | sha256sum | cut -c 1-16)
    hashes+=("$hash")
    echo "$hash  sha256 of what cuDNN says of the device, in process ${#hashes[@]}"
  done
  if ! grep -q '"description":' "$work/info.json"; then echo "luxgrad info has no description"; return 1; fi
  if [ "${hashes[0]}" != "${hashes[1]}" ]; then
    diff <(tr , '\n' < "$work/info.json") <(tr , '\n' < "$work/info.again")
    return 1
  fi
}
# With kernels of their own, each of another kind.
watched=(curve_iterations batch_norm weighted_sum pooled_sum attention_pool attention_scale max_pool2d softmax concat resize
  'conv2d, depthwise' 'loss zero_dce' 'loss hsv_distance' 'loss charbonnier')
sanitized() {
  local name sanitizer status filter
  filter="^($(IFS='|'; echo "${watched[*]}"))"
  quietly "$luxgrad" parity --with cpu --filter "$filter" || return
  for name in "${watched[@]}"; do  # they follow the operators' names
    if ! grep -q "  $name" "$work/log"; then echo "no case $name"; return 1; fi
  done
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null)
  if [ -z "$sanitizer" ]; then echo "skipped: no compute-sanitizer here"; return 0; fi
  if [ -n "$played" ]; then echo "skipped: there is no GPU whose threads it could watch"; return 0; fi
  "$sanitizer" --tool "$1" --error-exitcode 9 "$luxgrad" parity --with cuda:0 --against cpu/f32 --filter "$filter" 2>&1 |
    tee "$work/watched"
  status=${PIPESTATUS[0]}
  if ! grep -q 'SUMMARY: ' "$work/watched"; then echo "skipped: compute-sanitizer does not work here"; return 0; fi
  return "$status"
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
    if command -v "$python" > /dev/null && timeout 60 "$python" -c "$probe" 2> /dev/null; then
      command -v "$python"
      return
    fi
  done
  command -v python3
}
# Ends ten seconds before it would be cut off. Python takes the shell's place, so that it is told of that, too.
bench() {
  local python seconds
  if ! python=$(python_for_peers); then echo "skipped: no Python here, which times luxgrad and PyTorch in turn"; return 0; fi
  seconds=$((benchmark_end - 10 - $(elapsed)))
  if [ -n "$quick" ] && [ -z "$played" ]; then seconds=60; fi
  exec "$python" "$peers/gpu_peers.py" --luxgrad "$luxgrad" --seconds "$seconds" ${played:+--dry-run --precision bf16}
}
export -f elapsed networks_agree goldens picture quietly samples near on_device enhanced losses trained gradients described sanitized \
  floors python_for_peers bench
# What the functions above read, for the shells that `timeout` starts.
in_shell() {
  printf '%s; %s' "$(declare -p luxgrad tests golden street peers quick played networks size photo side watched work started \
    benchmark_end)" "$(printf '%q ' "$@")"
}

# 570 s together, and 60 before them: only where nearly all are cut off the last are not reached, and the benchmark has 50.
part "operators, f32" 45 "$luxgrad" parity --with cuda:0/f32 --against cpu/f64 "${some_rows[@]}"
[ -n "$played" ] || part "operators, tf32" 20 "$luxgrad" parity --with cuda:0/tf32 --against cpu/f64
part "operators, bf16" 20 "$luxgrad" parity --with cuda:0/bf16 --against cpu/f64 "${some_rows[@]}"
part "networks, f32" 45 bash -c "$(in_shell networks_agree f32)"
[ -n "$played" ] || part "networks, tf32" 40 bash -c "$(in_shell networks_agree tf32)"
part "networks, bf16" 40 bash -c "$(in_shell networks_agree bf16)"
part "photos enhanced" 60 bash -c "$(in_shell enhanced)"
part "trained and resumed" 40 bash -c "$(in_shell trained)"
part "gradients" 60 bash -c "$(in_shell gradients "${some_rows[@]}")"
part "goldens" 50 bash -c "$(in_shell goldens)"
part "ten runs, failing allocations" 30 "$tests/gpu_test" "${some_cases[@]}"
part "description of the device" 30 bash -c "$(in_shell described)"
part "kernels against their floor" 30 bash -c "$(in_shell floors)"
part --may-be-cut-off "compute-sanitizer memcheck" 30 bash -c "$(in_shell sanitized memcheck)"
part --may-be-cut-off "compute-sanitizer racecheck" 30 bash -c "$(in_shell sanitized racecheck)"
part "benchmark" $benchmark_end bash -c "$(in_shell bench)"

{
  head_of_report
  if [ -n "$played" ]; then
    echo "**There was no GPU: the CPU played the device (preset \`emulated\`). This only shows that the script works; nothing was measured.**"
    echo
  fi
  [ -f "$version" ] && sed 's/^/* /' "$version"
  echo "* $("$luxgrad" --version 2> /dev/null | head -n 1)"
  echo "* libraries: $(sed -n 's/.*"libraries":"\([^"]*\)".*/\1/p' "$work/info.json")"
  about_machine
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
