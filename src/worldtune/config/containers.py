"""From the objects of a user's settings file to dicts, lists, strings and numbers.

One rule for lazy calls, which are dicts with a `_target_`: a call of a known class of data
(Dataset, DataLoader, a sampler) becomes its settings and loses its target, because the place
where it stands already says what it is. A call of one of the file's own functions is made
once, here, and what it returns is read by the same rule. Any other call keeps its target, as
a dotted name, and is judged with the rest of the recipe. Nothing else is called.
"""

import numbers
from collections.abc import Collection, Mapping
from pathlib import PurePath
from types import FunctionType
from typing import Any

from worldtune.config.described import (
    AVTransferDataset,
    DataLoader,
    Dataset,
    Described,
    DistributedSampler,
    ExampleTransferDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)
from worldtune.config.mistakes import suggestion
from worldtune.config.ranks import RankNumber

# How the modules of a user's own files are named while they are read.
USER_MODULE = "user_file:"

# Names that a target may be written with, as text.
TARGETS: dict[str, type[Described]] = {
    "cosmos_predict2.data.dataset_video.Dataset": Dataset,
    f"{AVTransferDataset.__module__}.ExampleTransferDataset": ExampleTransferDataset,
    f"{AVTransferDataset.__module__}.AVTransferDataset": AVTransferDataset,
    "cosmos_transfer1.diffusion.config.base.data.get_sampler": DistributedSampler,
    "torch.utils.data.DataLoader": DataLoader,
    "torch.utils.data.dataloader.DataLoader": DataLoader,
    "torch.utils.data.DistributedSampler": DistributedSampler,
    "torch.utils.data.distributed.DistributedSampler": DistributedSampler,
    "torch.utils.data.RandomSampler": RandomSampler,
    "torch.utils.data.SequentialSampler": SequentialSampler,
}

DATA_CLASSES = "Dataset, DataLoader or DistributedSampler"

# Arguments that carry over; the sampler's own become `sampler.shuffle` and `sampler.seed`.
LOADER_SETTINGS = ("batch_size", "num_workers", "drop_last", "pin_memory")
# The real number of ranks and the rank take their place when training starts.
_REBUILT = ("num_replicas", "rank")


class PlainReader:
    """Turns values into plain containers; collects the mistakes of all of them.

    `own_files` are the files whose functions may be called.
    """

    def __init__(self, own_files: Collection[str]) -> None:
        """Start with no mistakes."""
        self.mistakes: list[str] = []
        self._own_files = own_files
        self._open: list[int] = []

    def read(self, value: Any, place: str) -> Any:
        """Give one value as plain containers; `place` says where it stands."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, Described):
            return self._described(value, place)
        if isinstance(value, Mapping | list | tuple) or _is_list_config(value):
            return self._container(value, place)
        if isinstance(value, RankNumber):
            return self._mistake(place, str(value))
        if isinstance(value, str):
            return str.__str__(value)  # the text itself, of an enumeration too
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real):
            return float(value)
        return self._mistake(
            place,
            f"{_name_of(value)} is not a setting; expected a dict, list, text, number or None",
        )

    def _container(self, value: Any, place: str) -> Any:
        if id(value) in self._open:
            return self._mistake(place, "this container holds itself")
        self._open.append(id(value))
        try:
            if not isinstance(value, Mapping):
                return [self.read(item, f"{place}[{i}]") for i, item in enumerate(value)]
            if "_target_" in value:
                return self._target(value, place)
            for key in value:
                if type(key) not in (str, int):
                    self._mistake(place, f"the key {key!r} is not text; write it in quotes")
            return {str(key): self.read(item, _join(place, key)) for key, item in value.items()}
        finally:
            self._open.pop()

    # Lazy calls -----------------------------------------------------------------------

    def _target(self, node: Mapping[str, Any], place: str) -> Any:
        described = self._call(node, place)
        if described is not node:
            return self._described(described, place)
        return {
            key: _dotted(item) if key == "_target_" else self.read(item, _join(place, key))
            for key, item in node.items()
        }

    def _call(self, node: Mapping[str, Any], place: str) -> Any:
        """What a lazy call describes; the node itself where that is not for here to say."""
        target = node["_target_"]
        known = _data_class(target)
        function = self._own_function(target)
        if known is None and function is None:
            return node
        arguments = {
            key: self._call(item, _join(place, key)) if _is_call(item) else item
            for key, item in node.items()
            if key != "_target_"
        }
        if known is not None:
            return self._lazily(known, arguments, place)
        returned: Any = function(**arguments) if function else None
        if _is_call(returned):
            returned = self._call(returned, place)
        if isinstance(returned, Described):
            return returned
        return self._mistake(
            place, f"{_name_of(target)}() returned {_name_of(returned)}; expected {DATA_CLASSES}"
        )

    def _own_function(self, target: object) -> FunctionType | None:
        if isinstance(target, FunctionType) and target.__code__.co_filename in self._own_files:
            return target
        return None

    def _lazily(self, known: type[Described], arguments: dict[str, Any], place: str) -> Any:
        try:
            return known.lazily(arguments)
        except TypeError:
            parameters = known.signature.parameters
        for name in arguments.keys() - parameters.keys():
            self._mistake(place, f"{known.__name__} has no '{name}'{suggestion(name, parameters)}")
        return None

    # Descriptions ---------------------------------------------------------------------

    def _described(self, value: Any, place: str) -> Any:
        if value is None:  # its mistake is told already
            return None
        if not _known_class(type(value)):
            return self._mistake(
                place,
                f"{_name_of(value)} is a class of the file's own, which training would not run; "
                f"use {DATA_CLASSES} as they are",
            )
        if isinstance(value, DataLoader):
            return self._loader(value, place)
        if isinstance(value, Sampler):
            return self._sampler(value, place)
        return {key: self.read(item, _join(place, key)) for key, item in value.given.items()}

    def _loader(self, loader: DataLoader, place: str) -> dict[str, Any]:
        self._only_defaults(loader, place, ("dataset", "sampler", "shuffle", *LOADER_SETTINGS))
        settings = {}
        if "dataset" in loader.given:
            settings["dataset"] = self._dataset(loader.given["dataset"], _join(place, "dataset"))
        sampler, shuffle = loader.argument("sampler"), loader.argument("shuffle")
        if sampler is None:
            shuffle = False if shuffle is None else self.read(shuffle, _join(place, "shuffle"))
            settings["sampler"] = {"shuffle": shuffle, "seed": 0}
        else:
            if shuffle is not None:
                self._mistake(place, "DataLoader takes a sampler or shuffle, not both")
            where = _join(place, "sampler")
            settings["sampler"] = self._sampler(sampler, where, settings.get("dataset"))
        for name in LOADER_SETTINGS:
            settings[name] = self.read(loader.argument(name), _join(place, name))
        return settings

    def _dataset(self, dataset: Any, place: str) -> Any:
        if isinstance(dataset, Mapping) and not _is_call(dataset):
            return self._container(dataset, place)
        if _is_call(dataset):
            dataset = self._call(dataset, place)
        if dataset is None or isinstance(dataset, Dataset):
            return self._described(dataset, place)
        return self._mistake(
            place, f"{_name_of(dataset)} is not a Dataset of cosmos_predict2.data.dataset_video"
        )

    def _sampler(self, sampler: Any, place: str, dataset: Any = None) -> Any:
        if isinstance(sampler, Mapping) and not _is_call(sampler):
            return self._container(sampler, place)
        if _is_call(sampler):
            sampler = self._call(sampler, place)
            if sampler is None:
                return None
        if not isinstance(sampler, Sampler) or not _known_class(type(sampler)):
            return self._mistake(
                place, f"{_name_of(sampler)} is not a sampler that is understood; use "
                "DistributedSampler, or shuffle=True of the DataLoader"
            )  # fmt: skip
        source = "dataset" if isinstance(sampler, DistributedSampler) else "data_source"
        self._only_defaults(sampler, place, (source, "shuffle", "seed", *_REBUILT))
        ordered = sampler.given.get(source)
        if dataset is not None and ordered is not None and self._dataset(ordered, place) != dataset:
            self._mistake(place, "the sampler orders another dataset than its DataLoader has")
        if isinstance(sampler, DistributedSampler):
            return {
                name: self.read(sampler.argument(name), _join(place, name))
                for name in ("shuffle", "seed")
            }
        return {"shuffle": isinstance(sampler, RandomSampler), "seed": 0}

    def _only_defaults(self, value: Described, place: str, read: Collection[str]) -> None:
        for name, given in value.given.items():
            default = value.signature.parameters[name].default
            if name not in read and not (given is default or _equal(given, default)):
                self._mistake(
                    place,
                    f"{type(value).__name__}({name}={given!r}) is not understood and would be "
                    f"lost; leave {name} at its default, {default!r}",
                )

    def _mistake(self, place: str, message: str) -> None:
        self.mistakes.append(f"{place}: {message}")


def _is_call(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _data_class(target: object) -> type[Described] | None:
    """The known class of data that a target is or names."""
    if isinstance(target, str):
        return TARGETS.get(target)
    return target if isinstance(target, type) and _known_class(target) else None


def _known_class(cls: type) -> bool:
    # Stand-ins of installed classes are made by describe_as and keep the class's own module.
    return issubclass(cls, Described) and not cls.__module__.startswith(USER_MODULE)


def _is_list_config(value: object) -> bool:
    return type(value).__module__.startswith("omegaconf.") and hasattr(value, "__iter__")


def _equal(left: object, right: object) -> bool:
    return type(left) is type(right) and left == right


def _join(place: str, key: object) -> str:
    # `experiment 'x': a.b`: the first key follows a colon, the next ones a point.
    return f"{place}{'.' if ':' in place else ': '}{key}"


def _name_of(value: object) -> str:
    if isinstance(value, Mapping) and "_target_" in value:
        value = value["_target_"]
    if isinstance(value, str):
        return f"'{value}'"
    named = value if isinstance(value, type | FunctionType) else type(value)
    module = named.__module__
    shown = module.startswith(USER_MODULE) or module == "builtins"
    return named.__qualname__ if shown else f"{module}.{named.__qualname__}"


def _dotted(target: object) -> str:
    return target if isinstance(target, str) else _name_of(target)
