#!/usr/bin/env python3
"""Times luxgrad against PyTorch eager on Zero-DCE, in turn, on this machine. Beside the product, never part of it.

  python3 -m venv /tmp/pt && /tmp/pt/bin/pip install torch numpy
  /tmp/pt/bin/python bench/against_pytorch.py [--luxgrad build/release/tools/luxgrad] [--threads 2] [--rounds 7]

Each round lets `luxgrad bench` and each PyTorch memory layout run one inference of 1200x900 and one training step of
8x256², after a warm-up. Printed are medians in milliseconds and luxgrad's time divided by the faster layout's.
"""
import argparse
import json
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


class ZeroDce(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [(3, 32), (32, 32), (32, 32), (32, 32), (64, 32), (64, 32), (64, 24)]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in widths)

    def forward(self, x):
        layer = lambda n, *maps: F.relu(self.convs[n](torch.cat(maps, 1) if len(maps) > 1 else maps[0]))
        x1 = layer(0, x)
        x2 = layer(1, x1)
        x3 = layer(2, x2)
        x4 = layer(3, x3)
        x6 = layer(5, x2, layer(4, x3, x4))
        curves = torch.tanh(self.convs[6](torch.cat([x1, x6], 1)))
        for r in curves.split(3, 1):
            x = torch.addcmul(x, r, x * x - x)
        return x, curves


def loss_of(x, y, curves):
    """Spatial consistency, colour, exposure and smoothness with the authors' weights."""
    n, _, h, w = curves.shape
    change = F.pad(F.avg_pool2d((y - x).mean(1, keepdim=True), 4), (1, 1, 1, 1))
    middle = change[:, :, 1:-1, 1:-1]
    neighbours = (change[:, :, 1:-1, :-2], change[:, :, 1:-1, 2:], change[:, :, :-2, 1:-1], change[:, :, 2:, 1:-1])
    spatial = sum((middle - other).square() for other in neighbours).mean()
    exposure = (F.avg_pool2d(y.mean(1, keepdim=True), 16) - 0.6).square().mean()
    r, g, b = y.mean((2, 3)).unbind(1)
    colour = ((r - g) ** 4 + (r - b) ** 4 + (g - b) ** 4 + 1e-12).sqrt().mean()
    down, right = curves.diff(dim=2).square().sum(), curves.diff(dim=3).square().sum()
    smooth = 2 * (down / ((h - 1) * w) + right / (h * (w - 1))) / n
    return 200 * smooth + spatial + 5 * colour + 10 * exposure


class Peer:
    def __init__(self, layout):
        torch.manual_seed(1)
        self.net = ZeroDce().to(memory_format=layout)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
        picture = lambda *shape: (0.3 * torch.rand(*shape)).to(memory_format=layout)
        self.photo, self.batch = picture(1, 3, 900, 1200), picture(8, 3, 256, 256)

    def inference(self):
        with torch.inference_mode():
            self.net(self.photo)

    def step(self):
        self.adam.zero_grad()
        loss_of(self.batch, *self.net(self.batch)).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 0.1)
        self.adam.step()


def milliseconds(action):
    action()
    start = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--luxgrad", default="build/release/tools/luxgrad")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    command = [args.luxgrad, "bench", "-n", "zero_dce", "-j", str(args.threads), "--repeat", "1", "--json"]
    peers = {name: Peer(layout) for name, layout in LAYOUTS.items()}
    works = {"inference 1200x900": ("inference", "forward_ms"), "training step 8x256²": ("step", "training_step_ms")}
    times = {(work, name): [] for work in works for name in ["luxgrad", *peers]}
    for _ in range(args.rounds):
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for work, (method, key) in works.items():
            times[work, "luxgrad"].append(report[key])
            for name, peer in peers.items():
                times[work, name].append(milliseconds(getattr(peer, method)))

    print(f"PyTorch {torch.__version__}, {args.threads} threads, {args.rounds} rounds, {report['instruction_set']}")
    for work in works:
        medians = {name: statistics.median(times[work, name]) for name in ["luxgrad", *peers]}
        best = min(medians[name] for name in peers)
        print(f"{work}:", ", ".join(f"{name} {ms:.0f} ms" for name, ms in medians.items()),
              f"-> ratio {medians['luxgrad'] / best:.2f}")


if __name__ == "__main__":
    main()
