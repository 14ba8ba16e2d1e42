#!/usr/bin/env python3
"""Times luxgrad against what else runs its networks on a processor, in turn. Beside the product, never part of it.

  bench/peers.sh                                             makes an environment with the peers, then calls this
  python bench/peers.py [MODEL...] [--only inference|step] [--peers eager,channels_last,compile,onnxruntime,openvino]
                        [--luxgrad build/release/tools/luxgrad] [--threads 2] [--rounds 5] [--clock wall|cpu]
                        [--repeat 3] [--precision fp32|bf16] [--batch N]

Each round lets `luxgrad bench` and every peer run --repeat times, of which the median counts, each after a run that
does not count, so that a drifting machine hurts all alike. Printed is a table of Markdown: medians of the rounds in
milliseconds, and luxgrad's as a ratio to the fastest peer's; -- where a peer does not do such work, or fails, which is said on stderr. On a machine that does other
things as well, one thread by the processor's clock is what can be compared.

In bf16 PyTorch has weights and activations of bf16 for inference and autocast for training, OpenVINO its hint; ONNX
Runtime has none. --batch enhances so many pictures at once; training steps have the sizes of their recipes.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import torch

from runtimes import RUNTIMES
from steps import MODES, Step, network, pictures

# Model and sizes: width and height of a picture to enhance, or number and side of the squares of a training step.
WORK = [
    ("zero_dce", "inference", (1200, 900)),
    ("zero_dce", "inference", (600, 400)),
    ("zero_dce", "step", (8, 256)),
    ("mirnet_keras", "inference", (256, 256)),
    ("mirnet_keras", "step", (1, 128)),
    ("unet", "inference", (256, 256)),
    ("unet", "step", (8, 256)),
    ("gan", "inference", (256, 256)),
    ("gan", "step", (1, 256)),
    ("reference_guided", "inference", (600, 400)),
    ("reference_guided", "step", (4, 128)),
    ("zero_dce_plus", "inference", (1200, 900)),
    ("zero_dce_plus", "step", (8, 256)),
    ("mirnet_v1", "inference", (256, 256)),
    ("mirnet_v1", "step", (1, 128)),
    ("mirnet_v2", "inference", (256, 256)),
    ("mirnet_v2", "step", (1, 128)),
]


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def milliseconds(action, clock):
    start = CLOCKS[clock]()
    action()
    return 1e3 * (CLOCKS[clock]() - start)


def batch_of(args, work, size):
    return args.batch if work == "inference" else size[0]


def product(args, model, work, size):
    """luxgrad, in a process of its own that first runs once without being timed."""
    command = [args.luxgrad, "bench", "-n", model, "-j", str(args.threads), "--repeat", str(args.repeat), "--json", "--only", work,
               "--precision", args.precision, "--batch", str(batch_of(args, work, size))]
    command += ["--size", "{}x{}".format(*size)] if work == "inference" else ["--crop", str(size[1])]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    unit = "ms" if args.clock == "wall" else "cpu_ms"
    return report[f"forward_{unit}" if work == "inference" else f"training_step_{unit}"]


def in_precision(args, step):
    def coarse():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            step()

    return coarse if args.precision == "bf16" else step


def peer(name, args, model, work, size):
    """What is timed: a function. Raises where the peer cannot do it."""
    if name in RUNTIMES:
        if work == "step":
            raise NotImplementedError("runs no training")
        net, (photo,) = network(model, "eager"), pictures("eager", (args.batch, *reversed(size)))
        return RUNTIMES[name](net, photo, args.threads, args.precision)
    if work == "step":
        batch, side = size
        return in_precision(args, Step(model, name, *pictures(name, *[(batch, side, side)] * 2)))
    net, (photo,) = network(model, name), pictures(name, (args.batch, *reversed(size)))
    if args.precision == "bf16":
        net, photo = net.bfloat16(), photo.bfloat16()

    def inference():
        with torch.inference_mode() if name != "compile" else torch.no_grad():
            net(photo)

    return inference


def prepared(args, model, work, size):
    """The peers that can do this work, after a first run."""
    actions = {}
    for name in args.peers:
        try:
            action = peer(name, args, model, work, size)
            action()
            actions[name] = action
        except NotImplementedError:
            pass
        except Exception as error:  # a peer that fails is a result, too
            print(f"{model} {work}, {name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
    return actions


def medians(args, model, work, size):
    actions = prepared(args, model, work, size)
    times = {}
    for _ in range(args.rounds):
        times.setdefault("luxgrad", []).append(product(args, model, work, size))
        for name, action in actions.items():
            action()
            runs = [milliseconds(action, args.clock) for _ in range(args.repeat)]
            times.setdefault(name, []).append(statistics.median(runs))
    return {name: statistics.median(values) for name, values in times.items()}


def processor():
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions(names):
    from importlib.metadata import version
    packages = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
    return ", ".join([f"PyTorch {version('torch')}"] + [f"{n} {version(packages[n])}" for n in names if n in packages])


def main():
    known = [*MODES, *RUNTIMES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--only", choices=["inference", "step"])
    parser.add_argument("--peers", type=lambda text: text.split(","), default=known, help=",".join(known))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--luxgrad", default="build/release/tools/luxgrad")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    for name in args.peers:
        if name not in known:
            parser.error(f"expected peers among {', '.join(known)}, got {name}")

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, {processor()}, {args.precision}, {args.threads} threads, {args.clock} time, {args.rounds} rounds, load before "
          f"{load:.1f}; {versions(args.peers)}\n")
    print(f"| work | luxgrad | {' | '.join(args.peers)} | ratio |\n|---|---|{'---|' * len(args.peers)}---|")
    for model, work, size in WORK:
        if (args.models and model not in args.models) or (args.only and work != args.only):
            continue
        ms = medians(args, model, work, size)
        many = f"{args.batch} of " if args.batch > 1 else ""
        what = f"{many}{size[0]}x{size[1]}" if work == "inference" else f"training step {size[0]}x{size[1]}²"
        cells = [f"{ms[name]:.0f} ms" if name in ms else "--" for name in ("luxgrad", *args.peers)]
        best = min((ms[name] for name in args.peers if name in ms), default=float("nan"))
        print(f"| `{model}` {what} | {' | '.join(cells)} | {ms['luxgrad'] / best:.2f} |", flush=True)


if __name__ == "__main__":
    main()
