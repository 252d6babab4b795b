"""The tables of Transfer1's experiments: standing in the checkout, and edited there."""

from pathlib import Path

import pytest

from worldtune.cli.main import run
from worldtune.config.compose import Composed, compose
from worldtune.errors import RecipeError
from worldtune.recipes import control_tables
from worldtune.recipes.roots import choose, root_here
from worldtune.recipes.transfer1 import TABLES_FILE, TRANSFER1

CHECKOUT = Path(__file__).parents[2] / TABLES_FILE
PACKAGE = Path(control_tables.__file__)
LIDAR = "CTRL_7Bv1pt3_t2w_121frames_control_input_lidar_block3_pretrain"
NOTICE = f"the experiments are those of {TABLES_FILE}, which was changed"


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Edit a copy of the checkout's file, in a folder where commands are then started."""
    monkeypatch.chdir(tmp_path)

    def replace(*edits: tuple[str, str]) -> None:
        text = PACKAGE.read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new, 1)
        Path(TABLES_FILE).parent.mkdir(parents=True, exist_ok=True)
        Path(TABLES_FILE).write_text(text)

    return replace


def composed(experiment: str, *words: str) -> Composed:
    chosen = choose(None, experiment)
    return compose(chosen.root, chosen.experiment, words, environment={})


def test_the_file_in_the_checkout_is_the_packages_own():
    """After a change to one, copy it over the other."""
    assert CHECKOUT.read_text() == PACKAGE.read_text()


def test_an_unchanged_file_leaves_everything_as_packaged(edit):
    edit()

    assert root_here("transfer1") is TRANSFER1


def test_a_changed_number_takes_effect_and_is_told(edit):
    edit(("2**-14.3", "2**-15"), ('"save_iter": 1000', '"save_iter": 250'))
    told = composed(LIDAR)

    assert told.recipe.optimizer.lr == 2**-15
    assert told.recipe.checkpoint.save_iter == 250
    assert told.origins["optimizer.lr"] == f"experiment '{LIDAR}' of {TABLES_FILE}"
    assert told.notices[0] == NOTICE


def test_a_changed_number_takes_effect_in_a_dry_run(edit, capsys, monkeypatch):
    monkeypatch.delenv("OUTPUT_ROOT", raising=False)
    monkeypatch.delenv("IMAGINAIRE_OUTPUT_ROOT", raising=False)
    edit(("999_999_999", "5000"))

    assert run(["train", "--dryrun", "--", f"experiment={LIDAR}"]) == 0
    said = capsys.readouterr().out
    assert "    max_iter: 5000\n" in said
    assert f"Notice: {NOTICE}\n" in said


def test_a_new_control_is_one_row(edit, capsys):
    row = '"radar": {"about": "radar", "forms": ["t2w"], "sizes": ["7Bv1pt3"]},\n    "lidar": {'
    edit(('"lidar": {', row))
    recipe = composed(LIDAR.replace("lidar", "radar")).recipe

    assert recipe.model.hint_key.hint_key == "control_input_radar"
    assert recipe.dataloader_train.dataset.hint_key == "control_input_radar"
    posttrain = composed(LIDAR.replace("lidar_block3_pretrain", "radar_block3_posttrain")).recipe
    assert posttrain.checkpoint.load_path.endswith("/checkpoints_tp/radar_control.pt")
    assert run(["show", "transfer1"]) == 0
    said = capsys.readouterr().out
    assert f"Notice: {NOTICE}\n" in said
    assert "  CTRL_7Bv1pt3_t2w_57frames_control_input_radar_block3_pretrain " in said
    assert "control_input_radar_grayscale" in said


def test_an_experiment_of_ones_own_is_another_one_with_changes(edit):
    own = (
        f'EXPERIMENTS = {{"night": {{"like": "{LIDAR}", "groups": {{"ckpt_klass": "tp"}}, '
        '"settings": {"trainer": {"max_iter": 7}}}}'
    )
    edit(("EXPERIMENTS = {}", own))
    recipe = composed("night").recipe

    assert (recipe.trainer.max_iter, recipe.checkpoint.type) == (7, "tp")
    assert recipe.job.name == "night"
    assert recipe.job.group == "CTRL_7Bv1_sampleAV"
    assert recipe.model.hint_key.hint_key == "control_input_lidar"


def test_a_mistake_in_a_setting_names_the_file(edit):
    edit(('"save_iter": 1000', '"save_iters": 1000'))

    with pytest.raises(RecipeError) as told:
        composed(LIDAR)
    assert str(told.value) == (
        "checkpoint.save_iters is not a setting; did you mean 'save_iter'?\n"
        f"  (set by experiment '{LIDAR}' of {TABLES_FILE})"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"forms": AV_FORMS, "sizes"',
            '"form": AV_FORMS, "sizes"',
            "CONTROLS['hdmap']: forms is not set; it is: Forms that are steered by it.",
        ),
        (
            '"forms": ["lvg_tp"]',
            '"forms": ["lvg"]',
            "CONTROLS['edge']: 'lvg' is not in FORMS; did you mean 'lvg_tp'?",
        ),
        (
            '"frames": [57, 121]',
            '"frames": "57"',
            "FORMS['t2w']: frames is the text '57'; expected a list",
        ),
        (
            '"job": {"project": "cosmos_transfer1_{stage}"',
            '"job": {"project": "cosmos_transfer1_{stages}"',
            f"{LIDAR.replace('121', '57').replace('lidar', 'hdmap')}: 'cosmos_transfer1_{{stages}}"
            "': {stages} stands for nothing; did you mean 'stage'?",
        ),
        (
            '"version": "7Bv1"',
            '"version": "{version}"',
            "{version} stands for nothing",
        ),
        (
            "_block3_{stage}",
            "_block3",
            "'CTRL_7Bv1pt3_t2w_57frames_control_input_hdmap_block3' would be two experiments",
        ),
        ("EXPERIMENTS = {}", "EXPERIMENTS = []", "expected EXPERIMENTS, a dict"),
        (
            "EXPERIMENTS = {}",
            'EXPERIMENTS = {"night": {"like": "CTRL"}}',
            "EXPERIMENTS['night'] is like 'CTRL', which is not an experiment",
        ),
        (
            "EXPERIMENTS = {}",
            "EXPERIMENTS = {}\nFORM = 1",
            "FORM is assigned and never used; did you mean 'FORMS'?",
        ),
        ("EXPERIMENTS = {}", "EXPERIMENTS = dict()", "dict(): is not data"),
    ],
)
def test_a_mistake_in_the_tables_is_told(edit, old, new, message):
    edit((old, new))

    with pytest.raises(RecipeError) as told:
        composed(LIDAR)
    assert message in str(told.value)
    assert str(told.value).count(TABLES_FILE) >= 1


def test_a_mistake_in_the_tables_stops_no_other_family(edit):
    edit(("EXPERIMENTS = {}", "EXPERIMENTS = dict()"))

    assert choose(None, "predict2_video2world_training_tiny").root.name == "predict2"
