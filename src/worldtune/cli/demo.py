"""`worldtune demo`: the whole way in minutes, by the commands that a user would type."""

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from worldtune.cli import demo_steps as steps
from worldtune.cli.demo_progress import Stage, Stages, listening
from worldtune.cli.demo_steps import FULL, MODELS, QUICK, Demo, all_there
from worldtune.errors import ExitStatus, RecipeError

OUTPUT_ROOT = "IMAGINAIRE_OUTPUT_ROOT"
PAGE = "index.html"
LOG = "log.txt"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo writes.")] = Path(
        "worldtune-demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Less of everything.")] = False,
    steps: Annotated[int | None, typer.Option(min=20, help="Training steps.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of clips, training and sampling.")] = 0,
) -> int:
    """Post-train a small base on traffic accidents, and see what it learned.

    Makes clips of a traffic camera, measures the base that comes with the package on held-out
    ones, post-trains it on normal traffic and accidents one to one, measures again, and writes
    a page with both models' clips side by side. A few minutes on two cores; nothing is
    downloaded. After a break, the same command goes on.
    """
    amounts = QUICK if quick else FULL
    if steps is not None:
        amounts = replace(amounts, steps=steps)
    ours = Demo(out, amounts, seed)
    claim(out, {"seed": seed, "quick": quick, "steps": amounts.steps})
    return Showing(ours).show()


def claim(out: Path, asked: dict[str, object]) -> None:
    """Note what a folder's demo is of; refuse a folder that holds something else.

    The same demo goes on from where it was.
    """
    note = out / "demo.json"
    if note.exists():
        before = json.loads(note.read_text(encoding="utf-8"))
        if before != asked:
            raise RecipeError(
                f"{out} holds a demo of {before}, and this one is of {asked}; give it a folder "
                "of its own with --out"
            )
        return
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out} is a file; give the demo a new folder with --out")
    if out.exists() and any(out.iterdir()):
        raise RecipeError(f"{out} holds other things; give the demo a new folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(asked), encoding="utf-8")


class Showing:
    """Runs the steps of one demo, shows how far it is, and keeps what was typed."""

    def __init__(self, ours: Demo, workers: int | None = None) -> None:
        self._demo = ours
        self._workers = workers or min(2, os.cpu_count() or 1)
        self._commands: list[str] = []
        self._stages = Stages([Stage(title, expected) for title, expected, _ in self._steps()])

    def _steps(self) -> list[tuple[str, float, Callable[[], int]]]:
        """Titles, seconds on two idle cores, and what is done. A status that is not 0 ends all."""
        amounts = self._demo.amounts
        clips = 2 * (amounts.train + amounts.held_out)
        held_out = 2 * amounts.held_out
        made = 2 * amounts.shown
        return [
            (f"Painting {clips} clips of a traffic camera", 2 + 0.15 * clips, self._paint),
            ("Measuring the base", 2 + 0.07 * held_out, lambda: self._measure("base")),
            ("Post-training it on both, one to one", 6 + 0.18 * amounts.steps, self._train),
            ("Measuring what it became", 1 + 0.07 * held_out, lambda: self._measure("tuned")),
            ("Making clips with the base", 2 + 0.75 * made, lambda: self._generate("base")),
            ("Making clips with the post-trained model", 2 + 0.75 * made,
             lambda: self._generate("tuned")),
            ("Writing the page", 1.0, self._write_page),
        ]  # fmt: skip

    def show(self) -> int:
        """Run all steps and tell the result; give the exit status."""
        with self._stages.shown(), _output_root(self._demo.runs):
            for number, (_, _, step) in enumerate(self._steps()):
                with self._stages.stage(number):
                    status = step()
                    if status != ExitStatus.DONE:
                        return status
        self._tell()
        return ExitStatus.DONE

    # Each step is skipped where what it makes is there. --------------------------------------

    def _paint(self) -> int:
        if all_there([self._demo.parts]):
            self._note(steps.paint_words(self._demo, self._workers))
            return ExitStatus.DONE
        status = self._type(steps.paint_words(self._demo, self._workers))
        if status == ExitStatus.DONE:
            steps.divide(self._demo)
        return status

    def _measure(self, model: str) -> int:
        words = steps.measure_words(self._demo, model)
        if all_there([self._demo.losses(model)]):
            self._note(words)
            return ExitStatus.DONE
        return self._type(words)

    def _train(self) -> int:
        words = steps.train_words(self._demo)
        if all_there([self._demo.losses("tuned")]):
            self._note(words)
            return ExitStatus.DONE
        return self._type(words)

    def _generate(self, model: str) -> int:
        requests = steps.write_requests(self._demo, model)
        words = steps.generate_words(self._demo, model, requests)
        shown = [name for _, name in self._demo.shown()]
        if all_there([self._demo.made(model, name) for name in shown]):
            self._note(words)
            return ExitStatus.DONE
        if not all_there([self._demo.first_frames(name) for name in shown]):
            steps.cut_first_frames(self._demo)
        return self._type(words, files=len(shown))

    def _write_page(self) -> int:
        from worldtune.cli.demo_page import write_page

        took = self._stages.elapsed_s
        write_page(self._demo, self._demo.out / PAGE, commands=self._commands, elapsed_s=took)
        return ExitStatus.DONE

    # -----------------------------------------------------------------------------------------

    def _note(self, words: list[str]) -> str:
        """Keep a command as one would type it."""
        before = (
            f"{OUTPUT_ROOT}={shlex.quote(str(self._demo.runs))} " if words[0] == "train" else ""
        )
        line = f"{before}worldtune {shlex.join(words)}"
        self._commands.append(line)
        return line

    def _type(self, words: list[str], files: int = 1) -> int:
        """Run a command of the command line in this process; give its status."""
        from worldtune.cli.main import run

        self._stages.say(f"$ {self._note(words)}")
        log = self._demo.out / LOG
        with listening(log, self._stages.reach, files) as listener:
            status = run(words)
        if status != ExitStatus.DONE:
            last = "\n".join(listener.lines[-3:])
            self._stages.say(last)
            if status == ExitStatus.STOPPED:
                self._stages.say("Stopped; the same command goes on from here.")
            else:
                self._stages.say(f"All that was said is in {log}")
        return status

    def _tell(self) -> None:
        """The numbers, and where to look."""
        losses = {model: steps.read_losses(self._demo, model) for model in MODELS}
        for kind in steps.CLASSES:
            base, tuned = (losses[model].mean[kind] for model in MODELS)
            self._stages.say(
                f"Held-out loss on {kind} clips: {base:.4f} base, {tuned:.4f} post-trained "
                f"({tuned / base - 1:+z.1%})"
            )
        self._stages.say(f"The page: {(self._demo.out / PAGE).resolve()}")


@contextmanager
def _output_root(folder: Path) -> Iterator[None]:
    """Let runs lie in the demo's folder."""
    before = os.environ.get(OUTPUT_ROOT)
    os.environ[OUTPUT_ROOT] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[OUTPUT_ROOT]
        else:
            os.environ[OUTPUT_ROOT] = before
