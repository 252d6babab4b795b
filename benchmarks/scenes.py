"""What the built-in traffic clips cost, whether anything but the event tells them apart, a look.

    python -m benchmarks.scenes time [--clips N] [--size HxW]
    python -m benchmarks.scenes classes FOLDER      # of `worldtune scenes its FOLDER`
    python -m benchmarks.scenes sheet OUT.png [--size HxW] [--clips N]

"classes" trains small logistic regressions on five folds: on the mean colours, on the first
frame, on the number of bodies, on weather and hour, which must stay near chance, and on the
largest acceleration, which tells. "sheet" shows for each clip its first frame, the event and the
last frame.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import process_time

import av
import cv2
import numpy as np

from worldtune.data.scenes.its import its_scene
from worldtune.data.scenes.paint_frames import paint_frames
from worldtune.data.scenes.weather import HOURS, WEATHERS
from worldtune.data.scenes.write import KINDS, LABELS, write_its

FOLDS = 5
_PARTS = 16  # directions in which first frames vary most


def accuracy(features: np.ndarray, accident: np.ndarray, parts: int = 0) -> float:
    """Return the share of clips told right by a logistic regression on the other folds' clips.

    features are [clips, n], accident bool [clips]; with parts they are first reduced to so many
    principal directions of the training clips.
    """
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(accident))
    folds = np.empty(len(accident), int)
    for kind in (False, True):
        chosen = order[accident[order] == kind]
        folds[chosen] = np.arange(len(chosen)) % FOLDS
    right = 0
    for fold in range(FOLDS):
        train, test = features[folds != fold], features[folds == fold]
        middle, spread = train.mean(axis=0), train.std(axis=0) + 1e-9
        train, test = (train - middle) / spread, (test - middle) / spread
        if parts:
            _, _, ways = np.linalg.svd(train, full_matrices=False)
            train, test = train @ ways[:parts].T, test @ ways[:parts].T
            train, test = train / (scale := train.std(axis=0) + 1e-9), test / scale
        weights = _fit(train, accident[folds != fold].astype(float))
        right += int(((_with_one(test) @ weights > 0) == accident[folds == fold]).sum())
    return right / len(accident)


def _with_one(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def _fit(features: np.ndarray, wanted: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Return logistic weights by Newton's method, the last one the offset."""
    x = _with_one(features)
    penalty = ridge * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-6
    weights = np.zeros(x.shape[1])
    for _ in range(25):
        told = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (told - wanted) + penalty @ weights
        curve = (x * (told * (1 - told))[:, None]).T @ x + penalty
        weights -= np.linalg.solve(curve, slope)
    return weights


def measure_classes(folder: Path) -> dict[str, float]:
    """Return each classifier's accuracy on a folder of clips."""
    rows = [
        (label, kind == "accident")
        for kind in KINDS
        for label in sorted((folder / kind / LABELS).glob("*.json"))
    ]
    accident = np.array([row[1] for row in rows])
    looks, firsts, counts, weather, change = [], [], [], [], []
    for path, _ in rows:
        told = json.loads(path.read_text(encoding="utf-8"))
        first, mean, spread = _look(path.parents[1] / "videos" / f"{path.stem}.mp4")
        looks.append([*mean, *spread])
        firsts.append(cv2.resize(first, (28, 16), interpolation=cv2.INTER_AREA).ravel() / 255)
        on_foot = sum(body["kind"] == "pedestrian" for body in told["bodies"])
        counts.append([len(told["bodies"]) - on_foot, on_foot])
        weather.append(
            [told["weather"] == name for name in WEATHERS]
            + [told["hour"] == name for name in HOURS]
        )
        change.append([np.log(1 + told["largest_acceleration_mps2"])])
    return {
        "mean colours": accuracy(np.array(looks), accident),
        "first frame": accuracy(np.array(firsts), accident, _PARTS),
        "number of bodies": accuracy(np.array(counts, float), accident),
        "weather and hour": accuracy(np.array(weather, float), accident),
        "largest acceleration": accuracy(np.array(change), accident),
    }


def _look(video: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first frame, and the mean and the deviation of each colour over the clip."""
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    pixels = np.stack(frames[::8]).reshape(-1, 3) / 255
    return frames[0], pixels.mean(axis=0), pixels.std(axis=0)


def measure_time(count: int, size: tuple[int, int]) -> float:
    """Return CPU seconds a clip of 93 frames, half of them accidents, files written."""
    with tempfile.TemporaryDirectory() as folder:
        write_its(Path(folder) / "warm", normal=1, accident=1, size=size, frames=3)
        begin = process_time()
        half = count // 2
        write_its(Path(folder) / "clips", normal=count - half, accident=half, size=size)
        return (process_time() - begin) / count


def sheet(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return a picture: a row a clip, normal beside accident; first frame, event, last frame."""
    rows = []
    for number in range(count):
        row = []
        for kind in KINDS:
            scene = its_scene(kind, number, size=size, seed=seed)
            frames = list(paint_frames(scene.shot))
            event = min(scene.event_frame + 4, len(frames) - 1)
            row += [frames[0], frames[event], frames[-1]]
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("time", "classes", "sheet"))
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--size", default="128x224")
    words = parser.parse_args()
    height, width = (int(side) for side in words.size.split("x"))
    if words.what == "time":
        cost = measure_time(words.clips, (height, width))
        load = os.getloadavg()[0]
        print(f"{words.size}: {cost:.2f} CPU s a clip of 93 frames (load {load:.1f})")
    elif words.what == "classes":
        for name, share in measure_classes(words.path).items():
            print(f"{name:22s} {share:.3f}")
    else:
        cv2.setNumThreads(1)
        cv2.imwrite(str(words.path), sheet(words.clips, (height, width))[..., ::-1])
        print(words.path)


if __name__ == "__main__":
    main()
