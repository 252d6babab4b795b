"""What is wrong in a user's own settings file is told in one message, with file and line."""

from pathlib import Path
from textwrap import dedent

import pytest

from worldtune.config.lent import ROOT_OF_PACKAGE
from worldtune.config.user_file import read_user_file
from worldtune.errors import RecipeError

IMPORTS = """\
from cosmos_predict2.data.dataset_video import Dataset
from hydra.core.config_store import ConfigStore
from imaginaire.lazy_config import LazyCall as L
from megatron.core import parallel_state
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler
cs = ConfigStore.instance()
clips = Dataset("data", 5, (16, 16))
"""


@pytest.fixture
def mistake(tmp_path: Path):
    """The message of the mistake in a file, without the folder's name."""

    def check(text: str, **beside: str) -> str:
        for name, content in beside.items():
            (tmp_path / f"{name}.py").write_text(dedent(content))
        path = tmp_path / "my_run.py"
        path.write_text(dedent(text))
        with pytest.raises(RecipeError) as told:
            read_user_file(path)
        assert told.value.__cause__ is None
        assert told.value.__suppress_context__ or told.value.__context__ is None
        return str(told.value).replace(f"{tmp_path}/", "")

    return check


@pytest.fixture
def mistake_in_run(mistake):
    """The message of the mistake in an experiment with one loader, after the place."""

    def check(loader: str, before: str = "") -> str:
        run = f"run = dict(defaults=['_self_'], dataloader_train={loader})\n"
        told = mistake(IMPORTS + dedent(before) + run)
        assert told.startswith("my_run.py: experiment 'run': dataloader_train")
        return told

    return check


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\nrun = dict(lr= = 3)\n",
            "my_run.py, line 2: SyntaxError: invalid syntax\n    run = dict(lr= = 3)",
        ),
        (
            "def rate():\n    return 1 / 0\nrun = dict(lr=rate())\n",
            "my_run.py, line 2: ZeroDivisionError: division by zero\n    return 1 / 0",
        ),
        ("run = dict(lr=rate)\n", "my_run.py, line 1: NameError: name 'rate' is not defined"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: the file ends the program, with 3"),
        ("raise KeyError\n", "my_run.py, line 1: KeyError\n    raise KeyError"),
        ("import decord_of_old\n", "line 1: ModuleNotFoundError: No module named 'decord_of_old'"),
        (
            "from cosmos_predict2.data.dataset_vide import Dataset\n",
            "line 1: ModuleNotFoundError: cosmos_predict2.data.dataset_vide is not installed; "
            "did you mean 'cosmos_predict2.data.dataset_video'?",
        ),
        (
            "\nimport imaginaire.trainer\n",
            "line 2: ModuleNotFoundError: imaginaire.trainer is not installed; did you mean 'imag",
        ),
        (
            "\nimport megatron.training\n",
            "megatron.training is not installed; lent of megatron are megatron.core.parallel_state",
        ),
        (
            "from cosmos_predict2.data.dataset_video import Clips\n",
            "cosmos_predict2.data.dataset_video is lent and has no 'Clips'; it has Dataset",
        ),
        (
            "from megatron import training\n",
            "ImportError: megatron is lent and has no 'training'; it has core.parallel_state",
        ),
        (
            "import megatron.core\nmegatron.core.mpu\n",
            "line 2: AttributeError: megatron.core is lent and has no 'mpu'; it has parallel_state",
        ),
        (
            "from torch.utils.data import DataLodr\n",
            "line 1: ImportError: torch.utils.data has no 'DataLodr'; did you mean 'DataLoader'?",
        ),
        ("from ..up import x\n", "only a file in the same folder can be imported relatively"),
        ("from .gone import x\n", "ImportError: there is no gone.py beside this file"),
        (
            IMPORTS + "Dataset('data', 5)\n",
            "line 8: TypeError: Dataset() missing a required argument: 'video_size'",
        ),
        (
            IMPORTS + "DataLoader(clips, num_worker=2)\n",
            "TypeError: DataLoader() got an unexpected keyword argument 'num_worker'; did you mean "
            "'num_workers'?",
        ),
        (
            IMPORTS + "print(len(clips))\n",
            "line 8: TypeError: Dataset is read as a description: no clip is opened while a "
            "settings file is read, so it has no length",
        ),
        (IMPORTS + "clips[0]\n", "so it has no items"),
        (IMPORTS + "list(clips)\n", "so it cannot be iterated"),
        (IMPORTS + "clips.video_paths\n", "so it has no 'video_paths'"),
        (IMPORTS + "L(clips)\n", "TypeError: LazyCall takes something callable, but got"),
        (IMPORTS + "L(Dataset)(num_frames=5).size\n", "AttributeError: no key 'size'; the keys "),
        (
            IMPORTS + "parallel_state.get_data_parallel_group()\n",
            "has no 'get_data_parallel_group'; did you mean 'get_data_parallel_rank'?",
        ),
        (
            IMPORTS + "steps = 1000 // parallel_state.get_data_parallel_world_size()\n",
            "line 8: TypeError: parallel_state.get_data_parallel_world_size() is not known while",
        ),
    ],
)
def test_an_error_in_the_file_is_told_with_its_line(mistake, text, message):
    assert message in mistake(text)


def test_an_error_in_a_file_beside_is_told_with_that_files_line(mistake):
    assert mistake("import parts\n", parts="\nx = 1 +\n").startswith(
        "parts.py, line 2: SyntaxError: invalid syntax"
    )
    assert mistake("import parts\n", parts="y = 1\nx = y.z\n").startswith(
        "parts.py, line 2: AttributeError: 'int' object has no attribute 'z'"
    )


def test_an_error_in_a_function_given_to_a_lazy_call_is_told_with_its_line(mistake):
    text = """\
def ordered(dataset):
    return DistributedSampler(dataset, sed=1)
run = dict(defaults=[], dataloader_train=L(DataLoader)(sampler=L(ordered)(dataset=clips)))
"""
    assert "my_run.py, line 9: TypeError: DistributedSampler() got an unexpected" in mistake(
        IMPORTS + text
    )


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ("DataLoader(clips, timeout=5)", "DataLoader(timeout=5) is not understood and would be"),
        ("DataLoader(clips, timeout=5)", "leave timeout at its default, 0"),
        ("DataLoader(clips, collate_fn=print)", "DataLoader(collate_fn=<built-in function print>"),
        ("DataLoader(clips, persistent_workers=True)", "persistent_workers=True) is not underst"),
        (
            "DataLoader(clips, sampler=DistributedSampler(clips, drop_last=True))",
            "dataloader_train.sampler: DistributedSampler(drop_last=True) is not understood",
        ),
        (
            "DataLoader(clips, sampler=RandomSampler(clips, num_samples=3))",
            "RandomSampler(num_samples=3) is not understood",
        ),
        (
            "DataLoader(clips, shuffle=True, sampler=DistributedSampler(clips))",
            "DataLoader takes a sampler or shuffle, not both",
        ),
        (
            "DataLoader(clips, sampler=DistributedSampler(Dataset('b', 5, (16, 16))))",
            "the sampler orders another dataset than its DataLoader has",
        ),
        (
            "DataLoader([1, 2])",
            "dataloader_train.dataset: list is not a Dataset of cosmos_predict2.data.dataset_video",
        ),
        ("DataLoader(clips, sampler=[0, 1])", "list is not a sampler that is understood"),
        ("L(DataLoader)(dataset=clips, num_worker=2)", "has no 'num_worker'; did you mean 'num_w"),
        ("object()", "object is not a setting; expected a dict, list, text, number or None"),
        ("lambda: 1", "<lambda> is not a setting"),
        ("DataLoader", "DataLoader is not a setting"),
        (
            "DataLoader(clips, num_workers=parallel_state.get_data_parallel_rank())",
            "dataloader_train.num_workers: parallel_state.get_data_parallel_rank() is not known",
        ),
        ("{(1, 2): 3}", "the key (1, 2) is not text; write it in quotes"),
    ],
)
def test_what_cannot_become_a_setting_is_told_by_name(mistake_in_run, loader, message):
    assert message in mistake_in_run(loader)


@pytest.mark.parametrize(
    ("before", "loader", "message"),
    [
        (
            "class Mine(Dataset): ...",
            "DataLoader(Mine('data', 5, (16, 16)))",
            "Mine is a class of the file's own, which training would not run; use Dataset,",
        ),
        (
            "class Mine(DataLoader): ...",
            "Mine(clips)",
            "dataloader_train: Mine is a class of the file's own",
        ),
        ("class Mine: ...", "DataLoader(L(Mine)(a=1))", "Mine is not a Dataset of cosmos_predict2"),
        ("class Mine(DistributedSampler): ...", "DataLoader(clips, sampler=Mine(clips))", "Mine "),
        (
            "def make(): return 5",
            "L(make)()",
            "make() returned int; expected Dataset, DataLoader or DistributedSampler",
        ),
        ("loop = {}; loop['loop'] = loop", "loop", "this container holds itself"),
    ],
)
def test_code_that_training_would_not_run_is_told_by_name(mistake_in_run, before, loader, message):
    assert message in mistake_in_run(loader, before + "\n")


def test_a_function_may_make_the_whole_loader(tmp_path):
    path = tmp_path / "my_run.py"
    path.write_text(
        IMPORTS
        + "def inner(size): return DataLoader(clips, size)\n"
        + "def make(size): return L(inner)(size=size)\n"
        + "run = dict(defaults=[], dataloader_train=L(make)(size=3))\n"
    )

    assert read_user_file(path).experiments["run"]["dataloader_train"]["batch_size"] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "cs.store(name='config', node={})",
            "store(name='config') has no group; expected group='experiment' or another group",
        ),
        (
            "cs.store(group='experiment', name='run', node={})",
            "experiment 'run' is registered with package=None; expected package='_global_'",
        ),
        ("cs.store(group='optimizer', name='a', node=[1])", "optimizer 'a' is not a dict"),
    ],
)
def test_a_registration_that_hydra_would_misplace_is_told(mistake, call, message):
    assert message in mistake(IMPORTS + call + "\n")


def test_a_file_without_an_experiment_is_told_what_counts_as_one(mistake):
    told = mistake("run = dict(trainer=dict(max_iter=5))\ndef make_config(): ...\n")

    assert told.startswith("my_run.py: holds no experiment; expected a dict with a defaults list")
    assert "  'run' is a dict without a defaults list" in told
    assert "  make_config() is not called; write what it changes as an experiment" in told


def test_a_file_of_two_families_is_refused(mistake, monkeypatch):
    monkeypatch.setitem(ROOT_OF_PACKAGE, "imaginaire", "another")

    told = mistake(IMPORTS + "run = dict(defaults=[])\n")
    assert "the file imports packages of another and predict2; keep one of them" in told


def test_all_mistakes_of_a_file_are_told_at_once(mistake):
    told = mistake(
        IMPORTS
        + """
first = dict(defaults=["_self_"], dataloader_train=DataLoader(clips, timeout=5, in_order=False))
second = dict(defaults=["_self_"], model=dict(config=dict(precision=object())))
cs.store(name="config", node={})
"""
    )

    assert len(told.splitlines()) == 4
    assert "my_run.py: experiment 'second': model.config.precision: object is not" in told


def test_a_path_that_is_no_python_file_is_told_with_what_to_do(tmp_path):
    (tmp_path / "my_run.py").write_text("")
    for path, message in [
        (tmp_path / "my_rum.py", "does not exist; did you mean 'my_run.py'?"),
        (tmp_path / "gone" / "x.py", "does not exist; check the path"),
        (tmp_path, "is a folder; expected a settings file, like my_run.py"),
        (tmp_path / "run.yaml", "is not a .py file; expected a settings file, like my_run.py"),
    ]:
        with pytest.raises(RecipeError, match=message):
            read_user_file(path)


def test_bytes_that_are_no_python_are_told(tmp_path):
    path = tmp_path / "my_run.py"
    for content, message in [
        (b"x = 1\0", "null bytes"),
        (b"# \xff\nx = '\xff'\n", "my_run.py, line [12]: SyntaxError: .*utf-8"),
    ]:
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            read_user_file(path)


def test_a_fault_of_the_program_is_not_told_as_a_mistake_of_the_file(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    path = tmp_path / "my_run.py"
    path.write_text("run = dict(defaults=[])\n")
    monkeypatch.setattr("worldtune.config.containers.PlainReader.read", fail)
    with pytest.raises(ZeroDivisionError):
        read_user_file(path)


def test_a_keyboard_interrupt_is_not_taken_for_a_mistake(tmp_path):
    path = tmp_path / "my_run.py"
    path.write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        read_user_file(path)
