"""Modules lent to a user's settings file while it is read.

Such a file imports packages that need not be installed. Its import statements (and those
of files beside it that it imports) go through a `Lender`, which answers them from a table.
No other module's imports do: nothing is put into `sys.modules` or on `sys.path`, so there
is nothing to take away afterwards, and torch itself never meets a stand-in.
"""

import builtins
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from worldtune.config.described import (
    DataLoader,
    Dataset,
    Described,
    DistributedSampler,
    LazyCall,
    LazyDict,
    RandomSampler,
    SequentialSampler,
    describe_as,
)
from worldtune.config.lent_transfer1 import LENT_TRANSFER1
from worldtune.config.mistakes import suggestion
from worldtune.config.ranks import PARALLEL_STATE, Question
from worldtune.config.store import ConfigStore

_Table = Mapping[str, Mapping[str, Any]]

# Lent where no such package is installed. A new one is one row.
LENT: _Table = MappingProxyType(
    {
        "cosmos_predict2.data.dataset_video": {"Dataset": Dataset},
        "imaginaire.lazy_config": {"LazyCall": LazyCall, "LazyDict": LazyDict},
        "megatron.core.parallel_state": PARALLEL_STATE,
        **LENT_TRANSFER1,
    }
)
# Lent always: these names are descriptions; everything else of torch is the real one, and
# is imported only if the file asks for it.
DESCRIBED: _Table = MappingProxyType(
    {
        "torch.utils.data": {
            "DataLoader": DataLoader,
            "DistributedSampler": DistributedSampler,
            "RandomSampler": RandomSampler,
            "SequentialSampler": SequentialSampler,
        },
        "torch.utils.data.dataloader": {"DataLoader": DataLoader},
        "torch.utils.data.distributed": {"DistributedSampler": DistributedSampler},
        "torch.utils.data.sampler": {
            "RandomSampler": RandomSampler,
            "SequentialSampler": SequentialSampler,
        },
    }
)
# The root whose recipes a file with these imports extends.
ROOT_OF_PACKAGE = {"cosmos_predict2": "predict2", "cosmos_transfer1": "transfer1"}


class Lender:
    """Answers the import statements of one user's file.

    `run_beside(name)` runs the file of that name beside the user's own and gives its
    module, or None where there is none.
    """

    def __init__(self, store: ConfigStore, run_beside: Callable[[str], ModuleType | None]) -> None:
        """Lend to one file, which registers in `store`."""
        self.notices: list[str] = []
        self.packages: set[str] = set()
        self._run_beside = run_beside
        self._always: _Table = {
            **DESCRIBED,
            "hydra.core.config_store": {"ConfigStore": store},
        }
        self._modules: dict[str, ModuleType] = {}

    def import_module(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Stand in for `__import__`, with its arguments and its answer."""
        fromlist = fromlist or ()
        if level:
            return self._beside(name, fromlist, level)
        package = name.partition(".")[0]
        if not self._stands_in(package):
            beside = self._run_beside(name) if "." not in name else None
            return beside or builtins.__import__(name, globals, locals, fromlist, 0)
        self.packages.add(package)
        leaf = self._find(name)
        for item in fromlist:
            self._find_item(leaf, name, item)
        return leaf if fromlist else self._find(package)

    def _beside(self, name: str, fromlist: Sequence[str], level: int) -> ModuleType:
        """`from .name import x`, and `from . import name`."""
        if level > 1 or "." in name:
            raise ImportError("only a file in the same folder can be imported relatively")
        found = {item: self._run_beside(item) for item in ([name] if name else fromlist)}
        for item, module in found.items():
            if module is None:
                raise ImportError(f"there is no {item}.py beside this file")
        if name:
            return found[name]  # pyright: ignore[reportReturnType] - None was refused above
        folder = ModuleType("folder")
        vars(folder).update(found)
        return folder

    def _find(self, name: str) -> ModuleType:
        """The module of a dotted name: a stand-in, or an installed one as it is."""
        if name not in self._modules:
            parent, _, last = name.rpartition(".")
            if parent:
                self._find(parent)
            self._modules[name] = module = self._make(name)
            if isinstance(above := self._modules.get(parent), _StandIn):
                setattr(above, last, module)
        return self._modules[name]

    def _make(self, name: str) -> ModuleType:
        package = name.partition(".")[0]
        if name in self._always or _is_parent(name, self._always):
            return _StandIn(name, self._always.get(name, {}), lambda: importlib.import_module(name))
        if package in _packages(self._always):
            return importlib.import_module(name)
        where = _installed(name)
        if name in LENT:
            return self._lend(name, where)
        is_parent = _is_parent(name, LENT)
        if where is not None:
            if not is_parent:
                self._note(name, where)
            return _StandIn(name, {}, lambda: importlib.import_module(name))
        if is_parent or _is_folder(name):
            return _StandIn(name, {}, None)
        lent = ", ".join(module for module in LENT if module.startswith(f"{package}."))
        ending = suggestion(name, LENT, f"; lent of {package} are {lent}")
        raise ModuleNotFoundError(f"{name} is not installed{ending}", name=name)

    def _lend(self, name: str, where: str | None) -> ModuleType:
        """A lent module, with the installed one's names where there is one that works."""
        if where is None:
            return _StandIn(name, LENT[name], None)
        try:
            real = importlib.import_module(name)
        except Exception as error:
            self.notices.append(
                f"{name} is installed ({where}) but cannot be imported "
                f"({type(error).__name__}: {error}); this project's stand-in was used"
            )
            return _StandIn(name, LENT[name], None)
        self._note(name, where)
        taken = {key: _taken_from(real, key, lent) for key, lent in LENT[name].items()}
        return _StandIn(name, taken, lambda: real)

    def _note(self, name: str, where: str) -> None:
        self.notices.append(f"{name} was taken from {where}, where it is installed")

    def _find_item(self, leaf: ModuleType, name: str, item: str) -> None:
        """See that `from name import item` will find its item."""
        dotted = f"{name}.{item}"
        if dotted in LENT or _is_parent(dotted, LENT) or dotted in self._always:
            self._find(dotted)
        elif isinstance(leaf, _StandIn) and not hasattr(leaf, item) and item != "*":
            if not _installed(dotted):
                raise ImportError(leaf.lacks(item), name=name)
            self._find(dotted)

    def _stands_in(self, package: str) -> bool:
        return package in _packages(self._always) or package in _packages(LENT)


class _StandIn(ModuleType):
    """A module of a few names, and those of a real one behind it."""

    def __init__(
        self, name: str, names: Mapping[str, Any], real: Callable[[], ModuleType] | None
    ) -> None:
        super().__init__(name)
        vars(self).update(names)
        self.__dict__["_own"] = tuple(names)
        self.__dict__["_real"] = real

    def __getattr__(self, name: str) -> Any:
        real = self.__dict__["_real"]
        if real is None:
            raise AttributeError(self.lacks(name))
        return getattr(real(), name)

    def lacks(self, name: str) -> str:
        """Say that this module has no such name, and which one was perhaps meant."""
        real = self.__dict__["_real"]
        below = f"{self.__name__}."
        names = [*self.__dict__["_own"]]
        names += [module[len(below) :] for module in LENT if module.startswith(below)]
        if real is not None:
            ending = suggestion(name, names, suggestion(name, dir(real())))
            return f"{self.__name__} has no '{name}'{ending}"
        ending = suggestion(name, names, f"; it has {', '.join(names)}")
        return f"{self.__name__} is lent and has no '{name}'{ending}"


def _taken_from(real: ModuleType, name: str, lent: Any) -> Any:
    """What the file gets for a name that is lent and installed."""
    own = getattr(real, name, lent)
    if isinstance(lent, type) and issubclass(lent, Described) and isinstance(own, type):
        return describe_as(own, lent)
    return lent.before(own) if isinstance(lent, Question) else own


def _is_parent(name: str, table: _Table) -> bool:
    return any(module.startswith(f"{name}.") for module in table)


def _packages(table: _Table) -> set[str]:
    return {name.partition(".")[0] for name in table}


def _installed(name: str) -> str | None:
    """The file of an installed module; None where there is none. Executes nothing."""
    for path in _places(name):
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return str(file)
    return None


def _is_folder(name: str) -> bool:
    """Whether a name is a folder without code of its own that may hold installed modules."""
    return any(path.is_dir() for path in _places(name))


def _places(name: str) -> list[Path]:
    """Where a module's folder, or its file without `.py`, would lie."""
    package, *below = name.split(".")
    finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
    specs = (finder.find_spec(package, None) for finder in finders)
    spec = next((spec for spec in specs if spec is not None), None)
    # By hand below the first name: Python's own search imports the packages above.
    folders = spec.submodule_search_locations if spec is not None else None
    return [Path(folder, *below) for folder in folders or ()]
