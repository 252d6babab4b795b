"""Stand-ins that remember how they were called, and build nothing.

While a user's settings file is read, these take the place of the classes whose objects
describe data. `Dataset(...)` opens no folder and `DistributedSampler(...)` asks for no
process group: each keeps its arguments, and `containers.py` turns them into settings.
"""

import inspect
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

from worldtune.config.mistakes import suggestion

_NO_DATA = "is read as a description: no clip is opened while a settings file is read"


class Described:
    """One call of a known class: its arguments by name."""

    signature: ClassVar[inspect.Signature] = inspect.Signature()
    given: dict[str, Any]

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Keep the arguments; raises TypeError as the real class would."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            names = self.signature.parameters
            hints = [suggestion(name, names) for name in kwargs if name not in names]
            raise TypeError(f"{type(self).__name__}() {error}{''.join(hints)}") from None
        self.given = _by_name(bound)

    @classmethod
    def lazily(cls, arguments: dict[str, Any]) -> "Described":
        """Describe a call whose missing arguments may still come from the command line."""
        described = cls.__new__(cls)
        described.given = _by_name(cls.signature.bind_partial(**arguments))
        return described

    def argument(self, name: str) -> Any:
        """One argument, or the default of the class."""
        return self.given.get(name, self.signature.parameters[name].default)

    def __init_subclass__(cls) -> None:
        """Show the described signature to whoever inspects the class."""
        cls.__signature__ = cls.signature

    def __class_getitem__(cls, item: object) -> "type[Described]":
        """Allow `DataLoader[Item]` in annotations."""
        return cls

    def __getattr__(self, name: str) -> Any:
        """Give an argument back as an attribute, where the file asks for it."""
        if not name.startswith("__") and name in self.__dict__.get("given", {}):
            return self.given[name]
        raise AttributeError(f"{type(self).__name__} {_NO_DATA}, so it has no '{name}'")

    def __bool__(self) -> bool:
        """Be true, so that `if loader:` does not ask for a length."""
        return True

    def __len__(self) -> int:
        """Refuse: nothing is counted."""
        raise TypeError(f"{type(self).__name__} {_NO_DATA}, so it has no length")

    def __iter__(self) -> Iterator[object]:
        """Refuse: nothing is read."""
        raise TypeError(f"{type(self).__name__} {_NO_DATA}, so it cannot be iterated")

    def __getitem__(self, index: object) -> object:
        """Refuse: nothing is read."""
        raise TypeError(f"{type(self).__name__} {_NO_DATA}, so it has no items")


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    arguments = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(parameter.name, {}))
    return arguments


def _signature(*required: str, more: bool = False, **defaults: object) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in required]
    parameters += [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
    if more:
        parameters.append(inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


class Dataset(Described):
    """Clips with captions in one folder, as `cosmos_predict2.data.dataset_video.Dataset`.

    This project's further dataset settings go in by keyword; the schema judges their names.
    """

    __module__ = "cosmos_predict2.data.dataset_video"
    signature = _signature("dataset_dir", "num_frames", "video_size", more=True)


class ExampleTransferDataset(Dataset):
    """Clips with a control beside each, in one folder."""

    __module__ = "cosmos_transfer1.diffusion.datasets.example_transfer_dataset"
    signature = _signature("dataset_dir", "num_frames", "resolution", more=True)


class AVTransferDataset(Dataset):
    """Clips of a car's cameras with a control beside each."""

    __module__ = "cosmos_transfer1.diffusion.datasets.example_transfer_dataset"
    signature = _signature("dataset_dir", "num_frames", "resolution", "view_keys", more=True)


class Named:
    """A class of which a lazy call keeps the name, and the arguments it has by itself."""

    defaults: ClassVar[Mapping[str, object]] = {}


class Sampler(Described):
    """What decides the order of clips."""


class DistributedSampler(Sampler):
    """An order shared out over ranks. Source: torch.utils.data."""

    __module__ = "torch.utils.data"
    signature = _signature(
        "dataset", num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False
    )


class RandomSampler(Sampler):
    """A shuffled order. Source: torch.utils.data."""

    __module__ = "torch.utils.data"
    signature = _signature("data_source", replacement=False, num_samples=None, generator=None)


class SequentialSampler(Sampler):
    """The order of the folder. Source: torch.utils.data."""

    __module__ = "torch.utils.data"
    signature = _signature("data_source")


class DataLoader(Described):
    """Batches of a dataset, with the arguments and defaults of torch.utils.data's own."""

    __module__ = "torch.utils.data"
    signature = _signature(
        "dataset",
        batch_size=1,
        shuffle=None,
        sampler=None,
        batch_sampler=None,
        num_workers=0,
        collate_fn=None,
        pin_memory=False,
        drop_last=False,
        timeout=0,
        worker_init_fn=None,
        multiprocessing_context=None,
        generator=None,
        prefetch_factor=None,
        persistent_workers=False,
        pin_memory_device="",
        in_order=True,
    )


def describe_as(real: type, stand_in: type[Described]) -> type[Described]:
    """A stand-in with the arguments and defaults of an installed class."""
    names = {
        "signature": inspect.signature(real),
        "__module__": real.__module__,
        "__doc__": real.__doc__,
    }
    return type(real.__name__, (stand_in,), names)


class LazyDict(dict[Any, Any]):
    """A dict whose keys are attributes too; dicts inside it are of the same kind."""

    def __init__(self, content: Mapping[Any, Any], flags: object = None) -> None:
        """Copy a mapping. `flags` are OmegaConf's and mean nothing to a plain dict."""
        super().__init__({key: _lazy(value) for key, value in content.items()})

    def __getattr__(self, name: str) -> Any:
        """Give the value of a key."""
        if name in self:
            return self[name]
        raise AttributeError(f"no key '{name}'; the keys are {', '.join(map(str, self))}")

    def __setattr__(self, name: str, value: object) -> None:
        """Set the value of a key."""
        self[name] = _lazy(value)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LazyDict":
        """Copy as deep as any dict."""
        return LazyDict({key: deepcopy(value, memo) for key, value in self.items()})


def _lazy(value: object) -> object:
    return LazyDict(value) if type(value) is dict else value


class LazyCall:
    """`LazyCall(target)(key=value)`: a call written down as a dict, to be made later."""

    def __init__(self, target: object) -> None:
        """Keep what is to be called: a callable or its dotted name."""
        if not (callable(target) or isinstance(target, str)):
            raise TypeError(f"LazyCall takes something callable, but got {target!r}")
        self._target = target

    def __call__(self, **kwargs: object) -> LazyDict:
        """Write the call down; arguments are given by keyword only."""
        defaults: Mapping[str, object] = {}
        if isinstance(self._target, type) and issubclass(self._target, Named):
            defaults = self._target.defaults
        return LazyDict({"_target_": self._target, **defaults, **kwargs})
