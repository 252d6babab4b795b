"""Pools of processes and the runs that all layouts are held to, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden.conftest import close as close
from tests.golden.conftest import predict2 as predict2
from tests.multi.pool import Pool
from tests.multi.runs import BASE, draw_clips, recipe, run
from worldtune.config.compose import Composed


class Pools:
    """A pool of each size, forked when it is first asked for."""

    def __init__(self) -> None:
        self._pools: dict[int, Pool] = {}

    def __getitem__(self, world: int) -> Pool:
        if world not in self._pools:
            self._pools[world] = Pool(world)
        return self._pools[world]

    def renew(self, world: int) -> None:
        """Forget a pool whose processes were left at odds."""
        pool = self._pools.pop(world, None)
        if pool is not None:
            pool.close()

    def close(self) -> None:
        """End all."""
        for world in list(self._pools):
            self.renew(world)


@pytest.fixture(scope="session")
def pools() -> Iterator[Pools]:
    some = Pools()
    yield some
    some.close()


class Runs:
    """Runs of one process, each made once, and where those of several go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clips = draw_clips(folder / "clips")
        run(self.recipe(*BASE), folder / "base")
        self.start = (f"checkpoint.load_path={folder / 'base'}",)

    def alone(self, name: str, *words: str) -> Path:
        """The run of one process with these words, from the base's weights."""
        folder = self.folder / f"alone {name}"
        if not folder.exists():
            run(self.recipe(*self.start, *words), folder)
        return folder

    def together(self, pool: Pool, name: str, *words: str) -> Path:
        """The run of a pool's processes."""
        folder = self.folder / name
        pool.run(run, self.recipe(*self.start, *words), folder)
        return folder

    def recipe(self, *words: str) -> Composed:
        """The recipe with these words, composed once for all processes."""
        return recipe(self.clips, *words)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("multi"))
