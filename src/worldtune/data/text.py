"""Where a clip's text comes from."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from worldtune.data.t5_pickles import padded, read_pickle


@runtime_checkable
class TextEncoder(Protocol):
    """Captions to vectors, the same on every machine and in every process."""

    name: str
    width: int
    max_tokens: int

    def encode(self, captions: list[str]) -> Float[Tensor, "b n d"]:
        """Return float32 [captions, max_tokens, width], zero after each caption's end."""
        ...

    def fingerprint(self) -> str:
        """Return a value that changes whenever the vectors of any caption would."""
        ...


@runtime_checkable
class TextSource(Protocol):
    """The text of one clip, read or encoded where the clip is decoded."""

    def text_of(self, caption: str, embedding: Path) -> Float[Tensor, "n d"]:
        """Return the text as float32 [tokens, width]."""
        ...


class EncodedCaptions:
    """Text from captions, by an encoder light enough for the loader's workers."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Take the encoder."""
        self.encoder = encoder

    def text_of(self, caption: str, embedding: Path) -> Float[Tensor, "n d"]:
        """Encode the caption."""
        return self.encoder.encode([caption])[0]


class StoredEmbeddings:
    """Text from t5_xxl/NAME.pickle."""

    def __init__(self, width: int = 1024, tokens: int = 512) -> None:
        """Expect this width; give this many tokens."""
        self.width, self.tokens = width, tokens

    def text_of(self, caption: str, embedding: Path) -> Float[Tensor, "n d"]:
        """Read the embedding and bring it to the fixed number of tokens."""
        return padded(read_pickle(embedding, self.width), self.tokens)
