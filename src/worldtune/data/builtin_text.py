"""A text encoder without weights: captions to vectors by hashing words and their letters.

It needs no download and gives the same bits on every machine, which a small network can learn to
follow. It knows nothing of meaning: "car" and "cars" are close because they share letters, "car"
and "vehicle" are not.

The first row stands for the whole caption, the rows after it for its words. Most channels hold the
word, with its left neighbour at half strength so that "red car" differs from "car, red"; the last
eighth tells the position. All sums are of whole numbers and all divisions are by exactly rounded
roots, so no machine's arithmetic shows.
"""

import re
import unicodedata
from functools import lru_cache
from hashlib import shake_128

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_VERSION = 1
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_WORD_WEIGHT = 4  # against 1 for each of its three-letter pieces
_POSITION_PERIODS = (4, 8, 16, 32, 64, 128, 256, 512)


class BuiltinTextEncoder:
    """Hashed words with positions; width and max_tokens are free.

    The width must equal the network's crossattn_emb_channels. Words past max_tokens - 1 are cut.
    An empty caption has one row that no text has, and no row of zeros: guidance away from it works.
    """

    name = "builtin"

    def __init__(self, width: int = 128, max_tokens: int = 64) -> None:
        """Choose the size of the text; width is a multiple of 8, at least 16."""
        if width < 16 or width % 8 or max_tokens < 2:
            raise ValueError(f"width {width} is no multiple of 8 from 16 on, or no room for words")
        self.width, self.max_tokens = width, max_tokens

    def fingerprint(self) -> str:
        """Return what the vectors of a caption depend on beside the caption."""
        return f"{self.name}-{_VERSION}-width{self.width}-tokens{self.max_tokens}"

    def count_tokens(self, caption: str) -> int:
        """Return how many rows the caption would fill if none were cut."""
        return 1 + len(words_of(caption))

    def encode(self, captions: list[str]) -> Float[Tensor, "b n d"]:
        """Return [captions, max_tokens, width]: rows of root mean square about 1, then zeros."""
        text = np.zeros((len(captions), self.max_tokens, self.width), np.float32)
        for rows, caption in zip(text, captions, strict=True):
            words = words_of(caption)
            content = _content(words, self.width - self.width // 8)[: self.max_tokens]
            rows[: len(content), : content.shape[1]] = content
            rows[: len(content), content.shape[1] :] = _positions(len(content), self.width // 8)
        return torch.from_numpy(text)


def words_of(caption: str) -> list[str]:
    """Split a caption into words, without case and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", caption).casefold())


def _content(words: list[str], channels: int) -> np.ndarray:
    """Return one row for the caption and one for each word, of root mean square 1."""
    if not words:
        return _unit(_signs("nothing/", channels)[None])
    vectors = np.stack([_word_vector(word, channels) for word in words])
    left = np.roll(vectors, 1, axis=0)
    left[0] = 0
    # Shifted by a channel, the neighbour's vector cannot be taken for the word's own.
    rows = 2 * vectors + np.roll(left, 1, axis=1)
    return _unit(np.concatenate([vectors.sum(0, keepdims=True), rows]))


@lru_cache(maxsize=65_536)
def _word_vector(word: str, channels: int) -> np.ndarray:
    padded = f"<{word}>"
    pieces = [padded[i : i + 3] for i in range(len(padded) - 2)]
    whole = _WORD_WEIGHT * _signs(f"word/{word}", channels)
    return whole + sum(_signs(f"piece/{piece}", channels) for piece in pieces)


@lru_cache(maxsize=65_536)
def _signs(feature: str, channels: int) -> np.ndarray:
    """Return +1 and -1 that belong to a feature, int64."""
    stream = shake_128(feature.encode()).digest(-(-channels // 8))
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))[:channels]
    return 2 * bits.astype(np.int64) - 1


def _unit(rows: np.ndarray) -> np.ndarray:
    """Bring whole-numbered rows to root mean square 1; a row of zeros stays one."""
    squares = np.maximum((rows * rows).sum(1, keepdims=True), 1)
    return rows / np.sqrt(squares / rows.shape[1])


def _positions(count: int, channels: int) -> np.ndarray:
    """Return triangle waves of several periods, each with one a quarter period later."""
    place = np.arange(count, dtype=np.float64)[:, None]
    number = np.arange(channels)
    period = np.array(_POSITION_PERIODS, np.float64)[(number // 2) % len(_POSITION_PERIODS)]
    phase = (place / period + 0.25 * (number % 2)) % 1.0
    # Root mean square 1 over a whole period.
    return np.sqrt(3.0) * (4 * np.abs(phase - 0.5) - 1)
