#!/usr/bin/env bash
# Counts the instructions of twelve hot rows (bench/hot_rows.cpp) under callgrind, one thread, level x86-64-v3, and compares
# with bench/instructions.txt: more than 3 % up or down fails. Counts do not depend on what else the machine does.
set -euo pipefail

case ${1:-} in
  -h | --help)
    cat << 'TEXT'
bench/instructions.sh [--write] [PROGRAM]
  --write   replace bench/instructions.txt by what is counted now
  PROGRAM   the hot rows (default build/release/bench/hot_rows, of the compiler that instructions.txt names)
Exits with 77, saying why, where it cannot count: without valgrind, on another processor, after another compiler.
TEXT
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
baseline=bench/instructions.txt
write=
if [ "${1:-}" = --write ]; then write=1; shift; fi
program=${1:-build/release/bench/hot_rows}

skip() {
  echo "instructions: skips all twelve rows: $1"
  exit 77
}
command -v valgrind > /dev/null || skip "no valgrind"
[ "$(uname -m)" = x86_64 ] || skip "the counts are of x86-64"
grep -qw avx2 /proc/cpuinfo || skip "this processor cannot run level v3"
compiler=$("$program" --compiler)
if [ -z "$write" ] && [ "$compiler" != "$(sed -n 's/^# compiler: //p' $baseline)" ]; then
  skip "built by $compiler, counted for $(sed -n 's/^# compiler: //p' $baseline)"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
LUX_ISA=v3 LUX_THREADS=1 LUX_KERNELS='' valgrind --tool=callgrind --callgrind-out-file="$folder/out" \
  --toggle-collect=hot_row --dump-after=hot_row "$program" > "$folder/names" 2> "$folder/log" || {
  cat "$folder/log" >&2
  exit 1
}

# Files are numbered in the order of the rows.
number=0
while read -r name; do
  number=$((number + 1))
  echo "$(awk '/^(summary|totals):/ { print $2; exit }' "$folder/out.$number") $name"
done < "$folder/names" > "$folder/counts"

if [ -n "$write" ]; then
  { echo "# Instructions of bench/hot_rows, counted by bench/instructions.sh --write"
    echo "# compiler: $compiler"
    cat "$folder/counts"; } > $baseline
  cat $baseline
  exit 0
fi

awk '
  NR == FNR { if (!/^#/) { count = $1; $1 = ""; expected[$0] = count; ++rows }; next }
  {
    count = $1; $1 = ""; ++seen
    if (!($0 in expected)) { printf "%s: not in the baseline\n", $0; bad = 1; next }
    change = 100 * (count / expected[$0] - 1)
    good = change <= 3 && change >= -3
    printf "%-48s %12d  %+6.2f %%%s\n", substr($0, 2), count, change, good ? "" : "  beyond 3 %"
    if (!good) bad = 1
  }
  END {
    if (seen != rows) { printf "expected %d rows, counted %d\n", rows, seen; bad = 1 }
    if (bad) print "Where the change is meant: bench/instructions.sh --write"
    exit bad
  }' $baseline "$folder/counts"
