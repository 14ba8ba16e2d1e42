#!/usr/bin/env bash
# Plants the faults of tests/mutants.txt one at a time in a copy of the sources, and asks the suite to notice each.
# Fails where one survives, or cannot be planted. Takes about a minute per fault.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  -h | --help) echo "tools/mutants.sh [WORD]   only the faults whose line contains WORD"; exit 0 ;;
esac

list=$PWD/tests/mutants.txt
copy=$PWD/build/mutants
restore() { mv "$1.kept" "$1" && touch "$1"; }
mkdir -p "$copy"
find "$copy" -name '*.kept' | while read -r kept; do restore "${kept%.kept}"; done  # of a run that was interrupted
git ls-files -z | xargs -0 cp --parents -u -t "$copy"
cd "$copy"
cmake --preset release -DLUX_WERROR=OFF > /dev/null

all=0
survived=0
while IFS=$'\x01' read -r file old new tests; do
  read -ra targets <<< "$tests"
  all=$((all + 1))
  verdict=survived
  if ! OLD=$old NEW=$new perl -0pi.kept -e '$n = s/\Q$ENV{OLD}\E/$ENV{NEW}/g; END { exit($n != 1) }' "$file"; then
    verdict="cannot be planted"
  elif ! cmake --build --preset release --target "${targets[@]}" > build/log.txt 2>&1; then
    verdict="does not compile"
  else
    for test in "${targets[@]}"; do
      if ! (cd build/release && timeout 300 "tests/$test" > ../log.txt 2>&1); then verdict="noticed by $test"; break; fi
    done
  fi
  restore "$file"
  [[ $verdict == noticed* ]] || survived=$((survived + 1))
  printf '%-22s %-60.60s %s\n' "$file" "$new" "$verdict"
done < <(grep -v '^#' "$list" | grep -F -- "${1:-}" | sed 's/ @@ /\x01/g')
echo "$((all - survived)) of $all faults noticed"
exit $((survived > 0))
