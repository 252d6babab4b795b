"""Captions by the encoder half of T5, which the published weights were trained with.

Needs the extra `worldtune[cosmos]` and a local folder of weights; nothing is fetched. Both are
looked for when the encoder is built, but transformers is imported, and the weights are read,
when it first encodes: 4.8 billion weights for T5-11B.
"""

import hashlib
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from worldtune.checkpoint.published import weights_not_found
from worldtune.errors import CheckpointError, RecipeError

log = logging.getLogger("worldtune")

NEEDED = ("transformers", "sentencepiece")
# Read for the fingerprint from each end of every file: a whole T5-11B is 45 GB.
FINGERPRINT_BYTES = 1 << 20


class T5TextEncoder:
    """Captions to [512, 1024], zeros after a caption's end; longer captions are cut.

    Source: Raffel et al. 2020 (arXiv 1910.10683); padding and zeros as in Cosmos-Predict2.
    """

    name = "t5"

    def __init__(
        self,
        folder: str | Path,
        *,
        width: int = 1024,
        max_tokens: int = 512,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Look for the packages and for the folder's files.

        dtype is of the weights while they run; the vectors are float32 in any case.
        Errors: RecipeError where a package is missing, CheckpointError where the folder is.
        """
        self.width, self.max_tokens = width, max_tokens
        self._folder = Path(folder)
        self._device, self._dtype = torch.device(device), dtype
        self._loaded: tuple[Any, torch.nn.Module] | None = None
        missing = [package for package in NEEDED if find_spec(package) is None]
        if missing:
            raise RecipeError(
                f"the T5 text encoder needs {' and '.join(missing)}, not installed here; "
                "install with: pip install 'worldtune[cosmos]'. The text encoder 'builtin' "
                "(model.config.pipe_config.text_encoder.cls) needs neither"
            )
        if not str(folder):
            raise RecipeError(
                "model.config.pipe_config.text_encoder.t5.ckpt_path is empty; expected the "
                "folder of T5's weights"
            )
        if not (self._folder / "config.json").is_file():
            raise weights_not_found(self._folder)

    @torch.no_grad()
    def encode(self, captions: list[str]) -> Float[Tensor, "b n d"]:
        """Return float32 [captions, max_tokens, width] on the CPU, zero after each end.

        One caption at a time, since T5-11B on 512 tokens is large enough.
        Errors: CheckpointError where the folder holds no T5 encoder of this width.
        """
        if not captions:
            return torch.zeros(0, self.max_tokens, self.width)
        return torch.stack([self._encode_one(caption) for caption in captions])

    def fingerprint(self) -> str:
        """Of the files' names, sizes, beginnings and ends, and of the dtype they run in."""
        digest = hashlib.sha256(repr((self.name, self.max_tokens, str(self._dtype))).encode())
        for path in sorted(self._folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                digest.update(f"{path.name} {path.stat().st_size}".encode())
                digest.update(_ends(path))
        return digest.hexdigest()[:16]

    def _encode_one(self, caption: str) -> Float[Tensor, "n d"]:
        tokenizer, model = self._load()
        words = tokenizer(
            caption, truncation=True, max_length=self.max_tokens,
            padding="max_length", return_tensors="pt",
        )  # fmt: skip
        uncut = len(tokenizer(caption, verbose=False)["input_ids"])
        if uncut > self.max_tokens:
            log.warning(
                f"a caption of {uncut} tokens is cut to the first {self.max_tokens}: "
                f"{caption[:40]!r}..."
            )
        mask = words["attention_mask"].to(self._device)
        hidden = model(input_ids=words["input_ids"].to(self._device), attention_mask=mask)
        kept = hidden.last_hidden_state.float() * mask[:, :, None]
        return kept[0].cpu()

    def _load(self) -> tuple[Any, torch.nn.Module]:
        if self._loaded is None:
            from transformers import AutoTokenizer, T5EncoderModel

            try:
                tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
                model = T5EncoderModel.from_pretrained(self._folder, local_files_only=True)
            except (OSError, ValueError, RuntimeError) as error:
                first = str(error).strip().splitlines()[0]
                raise CheckpointError(
                    f"{self._folder} does not hold a T5 encoder that can be read: {first}"
                ) from error
            found = model.config.d_model
            if found != self.width:
                raise CheckpointError(
                    f"{self._folder} holds a T5 of width {found}; expected {self.width} "
                    "(model.config.pipe_config.text_encoder.t5.embed_dim)"
                )
            module = cast("torch.nn.Module", model)
            module.eval().requires_grad_(False).to(self._device, self._dtype)
            self._loaded = tokenizer, module
        return self._loaded


def _ends(path: Path) -> bytes:
    """The first and last bytes of a file."""
    with path.open("rb") as file:
        start = file.read(FINGERPRINT_BYTES)
        file.seek(max(path.stat().st_size - FINGERPRINT_BYTES, 0))
        return start + file.read(FINGERPRINT_BYTES)
