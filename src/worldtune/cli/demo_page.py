"""The demo's page: one HTML file with its videos in it, which needs no network."""

import base64
import html
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from string import Template

from worldtune import __version__
from worldtune.cli.demo_curve import curve_of
from worldtune.cli.demo_steps import CLASSES, GIVEN, MODELS, Demo, Losses, read_losses
from worldtune.train.logs import read_metrics

_TEMPLATE = Path(__file__).with_name("demo_page.html")
_SHOWN_AS = {"base": "Base: normal traffic only", "tuned": "Post-trained 1:1"}
_CLASS_SHOWN_AS = {"normal": "normal traffic", "accident": "accidents"}


def write_page(demo: Demo, path: Path, *, commands: Sequence[str], elapsed_s: float) -> None:
    """Write the page, whole or not at all.

    Errors: RunError where the losses cannot be read.
    """
    from worldtune.recipes.traffic_experiments import FPS, FRAMES, SIZE

    losses = {model: read_losses(demo, model) for model in MODELS}
    metrics = read_metrics(demo.run / "metrics.jsonl")
    trained_s = sum(line["step_s"] for line in metrics if line["kind"] == "step")
    filled = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        aspect=f"{SIZE[1]} / {SIZE[0]}",
        minutes=spelled(trained_s),
        given=str(GIVEN),
        given_held_out=str(demo.amounts.shown),
        seconds=f"{FRAMES / FPS:.0f} seconds",
        numbers=numbers(losses),
        rows="\n".join(row(demo, kind, name) for kind, name in demo.shown()),
        weights=f"{weights_of(demo) / 1e6:.1f} million",
        size=f"{SIZE[1]} by {SIZE[0]}",
        table=table(losses),
        curve=curve_of(metrics),
        command_count=str(len(commands)),
        commands=html.escape("\n".join(commands)),
        version=html.escape(__version__),
        seed=str(demo.seed),
        steps=str(demo.amounts.steps),
        elapsed=spelled(elapsed_s),
        machine=html.escape(machine()),
    )
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(filled, encoding="utf-8")
    beside.replace(path)


def numbers(losses: dict[str, Losses]) -> str:
    """A card for each class: its held-out loss before and after."""
    cards = []
    for kind in reversed(CLASSES):
        base, tuned = (losses[model].mean[kind] for model in MODELS)
        cards.append(
            f'<div class="card"><div class="what">Held-out loss on {_CLASS_SHOWN_AS[kind]}</div>'
            f'<div class="big">{change(base, tuned)}</div>'
            f'<div class="how"><span class="base">{base:.3f} base</span> → '
            f'<span class="tuned">{tuned:.3f} post-trained</span>, '
            f"{losses['base'].clips[kind]} clips</div></div>"
        )
    return "\n".join(cards)


def change(before: float, after: float) -> str:
    """A change in percent, with a proper minus."""
    percent = f"{100 * (after / before - 1):+z.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{percent} %"


def row(demo: Demo, kind: str, name: str) -> str:
    """The real clip and both models' beside it, and the caption below."""
    real = video(demo.real(kind, name), "real", "The real clip")
    made = [video(demo.made(model, name), model, _SHOWN_AS[model]) for model in MODELS]
    told = html.escape(demo.caption(kind, name))
    return (
        f'<div class="row"><div class="three">{real}{"".join(made)}</div>'
        f'<p><span class="tag">{kind}</span>{told}</p></div>'
    )


def video(path: Path, who: str, label: str) -> str:
    """A clip inside the page."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure><video muted playsinline preload="auto" aria-label="{label}" '
        f'src="data:video/mp4;base64,{data}"></video>'
        f'<figcaption class="{who}">{label}</figcaption></figure>'
    )


def table(losses: dict[str, Losses]) -> str:
    """The held-out losses by class and noise level."""
    head = "".join(f"<th>{word}</th>" for word in ("", "noise", "base", "post-trained", "change"))
    lines = []
    for kind in reversed(CLASSES):
        bands = losses["base"].bands[kind]
        for band in ("mean", *bands):
            base, tuned = (
                losses[model].mean[kind] if band == "mean" else losses[model].bands[kind][band]
                for model in MODELS
            )
            first = _CLASS_SHOWN_AS[kind] if band == "mean" else ""
            level = "all levels" if band == "mean" else band
            cells = "".join(
                f"<td>{cell}</td>" for cell in (level, f"{base:.4f}", f"{tuned:.4f}",
                                                change(base, tuned))
            )  # fmt: skip
            lines.append(f"<tr><th>{first}</th>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def weights_of(demo: Demo) -> int:
    """How many numbers the network has."""
    from worldtune.checkpoint.reader import open_weights
    from worldtune.recipes.traffic_experiments import BASE_WEIGHTS

    del demo
    with open_weights(BASE_WEIGHTS) as file:
        return sum(math.prod(entry.shape) for entry in file.entries.values())


def spelled(seconds: float) -> str:
    """A time in words."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def machine() -> str:
    """What the demo ran on."""
    import torch

    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
