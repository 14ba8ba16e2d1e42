"""Training steps of luxgrad's recipes in PyTorch: a network, its optimiser, one batch of noise.

python bench/steps.py MODEL PICTURES SIDE prints what two steps take of memory, channels last on two threads; for
luxgrad: /usr/bin/time -v luxgrad bench -n MODEL --batch PICTURES --crop SIDE --only step --repeat 1
"""
import resource
import sys

import torch
import torch.nn.functional as F

from networks import NETWORKS


def charbonnier(y, target):
    return ((y - target).square() + 1e-6).sqrt().mean()


def zero_dce(x, y, curves, smooth_weight):
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
    return smooth_weight * smooth + spatial + 5 * colour + 10 * exposure


def hue_and_saturation(x):
    largest, which = x.max(1)
    span = largest - x.amin(1)
    r, g, b = x.unbind(1)
    turn = torch.where(which == 0, g - b, torch.where(which == 1, b - r, r - g))
    hue = (turn / (6 * span.clamp_min(1e-8)) + which / 3) % 1
    return torch.where(span > 0, hue, 0), span / largest.clamp_min(1e-8)


def reference_guided(net, low, high):
    normalized = lambda z: (z - z.mean()) / z.std(correction=0)
    maps, before = net.encode(low)
    wanted = net.encode(high)[1]
    y = net.decode(maps, before, wanted[:, :96])
    after = net.encode(y)[1]
    own = normalized(after[:, :96])
    nearer = F.mse_loss(own, normalized(wanted[:, :96])) - F.mse_loss(own, normalized(before[:, :96]))
    content = F.mse_loss(after[:, 96:], before[:, 96:])
    pairs = zip(hue_and_saturation(low), hue_and_saturation(y))
    colours = sum(1 - F.cosine_similarity(a.flatten(1), b.flatten(1)).mean() for a, b in pairs) / 2
    return (y - high).abs().mean() + 2 * (F.relu(nearer + 0.08) + content) + 2 * colours


MODES = ("eager", "channels_last", "compile")  # the last one in the layout of the second
LAYOUTS = {"eager": torch.contiguous_format}
COMPILE = {}  # how the third mode compiles, as torch.compile takes it


def network(name, mode):
    torch.manual_seed(1)
    net = NETWORKS[name]().to(memory_format=LAYOUTS.get(mode, torch.channels_last))
    return torch.compile(net, **COMPILE) if mode == "compile" else net


def pictures(mode, *shapes):
    """Dark noise [n, 3, height, width] for each (n, height, width)."""
    layout = LAYOUTS.get(mode, torch.channels_last)
    return [(0.3 * torch.rand(n, 3, height, width)).contiguous(memory_format=layout) for n, height, width in shapes]


class Step:
    """A training step on pictures low and high; calling it runs one."""

    def __init__(self, name, mode, low, high):
        self.name, self.low, self.high = name, low, high
        self.net = network(name, "channels_last" if mode == "compile" else mode)
        if mode == "compile" and name == "gan":
            self.net.generator.compile(**COMPILE)
            self.net.discriminator.compile(**COMPILE)
        elif mode == "compile":
            self.loss = torch.compile(self.loss, **COMPILE)
        adam = lambda module, **more: torch.optim.Adam(module.parameters(), lr=1e-4, fused=True, **more)
        if name == "gan":
            self.adam, self.other = adam(self.net.generator), adam(self.net.discriminator)
        else:
            self.adam = adam(self.net)

    def __call__(self):
        if self.name == "gan":
            return self.adversarial_step()
        self.adam.zero_grad()
        self.loss().backward()
        clip = {"zero_dce": 0.1, "zero_dce_plus": 0.1, "mirnet_v2": 0.01}.get(self.name)
        if clip:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), clip)
        self.adam.step()

    def loss(self):
        if self.name == "reference_guided":
            return reference_guided(self.net, self.low, self.high)
        y = self.net(self.low)
        if self.name.startswith("zero_dce"):
            return zero_dce(self.low, *y, 1600 if self.name == "zero_dce_plus" else 200)
        if self.name == "mirnet_v2":
            return F.l1_loss(y, self.high)
        if self.name == "unet":
            return F.mse_loss(y, self.high)
        return charbonnier(y.clamp(0, 1) if self.name == "mirnet_v1" else y, self.high)

    def adversarial_step(self):
        """The discriminator on real and on generated pictures, then the generator."""
        low, high = 2 * self.low - 1, 2 * self.high - 1
        judge = self.net.discriminator

        def update(optimizer, loss):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        taken_for = lambda picture, label: F.binary_cross_entropy(p := judge(low, picture), torch.full_like(p, label))
        update(self.other, 0.5 * taken_for(high, 1.0))
        with torch.no_grad():
            fake = self.net.generator(low, 0.5)
        update(self.other, 0.5 * taken_for(fake, 0.0))
        judge.requires_grad_(False)
        fake = self.net.generator(low, 0.5)
        update(self.adam, taken_for(fake, 1.0) + 100 * (fake - high).abs().mean())
        judge.requires_grad_(True)


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    model, number, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(2)
    libraries = peak_megabytes()
    step = Step(model, "channels_last", *pictures("channels_last", (number, side, side), (number, side, side)))
    for _ in range(2):
        step()
    print(f"{peak_megabytes():.0f} MB, of them {libraries:.0f} before the network")
