"""Answers about ranks while no process group exists: `megatron.core.parallel_state`.

A settings file asks for them to build its sampler. The answers are thrown away: training
asks again for the real ranks and rebuilds the sampler. So they say one rank, the first, and
refuse arithmetic: a setting computed from them would be wrong on every other layout.
"""

from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NoReturn


class RankNumber(int):
    """0 or 1 in place of a number that is known only when training starts."""

    question: str

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(str(self))

    def __str__(self) -> str:
        """Say what it stands for."""
        return (
            f"parallel_state.{self.question}() is not known while a settings file is read; "
            "it can be handed to a sampler, not be computed with or become a setting"
        )

    __repr__ = __str__
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
    __pow__ = __rpow__ = __neg__ = __lshift__ = __rshift__ = __and__ = __or__ = _refuse


class Question:
    """One function of parallel_state that gives a number of ranks or a rank."""

    def __init__(self, name: str, answer: int, real: Callable[..., Any] | None = None) -> None:
        """Answer with `answer`, unless the real function can."""
        self._name = name
        self._answer = answer
        self._real = real

    def __call__(self, *args: object, **kwargs: object) -> int:
        """Answer, whatever group is asked about."""
        if self._real is not None:
            # The real one refuses, by assertion, before groups exist.
            with suppress(Exception):
                return self._real(*args, **kwargs)
        number = RankNumber(self._answer)
        number.question = self._name
        return number

    def before(self, real: Callable[..., Any]) -> "Question":
        """The same question, put to an installed function first."""
        return Question(self._name, self._answer, real)


def _not_initialized() -> bool:
    """Say truly that no process group exists."""
    return False


_GROUPS = ("data_parallel", "context_parallel", "tensor_model_parallel", "pipeline_model_parallel")

PARALLEL_STATE = MappingProxyType(
    {
        **{
            f"get_{group}_{what}": Question(f"get_{group}_{what}", answer)
            for group in _GROUPS
            for what, answer in (("world_size", 1), ("rank", 0))
        },
        "is_initialized": _not_initialized,
        "model_parallel_is_initialized": _not_initialized,
    }
)
