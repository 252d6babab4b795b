"""Fixed noise for validation."""

import pytest
import torch

from worldtune.objectives.bands import BANDS, band_sigma, fixed_noise
from worldtune.objectives.noise_levels import NoiseLevels, video_factor

LEVELS = NoiseLevels(factor=video_factor(24), high_ratio=0.05)


def test_each_band_holds_a_quarter_of_the_training_levels():
    drawn = NoiseLevels(factor=video_factor(24)).draw(0, range(4000))
    middles = [band_sigma(band, LEVELS) for band in BANDS]

    below = [(drawn < middle).float().mean().item() for middle in middles]
    assert below == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8], abs=0.03)


def test_a_clip_meets_the_same_noise_in_every_validation_and_batch():
    together = fixed_noise("low", LEVELS, 0, [3, 8], (2, 3))
    alone = [fixed_noise("low", LEVELS, 0, [place], (2, 3)) for place in (3, 8)]

    assert torch.equal(together.noise, torch.cat([part.noise for part in alone]))
    assert torch.equal(together.sigma, torch.cat([part.sigma for part in alone]))


def test_bands_and_clips_have_noise_of_their_own():
    drawn = [fixed_noise(band, LEVELS, 0, range(5), (3,)).noise for band in BANDS]

    assert len(torch.cat(drawn).unique(dim=0)) == 5 * len(BANDS)
