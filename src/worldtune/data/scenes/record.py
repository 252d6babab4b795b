"""New recordings: traffic is simulated, and accidents are made of it by replacing a driver."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from worldtune.data.scenes.library import RECORDED, write_files
from worldtune.data.scenes.network import Network, build_network
from worldtune.data.scenes.network_plans import plans
from worldtune.data.scenes.record_drivers import Mishap, mishaps
from worldtune.data.scenes.record_pair import Pair, record_pair
from worldtune.data.scenes.recording import CAUSES, Cause
from worldtune.data.scenes.simulate import STEP_HZ, Traffic, simulate
from worldtune.errors import RunError

_SECONDS = 150.0
_DEMAND_PER_MIN = {"four_way": 34.0, "t_junction": 28.0, "avenue": 34.0}
_OTHER_DEMAND_PER_MIN = 24.0
# Contacts of one simulation lie so far apart that no two recordings look alike.
_APART_S = 5.0
_TRIES = 40  # of each cause in one simulation
_ROUNDS = 60

Progress = Callable[[int, int], None]


def record(
    out: Path,
    *,
    normal: int,
    accident: int,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Record new traffic into a folder, as library.recordings reads it.

    For every accident the same traffic with a good driver is a normal recording; where numbers
    differ, the rest of the larger is traffic of its own. progress is told how many of how many
    pairs are made. Raises DataError where the simulator is not installed.
    """
    wanted = max(normal, accident)
    with TemporaryDirectory() as folder:
        networks = [build_network(plan, Path(folder)) for plan in plans()]
        pairs = _Search(networks, seed).run(wanted, progress)
    write_files(
        out,
        [network.layout for network in networks],
        {
            "normal": [pair.normal for pair in pairs[:normal]],
            "accident": [pair.accident for pair in pairs[:accident]],
        },
    )


def write_library(folder: Path = RECORDED) -> None:
    """Write the recordings that come with the package."""
    record(folder, normal=120, accident=120, seed=1)


@dataclass
class _Search:
    """Looks for accidents in the traffic of several networks, by turns."""

    networks: list[Network]
    seed: int
    causes: Counter[Cause] = field(default_factory=Counter)

    def run(self, wanted: int, progress: Progress | None) -> list[Pair]:
        """Return so many pairs, the same number from each network as nearly as can be."""
        shares = [len(range(at, wanted, len(self.networks))) for at in range(len(self.networks))]
        found: list[list[Pair]] = [[] for _ in self.networks]
        for turn in range(_ROUNDS):
            for place, network in enumerate(self.networks):
                missing = shares[place] - len(found[place])
                if missing <= 0:
                    continue
                number = len(found[place])
                for pair in self._simulated(network, place, turn, missing, number):
                    found[place].append(pair)
                    if progress is not None:
                        progress(sum(map(len, found)), wanted)
            if sum(map(len, found)) == wanted:
                return [found[at % len(found)][at // len(found)] for at in range(wanted)]
        raise RunError(
            f"only {sum(map(len, found))} of {wanted} accidents came about in {_ROUNDS} "
            f"simulations of each network; ask for fewer, or for another seed"
        )

    def _simulated(
        self, network: Network, place: int, turn: int, missing: int, number: int
    ) -> list[Pair]:
        """Return up to so many pairs from one simulation."""
        name = network.layout.name
        rng = np.random.Generator(np.random.PCG64([self.seed, place, turn]))
        demand = _DEMAND_PER_MIN.get(name, _OTHER_DEMAND_PER_MIN)
        traffic = simulate(network, _SECONDS, int(rng.integers(2**31)), demand)
        margin = 8 * STEP_HZ
        chances = list(mishaps(traffic, margin, traffic.steps - margin, rng))
        order = rng.permutation(len(chances))
        waiting: dict[Cause, list[Mishap]] = {cause: [] for cause in CAUSES}
        for at in order:
            waiting[chances[at].cause].append(chances[at])
        # One simulation gives a few, so that the traffic varies.
        return self._chosen(traffic, waiting, min(missing, max(4, missing // 2)), number, rng)

    def _chosen(
        self,
        traffic: Traffic,
        waiting: dict[Cause, list[Mishap]],
        wanted: int,
        number: int,
        rng: np.random.Generator,
    ) -> list[Pair]:
        pairs: list[Pair] = []
        used: list[Mishap] = []
        tries: Counter[Cause] = Counter()
        while len(pairs) < wanted:
            left: list[Cause] = [c for c in CAUSES if waiting[c] and tries[c] < _TRIES]
            if not left:
                break
            cause = min(left, key=lambda c: self.causes[c])
            mishap = waiting[cause].pop()
            if not _is_new(mishap, used):
                continue
            tries[cause] += 1
            name = f"{traffic.network.layout.name}_{number + len(pairs):03d}"
            pair = record_pair(traffic, mishap, name, rng)
            if isinstance(pair, Pair):
                pairs.append(pair)
                used.append(mishap)
                self.causes[cause] += 1
                tries[cause] = 0
        return pairs


def _is_new(mishap: Mishap, used: list[Mishap]) -> bool:
    return all(
        mishap.driver != other.driver
        and abs(mishap.contact_step - other.contact_step) > _APART_S * STEP_HZ
        for other in used
    )
