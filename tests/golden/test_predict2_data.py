"""Pixels against those of the original's loader: equal, not close."""

import torch

from worldtune.data.batch import to_model_range
from worldtune.data.resize import resize_clip, resize_frame


def test_a_training_clip_is_stretched_to_the_originals_pixels(predict2):
    golden = predict2.tensors("data")
    frames = golden["train_video_TCHW_uint8"].permute(0, 2, 3, 1)
    expected = golden["train_output_CTHW_uint8"]
    _, count, height, width = expected.shape

    clip = resize_clip(iter(frames), count, (height, width), "stretch")

    assert torch.equal(clip, expected)


def test_pixels_become_the_originals_model_input(predict2):
    golden = predict2.tensors("data")

    ours = to_model_range(golden["train_output_CTHW_uint8"])

    assert torch.equal(ours, golden["train_pixels_to_model_input"])


def test_a_conditioning_image_is_cropped_to_the_originals_pixels(predict2):
    golden = predict2.tensors("data")
    expected = golden["infer_output_BCTHW_uint8"]

    frame = resize_frame(golden["infer_image_HWC_uint8"], tuple(expected.shape[-2:]), "crop")

    assert torch.equal(frame, expected[0, :, 0])
    assert not expected[0, :, 1:].any()
