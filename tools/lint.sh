#!/usr/bin/env bash
# Asks clang-format, cppcheck and clang-tidy about all sources, or about the files named. Says nothing where they do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  -h | --help)
    echo "tools/lint.sh [FILE.cpp...]   needs clang-format, clang-tidy and cppcheck"
    echo "CLANG_TIDY=PROGRAM asks another clang-tidy; those from 22 on take a tenth of the time of 14 (pip install clang-tidy)"
    exit 0
    ;;
esac
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files '*.cpp' '*.h'); fi
sources=()
for file in "${files[@]}"; do [[ $file == *.cpp ]] && sources+=("$file"); done

clang-format --dry-run --Werror "${files[@]}"

# Each source by itself, with the headers that it includes: so one that relies on those of others is found, too.
cmake --preset release -B build/lint -DCMAKE_UNITY_BUILD=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON > /dev/null

# Each suppression with its reason:
suppressions=(
  --suppress=uninitMemberVar:*/tensor/dtype.h    # bf16 and f16 are left uninitialised like the built-in types
  --suppress=danglingLifetime:tensor/thread_pool.cpp  # `retire` waits until nobody knows the section any more
  --suppress=uninitvar:*/tensor/parallel.h       # `left` is written before its `right` becomes zero
)
own=()
for source in "${sources[@]}"; do [[ $source == tests/* || $source == bench/* ]] || own+=("$source"); done
if [ ${#own[@]} -gt 0 ]; then
  cppcheck --enable=warning,performance,portability --std=c++20 --quiet --error-exitcode=1 -j "$(nproc)" \
    -I build/lint/include "${suppressions[@]}" "${own[@]}"
fi

# clang-tidy takes most of the time, so a source in which it found nothing is asked about again only where something
# changed: the source, a header below it, the flags, the checks or the program. build/lint remembers the sums of those.
tidy() {
  local source=$1 commands known
  commands=$(grep -B 1 "^  \"file\": \"$PWD/$source\"" build/lint/compile_commands.json |
    sed -n 's/^  "command": "\(.*\)",$/\1/p' | sed 's/\\\(.\)/\1/g; s/ -o [^ ]*//; s/ -c / -E -C /')
  if [ -z "$commands" ]; then
    echo "lint.sh: only another preset compiles $source, so clang-tidy is not asked about it" >&2
    return
  fi
  known=$({
    echo "$commands"
    "$clang_tidy" --version
    cat .clang-tidy
    if [[ $source == tests/* ]]; then cat tests/.clang-tidy; fi
    (cd build/lint && while read -r command; do eval "$command"; done <<< "$commands")
  } | sha256sum)
  known=build/lint/${known%% *}
  if [ -e "$known" ]; then return; fi
  "$clang_tidy" -p build/lint --quiet "$source" 2> >(grep -v "warnings\? generated\|^Suppressed\|^Use -header" >&2)
  touch "$known"
}
if [ ${#sources[@]} -gt 0 ]; then
  export -f tidy
  export clang_tidy=${CLANG_TIDY:-clang-tidy}
  printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 1 bash -ec 'tidy "$1"' tidy
fi
