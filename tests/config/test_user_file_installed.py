"""Lent modules give way to packages that are really installed."""

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from worldtune.config.user_file import UserFile, read_user_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package on the path, as a dict of files; it is forgotten after the test."""
    before = set(sys.modules)
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)

    def put(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        importlib.invalidate_caches()
        return site

    yield put
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def read(tmp_path: Path):
    def check(text: str) -> UserFile:
        path = tmp_path / "my_run.py"
        path.write_text(dedent(text))
        return read_user_file(path)

    return check


def test_an_installed_dataset_gives_its_arguments_and_is_not_built(install, read):
    site = install(
        {
            "cosmos_predict2/__init__.py": "",
            "cosmos_predict2/data/__init__.py": "",
            "cosmos_predict2/data/dataset_video.py": """
                FPS = 16
                class Dataset:
                    def __init__(self, folder, num_frames=5):
                        raise RuntimeError("built")
            """,
        }
    )
    file = read(
        """
        from cosmos_predict2.data.dataset_video import FPS, Dataset
        from imaginaire.lazy_config import LazyCall as L
        from torch.utils.data import DataLoader
        run = dict(defaults=[], fps=FPS, dataloader_train=DataLoader(Dataset("data")),
                   dataloader_val=L(DataLoader)(dataset=L(Dataset)(folder="val")))
        """
    )

    assert file.experiments["run"]["fps"] == 16
    assert file.experiments["run"]["dataloader_train"]["dataset"] == {"folder": "data"}
    assert file.experiments["run"]["dataloader_val"]["dataset"] == {"folder": "val"}
    where = site / "cosmos_predict2" / "data" / "dataset_video.py"
    assert file.notices == (
        f"{file.path}: cosmos_predict2.data.dataset_video was taken from {where}, "
        "where it is installed",
    )


def test_an_installed_package_that_cannot_be_imported_is_stood_in_for(install, read):
    install(
        {
            "cosmos_predict2/data/__init__.py": "",
            "cosmos_predict2/data/dataset_video.py": "import decord_of_old",
        }
    )
    file = read(
        """
        from cosmos_predict2.data.dataset_video import Dataset
        from torch.utils.data import DataLoader
        run = dict(defaults=[], dataloader_train=DataLoader(Dataset("data", 5, (16, 16))))
        """
    )

    assert file.experiments["run"]["dataloader_train"]["dataset"]["dataset_dir"] == "data"
    assert (
        "cannot be imported (ModuleNotFoundError: No module named 'decord_of_old')"
        in (file.notices[0])
    )


def test_installed_ranks_are_asked_first_and_stood_in_for_before_they_are_set_up(install, read):
    install(
        {
            "megatron/core/__init__.py": "VERSION = 3",
            "megatron/core/parallel_state.py": """
                def get_data_parallel_world_size():
                    raise AssertionError("not initialized")
                def get_data_parallel_rank():
                    return 6
                def get_expert_model_parallel_rank():
                    return 2
            """,
        }
    )
    file = read(
        """
        import megatron.core
        from megatron.core import parallel_state
        run = dict(
            defaults=[],
            rank=parallel_state.get_data_parallel_rank(),
            version=megatron.core.VERSION,
            expert=parallel_state.get_expert_model_parallel_rank(),
            alone=parallel_state.get_data_parallel_world_size() == 1,
        )
        """
    )

    assert file.experiments["run"] == {
        "defaults": [], "rank": 6, "version": 3, "expert": 2, "alone": True
    }  # fmt: skip
    assert len(file.notices) == 1


def test_an_installed_lazy_call_may_give_any_mapping(install, read):
    install(
        {
            "imaginaire/__init__.py": "",
            "imaginaire/lazy_config/__init__.py": """
                from omegaconf import DictConfig
                class LazyCall:
                    def __init__(self, target):
                        self.target = target
                    def __call__(self, **kwargs):
                        name = f"{self.target.__module__}.{self.target.__qualname__}"
                        return DictConfig({"_target_": name, **kwargs})
            """,
        }
    )
    file = read(
        """
        from imaginaire.lazy_config import LazyCall as L
        from cosmos_predict2.data.dataset_video import Dataset
        from torch.utils.data import DataLoader, DistributedSampler
        clips = L(Dataset)(num_frames=5)
        sampler = L(DistributedSampler)(dataset=clips, seed=2)
        loader = L(DataLoader)(dataset=clips, sampler=sampler, batch_size=2)
        run = dict(defaults=[], dataloader_train=loader)
        """
    )

    assert file.experiments["run"]["dataloader_train"]["dataset"] == {"num_frames": 5}
    assert file.experiments["run"]["dataloader_train"]["sampler"] == {"shuffle": True, "seed": 2}
    assert file.experiments["run"]["dataloader_train"]["batch_size"] == 2


def test_other_modules_of_an_installed_package_are_its_own(install, read):
    install({"imaginaire/__init__.py": "", "imaginaire/words/rate.py": "RATE = 0.5"})
    file = read(
        """
        import imaginaire.words.rate
        from imaginaire.words import rate
        from imaginaire.lazy_config import LazyDict
        run = LazyDict(dict(defaults=[], rate=rate.RATE, same=imaginaire.words.rate.RATE))
        """
    )

    assert file.experiments["run"] == {"defaults": [], "rate": 0.5, "same": 0.5}
    assert "imaginaire.words.rate was taken from" in file.notices[0]


def test_the_folder_of_this_checkout_does_not_count_as_an_installed_package(monkeypatch, read):
    assert (ROOT / "cosmos_predict2" / "configs" / "base" / "config.py").is_file()
    monkeypatch.syspath_prepend(ROOT)
    file = read(
        """
        from cosmos_predict2.data.dataset_video import Dataset
        from torch.utils.data import DataLoader
        run = dict(defaults=[], dataloader_train=DataLoader(Dataset("data", 5, (16, 16))))
        """
    )

    assert file.notices == ()
