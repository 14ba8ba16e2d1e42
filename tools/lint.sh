#!/usr/bin/env bash
# Asks clang-format, cppcheck and clang-tidy about all sources, or about the files named. Says nothing where they do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  -h | --help)
    echo "tools/lint.sh [FILE.cpp...]   needs clang-format, clang-tidy, cppcheck and a configured build/release"
    exit 0
    ;;
esac
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files '*.cpp' '*.h'); fi
sources=()
for file in "${files[@]}"; do [[ $file == *.cpp ]] && sources+=("$file"); done

clang-format --dry-run --Werror "${files[@]}"

# Each suppression with its reason:
suppressions=(
  --suppress=uninitMemberVar:*/tensor/dtype.h    # bf16 and f16 are left uninitialised like the built-in types
  --suppress=danglingLifetime:tensor/thread_pool.cpp  # `retire` waits until nobody knows the section any more
)
own=()
for source in "${sources[@]}"; do [[ $source == tests/* || $source == bench/* ]] || own+=("$source"); done
if [ ${#own[@]} -gt 0 ]; then
  cppcheck --enable=warning,performance,portability --std=c++20 --quiet --error-exitcode=1 -j "$(nproc)" \
    -I build/release/include "${suppressions[@]}" "${own[@]}"
fi

# clang-tidy takes most of the time, so a source in which it found nothing is asked about again only where something
# changed: the source, a header below it, the flags, the checks or the program. build/lint remembers the sums of those.
tidy() {
  local source=$1 commands sum
  commands=$(grep -B 1 "^  \"file\": \"$PWD/$source\"" build/release/compile_commands.json |
    sed -n 's/^  "command": "\(.*\)",$/\1/p' | sed 's/\\\(.\)/\1/g; s/ -o [^ ]*//; s/ -c / -E -C /')
  if [ -z "$commands" ]; then echo "$source: not in build/release/compile_commands.json" >&2; return 1; fi
  sum=$({
    echo "$commands"
    clang-tidy --version
    cat .clang-tidy
    (cd build/release && while read -r command; do eval "$command"; done <<< "$commands")
  } | sha256sum)
  sum=build/lint/${sum%% *}
  [ -e "$sum" ] && return
  clang-tidy -p build/release --quiet "$source" 2> >(grep -v "warnings\? generated\|^Suppressed\|^Use -header" >&2) && touch "$sum"
}
if [ ${#sources[@]} -gt 0 ]; then
  mkdir -p build/lint
  export -f tidy
  printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 1 bash -c 'tidy "$1"' tidy
fi
