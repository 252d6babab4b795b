"""Fetching published repositories: what is asked for, checked and told."""

from hashlib import md5
from pathlib import Path

import pytest

from worldtune.checkpoint.download import checksum, download
from worldtune.checkpoint.repositories import TRANSFER1, Repository, chosen, named
from worldtune.cli.main import run
from worldtune.errors import CheckpointError

CONTENT = b"weights"
WHOLE = Repository("nvidia/small", {"a.pt": md5(CONTENT, usedforsecurity=False).hexdigest()})


class Hub:
    """A hub that brings the content it is given, or raises."""

    def __init__(self, content: bytes = CONTENT, error: Exception | None = None) -> None:
        self.content, self.error = content, error
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, name: str, target: Path, token: str | None) -> None:
        self.asked.append((name, token))
        if self.error is not None:
            raise self.error
        target.mkdir(parents=True, exist_ok=True)
        (target / "a.pt").write_bytes(self.content)


def test_a_repository_is_fetched_once_and_checked(tmp_path):
    hub, told = Hub(), []
    for _ in range(2):
        download([WHOLE], tmp_path, token="secret", tell=told.append, fetch=hub)

    assert hub.asked == [("nvidia/small", "secret")]
    assert (tmp_path / "nvidia/small/a.pt").read_bytes() == CONTENT
    assert told == [
        f"{tmp_path}/nvidia/small: fetching from https://huggingface.co/nvidia/small",
        f"{tmp_path}/nvidia/small: there already, and as published",
    ]


def test_a_file_with_another_content_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"small: a\.pt is not what was published; remove"):
        download([WHOLE], tmp_path, tell=lambda _: None, fetch=Hub(b"cut sh"))


def test_a_file_that_was_cut_short_is_fetched_again(tmp_path):
    (tmp_path / "nvidia/small").mkdir(parents=True)
    (tmp_path / "nvidia/small/a.pt").write_bytes(CONTENT[:3])
    hub = Hub()
    download([WHOLE], tmp_path, tell=lambda _: None, fetch=hub)

    assert len(hub.asked) == 1


def test_what_fails_is_told_in_the_end_after_the_rest_was_fetched(tmp_path):
    """The published downloader printed such errors and said that all was well."""

    class GatedRepoError(Exception):
        pass

    hubs = {
        "nvidia/gated": Hub(error=GatedRepoError("Access is restricted\nmore")),
        "nvidia/away": Hub(error=TimeoutError()),
        "nvidia/small": Hub(),
    }
    with pytest.raises(CheckpointError) as told:
        download(
            [Repository("nvidia/gated"), Repository("nvidia/away"), WHOLE],
            tmp_path,
            tell=lambda _: None,
            fetch=lambda name, target, token: hubs[name](name, target, token),
        )

    assert str(told.value) == (
        "nvidia/gated was not fetched: GatedRepoError: Access is restricted\n"
        "  Accept its terms at https://huggingface.co/nvidia/gated, and log in with `hf auth "
        "login` or give --hf_token\n"
        "nvidia/away was not fetched: TimeoutError: \n"
        "  The same command goes on with what is missing"
    )
    assert (tmp_path / "nvidia/small/a.pt").is_file()


@pytest.mark.parametrize(
    ("choice", "left_out"),
    [
        ("all", set()),
        ("7b", {"nvidia/Cosmos-Transfer1-7B-Sample-AV"}),
        ("7b_av", {"nvidia/Cosmos-Transfer1-7B"}),
    ],
)
def test_a_choice_leaves_out_what_is_only_the_others(choice, left_out):
    every = {repository.name for repository in TRANSFER1}

    assert every - {repository.name for repository in chosen(choice)} == left_out


def test_a_repository_by_name_is_checked_where_its_checksums_are_known():
    assert named("nvidia/Cosmos-Tokenize1-CV8x8x8-720p").md5["encoder.jit"].startswith("f5834d03")
    assert named("nvidia/Cosmos-Predict2-2B-Video2World").md5 == {}


def test_a_checksum_is_of_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr("worldtune.checkpoint.download.CHUNK_BYTES", 3)
    (tmp_path / "a").write_bytes(CONTENT)

    assert checksum(tmp_path / "a") == md5(CONTENT, usedforsecurity=False).hexdigest()


def test_the_command_says_what_it_would_fetch(capsys):
    assert run(["download", "nvidia/a", "google-t5/b", "--output_dir", "w", "--dryrun"]) == 0
    assert capsys.readouterr().out == (
        "https://huggingface.co/nvidia/a to w/nvidia/a\n"
        "https://huggingface.co/google-t5/b to w/google-t5/b\n"
    )


def test_what_is_no_repository_is_a_mistake(capsys):
    assert run(["download", "nvidia"]) == 2
    assert capsys.readouterr().err == (
        "RecipeError: 'nvidia' is not a repository; expected OWNER/NAME\n"
    )
