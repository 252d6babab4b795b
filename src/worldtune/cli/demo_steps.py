"""The steps of the demo, most of them commands that a user would type."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from worldtune.errors import RunError

if TYPE_CHECKING:
    from worldtune.data.scenes.recording import SceneKind

CLASSES: tuple["SceneKind", ...] = ("normal", "accident")
MODELS = ("base", "tuned")
GIVEN = 5  # frames that a generated clip begins with
PAINTED = 37  # frames of a clip, of which training draws windows
BEFORE = 6  # frames of a held-out clip before two vehicles meet: those given, and hardly more
SAMPLING = ("--num-conditional-frames", str(GIVEN), "--guidance", "0", "--steps", "35")
_CRF = 8  # of frames that are cut out of clips: next to no loss of the file's own


@dataclass(frozen=True)
class Amounts:
    """How much of everything: clips of each class, of these to show; steps.

    rate is the largest rate where it is not the recipe's.
    """

    train: int
    held_out: int
    shown: int
    steps: int
    rate: float | None = None


FULL = Amounts(train=104, held_out=16, shown=4, steps=1000)
QUICK = Amounts(train=26, held_out=6, shown=2, steps=220, rate=2e-4)


@dataclass(frozen=True)
class Demo:
    """One demo: where it lies, how much it does, and its seed."""

    out: Path
    amounts: Amounts
    seed: int

    @property
    def traffic(self) -> Path:
        """Where the clips are painted."""
        return self.out / "traffic"

    def clips(self, part: str, name: str = "") -> Path:
        """Clips of a part, `train` or `val`, and of a class."""
        return self.out / "clips" / part / name

    @property
    def parts(self) -> Path:
        """What is in which part."""
        return self.clips("parts.json")

    @property
    def run(self) -> Path:
        """The folder of the training run."""
        return self.runs / "posttraining" / "video2world" / "tiny_its"

    @property
    def runs(self) -> Path:
        """Where runs lie."""
        return self.out / "runs"

    def losses(self, model: str) -> Path:
        """What was measured of a model."""
        return self.out / f"losses_{model}.json"

    def made(self, model: str, name: str) -> Path:
        """A clip that a model made."""
        return self.out / "generated" / model / f"{name}.mp4"

    def first_frames(self, name: str) -> Path:
        """The frames that it began with."""
        return self.out / "first_frames" / f"{name}.mp4"

    def shown(self) -> list[tuple[str, str]]:
        """Class and name of the held-out clips that are shown, accidents first."""
        return [
            (kind, f"{kind}_{number:05d}")
            for kind in reversed(CLASSES)
            for number in range(self.amounts.shown)
        ]

    def real(self, kind: str, name: str) -> Path:
        """A held-out clip."""
        return self.clips("val", kind) / "videos" / f"{name}.mp4"

    def caption(self, kind: str, name: str) -> str:
        """Its caption."""
        file = self.clips("val", kind) / "metas" / f"{name}.txt"
        return file.read_text(encoding="utf-8").strip()


def paint_words(demo: Demo, workers: int) -> list[str]:
    """The command that makes the clips."""
    from worldtune.recipes.traffic_experiments import FPS, SIZE

    each = str(demo.amounts.train + demo.amounts.held_out)
    return [
        *("scenes", "its", str(demo.traffic), "--normal", each, "--accident", each),
        *("--size", f"{SIZE[0]}x{SIZE[1]}", "--frames", str(PAINTED), "--fps", f"{FPS:g}"),
        *("--seed", str(demo.seed), "--workers", str(workers)),
    ]


@dataclass(frozen=True)
class Divided:
    """Which traffic a painted clip is of, and where it belongs: in `val` from a frame on."""

    kind: "SceneKind"
    name: str
    recording: str
    part: Literal["val", "train", "neither"]
    start: int = 0


def divided(demo: Demo) -> list[Divided]:
    """Where all painted clips belong: the first of each class are held out, others train.

    Held-out windows begin shortly before two vehicles meet, in normal traffic as in accidents. A
    clip of the same recorded traffic as a held-out one is in neither part.
    """
    from worldtune.data.scenes.its import its_scene
    from worldtune.recipes.traffic_experiments import FPS, FRAMES, SIZE

    clips: list[Divided] = []
    for kind in CLASSES:
        held_out: set[str] = set()
        for number in range(demo.amounts.train + demo.amounts.held_out):
            scene = its_scene(kind, number, seed=demo.seed, size=SIZE, frames=PAINTED, fps=FPS)
            recording = scene.shot.recording.name
            if number < demo.amounts.held_out:
                held_out.add(recording)
                start = min(max(scene.event_frame - BEFORE, 0), PAINTED - FRAMES)
                clips.append(Divided(kind, scene.name, recording, "val", start))
            else:
                part = "neither" if recording in held_out else "train"
                clips.append(Divided(kind, scene.name, recording, part))
    return clips


def divide(demo: Demo) -> None:
    """Copy the painted clips into their parts; the note of what is where is written last."""
    from worldtune.data.decode import read_window
    from worldtune.data.video import write_video
    from worldtune.recipes.traffic_experiments import FPS, FRAMES

    clips = divided(demo)
    for clip in clips:
        video, caption = f"videos/{clip.name}.mp4", f"metas/{clip.name}.txt"
        if clip.part == "train":
            _copy(demo, clip, video, caption)
        elif clip.part == "val":
            window = read_window(demo.traffic / clip.kind / video, clip.start, FRAMES)
            write_video(demo.real(clip.kind, clip.name), window, FPS, crf=_CRF, threads=1)
            _copy(demo, clip, caption)
    parts = {clip.name: clip.part for clip in clips}
    demo.parts.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")


def _copy(demo: Demo, clip: Divided, *files: str) -> None:
    for file in files:
        copied = demo.clips(clip.part, clip.kind) / file
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(demo.traffic / clip.kind / file, copied)


def model_words(demo: Demo, model: str) -> list[str]:
    """The words that name a model."""
    from worldtune.recipes.traffic_experiments import BASE_WEIGHTS, TUNED_EXPERIMENT

    if model == "tuned":
        return ["--checkpoint", str(demo.run)]
    return ["--checkpoint", str(BASE_WEIGHTS), "--experiment", TUNED_EXPERIMENT]


def measure_words(demo: Demo, model: str) -> list[str]:
    """The command that measures a model on held-out clips."""
    folders = [f"{kind}={demo.clips('val', kind)}" for kind in CLASSES]
    named = [word for folder in folders for word in ("--clips", folder)]
    return ["measure", *model_words(demo, model), *named, "--out", str(demo.losses(model))]


def train_words(demo: Demo) -> list[str]:
    """The command that post-trains the base on both classes, one to one."""
    from worldtune.recipes.traffic_experiments import TUNED_EXPERIMENT

    steps = demo.amounts.steps
    return [
        *("train", f"--experiment={TUNED_EXPERIMENT}"),
        f"dataloader_train.dataset.mix={_mix(demo, 'train')}",
        f"dataloader_val.dataset.mix={_mix(demo, 'val')}",
        f"trainer.max_iter={steps}",
        f"scheduler.cycle_lengths=[{steps}]",
        *([f"optimizer.lr={demo.amounts.rate:g}"] if demo.amounts.rate else []),
        *([f"trainer.seed={demo.seed}"] if demo.seed else []),
        f"trainer.validation_iter={-(-steps // 3)}",
        f"trainer.logging_iter={max(1, steps // 30)}",
        f"checkpoint.save_iter={-(-steps // 3)}",
    ]


def _mix(demo: Demo, part: str) -> str:
    """Both classes of a part, one to one, in the grammar of the command line."""
    return "{" + ", ".join(f"{_escaped(demo.clips(part, kind))}: 1" for kind in CLASSES) + "}"


def _escaped(path: Path) -> str:
    return "".join(f"\\{c}" if c in "\\()[]{}:=, \t" else c for c in path.as_posix())


def cut_first_frames(demo: Demo) -> None:
    """Write the first frames of the clips that are shown, each as a clip of its own."""
    from worldtune.data.decode import read_window
    from worldtune.data.video import write_video
    from worldtune.recipes.traffic_experiments import FPS

    for kind, name in demo.shown():
        frames = read_window(demo.real(kind, name), 0, GIVEN)
        write_video(demo.first_frames(name), frames, FPS, crf=_CRF, threads=1)


def write_requests(demo: Demo, model: str) -> Path:
    """Write what is asked of a model, as `worldtune generate --batch` reads it."""
    asked = [
        {
            "input_video": str(demo.first_frames(name)),
            "prompt": demo.caption(kind, name),
            "output_video": str(demo.made(model, name)),
        }
        for kind, name in demo.shown()
    ]
    path = demo.out / f"requests_{model}.json"
    path.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
    return path


def generate_words(demo: Demo, model: str, requests: Path) -> list[str]:
    """The command with which a model goes on from the first frames."""
    from worldtune.recipes.traffic_experiments import FPS

    return [
        *("generate", *model_words(demo, model), "--batch", str(requests)),
        *SAMPLING,
        *("--fps", f"{FPS:g}", "--seed", str(demo.seed), "--force"),
    ]


@dataclass(frozen=True)
class Losses:
    """What was measured of a model, by class: its loss, that of each band of noise levels."""

    mean: dict[str, float]
    bands: dict[str, dict[str, float]]
    clips: dict[str, int]


def read_losses(demo: Demo, model: str) -> Losses:
    """Read what was measured of a model. Errors: RunError where it cannot be read."""
    path = demo.losses(model)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["losses"]
        rows = {kind: dict(told[kind]) for kind in CLASSES}
        clips = {kind: int(row.pop("clips")) for kind, row in rows.items()}
        mean = {kind: float(row.pop("mean")) for kind, row in rows.items()}
        bands = {kind: {band: float(loss) for band, loss in rows[kind].items()} for kind in rows}
        return Losses(mean, bands, clips)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove it and start again") from error


def all_there(files: Sequence[Path]) -> bool:
    """Whether a step was done before."""
    return all(file.is_file() for file in files)
