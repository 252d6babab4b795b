"""Dropping the text of some samples."""

import pytest
import torch

from worldtune.errors import RecipeError
from worldtune.objectives.dropout import draw_dropped, drop_text


def test_a_dropped_sample_loses_all_its_text_and_the_others_keep_theirs_unscaled():
    text = torch.randn(3, 4, 2)

    kept = drop_text(text, torch.tensor([False, True, False]))

    assert torch.equal(kept[[0, 2]], text[[0, 2]])
    assert kept[1].abs().max() == 0


def test_the_share_of_dropped_samples_is_the_rate():
    dropped = draw_dropped(0, "text_dropout", range(3000), 0.2)

    assert dropped.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert not draw_dropped(0, "text_dropout", range(100), 0.0).any()
    assert draw_dropped(0, "text_dropout", range(100), 1.0).all()


def test_a_rate_that_is_no_probability_is_refused():
    with pytest.raises(RecipeError, match=r"rate of 1\.5"):
        draw_dropped(0, "text_dropout", [0], 1.5)
