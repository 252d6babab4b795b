"""Checks of Transfer1's clips against the model that is trained on them."""

from collections.abc import Iterator

from worldtune.config.mistakes import Mistake, shown
from worldtune.config.network_checks import check_side
from worldtune.config.transfer1_data import Transfer1DatasetSettings
from worldtune.config.transfer1_model import Transfer1ModelSettings

SHAPE = "model.latent_shape"


def check_clips(
    dataset: Transfer1DatasetSettings, key: str, model: Transfer1ModelSettings
) -> Iterator[Mistake]:
    """A clip has the latents, the cameras and the control that the model is trained on."""
    if not dataset.dataset_dir:
        name = f"{key}.dataset_dir"
        text = f"{name} is not set; expected the folder that holds videos/ and the control's folder"
        yield Mistake(text, (name,))
    yield from _check_frames(dataset, key, model)
    yield from _check_size(dataset, key, model)
    yield from _check_views(dataset, key, model)
    yield from _check_rows(dataset, key, model)
    hint, ours = model.hint_key.hint_key, dataset.hint_key
    if ours not in (None, hint):
        keys = (f"{key}.hint_key", "model.hint_key.hint_key")
        text = f"{keys[0]} is '{ours}'; expected the '{hint}' of {keys[1]}, or nothing"
        yield Mistake(text, keys)


def _check_frames(
    dataset: Transfer1DatasetSettings, key: str, model: Transfer1ModelSettings
) -> Iterator[Mistake]:
    frames, factor = dataset.num_frames, model.tokenizer.temporal_compression_factor
    name, chunk = f"{key}.num_frames", model.tokenizer.pixel_chunk_duration
    if frames % chunk:
        keys = (name, "model.tokenizer.pixel_chunk_duration")
        text = f"{name} is {frames}; expected a multiple of {keys[1]}={chunk}"
        yield Mistake(text, keys)
        return
    if (chunk - 1) % factor:
        near = round((chunk - 1) / factor) * factor + 1
        odd = name if chunk == frames else "model.tokenizer.pixel_chunk_duration"
        text = f"{odd} is {chunk}; expected a multiple of {factor} and 1 more, like {near}"
        yield Mistake(text, (odd,))
        return
    latents = frames // chunk * ((chunk - 1) // factor + 1)
    if model.latent_shape[1] != latents:
        text = (
            f"{SHAPE}[1] is {model.latent_shape[1]}; expected the {latents} latent frames of "
            f"{name}={frames}"
        )
        yield Mistake(text, (SHAPE, name))
    elif latents > model.net.max_frames:
        most = "model.net.max_frames"
        yield Mistake(f"{name} is {frames}; {most} is {model.net.max_frames}", (name, most))


def _check_size(
    dataset: Transfer1DatasetSettings, key: str, model: Transfer1ModelSettings
) -> Iterator[Mistake]:
    factor = model.tokenizer.spatial_compression_factor
    step = factor * model.net.patch_spatial
    limits = (model.net.max_img_h * factor, model.net.max_img_w * factor)
    name = f"{key}.video_size" if dataset.video_size else f"{key}.resolution"
    wrong: list[Mistake] = []
    for place, (side, limit) in enumerate(zip(dataset.size, limits, strict=True)):
        wrong += check_side(side, limit, step, name, place)
    yield from wrong
    channels = model.tokenizer.latent_ch
    expected = (channels, model.latent_shape[1], *(side // factor for side in dataset.size))
    if not wrong and model.latent_shape != expected:
        text = (
            f"{SHAPE} is {shown(model.latent_shape)}; expected {shown(expected)}: {channels} "
            f"channels, and clips of {dataset.size[0]}x{dataset.size[1]} (height x width)"
        )
        yield Mistake(text, (SHAPE, name))


def _check_views(
    dataset: Transfer1DatasetSettings, key: str, model: Transfer1ModelSettings
) -> Iterator[Mistake]:
    name, number = f"{key}.view_keys", f"{key}.sample_n_views"
    repeated = sorted({view for view in dataset.views if dataset.views.count(view) > 1})
    if repeated:
        yield Mistake(f"{name} names {', '.join(repeated)} more than once", (name,))
    if dataset.view_keys == ():
        text = f"{name} is empty; expected folders like pinhole_front, or nothing for clips that"
        yield Mistake(f"{text} lie without one", (name,))
    if dataset.sample_n_views > max(1, len(dataset.views)):
        text = (
            f"{number} is {dataset.sample_n_views}; expected at most the {len(dataset.views)} "
            f"of {name}"
        )
        yield Mistake(text, (number, name))
    elif dataset.views_of_a_clip != model.n_views:
        text = (
            f"a clip of {key} has {dataset.views_of_a_clip} cameras (view_keys, sample_n_views); "
            f"expected the {model.n_views} of model.n_views"
        )
        yield Mistake(text, (name, number, "model.n_views"))


def _check_rows(
    dataset: Transfer1DatasetSettings, key: str, model: Transfer1ModelSettings
) -> Iterator[Mistake]:
    """Every camera has a row of the view embedding."""
    rows, name = dataset.caption_view_idx_map, f"{key}.caption_view_idx_map"
    if rows is None or not model.net.n_views_emb:
        return
    places = [str(place) for place in range(len(dataset.views))]
    if sorted(rows) != sorted(places):
        text = (
            f"{name} has rows for the places {', '.join(rows) or 'none'} of view_keys; expected "
            f"one for each of 0 to {len(places) - 1}"
        )
        yield Mistake(text, (name, f"{key}.view_keys"))
    most = model.net.n_views_emb - 1
    wrong = {place: row for place, row in rows.items() if not 0 <= row <= most}
    for place, row in wrong.items():
        text = f"{name}.{place} is {row}; expected 0 to {most}, the rows of model.net.n_views_emb"
        yield Mistake(text, (f"{name}.{place}", "model.net.n_views_emb"))
