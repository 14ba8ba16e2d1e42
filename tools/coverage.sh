#!/usr/bin/env bash
# Prints how much of each floor's lines the suite runs, and fails below what is asked: 95 % of everything that reads
# files from outside and of the checkpoints, 90 % of tensor/ and autograd/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  -h | --help) echo "tools/coverage.sh   builds into build/coverage, runs the suite, prints lines run per file and floor"; exit 0 ;;
esac

tools/packages.sh
cmake --preset coverage
cmake --build --preset coverage
find build/coverage -name '*.gcda' -delete
ctest --preset coverage --parallel "$(nproc)" -LE long

# What reads files from outside, with what packs and unpacks for it.
readers='bmp|byte_stream|child|dataset|deflate|ffmpeg|file|file_ops|film_probe|film_read|folder|foreign_image|image|jpeg_read'
readers+='|layout|loader|npy|nut|orientation|pickle|picture_pack|png_read|pnm|pth|safetensors|scan|settings|split|stb'
readers+='|tensor_file|torch_values|video|webp|y4m|zip|zip_writer'

# gcov says "File 'data/png_read.cpp'", then "Lines executed:98.50% of 200", for the source and for every header it
# includes, and for their sum without a name. Names may begin with a way to the sources.
find build/coverage/CMakeFiles/luxgrad.dir -name '*.gcda' -print0 |
  xargs -0 gcov --no-output --relative-only --source-prefix "$PWD" |
  awk -v readers="$readers" -F"[':% ]+" '
    /^File/ { file = match($2, /(tensor|autograd|kernels|layers|losses|models|data|training)\/[a-z0-9_\/]+\.cpp$/) ? substr($2, RSTART) : "" }
    /^Lines executed/ && file != "" {
      run[file] = $3 * $5 / 100; all[file] = $5
      floor = file; sub(/\/.*/, "", floor)
      if (file ~ "^(data/(" readers ")|training/(checkpoint|manifest|run_folder))[.]cpp$") floor = "readers and checkpoints"
      floor_run[floor] += run[file]; floor_all[floor] += all[file]
      floor_run["all"] += run[file]; floor_all["all"] += all[file]
      printf "%6.1f %% of %4d  %s\n", $3, $5, file
      file = ""
    }
    END {
      print "\nfloors"
      for (floor in floor_all) {
        share = 100 * floor_run[floor] / floor_all[floor]
        least = floor == "readers and checkpoints" ? 95 : floor == "tensor" || floor == "autograd" ? 90 : 0
        printf "%6.1f %% of %4d  %s%s\n", share, floor_all[floor], floor, share < least ? "  TOO LITTLE, expected " least " %" : ""
        failed += share < least
      }
      exit failed > 0
    }'
