#!/usr/bin/env python3
"""Times luxgrad against PyTorch eager, in turn, on this machine. Beside the product, never part of it.

  python3 -m venv /tmp/pt && /tmp/pt/bin/pip install torch numpy
  /tmp/pt/bin/python bench/against_pytorch.py [MODEL...] [--luxgrad build/release/tools/luxgrad] [--threads 2] [--rounds 7]

Each round lets `luxgrad bench` and each PyTorch memory layout run one inference and one training step, each after one
that does not count. Printed is a table of Markdown: medians in milliseconds, and luxgrad's divided by the faster layout's.
"""
import argparse
import json
import statistics
import subprocess
import time

import torch

from steps import Peer

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
# Picture of the inference; number and side of the squares of a step. The larger networks take minutes for larger ones.
WORK = {
    "zero_dce": (1200, 900, 8, 256),
    "zero_dce_plus": (1200, 900, 8, 256),
    "unet": (600, 400, 4, 128),
    "reference_guided": (600, 400, 4, 128),
    "gan": (256, 256, 2, 128),
    "mirnet_keras": (128, 128, 2, 64),
    "mirnet_v1": (128, 128, 2, 64),
    "mirnet_v2": (256, 256, 2, 64),
}


def milliseconds(action):
    action()
    start = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - start)


def measure(name, args):
    """Medians by (work, who), and the instruction set."""
    width, height, batch, side = WORK[name]
    command = [args.luxgrad, "bench", "-n", name, "-j", str(args.threads), "--repeat", "1", "--json",
               "--size", f"{width}x{height}", "--batch", str(batch), "--crop", str(side)]
    peers = {layout: Peer(name, form, *WORK[name]) for layout, form in LAYOUTS.items()}
    times = {}
    for _ in range(args.rounds):
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for work, key in (("inference", "forward_ms"), ("step", "training_step_ms")):
            times.setdefault((work, "luxgrad"), []).append(report[key])
            for layout, peer in peers.items():
                times.setdefault((work, layout), []).append(milliseconds(getattr(peer, work)))
    return {key: statistics.median(values) for key, values in times.items()}, report["instruction_set"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[*WORK])
    parser.add_argument("--luxgrad", default="build/release/tools/luxgrad")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    print(f"PyTorch {torch.__version__}, {args.threads} threads, {args.rounds} rounds\n")
    print(f"| model | work | luxgrad | {' | '.join(LAYOUTS)} | ratio |\n|---|---|---|{'---|' * len(LAYOUTS)}---|")
    for name in args.models:
        medians, instructions = measure(name, args)
        width, height, batch, side = WORK[name]
        for work, what in (("inference", f"inference {width}x{height}"), ("step", f"training step {batch}x{side}²")):
            ours, theirs = medians[work, "luxgrad"], [medians[work, layout] for layout in LAYOUTS]
            cells = " | ".join(f"{ms:.0f} ms" for ms in (ours, *theirs))
            print(f"| `{name}` | {what}, {instructions} | {cells} | {ours / min(theirs):.2f} |", flush=True)


if __name__ == "__main__":
    main()
