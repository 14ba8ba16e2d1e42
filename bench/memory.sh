#!/usr/bin/env bash
# The memory that large photos take from start to file, against what the program says of them beforehand, and prints a
# table. Every network has weights of one training step: what it takes does not depend on them.
set -euo pipefail

case ${1:-} in
  -h | --help)
    cat << 'TEXT'
bench/memory.sh
  LUX_MODELS   networks (default all eight, the quickest first)
  LUX_SIZES    sizes of the photo (default "6000x4000 8660x5774")
  LUX_MEMORY   the limit that --memory sets (default 1G)
  LUX_SECONDS  stops each network after so many seconds (default 0: never). What it has taken by then is nearly all
               that it takes, as soon as it is at its second tile.
Needs build/release/tools/luxgrad and ffmpeg. zero_dce, zero_dce_plus and unet take minutes in all, the others hours.
TEXT
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tool=$PWD/build/release/tools/luxgrad
read -ra models <<< "${LUX_MODELS:-zero_dce_plus zero_dce unet reference_guided gan mirnet_v2 mirnet_keras mirnet_v1}"
read -ra sizes <<< "${LUX_SIZES:-6000x4000 8660x5774}"
limit=${LUX_MEMORY:-1G}
seconds=${LUX_SECONDS:-0}
for program in "$tool" ffmpeg; do
  command -v "$program" > /dev/null || { echo "memory.sh: no $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
picture() { ffmpeg -nostdin -loglevel error -y -f lavfi -i "testsrc2=size=$1:rate=1" -vf "$2" -frames:v 1 -q:v 2 "$3"; }
mkdir -p pairs/low pairs/high
for i in 1 2; do
  picture 64x64 "select=gte(n\,$i)" pairs/high/$i.png
  picture 64x64 "select=gte(n\,$i),lutyuv=y=val*0.3" pairs/low/$i.png
done
for size in "${sizes[@]}"; do picture "$size" "lutyuv=y=val*0.3,noise=alls=8" "$size.jpg"; done

# A number of the JSON of the last photo.
noted() { sed -n "s/.*\"$1\":\([0-9.e+-]*\).*/\1/p" out; }
# How many bytes a running process has had at most.
peak() { awk '/^VmHWM/ { print 1024 * $2 }' "/proc/$1/status" 2> err_of_proc || true; }

# Enhances a photo, and prints a row of the table.
row() {
  local model=$1 size=$2 more=() start=$EPOCHSECONDS taken=0 now stopped="" said
  [ "$model" != reference_guided ] || more=(--reference pairs/high/1.png)
  "$tool" enhance -m "$model/best.safetensors" "${more[@]}" -i "$size.jpg" -o bright.jpg --overwrite --memory "$limit" \
    --progress none --json > out 2> err &
  local child=$!
  while kill -0 "$child" 2> /dev/null; do
    now=$(peak "$child")
    taken=${now:-$taken}
    if ((seconds > 0 && EPOCHSECONDS - start >= seconds)); then
      stopped=", stopped"
      kill "$child" || true
      break
    fi
    sleep 0.5
  done
  if ! wait "$child" && [ -z "$stopped" ]; then
    cat err >&2
    exit 1
  fi
  [ -n "$stopped" ] || taken=$(noted memory)
  said=$(sed -n 's/.* needs about \([0-9.]*\) MB .*/\1/p' err)
  awk -v model="$model" -v size="$size" -v said="$said" -v taken="$taken" -v time=$((EPOCHSECONDS - start)) \
    -v stopped="$stopped" -v approximate="$(grep -c approximate err)" 'BEGIN {
      printf "| `%s` | %s%s | %.0f MB | %.0f MB | %+.1f %% | %d s%s |\n", model, size, approximate ? ", approximate" : "",
             said, taken / 1e6, 100 * (taken / 1e6 / said - 1), time, stopped }'
}

echo "$(date +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, \`--memory $limit\`"
echo
echo "| network | photo | said | taken | difference | time |"
echo "|---|---|---|---|---|---|"
for model in "${models[@]}"; do
  "$tool" train "$model" --data pairs --run "$model" --steps 1 --batch 1 --size 64 --progress none > out 2> err ||
    { cat err >&2; exit 1; }
  for size in "${sizes[@]}"; do row "$model" "$size"; done
done
