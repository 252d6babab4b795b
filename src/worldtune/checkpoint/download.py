"""Fetching published repositories, and holding what was fetched against its checksums.

Whatever fails is an error in the end, after everything else was tried; what is there and whole
is not fetched again.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from worldtune.checkpoint.repositories import Repository
from worldtune.errors import CheckpointError

CHUNK_BYTES = 2**24

Fetch = Callable[[str, Path, str | None], None]
"""Brings a repository into a folder: its name, the folder, a token."""
Tell = Callable[[str], None]


def download(
    repositories: Iterable[Repository],
    folder: Path,
    *,
    token: str | None = None,
    tell: Tell = print,
    fetch: Fetch | None = None,
) -> None:
    """Fetch each repository to FOLDER/OWNER/NAME and check its files.

    Raises CheckpointError with everything that failed, each with what to do.
    """
    failed = []
    for repository in repositories:
        target = folder / repository.name
        if repository.md5 and not wrong_files(repository, target):
            tell(f"{target}: there already, and as published")
            continue
        tell(f"{target}: fetching from https://huggingface.co/{repository.name}")
        try:
            (fetch or fetch_from_hub)(repository.name, target, token)
        # The border to a library that lets errors of several others through; each is a
        # repository that was not fetched, and is told.
        except Exception as error:
            failed.append(_not_fetched(repository, error))
            continue
        wrong = wrong_files(repository, target)
        if wrong:
            failed.append(
                f"{target}: {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not what was "
                "published; remove and fetch again"
            )
    if failed:
        raise CheckpointError("\n".join(failed))


def wrong_files(repository: Repository, target: Path) -> list[str]:
    """Files of the repository that are not there, or with another content than published."""
    return [
        name
        for name, expected in repository.md5.items()
        if not (target / name).is_file() or checksum(target / name) != expected
    ]


def checksum(path: Path) -> str:
    """The MD5 of a file, which is what the publishers give; no protection against people."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fetch_from_hub(name: str, target: Path, token: str | None) -> None:
    """Bring a repository from Hugging Face; what an earlier try brought is not brought again."""
    from huggingface_hub import snapshot_download

    snapshot_download(name, local_dir=target, token=token)


def _not_fetched(repository: Repository, error: Exception) -> str:
    """What went wrong, in the library's own words, and what to do about it."""
    said = str(error).strip().splitlines()
    told = f"{repository.name} was not fetched: {type(error).__name__}: {said[0] if said else ''}"
    if type(error).__name__ in ("GatedRepoError", "RepositoryNotFoundError"):
        return (
            f"{told}\n  Accept its terms at https://huggingface.co/{repository.name}, and log in "
            "with `hf auth login` or give --hf_token"
        )
    return f"{told}\n  The same command goes on with what is missing"
