"""`worldtune demo`: what it claims, types, skips, tells, and the page it writes."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import typer

from worldtune.cli import main
from worldtune.cli.demo import LOG, OUTPUT_ROOT, PAGE, claim
from worldtune.cli.demo_page import change
from worldtune.cli.demo_steps import (
    BEFORE,
    CLASSES,
    FULL,
    PAINTED,
    QUICK,
    Amounts,
    Demo,
    divide,
    divided,
    train_words,
)
from worldtune.cli.main import run
from worldtune.config.words import read_words
from worldtune.data.decode import read_window
from worldtune.data.scenes.its import its_scene
from worldtune.data.video import write_video
from worldtune.errors import ExitStatus, RecipeError
from worldtune.recipes.traffic_experiments import FPS, FRAMES, SIZE

ASKED = {"seed": 0, "quick": False, "steps": 600}
GREY = 6  # levels from frame to frame
BANDS = ("lowest", "low", "high", "highest")


def test_the_same_demo_goes_on_in_its_folder(tmp_path: Path):
    claim(tmp_path / "demo", ASKED)
    claim(tmp_path / "demo", ASKED)


def test_another_demo_is_refused_its_folder(tmp_path: Path):
    claim(tmp_path, ASKED)
    with pytest.raises(RecipeError, match="give it a folder of its own with --out"):
        claim(tmp_path, {**ASKED, "seed": 1})


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RecipeError, match="holds other things"):
        claim(tmp_path, ASKED)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "demo").write_text("dear")
    with pytest.raises(RecipeError, match="is a file"):
        claim(tmp_path / "demo", ASKED)


def _painted(demo: Demo) -> None:
    grey = GREY * torch.arange(PAINTED, dtype=torch.uint8)
    clip = demo.out / "painted.mp4"
    write_video(clip, grey[:, None, None, None].expand(-1, *SIZE, 3), FPS)
    for kind in CLASSES:
        for number in range(demo.amounts.train + demo.amounts.held_out):
            name, folder = f"{kind}_{number:05d}", demo.traffic / kind
            for part in ("videos", "metas"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(clip, folder / "videos" / f"{name}.mp4")
            (folder / "metas" / f"{name}.txt").write_text(f"{name} <passes> & turns\n")


def test_no_recording_is_both_trained_on_and_held_out(tmp_path: Path):
    recordings: dict[str, set[str]] = {"val": set(), "train": set(), "neither": set()}

    clips = divided(Demo(tmp_path, FULL, 0))
    for clip in clips:
        recordings[clip.part].add(clip.recording)
        assert (clip.part == "val") == (int(clip.name.rpartition("_")[2]) < FULL.held_out)

    last = its_scene("accident", FULL.train + FULL.held_out - 1, size=SIZE, frames=PAINTED, fps=FPS)
    assert (clips[-1].name, clips[-1].recording) == (last.name, last.shot.recording.name)
    assert not recordings["val"] & recordings["train"]
    assert recordings["neither"] <= recordings["val"]


def test_clips_and_captions_lie_in_their_part_and_the_note_of_it_is_there(tmp_path: Path):
    demo = Demo(tmp_path, QUICK, 0)
    _painted(demo)

    divide(demo)

    clips = divided(demo)
    assert json.loads(demo.parts.read_text()) == {clip.name: clip.part for clip in clips}
    for part in ("val", "train"):
        wanted = {clip.name for clip in clips if clip.part == part}
        for folder in ("videos", "metas"):
            assert {file.stem for file in demo.clips(part).glob(f"*/{folder}/*")} == wanted


def test_of_held_out_clips_a_window_before_the_event_is_kept_and_of_others_all(tmp_path: Path):
    demo = Demo(tmp_path, Amounts(train=1, held_out=2, shown=1, steps=20), 0)
    _painted(demo)

    divide(demo)

    for number, kind in enumerate(CLASSES):
        scene = its_scene(kind, number, size=SIZE, frames=PAINTED, fps=FPS)
        start = scene.event_frame - BEFORE
        held_out = read_window(demo.real(kind, scene.name), 0, FRAMES).float()
        shown = [GREY * frame for frame in range(start, start + FRAMES)]
        assert held_out.mean((1, 2, 3)).tolist() == pytest.approx(shown, abs=2)
    train = demo.clips("train", "normal") / "videos" / "normal_00002.mp4"
    assert train.read_bytes() == (demo.traffic / "normal/videos/normal_00002.mp4").read_bytes()


def test_a_folder_of_any_name_can_be_mixed(tmp_path: Path):
    demo = Demo(tmp_path / "my demo, (2:1) {new}", QUICK, 3)

    command, *words = train_words(demo)

    assert command == "train"
    from worldtune.cli.launching import compose_launch

    recipe = compose_launch(read_words(words)).recipe
    mix = recipe.dataloader_train.dataset.mix
    assert list(mix) == [str(demo.clips("train", kind)) for kind in CLASSES]
    assert set(mix.values()) == {1.0}
    assert recipe.trainer.seed == 3


class Commands:
    """Stands for the command line: makes what each command would make, and takes notes."""

    def __init__(self, demo: Demo) -> None:
        self.demo, self.typed = demo, list[str]()
        self.stops_at = ""

    def __call__(self, words: list[str]) -> int:
        """Do as the command would."""
        self.typed.append(words[0])
        typer.echo(f"said of {words[0]}")
        if words[0] == self.stops_at:
            return ExitStatus.STOPPED
        match words[0]:
            case "scenes":
                _painted(self.demo)
            case "train":
                self._train()
            case "measure":
                self._measure(Path(words[words.index("--out") + 1]))
            case "generate":
                self._generate(Path(words[words.index("--batch") + 1]))
        return ExitStatus.DONE

    def _measure(self, out: Path) -> None:
        loss = 0.5 if "tuned" in out.name else 1.0
        losses = {"mean": loss, **dict.fromkeys(BANDS, loss), "clips": 6}
        out.write_text(json.dumps({"losses": dict.fromkeys(CLASSES, losses)}))

    def _train(self) -> None:
        self.demo.run.mkdir(parents=True)
        lines = [{"kind": "validation", "iteration": 0, "network": 1.0}]
        lines += [
            {"kind": "step", "iteration": n, "loss": 1 / n, "step_s": 1.0} for n in range(1, 121)
        ]
        lines += [{"kind": "validation", "iteration": 120, "network": 0.6, "average": 0.5}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.demo.run / "metrics.jsonl").write_text(text)

    def _generate(self, batch: Path) -> None:
        clip = torch.full((FRAMES, *SIZE, 3), 128, dtype=torch.uint8)
        for entry in json.loads(batch.read_text()):
            assert Path(entry["input_video"]).exists()
            write_video(Path(entry["output_video"]), clip, FPS)
            typer.echo(f"[INFO] Written: {entry['output_video']}")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    fake = Commands(Demo(tmp_path / "demo", QUICK, 0))
    monkeypatch.delenv(OUTPUT_ROOT, raising=False)
    monkeypatch.setattr(main, "run", fake)
    return fake


ALL = ["scenes", "measure", "train", "measure", "generate", "generate"]
WORDS = ["demo", "--quick", "--out"]


def test_the_demo_types_commands_and_tells_the_numbers_and_the_page(
    commands: Commands, capsys: pytest.CaptureFixture[str]
):
    out = commands.demo.out

    assert run([*WORDS, str(out)]) == ExitStatus.DONE

    assert commands.typed == ALL
    told = capsys.readouterr().out
    assert (
        f"1/7 Painting {2 * (QUICK.train + QUICK.held_out)} clips of a traffic camera; about"
        in told
    )
    assert told.count("$ worldtune ") == 5
    assert "$ IMAGINAIRE_OUTPUT_ROOT=" in told
    assert re.search(r"Held-out loss on accident clips: 1\.0000 base, 0\.5000 .*-50\.0%", told)
    assert str(out / PAGE) in told
    assert "said of" not in told
    assert (out / LOG).read_text().count("said of") == 6


def test_the_same_command_does_not_do_again_what_is_done(
    commands: Commands, capsys: pytest.CaptureFixture[str]
):
    out = commands.demo.out
    run([*WORDS, str(out)])
    before = (out / PAGE).read_text()
    capsys.readouterr()

    assert run([*WORDS, str(out)]) == ExitStatus.DONE

    assert commands.typed == ALL
    after = (out / PAGE).read_text()
    commands_of = re.compile(r"<pre>.*</pre>", re.DOTALL)
    assert commands_of.findall(after) == commands_of.findall(before)


def test_a_demo_that_was_stopped_goes_on(commands: Commands, capsys: pytest.CaptureFixture[str]):
    out = commands.demo.out
    commands.stops_at = "train"

    assert run([*WORDS, str(out)]) == ExitStatus.STOPPED
    told = capsys.readouterr().out
    assert "said of train" in told
    assert "the same command goes on from here" in told
    assert not (out / PAGE).exists()

    commands.stops_at = ""
    assert run([*WORDS, str(out)]) == ExitStatus.DONE
    assert commands.typed == [*ALL[:3], *ALL[2:]]


def test_the_page_holds_all_clips_and_needs_no_network(commands: Commands):
    out = commands.demo.out
    run([*WORDS, str(out)])

    page = (out / PAGE).read_text(encoding="utf-8")

    shown = 2 * QUICK.shown
    assert page.count("<video ") == page.count("data:video/mp4;base64,") == 3 * shown
    assert page.count("<svg ") == 1
    assert page.count("\N{MINUS SIGN}50.0 %") >= 2
    assert "accident_00000 &lt;passes&gt; &amp; turns" in page
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://""", page)
    assert "$" not in re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL)


def test_losses_that_cannot_be_read_are_told_by_name(
    commands: Commands, capsys: pytest.CaptureFixture[str]
):
    out = commands.demo.out
    run([*WORDS, str(out)])
    commands.demo.losses("tuned").write_text("{}")

    assert run([*WORDS, str(out)]) == ExitStatus.FAILED
    assert "losses_tuned.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("after", "told"), [(0.9, "\N{MINUS SIGN}10.0 %"), (1.012, "+1.2 %"), (0.9999, "+0.0 %")]
)
def test_a_change_is_told_with_its_sign_and_none_without_a_minus(after: float, told: str):
    assert change(1.0, after) == told
