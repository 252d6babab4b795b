"""How close a tokenizer's clips come back, and how fast, over a folder of clips.

    python benchmarks/tokenizer.py FOLDER
    python benchmarks/tokenizer.py FOLDER --tokenizer wan --weights tokenizer.pth --frames 17

Clips are stretched to the size. PSNR is over a whole clip, of bytes, against the resized clip;
with --noise, of latents with that much noise laid over them. Times are of this process's CPU.
"""

import argparse
import json
import math
import time
from pathlib import Path

import av
import torch
from torch import Tensor
from torch.nn import functional

from worldtune.checkpoint.wan import load_wan_tokenizer
from worldtune.models.builtin_tokenizer import BuiltinTokenizer
from worldtune.models.tokenizer import VideoTokenizer


def read_clip(path: Path, frames: int, size: tuple[int, int]) -> Tensor:
    """Bytes [3, T, H, W] of the first frames, antialiased, in whole groups of four and one."""
    pictures = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            rgb = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)[None]
            small = functional.interpolate(rgb.float(), size, mode="bilinear", antialias=True)
            pictures.append(small[0].round().clamp(0, 255).byte())
            if len(pictures) == frames:
                break
    whole = (len(pictures) - 1) // 4 * 4 + 1
    return torch.stack(pictures[:whole], dim=1)


def measure(tokenizer: VideoTokenizer, clip: Tensor, noise: float) -> dict[str, float]:
    """PSNR in dB, CPU seconds of each way, and what the latents look like."""
    video = clip[None].float() / 127.5 - 1
    start = time.process_time()
    latents = tokenizer.encode(video)
    encoded = time.process_time()
    drawn = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    again = tokenizer.decode(latents + noise * drawn)
    decoded = time.process_time()
    difference = ((again + 1) * 127.5).round() - clip[None].float()
    return {
        "psnr_db": -10 * math.log10((difference / 255).square().mean().item()),
        "encode_s": encoded - start,
        "decode_s": decoded - encoded,
        "latent_mean": latents.mean().item(),
        "latent_deviation": latents.std().item(),
    }


def main() -> None:
    """Measure every clip of a folder and print a table, and JSON where it is asked for."""
    parser = argparse.ArgumentParser(
        description="PSNR and speed of a tokenizer over a folder of clips."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", choices=["builtin", "wan"], default="builtin")
    parser.add_argument("--weights", type=Path, help="the file of the Wan tokenizer")
    parser.add_argument("--frames", type=int, default=93)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--noise", type=float, default=0.0, help="deviation, in latents'")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    words = parser.parse_args()
    if words.tokenizer == "wan" and not words.weights:
        parser.error("--tokenizer wan needs --weights")
    tokenizer: VideoTokenizer = (
        load_wan_tokenizer(words.weights) if words.tokenizer == "wan" else BuiltinTokenizer()
    )
    paths = sorted(words.folder.rglob("*.mp4"))
    if not paths:
        parser.error(f"{words.folder} holds no .mp4")

    print(f"{'clip':44s} {'PSNR dB':>8s} {'encode s':>9s} {'decode s':>9s} {'latents':>14s}")
    figures = {}
    for path in paths:
        clip = read_clip(path, words.frames, (words.height, words.width))
        figures[str(path.relative_to(words.folder))] = row = measure(tokenizer, clip, words.noise)
        print(
            f"{path.stem[:44]:44s} {row['psnr_db']:8.2f} {row['encode_s']:9.2f} "
            f"{row['decode_s']:9.2f} {row['latent_mean']:6.2f} ±{row['latent_deviation']:5.2f}"
        )
    all_psnr = [row["psnr_db"] for row in figures.values()]
    print(f"mean {sum(all_psnr) / len(all_psnr):.2f} dB, lowest {min(all_psnr):.2f} dB")
    if words.json:
        words.json.write_text(json.dumps({"tokenizer": tokenizer.name, "clips": figures}, indent=2))


if __name__ == "__main__":
    main()
