"""Clips of a recipe's data loaders, listed and checked before the first step."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Sampler

from worldtune.config.dataloader import DataLoaderSettings, DatasetSettings
from worldtune.config.predict2 import Predict2Recipe
from worldtune.data.batch import Batch, collate
from worldtune.data.builtin_text import BuiltinTextEncoder
from worldtune.data.clip_list import ClipList
from worldtune.data.clips import Needs, check_enough, list_clips
from worldtune.data.dataset import ClipSource, VideoClips
from worldtune.data.loader import Loader
from worldtune.data.mock import MockClips
from worldtune.data.order import ClipOrder, Place
from worldtune.data.sampler import Dealt, EndlessBatches, OnePass, Shares
from worldtune.data.text import EncodedCaptions, StoredEmbeddings, TextSource
from worldtune.errors import RecipeError
from worldtune.inference.pieces import build_text_encoder, clip_frames, pipeline
from worldtune.models.tokenizer import VideoTokenizer
from worldtune.parallel.mesh import ALONE, ProcessMesh, launched_processes, processes_here
from worldtune.train.loop import TimedBatch


@dataclass(frozen=True)
class ClipData:
    """The clips of one loader, the order they come in, and this rank's share."""

    source: ClipSource
    order: ClipOrder
    clips: ClipList | None  # None: made-up clips
    settings: DataLoaderSettings
    shares: Shares

    def loader(self, first_index: int) -> Loader:
        """Batches without end from a place of the global order on."""
        return self._load(EndlessBatches(self.order, self.shares, first_index))

    def one_pass(self, most: int | None = None) -> tuple[Dealt, Loader]:
        """Each clip once, in the order of the list, at most so many batches, dealt out to ranks."""
        ordered = ClipOrder(self.order.sizes, self.order.weights, shuffle=False)
        settings = self.settings
        one_pass = OnePass(ordered, settings.batch_size, drop_last=settings.drop_last)
        dealt = Dealt(list(one_pass)[:most], self.shares.data_rank, self.shares.data_ranks)
        return dealt, self._load(dealt, num_workers=0)

    def _load(self, batches: Sampler[list[Place]], num_workers: int | None = None) -> Loader:
        settings = self.settings
        return Loader(
            self.source,
            batches,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers if num_workers is None else num_workers,
            pin_memory=settings.pin_memory and torch.cuda.is_available(),
            loaders_here=_loaders_here(self.shares.data_ranks),
        )


def _loaders_here(data_ranks: int) -> int:
    """How many of the run's data ranks read clips on this machine."""
    world = launched_processes()
    return max(1, data_ranks * processes_here(world) // world)


def find_clips(
    recipe: Predict2Recipe,
    settings: DataLoaderSettings,
    tokenizer: VideoTokenizer,
    mesh: ProcessMesh = ALONE,
    *,
    overfit: int = 0,
    held_out: bool = False,
) -> ClipData:
    """List a loader's clips; overfit keeps the first few only.

    Raises DataError with every clip that cannot be used, and where there are fewer clips than
    all ranks take at once.
    """
    dataset = settings.dataset
    num_frames = _frames_read(recipe, settings, tokenizer)
    shares = Shares(settings.batch_size, mesh.data_rank, mesh.layout.data)
    if dataset.kind != "clips":
        return _mock_clips(recipe, settings, num_frames, shares)
    folder, mix = _folders(dataset)
    text, needs = _text(recipe, num_frames)
    # Opened and checked once, whatever the number of processes.
    clips = mesh.from_first(
        lambda: list_clips(
            folder,
            needs,
            mix=mix,
            on_bad_clip=dataset.on_bad_clip,
            max_bad_share=dataset.max_bad_share,
        )
    )
    if overfit:
        clips = clips.first(overfit)
    # Held-out clips are dealt out, and need not go round.
    check_enough(clips, settings.batch_size, 1 if held_out else mesh.layout.data)
    return ClipData(
        source=VideoClips(
            clips, text, num_frames, dataset.video_size, dataset.resize, recipe.trainer.seed
        ),
        order=clips.order(settings.sampler.seed, shuffle=settings.sampler.shuffle),
        clips=clips,
        settings=settings,
        shares=shares,
    )


def _folders(dataset: DatasetSettings) -> tuple[Path, dict[str, float] | None]:
    """The data set's folder, or the one above all that are mixed and their names below it."""
    if dataset.dataset_dir is not None:
        return Path(dataset.dataset_dir), dataset.mix
    if dataset.mix is None:
        raise RecipeError(
            "dataset.dataset_dir is not set; expected the folder that holds videos/ and metas/"
        )
    above = Path(os.path.commonpath([Path(folder).parent for folder in dataset.mix]))
    names = {folder: Path(folder).relative_to(above).as_posix() for folder in dataset.mix}
    return above, {names[folder]: share for folder, share in dataset.mix.items()}


def _mock_clips(
    recipe: Predict2Recipe, settings: DataLoaderSettings, num_frames: int, shares: Shares
) -> ClipData:
    text = _text_shape(recipe)
    source = MockClips(
        num_frames,
        settings.dataset.video_size,
        text,
        recipe.trainer.seed,
    )
    order = source.order(settings.sampler.seed, shuffle=settings.sampler.shuffle)
    return ClipData(source, order, None, settings, shares)


def find_held_out(
    recipe: Predict2Recipe, tokenizer: VideoTokenizer, mesh: ProcessMesh = ALONE
) -> ClipData | None:
    """List the clips of dataloader_val where validation or samples want them.

    Raises RecipeError where they are wanted and no loader is given.
    """
    if not (recipe.trainer.run_validation or recipe.trainer.sample_iter):
        return None
    if recipe.dataloader_val is None:
        wanted = "run_validation" if recipe.trainer.run_validation else "sample_iter"
        raise RecipeError(
            f"trainer.{wanted} needs held-out clips, and there is no dataloader_val; set "
            "dataloader_val.dataset.dataset_dir=FOLDER, or switch it off"
        )
    return find_clips(recipe, recipe.dataloader_val, tokenizer, mesh, held_out=True)


def _frames_read(
    recipe: Predict2Recipe, settings: DataLoaderSettings, tokenizer: VideoTokenizer
) -> int:
    """Frames to decode: where the model takes a window of a longer clip, only that window."""
    longest = clip_frames(recipe, tokenizer)
    if pipeline(recipe).resize_online:
        return min(settings.dataset.num_frames, longest)
    return settings.dataset.num_frames


def _text(recipe: Predict2Recipe, num_frames: int) -> tuple[TextSource, Needs]:
    """Text from stored embeddings for T5, else from captions by the built-in encoder."""
    settings = pipeline(recipe).text_encoder
    if settings.cls == "builtin":
        encoder = build_text_encoder(recipe)
        assert isinstance(encoder, BuiltinTextEncoder)
        needs = Needs(
            num_frames,
            "caption",
            text_tokens=encoder.max_tokens,
            count_tokens=encoder.count_tokens,
        )
        return EncodedCaptions(encoder), needs
    width, tokens = settings.t5.embed_dim, settings.t5.num_tokens
    needs = Needs(num_frames, "embedding", text_width=width, text_tokens=tokens)
    return StoredEmbeddings(width, tokens), needs


def _text_shape(recipe: Predict2Recipe) -> tuple[int, int]:
    """Tokens of a caption and their width."""
    settings = pipeline(recipe).text_encoder
    if settings.cls == "builtin":
        encoder = build_text_encoder(recipe)
        return encoder.max_tokens, encoder.width
    return settings.t5.num_tokens, settings.t5.embed_dim


def timed(loader: Loader, device: torch.device) -> Iterator[TimedBatch]:
    """Batches on the device, each with how long it was waited for; workers start at once."""
    batches = iter(loader)
    return (TimedBatch(b.to(device, non_blocking=True), loader.wait_s) for b in batches)


def first_batch(data: ClipData) -> Batch:
    """The batch that the first rank of a run starts with, read in this process."""
    places = next(iter(EndlessBatches(data.order, Shares(data.shares.batch_size))))
    return collate([data.source.read(place) for place in places])
