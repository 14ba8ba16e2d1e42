#!/usr/bin/env bash
# Installs what is missing, builds luxgrad and runs its whole test suite, from any directory.
set -euo pipefail

usage() {
  cat << 'TEXT'
tools/test.sh
  --asan   build with address and undefined-behaviour sanitizers
  --tsan   what runs in several threads (pool, loader, memory, training, signals) with the thread sanitizer
  --cuda   with the CUDA backend, which needs nvcc: what a machine without a GPU can run of it; with --long also what nvcc makes
           of the plain kernels, and of the tuned ones for every architecture
  --emulated   the same kernels, on a GPU that the CPU plays
  --long   run the long tests as well
The last line says how many tests passed, were skipped and failed; the exit status is 0 when none failed.
TEXT
}

preset=release
choice=(-LE long)
targets=() more=()  # of some presets; more are tests that are no targets
for argument in "$@"; do
  case $argument in
    --asan) preset=asan ;;
    --tsan)
      preset=tsan
      targets=(parallel_test loader_test memory_test blocked_signals_test stages_test trainer_test resume_test)
      ;;
    --cuda)
      preset=cuda
      targets=(cuda_test operators_test parallel_test tensor_test tool_test)
      more=(cpu_bits cuda_kernels cuda_kernels_all cuda_kernels_architectures)  # the last two are long
      ;;
    --emulated)
      preset=emulated
      targets=(cuda_test emulated_gpu_test gpu_test libraries_on_device_test tool_enhance_test tool_guidance_test
        tool_test tool_video_test trainer_test zero_dce_golden_test)
      more=(gpu_check zero_dce_golden_on_device)
      ;;
    --long) choice=() ;;
    -h | --help) usage; exit 0 ;;
    *) echo "test.sh: unknown argument $argument" >&2; usage >&2; exit 2 ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/packages.sh
if [ "$preset" = cuda ]; then  # cpu_bits compares with it
  cmake --preset release
  cmake --build --preset release --target luxgrad_tool
fi
cmake --preset "$preset"
cmake --build --preset "$preset" ${targets:+--target "${targets[@]}"}
if [ ${#targets[@]} -gt 0 ]; then choice+=(-R "^($(IFS='|' names=("${targets[@]}" "${more[@]}"); echo "${names[*]}"))\$"); fi

status=0
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
ctest --preset "$preset" --parallel "$(nproc)" "${choice[@]}" | tee "$summary" || status=$?

counts=$(sed -n 's/.*, \([0-9]*\) tests failed out of \([0-9]*\)$/\1 \2/p' "$summary" | tail -n 1)
if [ -z "$counts" ]; then
  echo "test.sh: CTest ran no tests" >&2
  exit 1
fi
read -r failed all <<< "$counts"
skipped=$(grep -c '^[[:space:]]*[0-9]* - .*(Skipped)$' "$summary" || true)
echo "$((all - failed - skipped)) passed, $skipped skipped, $failed failed"
exit "$status"
