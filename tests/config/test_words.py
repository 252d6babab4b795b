"""Command words, in every form that the published documents write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldtune.config.words import LaunchWords, read_words
from worldtune.errors import RecipeError

PREDICT2 = "cosmos_predict2/configs/base/config.py"
TRANSFER1 = "cosmos_transfer1/diffusion/config/config_train.py"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            [f"--config={PREDICT2}", "--experiment=traffic"],
            LaunchWords(PREDICT2, "traffic"),
        ),
        (
            [f"--config={PREDICT2}", "--experiment=traffic", "model.config.lora_rank=8"],
            LaunchWords(PREDICT2, "traffic", ("model.config.lora_rank=8",)),
        ),
        (
            ["--dryrun", f"--config={TRANSFER1}", "--", "experiment=lidar"],
            LaunchWords(TRANSFER1, "lidar", dryrun=True),
        ),
        (
            ["--config", PREDICT2, "--", "experiment=traffic", "a.b=1", "~c", "+d=2", "++e=3"],
            LaunchWords(PREDICT2, "traffic", ("a.b=1", "~c", "+d=2", "++e=3")),
        ),
        (
            ["a=1", "--config", "my_run.py", "b=2", "--dryrun", "--", "c=[1,2]"],
            LaunchWords("my_run.py", None, ("a=1", "b=2", "c=[1,2]"), dryrun=True),
        ),
        (["--config", "predict2", "-h"], LaunchWords("predict2", help=True)),
        (["experiment=traffic", "ckpt_klass=tp"], LaunchWords(None, "traffic", ("ckpt_klass=tp",))),
        ([], LaunchWords()),
    ],
)
def test_every_published_form_of_a_launch_is_understood(words, expected):
    assert read_words(words) == expected


def test_an_experiment_or_config_said_twice_alike_is_one():
    words = ["--config=a.py", "--config", "a.py", "--experiment=x", "--", "experiment=x"]

    assert read_words(words) == LaunchWords("a.py", "x")


def test_a_value_may_hold_anything_after_the_first_equals_sign():
    words = ["job.name='a b=c'", "data@x.y=z", "key=", "text=line\nline"]

    assert read_words(words).overrides == tuple(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experimnt=x"], "--experimnt is not a flag; did you mean '--experiment'?"),
        (["--dry-run"], "did you mean '--dryrun'?"),
        (["-j"], "-j is not a flag; the flags are --config, --experiment, --dryrun, --help"),
        (["--experiment=a", "experiment=b"], "'a' and 'b' are given, but a run has one experiment"),
        (["--config=a.py", "--config=b.py"], "'a.py' and 'b.py' are given, but a run has one set"),
        (["--experiment="], "--experiment has no value; write --experiment=... (if it was a shell"),
        (["--experiment", "--dryrun"], "--experiment has no value"),
        (["--config"], "--config has no value"),
        (["experiment="], "experiment has no value; write experiment=..."),
        (["+experiment=x"], "the experiment is chosen with experiment=NAME, without '+'"),
        (["~experiment"], "the experiment is chosen with experiment=NAME, without '~'"),
        (["--dryrun=yes"], "--dryrun takes no value, but got 'yes'"),
        (["--", "--dryrun"], "--dryrun stands after '--'; flags go before it"),
        (["--", "--", "a=1"], "'--' is no key=value; after '--' stand only words like"),
        (["--", "--fast"], "'--fast' is no key=value"),
        (
            ["traffic"],
            "'traffic' is no key=value; words are key=value, like trainer.max_iter=100, ",
        ),
        (["traffic"], "and an experiment is --experiment=traffic"),
        (["my_run.py"], "a settings file is named with --config=my_run.py"),
        (["trainer.max_iter"], "'trainer.max_iter' is no key=value; words are key=value"),
        (["=5"], "'=5' is no key=value"),
        (["++a"], "'++a' is no key=value"),
        ([""], "an empty word was given"),
        (["\n"], "an empty word was given"),
        (["\u2013experiment=x"], "begins with a typeset dash; write --experiment=x"),
        (["\u2014dryrun"], "begins with a typeset dash; write --dryrun"),
    ],
)
def test_a_mistaken_word_is_told_with_what_to_write(words, message):
    with pytest.raises(RecipeError) as told:
        read_words(words)
    assert message in str(told.value)


def test_all_mistakes_of_a_launch_are_told_at_once():
    with pytest.raises(RecipeError) as told:
        read_words(["--experimnt=x", "traffic", "--experiment=a", "--", "--dryrun", "experiment=b"])

    assert len(str(told.value).splitlines()) == 4


WORD = st.sampled_from(["--config", "--experiment=", "--dryrun", "--", "a.b=1", "~c", "-h", ""])


@given(st.lists(WORD | st.text(max_size=8), max_size=6))
def test_no_words_whatever_end_in_anything_but_a_launch_or_a_told_mistake(words):
    try:
        launch = read_words(words)
    except RecipeError:
        return
    assert set(launch.overrides) <= set(words)
    assert launch.dryrun == ("--dryrun" in words)
