#!/usr/bin/env bash
# Times what a user waits for, from file to file, and prints a table: a film, a folder of photos, single photos. A film
# in turn with ffmpeg alone, which decodes and encodes it without a network, and with PyTorch where its environment is
# there (bench/peers.sh makes it); a folder in turn with the network alone. Medians of some rounds.
set -euo pipefail

case ${1:-} in
  -h | --help)
    cat << 'TEXT'
bench/end_to_end.sh
  LUX_ROUNDS   rounds (default 5)
  LUX_FRAMES   frames of the film (default 300)
  LUX_MODEL    network (default zero_dce)
  LUX_PEERS    the Python environment of the peers (default /tmp/luxgrad-peers)
Needs build/release/tools/luxgrad and ffmpeg; uses two threads. Takes about five minutes on two idle cores.
TEXT
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tool=$PWD/build/release/tools/luxgrad
rounds=${LUX_ROUNDS:-5}
frames=${LUX_FRAMES:-300}
model=${LUX_MODEL:-zero_dce}
python=${LUX_PEERS:-/tmp/luxgrad-peers}/bin/python
for program in "$tool" ffmpeg; do
  command -v "$program" > /dev/null || { echo "end_to_end.sh: no $program" >&2; exit 1; }
done
export LUX_THREADS=2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quiet=(ffmpeg -nostdin -loglevel error -y)
dark=lutyuv=y=val*0.3

"${quiet[@]}" -f lavfi -i "testsrc2=size=640x360:rate=30" -f lavfi -i "sine" -frames:v "$frames" -shortest -vf "$dark" \
  -pix_fmt yuv420p "$work/film.mp4"
mkdir "$work/photos"
"${quiet[@]}" -f lavfi -i "testsrc2=size=600x400:rate=25" -frames:v 100 -vf "$dark" -q:v 2 "$work/photos/%03d.jpg"
"${quiet[@]}" -f lavfi -i "testsrc2=size=3840x2160" -frames:v 1 -vf "$dark" -q:v 2 "$work/large.jpg"

# Seconds that a command takes, into the file of that name.
timed() {
  local name=$1 start=$EPOCHREALTIME
  shift
  "$@" > "$work/out" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }' >> "$work/$name.times"
}
# A number of the JSON that the last command printed, into the file of that name.
noted() { sed -n "s/.*\"$2\": *\([0-9.e+-]*\).*/\1/p" "$work/out" | tail -n 1 >> "$work/$1.times"; }
# The median of what is in the file of that name, in a format, times a factor.
median() {
  sort -g "$work/$1.times" | awk -v format="${2:-%.9f}" -v factor="${3:-1}" '{ v[NR] = $1 }
    END { printf format, (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 * factor }'
}

enhance=("$tool" enhance -n "$model" --progress none --overwrite --json)
for ((round = 0; round < rounds; ++round)); do
  timed film_seconds "$tool" video -n "$model" -i "$work/film.mp4" -o "$work/bright.mp4" --overwrite --progress none --json \
    --preset ultrafast
  noted film frames_per_second
  noted film_network network_percent
  timed film_bf16_seconds "$tool" video -n "$model" -i "$work/film.mp4" -o "$work/bright.mp4" --overwrite --progress none --json \
    --preset ultrafast --precision bf16
  noted film_bf16 frames_per_second
  noted film_bf16_network network_percent
  timed ffmpeg "${quiet[@]}" -i "$work/film.mp4" -c:v libx264 -preset ultrafast -c:a copy "$work/bright.mp4"
  if [ -x "$python" ]; then
    timed pytorch_seconds "$python" bench/film.py "$model" "$work/film.mp4" "$work/bright.mp4"
    noted pytorch frames_per_second
  fi
  timed photos "${enhance[@]}" -i "$work/photos" -o "$work/bright" -j 1:2:1
  timed bench "$tool" bench -n "$model" -j 2 --repeat 5 --json --only inference --size 600x400
  noted network forward_ms
  timed large "${enhance[@]}" -i "$work/large.jpg" -o "$work/large_bright.jpg"
  noted large_memory memory
  timed small "${enhance[@]}" -i "$work/photos/001.jpg" -o "$work/small_bright.jpg"
  timed help "$tool" --help
done

awk -v frames="$frames" '{ print frames / $1 }' "$work/ffmpeg.times" > "$work/ffmpeg_rate.times"
beside="ffmpeg alone $(median ffmpeg_rate %.0f)"
[ ! -x "$python" ] || beside+=", PyTorch $(median pytorch %.1f)"
share=$(awk -v all="$(median photos)" -v one="$(median network %.9f 0.1)" 'BEGIN { printf "%.0f", 100 * one / all }')

echo "$(date +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), 2 threads, $rounds rounds, \`$model\`"
echo
echo "| work | luxgrad | beside it |"
echo "|---|---|---|"
echo "| film 640x360, $frames frames with sound, frames/s | $(median film %.1f), network $(median film_network %.0f) % | $beside |"
echo "| the same with \`--precision bf16\` | $(median film_bf16 %.1f), network $(median film_bf16_network %.0f) % | |"
echo "| 100 photos 600x400 | $(median photos %.2f) s | the network alone $(median network %.2f 0.1) s: $share % |"
echo "| photo 3840x2160, start to file | $(median large %.2f) s, $(median large_memory %.0f 1e-6) MB | |"
echo "| photo 600x400, start to file | $(median small %.3f) s | |"
echo "| \`--help\` | $(median help %.1f 1000) ms | |"
