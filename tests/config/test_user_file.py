"""A user's own settings file: what counts in it, and what it becomes."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from worldtune.config.user_file import StoreEntry, UserFile, read_user_file

EAGER = """
from cosmos_predict2.data.dataset_video import Dataset
from torch.utils.data import DataLoader, DistributedSampler
from megatron.core import parallel_state

clips = Dataset(dataset_dir="data/town", num_frames=93, video_size=(704, 1280))
"""

LAZY = """
from cosmos_predict2.data.dataset_video import Dataset
from hydra.core.config_store import ConfigStore
from imaginaire.lazy_config import LazyCall as L
from megatron.core import parallel_state
from torch.utils.data import DataLoader, DistributedSampler


def ordered(dataset) -> DistributedSampler:
    return DistributedSampler(
        dataset,
        num_replicas=parallel_state.get_data_parallel_world_size(),
        rank=parallel_state.get_data_parallel_rank(),
        shuffle=True,
        seed=7,
    )


cs = ConfigStore.instance()
clips = L(Dataset)(dataset_dir="data/town", num_frames=61, video_size=(432, 768))
loader = L(DataLoader)(
    dataset=clips, sampler=L(ordered)(dataset=clips), batch_size=2, num_workers=4
)
"""

RUN = 'run = dict(defaults=["_self_"], dataloader_train=loader)\n'


@pytest.fixture
def read(tmp_path: Path):
    """Read a file of the given text; other files can be put beside it."""

    def check(text: str, **beside: str) -> UserFile:
        for name, content in beside.items():
            (tmp_path / f"{name}.py").write_text(dedent(content))
        path = tmp_path / "my_run.py"
        path.write_text(dedent(text))
        return read_user_file(path)

    return check


def loader_of(file: UserFile, name: str = "run") -> dict:
    return file.experiments[name]["dataloader_train"]


def test_a_loader_built_eagerly_is_read_as_its_description(read):
    file = read(
        EAGER
        + """
loader = DataLoader(
    dataset=clips,
    sampler=DistributedSampler(
        clips,
        num_replicas=parallel_state.get_data_parallel_world_size(),
        rank=parallel_state.get_data_parallel_rank(),
        shuffle=False,
        seed=3,
    ),
    batch_size=2,
    drop_last=True,
    num_workers=6,
    pin_memory=True,
)
"""
        + RUN
    )

    assert loader_of(file) == {
        "dataset": {"dataset_dir": "data/town", "num_frames": 93, "video_size": [704, 1280]},
        "sampler": {"shuffle": False, "seed": 3},
        "batch_size": 2,
        "num_workers": 6,
        "drop_last": True,
        "pin_memory": True,
    }
    assert file.root == "predict2"
    assert file.notices == ()


def test_a_loader_written_as_a_lazy_call_is_read_alike(read):
    file = read(LAZY + RUN)

    assert loader_of(file) == {
        "dataset": {"dataset_dir": "data/town", "num_frames": 61, "video_size": [432, 768]},
        "sampler": {"shuffle": True, "seed": 7},
        "batch_size": 2,
        "num_workers": 4,
        "drop_last": False,
        "pin_memory": False,
    }


@pytest.mark.parametrize(
    ("loader", "sampler"),
    [
        ("DataLoader(clips)", {"shuffle": False, "seed": 0}),
        ("DataLoader(clips, shuffle=True)", {"shuffle": True, "seed": 0}),
        ("DataLoader(clips, sampler=DistributedSampler(clips))", {"shuffle": True, "seed": 0}),
        ("DataLoader(clips, sampler=RandomSampler(clips))", {"shuffle": True, "seed": 0}),
        ("DataLoader(clips, 1, None, SequentialSampler(clips))", {"shuffle": False, "seed": 0}),
    ],
)
def test_what_a_loader_leaves_out_has_the_defaults_of_torch(read, loader, sampler):
    samplers = "from torch.utils.data import RandomSampler, SequentialSampler\n"
    settings = loader_of(read(EAGER + samplers + f"loader = {loader}\n" + RUN))

    assert settings["sampler"] == sampler
    assert settings["batch_size"] == 1
    assert settings["num_workers"] == 0
    assert settings["drop_last"] is False
    assert settings["pin_memory"] is False


def test_experiments_registered_in_a_loop_have_the_names_they_were_registered_by(read):
    file = read(
        LAZY
        + """
Town_2b = dict(defaults=["_self_"], dataloader_train=loader, job=dict(name="town"))
town_480p = dict(defaults=["/experiment/town_2b", "_self_"])

for _item in [Town_2b, town_480p]:
    experiment_name = [name.lower() for name, value in globals().items() if value is _item][0]
    cs.store(group="experiment", package="_global_", name=experiment_name, node=_item)
"""
    )

    assert list(file.experiments) == ["town_2b", "town_480p"]
    assert file.experiments["town_480p"] == {"defaults": ["/experiment/town_2b", "_self_"]}


def test_a_dict_without_defaults_or_with_an_underscore_is_no_experiment(read):
    file = read(
        """
        job = dict(project="posttraining")
        _base = dict(defaults=["_self_"])
        run = dict(_base, job=job)
        again = run
        """
    )

    assert file.experiments == {"run": {"defaults": ["_self_"], "job": {"project": "posttraining"}}}


def test_options_of_other_groups_come_with_group_package_and_name(read):
    file = read(
        LAZY
        + """
cs.store(group="dataloader_train", package="dataloader_train", name="town", node=loader)
cs.store("fast.yaml", dict(lr=1e-3), "optimizer")
"""
    )

    first, second = file.entries
    assert first.group == first.package == "dataloader_train"
    assert first.name == "town"
    assert first.node["dataset"]["dataset_dir"] == "data/town"
    assert second == StoreEntry("optimizer", "fast", None, {"lr": 1e-3})
    assert file.experiments == {}


def test_a_node_counts_as_it_was_when_it_was_registered(read):
    file = read(
        LAZY
        + """
node = dict(lr=1.0)
cs.store(group="optimizer", name="fast", node=node)
node["lr"] = 2.0
"""
    )

    assert file.entries[0].node == {"lr": 1.0}


def test_a_loader_built_eagerly_can_be_registered(read):
    file = read(
        EAGER
        + """
from hydra.core.config_store import ConfigStore
ConfigStore.instance().store(group="dataloader_train", name="town", node=DataLoader(clips, 3))
"""
    )

    assert file.entries[0].node["batch_size"] == 3
    assert file.entries[0].node["dataset"]["dataset_dir"] == "data/town"


def test_lazy_dicts_can_be_changed_by_attribute_and_become_dicts(read):
    file = read(
        LAZY
        + """
from copy import deepcopy
from imaginaire.lazy_config import LazyDict

other = deepcopy(loader)
other.dataset.dataset_dir = "data/village"
other["batch_size"] = 4
run = LazyDict(dict(defaults=["_self_"], trainer=dict(max_iter=5)), flags={"allow_objects": True})
run.trainer.max_iter = 9
run.dataloader_train = other
first = dict(defaults=["_self_"], dataloader_train=loader)
"""
    )

    assert type(file.experiments["run"]["trainer"]) is dict
    assert file.experiments["run"]["trainer"] == {"max_iter": 9}
    assert loader_of(file)["batch_size"] == 4
    assert loader_of(file, "first")["dataset"]["dataset_dir"] == "data/town"


def test_targets_written_as_text_are_read_like_the_classes_they_name(read):
    file = read(
        """
        clips = {"_target_": "cosmos_predict2.data.dataset_video.Dataset", "num_frames": 5}
        loader = {"_target_": "torch.utils.data.DataLoader", "dataset": clips, "num_workers": 2}
        run = dict(defaults=["_self_"], dataloader_train=loader)
        """
    )

    assert loader_of(file)["dataset"] == {"num_frames": 5}
    assert loader_of(file)["num_workers"] == 2


def test_a_call_of_anything_else_keeps_its_target_by_name(read):
    file = read(
        """
        from imaginaire.lazy_config import LazyCall as L
        class Watch: ...
        callbacks = dict(watch=L(Watch)(every_n=5), other=L("some.where.Thing")(a=[1, None]))
        run = dict(defaults=["_self_"], trainer=dict(callbacks=callbacks))
        """
    )

    assert file.experiments["run"]["trainer"]["callbacks"] == {
        "watch": {"_target_": "Watch", "every_n": 5},
        "other": {"_target_": "some.where.Thing", "a": [1, None]},
    }


def test_further_dataset_settings_of_this_project_pass_through(read):
    loader = 'loader = DataLoader(Dataset("data", 5, (16, 16), resize="crop", mix={"a": 1.0}))\n'

    assert loader_of(read(EAGER + loader + RUN))["dataset"] == {
        "dataset_dir": "data",
        "num_frames": 5,
        "video_size": [16, 16],
        "resize": "crop",
        "mix": {"a": 1.0},
    }


def test_numbers_and_paths_of_other_types_become_plain_ones(read):
    file = read(
        """
        from enum import Enum
        from pathlib import Path
        import numpy as np
        from omegaconf import OmegaConf
        class Kind(str, Enum):
            LORA = "lora"
        run = dict(
            defaults=["_self_"],
            a=np.float32(0.5), b=np.int64(3), c=Path("x") / "y", d=(1, 2),
            e=OmegaConf.create({"f": [1, {"g": 2}]}), kind=Kind.LORA,
        )
        """
    )

    run = file.experiments["run"]
    assert run["a"] == 0.5
    assert (run["kind"], type(run["kind"])) == ("lora", str)
    assert [type(run[key]) for key in "abcd"] == [float, int, str, list]
    assert run["e"] == {"f": [1, {"g": 2}]}
    assert type(run["e"]["f"]) is list


def test_everything_else_of_torch_is_the_real_one(read):
    file = read(
        """
        import torch.nn.functional as F
        import torch
        import torch.utils.data
        from torch import nn
        from torch.utils.data import TensorDataset, distributed
        from torch.utils import checkpoint

        one = float(F.relu(torch.ones(())) + nn.Identity()(torch.zeros(())))
        count = len(TensorDataset(torch.zeros(3)))
        assert checkpoint.checkpoint
        loader = torch.utils.data.DataLoader(
            {"num_frames": 5}, sampler=distributed.DistributedSampler({"num_frames": 5}, seed=2)
        )
        run = dict(defaults=["_self_"], one=one, count=count, dataloader_train=loader)
        """
    )

    assert file.experiments["run"]["one"] == 1.0
    assert file.experiments["run"]["count"] == 3
    assert loader_of(file)["sampler"] == {"shuffle": True, "seed": 2}


@pytest.mark.parametrize("style", ["eager", "lazy"])
def test_describing_data_needs_no_torch(read, monkeypatch, style):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("worldtune.config.lent.importlib.import_module", refuse)
    text = LAZY if style == "lazy" else EAGER + "loader = DataLoader(clips)\n"

    assert loader_of(read(text + RUN))["dataset"]["dataset_dir"] == "data/town"


def test_lent_modules_are_gone_when_the_file_is_read(read):
    before = dict(sys.modules)
    read(LAZY + RUN)

    lent = ("cosmos_predict2", "imaginaire", "megatron", "user_file:")
    assert not [name for name in sys.modules if name.startswith(lent)]
    assert {name for name in sys.modules if name.startswith("torch")} == {
        name for name in before if name.startswith("torch")
    }


def test_a_file_beside_may_hold_a_part_and_meets_the_same_modules(read):
    file = read(
        """
        from .parts import loader
        from . import words
        import parts
        import json  # a file beside does not hide Python's own module
        run = dict(defaults=["_self_"], dataloader_train=loader, job=dict(name=words.NAME))
        assert parts.loader is loader and json.dumps(1) == "1"
        """,
        parts=EAGER + "loader = DataLoader(clips)\n",
        words="NAME = 'town'\n",
        json="raise RuntimeError('hidden')\n",
    )

    assert loader_of(file)["dataset"]["dataset_dir"] == "data/town"
    assert file.experiments["run"]["job"] == {"name": "town"}
    assert file.root == "predict2"


def test_dataclasses_with_postponed_annotations_work_in_a_file(read):
    file = read(
        """
        from __future__ import annotations
        from dataclasses import asdict, dataclass
        @dataclass
        class Job:
            name: str = "town"
        run = dict(defaults=["_self_"], job=asdict(Job()))
        """
    )

    assert file.experiments["run"]["job"] == {"name": "town"}


def test_a_star_import_gives_the_lent_names(read):
    file = read(
        """
        from torch.utils.data import *
        from cosmos_predict2.data.dataset_video import *
        loader = DataLoader(Dataset("data", 5, (16, 16)), 3)
        run = dict(defaults=[], dataloader_train=loader)
        """
    )

    assert loader_of(file)["batch_size"] == 3


def test_whether_ranks_are_set_up_is_answered_truly(read):
    file = read(
        """
        from megatron.core import parallel_state as ps
        import megatron.core.parallel_state
        ranks = ps.get_data_parallel_world_size(with_context_parallel=False)
        run = dict(defaults=["_self_"], first=ps.get_data_parallel_rank() == 0,
                   is_set_up=megatron.core.parallel_state.is_initialized(), one=ranks == 1)
        """
    )

    assert file.experiments["run"]["first"] is True
    assert file.experiments["run"]["is_set_up"] is False
    assert file.experiments["run"]["one"] is True


def test_make_config_is_not_called_and_a_notice_says_so(read):
    file = read(
        """
        def make_config():
            raise RuntimeError("called")
        run = dict(defaults=["_self_"])
        """
    )

    assert len(file.notices) == 1
    assert "make_config() is not called" in file.notices[0]


def test_the_last_of_two_registrations_counts_and_a_notice_says_so(read):
    file = read(
        """
        from hydra.core.config_store import ConfigStore
        cs = ConfigStore.instance()
        for rate in (1.0, 2.0):
            cs.store(group="optimizer", name="fast", node=dict(lr=rate))
            cs.store(group="experiment", package="_global_", name="run", node=dict(lr=rate))
        """
    )

    assert file.entries == (StoreEntry("optimizer", "fast", None, {"lr": 2.0}),)
    assert file.experiments == {"run": {"lr": 2.0}}
    assert "optimizer 'fast' is registered twice; the last one counts" in file.notices[0]
    assert "experiment 'run' is given twice; the last one counts" in file.notices[1]


def test_an_attribute_of_a_description_is_the_argument_it_was_given(read):
    file = read(
        EAGER
        + """
if clips:
    loader = DataLoader(clips, batch_size=clips.num_frames)
"""
        + RUN
    )

    assert loader_of(file)["batch_size"] == 93
