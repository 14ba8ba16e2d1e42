#!/usr/bin/env python3
"""Times luxgrad on a GPU against PyTorch's ways to run its networks there, in turn. Beside the product, never part of it.

  python bench/gpu_peers.py [--luxgrad build/cuda/tools/luxgrad] [--seconds 420] [--precision bf16,tf32,fp32]
                            [--peers eager,channels_last,compile] [--only inference|step|photo] [MODEL...] [--dry-run]

Every row is a network at work: pictures to enhance or a training step, on the device, timed by its events; or a photo from
bytes in host memory to bytes in host memory, by the host's clock, of which the pictures per second are those of photos in
turn. Rounds let `luxgrad bench` and each peer run several times, in turn. All choose engines by timing them: luxgrad as
`autotuned` (--autotune, whose book of plans is the user's), eager and channels_last by cudnn.benchmark, `compile` by
torch.compile(mode="max-autotune") with CUDA graphs in channels-last layout. `luxgrad`, without --autotune, is timed in one
round and only shown. `compile` may take minutes to get ready, so it comes last, in a second table, row by row in their
order, for as long as there is time. Tables are Markdown, each row printed when it is known: medians in milliseconds, and
how many times as fast luxgrad, autotuned, is as the fastest peer; -- where a peer does not do such work, fails or was not
reached, which is said below. Without PyTorch luxgrad runs alone. --dry-run: small pictures, the peers on the CPU, and no
numbers, which would mean nothing.
"""
import argparse
import json
import multiprocessing
import signal
import statistics
import subprocess
import sys
import time

OWN = ("luxgrad", "autotuned")
PEERS = ("eager", "channels_last", "compile")
MIRNETS = ("mirnet_keras", "mirnet_v1", "mirnet_v2")
SMALL = ("unet", "gan", "reference_guided", *MIRNETS)

# Work, network, pictures at once, width and height. First what there are goals for.
ROWS = [("photo", "zero_dce", 1, (4000, 3000)), ("inference", "zero_dce", 1, (1200, 900))]
ROWS += [("step", "zero_dce", 8, (side, side)) for side in (256, 512)]
ROWS += [("step", name, 4, (128, 128)) for name in MIRNETS] + [("step", "gan", 1, (256, 256))]
ROWS += [("inference", "zero_dce", 8, (1200, 900))] + [("inference", "zero_dce", n, (600, 400)) for n in (1, 8)]
ROWS += [("inference", name, n, (256, 256)) for n in (1, 8) for name in SMALL]
DRY_ROWS = [("photo", "zero_dce", 1, (24, 16)), ("inference", "zero_dce", 2, (24, 16)), ("step", "zero_dce", 1, (16, 16))]


class OutOfTime(Exception):
    """The time for all was over before this was done."""


def product(args, row, precision, mode, seconds):
    """Of one process of luxgrad: medians in milliseconds, alone and in turn, and bytes of the device at most."""
    work, model, batch, (width, height) = row
    command = [args.luxgrad, "bench", "-n", model, "--device", "cuda:0", "--precision", precision, "--json",
               "--repeat", str(args.repeats), "--batch", str(batch), "--only", "step" if work == "step" else "inference"]
    command += ["--crop", str(width)] if work == "step" else ["--size", f"{width}x{height}"]
    command += ["--photo"] if work == "photo" else []
    command += ["--autotune"] if mode == "autotuned" else []
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"status {run.returncode}")
    report = json.loads(run.stdout)
    if report["precision"] != precision:  # what is too far from f32 is not done in it
        raise RuntimeError(f"ran in {report['precision']}, for {precision} is too coarse")
    if work == "step":
        return report["training_step_ms"], report["training_step_ms"], report["training_memory_peak_bytes"]
    in_turn = report["in_turn_ms" if work == "photo" else "forward_ms"]
    return report["forward_ms"], in_turn, report["memory_peak_bytes"]


def work_of(row, precision, mode, device):
    """What a peer is timed at: a function."""
    import torch
    import steps

    work, model, batch, (width, height) = row
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    steps.COMPILE.update({"mode": "max-autotune"} if device == "cuda" else {})
    coarse = precision == "bf16"
    if work == "step":
        step = steps.Step(model, mode, *steps.pictures(mode, *[(batch, height, width)] * 2))

        def action():
            with torch.autocast(device, dtype=torch.bfloat16, enabled=coarse):
                step()
    else:
        net, (photo,) = steps.network(model, mode), steps.pictures(mode, (batch, height, width))
        if coarse:
            net, photo = net.bfloat16(), photo.bfloat16()

        def action():
            with torch.no_grad() if mode == "compile" else torch.inference_mode():
                net(photo)
    return action


def times_of(action, repeats, device):
    import torch

    if device != "cuda":
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            action()
            times.append(1e3 * (time.perf_counter() - start))
        return times
    marks = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        action()
        end.record()
        marks.append((start, end))
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in marks]


def serve(connection, device):
    """Answers (row, precision, mode, repeats) with (milliseconds, bytes of the device at most) or a text about a failure."""
    import torch

    torch.set_default_device(device)
    torch.backends.cudnn.benchmark = True  # as luxgrad has --autotune
    actions, at_work = {}, None
    while True:
        row, precision, mode, repeats = connection.recv()
        try:
            if (row, precision) != at_work:  # what served the row before makes room
                actions, at_work = {}, (row, precision)
                torch.compiler.reset()
                if device == "cuda":
                    torch.cuda.empty_cache()
            if mode not in actions:
                actions[mode] = work_of(row, precision, mode, device)
                for _ in range(3):  # compiles, finds algorithms, records graphs
                    actions[mode]()
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            times = times_of(actions[mode], repeats, device)
            connection.send((times, torch.cuda.max_memory_allocated() if device == "cuda" else 0))
        except Exception as error:  # a peer that fails is a result, too
            actions.pop(mode, None)
            connection.send(f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}")


class Peers:
    """PyTorch in a process of its own, which is ended where it takes too long."""

    def __init__(self, device):
        self.device, self.process = device, None

    def start(self):
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, self.device), daemon=False)
        self.process.start()
        theirs.close()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None

    def ask(self, row, precision, mode, repeats, seconds):
        if self.process is None:
            self.start()
        try:
            self.connection.send((row, precision, mode, repeats))
            if self.connection.poll(max(seconds, 0)):
                answer = self.connection.recv()
                if isinstance(answer, str) and "CUDA error" in answer:  # after one the process computes nothing more
                    self.stop()
                return answer
            self.stop()
            return f"not ready within {seconds:.0f} s"
        except (EOFError, OSError):
            self.stop()
            return "ended"


class Table:
    """What was found out so far, by row and precision, each row printed as soon as it is known."""

    def __init__(self, args, end):
        self.args, self.end = args, end
        self.cells, self.memory, self.speed, self.faults = {}, {}, {}, []
        self.own_failed = False
        self.columns, self.open = [], None  # the peers that have one; the row at work

    def left(self):
        return self.end - time.monotonic()

    def seconds(self):
        """For the next measurement."""
        if self.left() < 1:
            raise OutOfTime("the time was over")
        return min(self.args.limit, self.left())

    def ask(self, peers, key, mode):
        row, precision = key
        seconds = self.seconds()
        if mode in OWN:
            try:
                ms, in_turn, memory = product(self.args, row, precision, mode, seconds)
            except subprocess.TimeoutExpired as error:
                if seconds < self.args.limit:
                    raise OutOfTime("the time was over") from error
                raise RuntimeError(f"not ready within {seconds:.0f} s") from error
            self.speed[key, mode] = 1e3 * row[2] / in_turn
            return [ms], memory
        answer = peers.ask(row, precision, mode, self.args.repeats, seconds)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def measure(self, peers, key, modes, rounds):
        """Luxgrad and the peers in turn, and prints the row. What was known gives way only to what succeeds."""
        self.open = key
        times, failed = {}, set()
        for turn, mode in [(turn, mode) for turn in range(rounds) for mode in (*OWN, *modes)]:
            if mode in failed or (mode == "luxgrad" and (turn > 0 or (key, mode) in self.cells)):
                continue
            kept = "; an earlier value is kept" if (key, mode) in self.cells else ""
            try:
                found, memory = self.ask(peers, key, mode)
                times.setdefault(mode, []).extend(found)
                self.cells[key, mode], self.memory[key, mode] = statistics.median(times[mode]), memory
            except OutOfTime as error:
                self.faults.append(f"{self.name(key)}, {mode}: {error}{kept}")
                break
            except (RuntimeError, ValueError, KeyError, OSError) as error:
                failed.add(mode)
                self.own_failed |= mode in OWN
                self.faults.append(f"{self.name(key)}, {mode}: {error}{kept}")
        self.print_open()

    @staticmethod
    def name(key):
        (work, model, batch, (width, height)), precision = key
        what = {"photo": f"bytes of {width}x{height}, host to host", "inference": f"{batch} of {width}x{height}",
                "step": f"step {batch}x{width}²"}[work]
        return f"`{model}` {what}, {precision}"

    def print_head(self, modes):
        self.columns = modes
        head = ["work", *OWN, "pictures per second", "memory", *modes, "times as fast"]
        print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)

    def print_open(self):
        """The row at work, with what is known of it."""
        if self.open is None:
            return
        key, modes, self.open = self.open, self.columns, None
        known = [mode for mode in (*OWN, *modes) if (key, mode) in self.cells]
        if self.args.dry_run:
            cells = ["ran" if mode in known else "--" for mode in (*OWN, *modes)]
            print(f"| {self.name(key)} | {' | '.join([*cells[:2], '', '', *cells[2:], ''])} |", flush=True)
            return
        show = lambda mode: f"{self.cells[key, mode]:.3f} ms" if mode in known else "--"
        peers = [self.cells[key, mode] for mode in modes if mode in known]
        own = next((mode for mode in reversed(OWN) if mode in known), None)
        speed = f"{self.speed[key, own]:.1f}" if own else "--"
        ratio = f"{min(peers) / self.cells[key, own]:.2f}" if own and peers else "--"
        memory = " / ".join(f"{self.memory[key, mode] / 1e6:.0f}" for mode in (own, *modes) if mode in known)
        cells = [*map(show, OWN), speed, f"{memory} MB" if memory else "--", *map(show, modes), ratio]
        print(f"| {self.name(key)} | {' | '.join(cells)} |", flush=True)

    def print_faults(self):
        for fault in self.faults:
            print(f"\n{fault}", flush=True)


def has_torch(device):
    probe = "import torch; torch.zeros(1, device='%s')" % device
    try:
        return subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--luxgrad", default="build/cuda/tools/luxgrad")
    parser.add_argument("--only", choices=["inference", "step", "photo"])
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--precision", type=lambda text: text.split(","), default=["bf16", "tf32", "fp32"])
    parser.add_argument("--seconds", type=float, default=420, help="in all (default 420)")
    parser.add_argument("--limit", type=float, default=90, help="for one measurement, ready and run (default 90)")
    parser.add_argument("--repeats", type=int, default=11, help="runs in a round (default 11)")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    end = time.monotonic() + args.seconds
    if args.dry_run:
        args.repeats = 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what is known is printed

    device = "cpu" if args.dry_run else "cuda"
    modes = [mode for mode in PEERS if mode in args.peers]
    if modes and not has_torch(device):
        print(f"No PyTorch for {device} in {sys.executable}: luxgrad runs alone.", flush=True)
        modes = []
    rows = [row for row in (DRY_ROWS if args.dry_run else ROWS)
            if (not args.models or row[1] in args.models) and (not args.only or row[0] == args.only)]
    keys = [(row, precision) for row in rows for precision in args.precision]
    with_peers = [key for key in keys if key[0][0] != "photo"]  # PyTorch's has no path from bytes to bytes

    table, peers = Table(args, end), Peers(device)
    quick = [mode for mode in modes if mode != "compile"]
    kept = args.seconds / 3 if "compile" in modes else 5  # for what takes long to get ready
    reached = 0
    try:
        table.print_head(quick)
        for key in keys:
            if table.left() < kept:
                break
            table.measure(peers, key, quick if key in with_peers else [], 1 if args.dry_run else 2)
            reached += 1
        if "compile" in modes and not args.dry_run:
            table.print_head(modes)
            for key in with_peers:
                if table.left() < 20:
                    break
                table.measure(peers, key, modes, 2)
    finally:
        peers.stop()
        table.print_open()
        table.print_faults()
        if reached < len(keys):
            print(f"\nThe time was over before {len(keys) - reached} of {len(keys)} rows.", flush=True)
    return 1 if table.own_failed else 0


if __name__ == "__main__":
    sys.exit(main())
