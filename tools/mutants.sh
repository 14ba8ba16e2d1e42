#!/usr/bin/env bash
# Plants the faults of tests/mutants.txt one at a time in a copy of the sources, and asks the suite to notice each.
# Fails where one survives, or cannot be planted, or where a test fails without any.
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

chosen=$(grep -v '^#' "$list" | grep -F -- "${1:-}")
run() { (cd build/release && timeout 600 "tests/$1" > ../log.txt 2>&1); }

# A test that fails anyway would notice everything.
mapfile -t tests < <(sed 's/.* @@ //' <<< "$chosen" | tr ' ' '\n' | sort -u)
cmake --build --preset release --target "${tests[@]}" > build/log.txt
for test in "${tests[@]}"; do
  run "$test" || { echo "$test fails without a fault:"; cat build/log.txt; exit 1; }
done

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
      status=0
      run "$test" || status=$?
      if [ $status -eq 124 ]; then verdict="no answer from $test in 10 minutes"; break; fi
      if [ $status -ne 0 ]; then verdict="noticed by $test"; break; fi
    done
  fi
  restore "$file"
  [[ $verdict == noticed* ]] || survived=$((survived + 1))
  printf '%-22s %-60.60s %s\n' "$file" "$new" "$verdict"
done < <(sed 's/ @@ /\x01/g' <<< "$chosen")
echo "$((all - survived)) of $all faults noticed"
exit $((survived > 0))
