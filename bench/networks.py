"""The networks of luxgrad in PyTorch, written from its model files as a careful user would: eager operators, no compiler.

NETWORKS gives a constructor for each name. `python networks.py` compares the numbers of parameters.
"""
import torch
import torch.nn.functional as F
from torch import cat, nn


def conv3(i, o, bias=True, groups=1):
    return nn.Conv2d(i, o, 3, padding=1, bias=bias, groups=groups)


def conv1(i, o, bias=True):
    return nn.Conv2d(i, o, 1, bias=bias)


def leaky(x):
    return F.leaky_relu(x, 0.2)


def repeated(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def pooled(x):
    return x.mean((2, 3), keepdim=True)


class Curves(nn.Module):
    """Zero-DCE; with separable convolutions and one map for all iterations Zero-DCE++."""

    def __init__(self, plus=False):
        super().__init__()
        separable = lambda i, o: nn.Sequential(conv3(i, i, groups=i), conv1(i, o))
        widths = [(3, 32), (32, 32), (32, 32), (32, 32), (64, 32), (64, 32), (64, 3 if plus else 24)]
        self.convs = nn.ModuleList((separable if plus else conv3)(i, o) for i, o in widths)

    def forward(self, x):
        layer = lambda n, *maps: F.relu(self.convs[n](cat(maps, 1) if len(maps) > 1 else maps[0]))
        x1 = layer(0, x)
        x2 = layer(1, x1)
        x3 = layer(2, x2)
        x6 = layer(5, x2, layer(4, x3, layer(3, x3)))
        curves = torch.tanh(self.convs[6](cat([x1, x6], 1)))
        for n in range(8):
            r = curves if curves.shape[1] == 3 else curves[:, 3 * n : 3 * n + 3]
            x = torch.addcmul(x, r, x * x - x)
        return x, curves


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        pair = lambda i, o: nn.Sequential(conv3(i, o), nn.ReLU(True), conv3(o, o), nn.ReLU(True))
        skip = lambda i, o: nn.Sequential(conv3(i, o), nn.ReLU(True), nn.ConvTranspose2d(o, o, 3, 2))
        self.down1, self.down2, self.bottom = pair(3, 32), pair(32, 64), pair(64, 128)
        self.skip2, self.skip1, self.out = skip(64, 128), skip(32, 192), conv3(448, 3)

    def forward(self, x):
        d1 = F.max_pool2d(self.down1(x), 2)
        d2 = F.max_pool2d(self.down2(d1), 2)
        brought = lambda skip, d: skip(d)[:, :, :-1, :-1]
        inner = cat([repeated(self.bottom(d2)), brought(self.skip2, d2)], 1)
        return torch.sigmoid(self.out(cat([repeated(inner), brought(self.skip1, d1)], 1)))


class ReferenceGuided(nn.Module):
    def __init__(self):
        super().__init__()
        pair = lambda i, o: nn.Sequential(conv3(i, o), nn.LeakyReLU(0.2, True), conv3(o, o), nn.LeakyReLU(0.2, True))
        widths = [32, 64, 128, 256]
        self.levels = nn.ModuleList(pair(i, o) for i, o in zip([3, *widths], widths))
        self.last = conv3(256, 512)
        self.dense = nn.Linear(512, 256)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2, bias=False) for w in (128, 64, 32))
        self.decoder = nn.ModuleList(pair(2 * w, w) for w in reversed(widths))
        self.out = conv1(32, 3)

    def encode(self, x):
        maps = []
        for level in self.levels:
            maps.append(level(F.max_pool2d(maps[-1], 2, ceil_mode=True) if maps else x))
        return maps, leaky(self.last(F.max_pool2d(maps[-1], 2, ceil_mode=True))).mean((2, 3))

    def decode(self, maps, features, luminance):
        g = F.relu(self.dense(cat([luminance, features[:, 96:]], 1)))
        f = self.decoder[0](cat([maps[3], g[:, :, None, None].expand_as(maps[3])], 1))
        for up, block, skip in zip(self.up, list(self.decoder)[1:], reversed(maps[:3])):
            f = block(cat([up(f)[:, :, : skip.shape[2], : skip.shape[3]], skip], 1))
        return torch.sigmoid(self.out(f))

    def forward(self, x):  # the look is that of the picture lifted by a gamma, as `enhance` does without references
        maps, features = self.encode(x)
        return self.decode(maps, features, self.encode(x.clamp(1e-6, 1) ** 0.4)[1][:, :96])


class KerasAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(conv3(c, c), nn.ReLU(True), conv3(c, c))
        self.channels = nn.Sequential(conv1(c, c // 8), nn.ReLU(True), conv1(c // 8, c), nn.Sigmoid())
        self.pixels, self.out = nn.Sequential(conv1(2, 1), nn.Sigmoid()), conv1(2 * c, c)

    def forward(self, x):
        f = self.body(x)
        pixels = self.pixels(cat([f.mean(1, keepdim=True), f.amax(1, keepdim=True)], 1))
        return x + self.out(cat([f * self.channels(pooled(f)), f * pixels], 1))


class KerasFusion(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.squeeze = nn.Sequential(conv1(c, c // 8), nn.ReLU(True))
        self.excite = nn.ModuleList(conv1(c // 8, c) for _ in range(3))

    def forward(self, *streams):
        z = self.squeeze(pooled(streams[0] + streams[1] + streams[2]))
        a, b, c = (stream * torch.softmax(e(z), 1) for stream, e in zip(streams, self.excite))
        return a + b + c


class KerasScale(nn.Module):
    def __init__(self, c, down):
        super().__init__()
        self.scaled = (lambda x: F.max_pool2d(x, 2)) if down else repeated
        out = 2 * c if down else c // 2
        self.body = nn.Sequential(conv1(c, c), nn.ReLU(True), conv3(c, c), nn.ReLU(True))
        self.main, self.skip = conv1(c, out), conv1(c, out)

    def forward(self, x):
        return self.main(self.scaled(self.body(x))) + self.skip(self.scaled(x))


class KerasBlock(nn.Module):
    def __init__(self):
        super().__init__()
        down, up = lambda c: KerasScale(c, True), lambda c: KerasScale(c, False)
        down4, up4 = lambda: nn.Sequential(down(64), down(128)), lambda: nn.Sequential(up(256), up(128))
        self.down2, self.down3 = down(64), down(128)
        self.before = nn.ModuleList(KerasAttention(c) for c in (64, 128, 256))
        self.after = nn.ModuleList(KerasAttention(c) for c in (64, 128, 256))
        self.fuse = nn.ModuleList(KerasFusion(c) for c in (64, 128, 256, 64))
        self.to1 = nn.ModuleList([up(128), up4()])
        self.to2 = nn.ModuleList([down(64), up(256)])
        self.to3 = nn.ModuleList([down4(), down(128)])
        self.last = nn.ModuleList([up(128), up4()])
        self.out = conv3(64, 64)

    def forward(self, x):
        x2 = self.down2(x)
        d1, d2, d3 = (unit(map) for unit, map in zip(self.before, (x, x2, self.down3(x2))))
        s1 = self.fuse[0](d1, self.to1[0](d2), self.to1[1](d3))
        s2 = self.fuse[1](self.to2[0](d1), d2, self.to2[1](d3))
        s3 = self.fuse[2](self.to3[0](d1), self.to3[1](d2), d3)
        e1, e2, e3 = (unit(map) for unit, map in zip(self.after, (s1, s2, s3)))
        return x + self.out(self.fuse[3](e1, self.last[0](e2), self.last[1](e3)))


class AuthorsAttention(nn.Module):
    def __init__(self, c, slope):
        super().__init__()
        self.first, self.slope, self.second = conv3(c, c, False), slope, conv3(c, c, False)
        self.pixels = nn.Sequential(nn.Conv2d(2, 1, 5, padding=2, bias=False), nn.Sigmoid())
        self.channels = nn.Sequential(conv1(c, c // 8, False), nn.ReLU(True), conv1(c // 8, c, False), nn.Sigmoid())
        self.out = conv1(2 * c, c, False)

    def forward(self, x):
        f = self.second(self.slope(self.first(x)))
        pixels = self.pixels(cat([f.amax(1, keepdim=True), f.mean(1, keepdim=True)], 1))
        return x + self.out(cat([f * pixels, f * self.channels(pooled(f))], 1))


class AuthorsFusion(nn.Module):
    def __init__(self, c, streams, act):
        super().__init__()
        hidden = max(c // 8, 4)
        self.squeeze = nn.Sequential(conv1(c, hidden, False), act())
        self.excite = nn.ModuleList(conv1(hidden, c, False) for _ in range(streams))

    def forward(self, *streams):
        z = self.squeeze(pooled(sum(streams[1:], streams[0])))
        weights = torch.softmax(torch.stack([e(z) for e in self.excite]), 0)
        return sum((s * w for s, w in zip(streams[1:], weights[1:])), streams[0] * weights[0])


class BlurPool(nn.Module):
    def __init__(self, c):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (row[:, None] * row).repeat(c, 1, 1, 1))

    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.kernel, stride=2, groups=x.shape[1])


class AuthorsScale(nn.Module):
    def __init__(self, c, down):
        super().__init__()
        before = [conv1(c, c, False), nn.PReLU()]
        if down:
            self.main = nn.Sequential(*before, conv3(c, c, False), nn.PReLU(), BlurPool(c), conv1(c, 2 * c, False))
            self.skip = nn.Sequential(BlurPool(c), conv1(c, 2 * c, False))
        else:
            wide = nn.ConvTranspose2d(c, c, 3, 2, 1, 1, bias=False)
            self.main = nn.Sequential(*before, wide, nn.PReLU(), conv1(c, c // 2, False))
            self.skip = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv1(c, c // 2, False))

    def forward(self, x):
        return self.main(x) + self.skip(x)


class AuthorsBlock(nn.Module):
    def __init__(self, slope):
        super().__init__()
        down, up = lambda c: AuthorsScale(c, True), lambda c: AuthorsScale(c, False)
        self.units = nn.ModuleList(AuthorsAttention(c, slope) for c in (64, 128, 256))
        self.fuse = nn.ModuleList(AuthorsFusion(c, 3, nn.PReLU) for c in (64, 128, 256))
        self.down1, self.down2, self.down4 = down(64), down(128), nn.Sequential(down(64), down(128))
        self.up2, self.up3, self.up4 = up(128), up(256), nn.Sequential(up(256), up(128))
        self.last2, self.last3 = up(128), nn.Sequential(up(256), up(128))
        self.out = conv3(64, 64, False)

    def forward(self, x):
        d1 = self.units[0](x)
        d2 = self.units[1](self.down1(d1))
        d3 = self.units[2](self.down2(d2))
        e1 = self.units[0](self.fuse[0](d1, self.up2(d2), self.up4(d3)))
        e2 = self.units[1](self.fuse[1](self.down1(d1), d2, self.up3(d3)))
        e3 = self.units[2](self.fuse[2](self.down4(d1), self.down2(d2), d3))
        return x + self.out(self.fuse[0](e1, self.last2(e2), self.last3(e3)))


class Contextual(nn.Module):
    """Residual contextual block of MIRNet-v2."""

    def __init__(self, c, groups):
        super().__init__()
        self.first, self.second = conv3(c, c, False, groups), conv3(c, c, False, groups)
        self.mask, self.add1, self.add2 = conv1(c, 1, False), conv1(c, c, False), conv1(c, c, False)

    def forward(self, x):
        f = self.second(leaky(self.first(x)))
        mask = torch.softmax(self.mask(f).flatten(2), 2)
        context = (f.flatten(2) @ mask.transpose(1, 2))[..., None]
        return x + leaky(f + self.add2(leaky(self.add1(context))))


class SecondBlock(nn.Module):
    def __init__(self, groups):
        super().__init__()
        down = lambda i, o: nn.Sequential(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), conv1(i, o, False))
        up = lambda i, o: nn.Sequential(conv1(i, o, False), nn.Upsample(scale_factor=2, mode="bilinear"))
        slope = lambda: nn.LeakyReLU(0.2, True)
        self.units = nn.ModuleList(Contextual(c, groups) for c in (80, 120, 180))
        self.down2, self.down4 = down(80, 120), nn.Sequential(down(80, 120), down(120, 180))
        self.to_mid = nn.ModuleList(up(180, 120) for _ in range(2))
        self.to_top = nn.ModuleList(up(120, 80) for _ in range(2))
        self.fuse_top, self.fuse_mid = AuthorsFusion(80, 2, slope), AuthorsFusion(120, 2, slope)
        self.out = conv1(80, 80, False)

    def forward(self, x):
        streams = [x, self.down2(x), self.down4(x)]
        for to_mid, to_top in zip(self.to_mid, self.to_top):
            top, mid, bottom = (unit(stream) for unit, stream in zip(self.units, streams))
            mid = self.fuse_mid(mid, to_mid(bottom))
            streams = [self.fuse_top(top, to_top(mid)), mid, bottom]
        return x + self.out(streams[0])


class Mirnet(nn.Module):
    def __init__(self, width, groups, bias):
        super().__init__()
        self.first, self.last = conv3(3, width, bias), conv3(width, 3, bias)
        self.groups = nn.ModuleList(groups)

    def forward(self, x):
        f = self.first(x)
        for group in self.groups:
            f = f + group(f)
        return x + self.last(f)


def mirnet_keras():
    group = lambda: nn.Sequential(conv3(64, 64), KerasBlock(), KerasBlock(), conv3(64, 64))
    return Mirnet(64, [group() for _ in range(3)], True)


def mirnet_v1():
    slope = nn.PReLU()
    group = lambda: nn.Sequential(AuthorsBlock(slope), AuthorsBlock(slope), conv3(64, 64, False))
    return Mirnet(64, [group() for _ in range(3)], False)


def mirnet_v2():
    group = lambda g: nn.Sequential(SecondBlock(g), SecondBlock(g), conv3(80, 80, False))
    return Mirnet(80, [group(g) for g in (1, 2, 4, 4)], False)


def batch_norm(c):
    return nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)  # in training mode always: statistics of the batch


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.ModuleList([nn.Conv2d(3, 64, 7, padding=3), nn.Conv2d(64, 128, 3, 2), nn.Conv2d(128, 256, 3, 2)])
        self.norms = nn.ModuleList(batch_norm(c) for c in (64, 128, 256, 256, 128, 3))
        self.blocks = nn.ModuleList(
            nn.Sequential(conv3(256 * (b + 1), 256), batch_norm(256), nn.LeakyReLU(0.2, True), conv3(256, 256), batch_norm(256))
            for b in range(6))
        self.up1, self.up2, self.out = conv1(1792, 128), conv1(256, 64), nn.Conv2d(128, 3, 7, padding=3)

    def forward(self, x, dropout=0.0):
        behind = lambda f: F.pad(f, (0, 1, 0, 1))
        e1 = leaky(self.norms[0](self.enc[0](x)))
        e2 = leaky(self.norms[1](self.enc[1](behind(e1))))
        g = leaky(self.norms[2](self.enc[2](behind(e2))))
        for block in self.blocks:
            g = cat([block(g), g], 1)
        for up, norm, skip in ((self.up1, self.norms[3], e2), (self.up2, self.norms[4], e1)):
            wide = repeated(up(g))  # the same numbers as of the repeated map, with a quarter of the work
            g = leaky(norm(cat([F.dropout(wide, dropout) if dropout else wide, skip], 1)))
        return torch.tanh(self.norms[5](self.out(g)))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [6, 64, 128, 256, 512]
        self.halving = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1) for i, o in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(batch_norm(c) for c in (128, 256, 512, 512))
        self.last, self.out = nn.Conv2d(512, 512, 4), nn.Conv2d(512, 1, 4)

    def forward(self, source, target):
        f = leaky(self.halving[0](cat([source, target], 1)))
        for conv, norm in zip(list(self.halving)[1:], self.norms):
            f = leaky(norm(conv(f)))
        f = leaky(self.norms[3](self.last(F.pad(f, (1, 2, 1, 2)))))
        return torch.sigmoid(self.out(F.pad(f, (1, 2, 1, 2))))


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = Generator(), Discriminator()

    def forward(self, x):
        return (self.generator(2 * x - 1) + 1) / 2


NETWORKS = {
    "reference_guided": ReferenceGuided, "mirnet_keras": mirnet_keras, "mirnet_v1": mirnet_v1, "mirnet_v2": mirnet_v2,
    "gan": Gan, "unet": Unet, "zero_dce": Curves, "zero_dce_plus": lambda: Curves(plus=True),
}
PARAMETERS = {
    "reference_guided": 5006915, "mirnet_keras": 44157007, "mirnet_v1": 31787419, "mirnet_v2": 5858560,
    "gan": 16579401 + 6965441, "unet": 908003, "zero_dce": 79416, "zero_dce_plus": 10561,
}

if __name__ == "__main__":
    for name, make in NETWORKS.items():
        count = sum(p.numel() for p in make().parameters())
        assert count == PARAMETERS[name], (name, count)
        print(name, count)
