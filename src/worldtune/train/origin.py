"""What a run starts from: where it is, and what it becomes once it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from worldtune.checkpoint.base import Base
from worldtune.checkpoint.native import NativeRun
from worldtune.checkpoint.state_folder import StateRef
from worldtune.inference.checkpoints import Checkpoint
from worldtune.models.lora_config import LoraConfig
from worldtune.models.transformer import Transformer


@dataclass(frozen=True)
class SavedTraining:
    """A training state that was read."""

    sections: Mapping[str, Mapping[str, Tensor]]
    info: Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """A network with its first weights."""

    network: Transformer
    origin: str  # for messages and for the state
    resumed: SavedTraining | None = None  # this run's own
    borrowed: SavedTraining | None = None  # from load_path
    native: NativeRun | None = None  # this run's, left by the publishers' trainer
    fresh: bool = False
    base: Base | None = None  # the frozen weights under adapters
    adapters: LoraConfig | None = None

    @property
    def from_file(self) -> bool:
        """Whether the weights are a file's, which says little of where it comes from."""
        states = (self.resumed, self.borrowed, self.native)
        return not self.fresh and all(state is None for state in states)


@dataclass(frozen=True)
class Origin:
    """Where to start from, found out before anything large is read."""

    kind: Literal["state", "native", "load_path", "dit_path", "fresh"]
    path: Path | None = None
    state: StateRef | None = None
    native: NativeRun | None = None
    base: Checkpoint | None = None  # of a LoRA run

    def on(self, base: Checkpoint) -> "Origin":
        """The same, with the frozen weights under the adapters."""
        return replace(self, base=base)
