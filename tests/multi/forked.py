"""Forked processes that are called and answer: what they set up is gone with them."""

import io
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

import torch

WAIT_S = 240


def fork(target: Callable[..., None], *words: Any) -> tuple[ForkProcess, Connection]:
    """Start a process; it is given the words, then its end of a line to this one."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*words, theirs), daemon=True)
    with warnings.catch_warnings():
        # Newer Pythons warn of threads; the only ones here are torch's, which are idle.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    return process, ours


def answer(line: Connection, function: Callable[..., Any], words: Sequence[Any]) -> None:
    """Call a function and send what it gives, or its traceback, as bytes."""
    try:
        given = True, function(*words)
    except Exception:  # whatever it is, the test that asked is told
        given = False, traceback.format_exc()[-2000:]
    written = io.BytesIO()
    torch.save(given, written)
    line.send_bytes(written.getvalue())


def hear(line: Connection) -> tuple[bool, Any]:
    """Whether the function gave something, and what it gave, or its traceback."""
    assert line.poll(WAIT_S), "no answer"
    return torch.load(io.BytesIO(line.recv_bytes()), weights_only=False)


def in_a_process_of_its_own(function: Callable[..., Any], *words: Any) -> Any:
    """Give what the function gives; AssertionError with its traceback where it fails."""
    process, line = fork(_answer, function, words)
    try:
        done, given = hear(line)
    finally:
        process.kill()
        process.join()
    assert done, given
    return given


def _answer(function: Callable[..., Any], words: Sequence[Any], line: Connection) -> None:
    torch.set_num_threads(1)
    answer(line, function, words)
