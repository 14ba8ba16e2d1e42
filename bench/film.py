"""A film through a network in PyTorch, frames in and out through pipes of ffmpeg: python film.py MODEL IN OUT. Prints JSON."""
import json
import subprocess
import sys
import time

import torch

from steps import network


def main():
    model, source, target = sys.argv[1:]
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height,r_frame_rate", "-of", "json"]
    stream = json.loads(subprocess.run([*probe, source], check=True, capture_output=True).stdout)["streams"][0]
    width, height = stream["width"], stream["height"]
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    net = network(model, "compile")

    def brightened(pixels):
        dark = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(1, height, width, 3).permute(0, 3, 1, 2)
        with torch.no_grad():
            bright = net(dark.float().div_(255))
        bright = bright[0] if isinstance(bright, tuple) else bright
        return bright.clamp_(0, 1).mul_(255).round_().byte().permute(0, 2, 3, 1).contiguous().numpy().tobytes()

    brightened(bytes(3 * width * height))  # compiles
    quiet = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    start, frames = time.perf_counter(), 0
    reader = subprocess.Popen([*quiet, "-i", source, *raw, "-"], stdout=subprocess.PIPE)
    writer = subprocess.Popen([*quiet, *raw, "-s", f"{width}x{height}", "-r", stream["r_frame_rate"], "-i", "-", "-i", source,
                               "-map", "0:v", "-map", "1:a?", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy",
                               "-pix_fmt", "yuv420p", target], stdin=subprocess.PIPE)
    while len(pixels := reader.stdout.read(3 * width * height)) == 3 * width * height:
        writer.stdin.write(brightened(pixels))
        frames += 1
    writer.stdin.close()
    if writer.wait() or reader.wait():
        sys.exit("ffmpeg failed")
    print(json.dumps({"frames": frames, "frames_per_second": frames / (time.perf_counter() - start)}))


if __name__ == "__main__":
    main()
