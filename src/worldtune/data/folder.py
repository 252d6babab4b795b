"""The layout of a folder of clips, and what is told when it is not there.

DIR/videos/NAME.mp4       the clip
DIR/metas/NAME.txt        its caption, UTF-8
DIR/t5_xxl/NAME.pickle    its text embedding
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from worldtune.errors import DataError

VIDEOS, CAPTIONS, EMBEDDINGS = "videos", "metas", "t5_xxl"
LAYOUT = (
    f"expected {VIDEOS}/NAME.mp4 with captions in {CAPTIONS}/NAME.txt "
    f"or text embeddings in {EMBEDDINGS}/NAME.pickle"
)
OTHER_VIDEOS = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")


def find_videos(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a folder's .mp4 files and its videos of other types, by name.

    Raises DataError where the folder or its videos/ is missing or holds no clip.
    """
    videos = folder / VIDEOS
    if not videos.is_dir():
        raise DataError(_missing(folder))
    files = sorted(path for path in videos.iterdir() if not path.name.startswith("."))
    clips = [path for path in files if path.suffix.lower() == ".mp4"]
    others = [path for path in files if path.suffix.lower() in OTHER_VIDEOS]
    if not clips:
        found = f"only {others[0].name} and the like" if others else _contents(videos)
        raise DataError(f"{videos} holds no .mp4 file, {found}; {LAYOUT}")
    return clips, others


def find_mixed(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the folders of a mix, by name.

    Raises DataError naming every folder that is not there.
    """
    if not folder.is_dir():
        raise DataError(_missing(folder))
    names = list(names)
    outside = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise DataError(f"{', '.join(outside)}: mix names folders that lie in {folder}, by name")
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        told = ", ".join(f"{name}{_near(folder / name)}" for name in missing)
        raise DataError(f"{folder} has no folder {told}; mix names folders that lie in it")
    return {name: folder / name for name in names}


def _missing(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} does not exist{_near(folder)}; {LAYOUT}"
    if not folder.is_dir():
        return f"{folder} is a file, not a folder; {LAYOUT}"
    if any(folder.glob("*.mp4")):
        return f"{folder} holds .mp4 files itself; {LAYOUT}: move them into {folder / VIDEOS}"
    mixed = sorted(path.parent.name for path in folder.glob(f"*/{VIDEOS}"))
    if mixed:
        shares = ", ".join(f"{folder / name}: 1" for name in mixed)
        return (
            f"{folder} has no {VIDEOS}/, but its folders {', '.join(mixed)} do; name one of them, "
            f"or mix them by dataset.mix={{{shares}}} in place of dataset_dir"
        )
    return f"{folder} has no {VIDEOS}/{_near(folder / VIDEOS)}, {_contents(folder)}; {LAYOUT}"


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "it is empty"
    return f"only {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if names[5:] else "")


def _near(path: Path) -> str:
    """Return a hint at a folder of nearly the same name beside the missing one."""
    above = path.parent
    while not above.is_dir() and above != above.parent:
        path, above = above, above.parent
    beside = [other.name for other in above.iterdir() if other.is_dir()] if above.is_dir() else []
    close = get_close_matches(path.name, beside, n=1, cutoff=0.6)
    return f"; did you mean {above / close[0]}?" if close else ""
