"""Adapters in the names of other programs: ComfyUI and diffusers.

| | ComfyUI | diffusers |
|---|---|---|
| a layer's name | `diffusion_model.` and the published one | `transformer.` and diffusers' own |
| matrices | `.lora_A.weight`, `.lora_B.weight` | the same |
| alpha | a tensor `.alpha` for each layer | in the header, `lora_adapter_metadata` |

Both take alpha to be the rank where it is not told, and say nothing. rsLoRA is written as
plain LoRA with the alpha that gives the same scale.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worldtune.checkpoint.diffusers_names import DIFFUSERS
from worldtune.checkpoint.names import PREDICT2, NameTable
from worldtune.errors import CheckpointError
from worldtune.models.lora_config import DOWN, MAGNITUDE, part_of, split_name

# torch is imported only to write, so that a file is described without it.
if TYPE_CHECKING:
    from torch import Tensor

    from worldtune.models.lora import Adapter

ALPHA = "alpha"
METADATA = "lora_adapter_metadata"  # diffusers' key in the header


@dataclass(frozen=True)
class Told:
    """What a file of another program holds; alpha None where it does not say it."""

    weights: dict[str, "Tensor"]
    rank: int
    alpha: float | None
    rslora: bool = False


@dataclass(frozen=True)
class Form:
    """One program's way of writing adapters."""

    name: str
    prefix: str
    table: NameTable

    def written(self, adapter: "Adapter") -> tuple[dict[str, "Tensor"], dict[str, str]]:
        """Tensors and header of its file. CheckpointError for what the program cannot hold."""
        import torch

        config = adapter.config
        # One that both programs read without knowing rsLoRA.
        alpha = config.scale * config.rank
        tensors: dict[str, Tensor] = {}
        layers: dict[str, str] = {}
        for name, weight in adapter.weights.items():
            layer, part = split_name(name) or ("", "")
            theirs = self.table.to_file(f"{layer}.weight")
            if theirs is None:
                raise CheckpointError(f"{layer} has no name in {self.name}.")
            layers[layer] = theirs.removesuffix(".weight")
            leaf = part if part == MAGNITUDE else f"{part}.weight"
            tensors[f"{self.prefix}{layers[layer]}.{leaf}"] = weight
        if self is DIFFUSERS_FORM:
            return tensors, _metadata(adapter, alpha, layers.values())
        if config.dora:
            raise CheckpointError(
                f"DoRA is not written for {self.name}, whose versions read it in different ways. "
                "Merge the adapter into its base (worldtune lora merge) and give it that."
            )
        for theirs in layers.values():
            tensors[f"{self.prefix}{theirs}.{ALPHA}"] = torch.tensor(alpha)
        return tensors, {"format": "pt"}

    def read(self, named: Mapping[str, "Tensor"], header: Mapping[str, str], path: Path) -> Told:
        """Weights by the network's names. CheckpointError for names or numbers it does not know."""
        weights: dict[str, Tensor] = {}
        alphas: dict[str, float] = {}
        unknown = []
        for name, tensor in named.items():
            ours, layer = self.weight_of(name), self.layer_of_alpha(name)
            if ours is not None:
                weights[ours] = tensor
            elif layer is not None:
                alphas[layer] = float(tensor)
            else:
                unknown.append(name)
        if unknown:
            raise CheckpointError(
                f"{path} holds {len(unknown)} names that are not {self.name}'s for an adapter of "
                f"this network, first {unknown[0]!r}."
            )
        ranks = {w.shape[0] for n, w in weights.items() if part_of(n) == DOWN}
        if len(ranks) != 1 or len(set(alphas.values())) > 1:
            raise CheckpointError(
                f"{path} has ranks {sorted(ranks)} and alphas {sorted(set(alphas.values()))}; "
                "expected one rank and one alpha for all layers."
            )
        told = _told_by(header, path)
        alpha = next(iter(alphas.values()), None)
        if told.get("lora_alpha") is not None:
            alpha = float(told["lora_alpha"])
        return Told(weights, ranks.pop(), alpha, bool(told.get("use_rslora", False)))

    def weight_of(self, name: str) -> str | None:
        """The network's name of an adapter's weight; None for any other name."""
        if not name.startswith(self.prefix):
            return None
        inside = name.removeprefix(self.prefix)
        module = self.table.to_module(f"{inside}.weight" if inside.endswith(MAGNITUDE) else inside)
        return module if module is not None and split_name(module) else None

    def layer_of_alpha(self, name: str) -> str | None:
        """The network's layer that an alpha is of; None for any other name."""
        if not (name.startswith(self.prefix) and name.endswith(f".{ALPHA}")):
            return None
        layer = name.removeprefix(self.prefix).removesuffix(f".{ALPHA}")
        module = self.table.to_module(f"{layer}.weight")
        return module.removesuffix(".weight") if module is not None else None


def _metadata(adapter: "Adapter", alpha: float, layers: Collection[str]) -> dict[str, str]:
    """What diffusers makes its settings from; without it, alpha would be the rank there."""
    told = {
        "r": adapter.config.rank,
        "lora_alpha": alpha,
        "target_modules": list(layers),
        "use_dora": adapter.config.dora,
    }
    return {
        "format": "pt",
        METADATA: json.dumps({f"{DIFFUSERS_FORM.prefix}{key}": v for key, v in told.items()}),
    }


def _told_by(header: Mapping[str, str], path: Path) -> dict:
    if METADATA not in header:
        return {}
    try:
        told = json.loads(header[METADATA])
        return {key.removeprefix(DIFFUSERS_FORM.prefix): value for key, value in told.items()}
    except (ValueError, AttributeError) as fault:
        raise CheckpointError(f"{path} is damaged: its {METADATA} is no JSON.") from fault


DIFFUSERS_FORM = Form("diffusers", "transformer.", DIFFUSERS)
COMFYUI_FORM = Form("ComfyUI", "diffusion_model.", PREDICT2)
FORMS = {"diffusers": DIFFUSERS_FORM, "comfyui": COMFYUI_FORM}


def find_form(names: Collection[str]) -> Form | None:
    """The program whose prefix most of an adapter's names have; None for any other file."""
    if not any(f".{DOWN}." in name for name in names):
        return None
    for form in FORMS.values():
        if sum(name.startswith(form.prefix) for name in names) * 2 > len(names):
            return form
    return None
