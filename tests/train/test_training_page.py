"""What the page about training shows is what a run says, writes and takes."""

import re
import shlex
from pathlib import Path

from tests.train.test_logs import LINES
from tests.train.tiny import metrics
from worldtune.cli.launching import compose_launch
from worldtune.config.words import read_words

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
RESUMED = "[INFO] Resuming from iteration N: FOLDER/checkpoints/state/iter_N"
SAMPLED = "[INFO] Samples written: FOLDER/samples/iter_N"
OVERFIT = (
    "[INFO] Overfit: loss on fixed noise N.NNNN before the first step, N.NNNN for predicting "
    "nothing; wanted: N.NNNN",
    "[INFO] Overfit: loss on fixed noise N.NNNN after N steps",
    "[INFO] Overfit passed: the loss fell from N.NNNN to N.NNNN in N steps",
)
STOPPED = (
    "StoppedEarlyError: stopped by SIGINT after iteration N/N; the state is saved, and the same "
    "command goes on from it"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_its_commands_are_taken():
    commands = [shlex.split(block.replace("\\\n", "")) for block in blocks("bash")]

    assert len(commands) == 2
    for program, name, *words in commands:
        assert (program, name) == ("worldtune", "train")
        composed = compose_launch(read_words(words))
        assert composed.recipe.dataloader_train.dataset.video_size == (64, 112)


def without_numbers(line: str) -> str:
    """A line with # for every number, and one word for the run's folder and for units."""
    line = line.replace("checkpoints/posttraining/video2world/tiny", "FOLDER")
    line = re.sub(r"SIZE|[\d.,]+ (bytes|MiB|GiB)", "# bytes", line)
    return re.sub(r"\b(N\.N+|N|RATE|SHARE)\b|\d[\d.]*", "#", line.replace("iter_", "iter "))


def test_every_line_on_it_is_one_that_a_run_says():
    """The lines of a run are held letter by letter in the tests of the log."""
    said = {
        without_numbers(line) for line in [*LINES.splitlines(), RESUMED, SAMPLED, STOPPED, *OVERFIT]
    }
    shown = [line for block in blocks("text") for line in block.splitlines()]

    assert len(shown) > 20
    assert [line for line in shown if without_numbers(line) not in said] == []


def test_its_tables_name_every_file_and_every_number(whole: Path):
    files = {path.relative_to(whole).parts[0] for path in whole.iterdir()}
    kinds = {path.name for path in (whole / "checkpoints").iterdir()}
    names = {name for line in metrics(whole) for name in line} | {"step_s", "wait_s"}
    bands = [name.removeprefix("network") for name in names if name.startswith("network_")]

    assert len(bands) == 4
    for file in files - {"checkpoints"}:
        assert re.search(rf"^\| `{re.escape(file)}/?`", PAGE, re.MULTILINE), file
    assert kinds == {"state", "model"}
    for name in {name for name in names if not name.startswith(("network_", "average_"))}:
        assert f"`{name}`" in PAGE, name
    assert all(f"`{band}`" in PAGE for band in bands)
