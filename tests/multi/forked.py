"""One call in a process of its own, so that what it sets up is gone after it."""

import io
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

WAIT_S = 240


def in_a_process_of_its_own(function: Callable[..., Any], *words: Any) -> Any:
    """Give what the function gives; AssertionError with its traceback where it fails."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = context.Process(target=_answer, args=(theirs, function, words), daemon=True)
        process.start()
    theirs.close()
    try:
        assert ours.poll(WAIT_S), "no answer"
        done, answer = torch.load(io.BytesIO(ours.recv_bytes()), weights_only=False)
    finally:
        process.kill()
        process.join()
    assert done, answer
    return answer


def _answer(line: Connection, function: Callable[..., Any], words: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        answer = True, function(*words)
    except Exception:
        answer = False, traceback.format_exc()[-2000:]
    written = io.BytesIO()
    torch.save(answer, written)
    line.send_bytes(written.getvalue())
