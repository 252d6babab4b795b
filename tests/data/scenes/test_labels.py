"""Labels hold what a program may want to know of a clip."""

import json
from typing import Any

import numpy as np
import pytest

from worldtune.data.scenes.its import its_scene
from worldtune.data.scenes.labels import label


@pytest.fixture(scope="module")
def accident() -> dict[str, Any]:
    return json.loads(json.dumps(label(its_scene("accident", 1, seed=2))))


@pytest.fixture(scope="module")
def normal() -> dict[str, Any]:
    return json.loads(json.dumps(label(its_scene("normal", 1, seed=2))))


def test_a_label_tells_class_weather_hour_recording_and_seed(accident, normal):
    assert (accident["class"], normal["class"]) == ("accident", "normal")
    for told in (accident, normal):
        assert told["weather"] in ("clear", "overcast", "rain", "fog")
        assert told["hour"] in ("morning", "noon", "afternoon", "dusk")
        assert told["recording"]
        assert told["seed"] == 2
        assert (told["frames"], told["fps"], told["size"]) == (93, 16, [128, 224])


def test_the_contact_has_a_frame_a_pixel_and_a_place_that_agree(accident):
    contact, camera = accident["contact"], accident["camera"]
    x, y = contact["pixel"]
    seen = np.array(camera["rotation"]) @ (
        np.array([*contact["place"], 0.6]) - np.array(camera["position"])
    )
    pixel = np.array(camera["intrinsics"]) @ seen

    assert 0 < x < 224
    assert 0 < y < 128
    assert contact["frame"] == pytest.approx(contact["time_s"] * 16, abs=1)
    assert pixel[:2] / pixel[2] == pytest.approx([x, y], abs=0.1)


def test_the_contact_tells_who_hits_whom_why_and_how_hard(accident):
    contact = accident["contact"]
    bodies = {body["body"]: body for body in accident["bodies"]}

    assert contact["cause"] in ("red_light", "rear_end", "turning", "lane_change")
    assert contact["at_fault"] in contact["bodies"]
    assert len(contact["speed_change_mps"]) == 2
    for body in contact["bodies"]:
        assert bodies[body]["colour"]
        assert bodies[body]["boxes"][contact["frame"]] is not None


def test_normal_traffic_has_no_contact(normal):
    assert normal["contact"] is None


def test_every_body_has_a_box_and_a_place_for_each_frame_that_shows_it(accident):
    for body in accident["bodies"]:
        assert len(body["boxes"]) == len(body["track"]) == 93
        for box, place in zip(body["boxes"], body["track"], strict=True):
            if box is not None:
                left, top, right, bottom = box
                assert left < right
                assert top < bottom
                assert place is not None


def test_the_largest_acceleration_tells_an_accident(accident, normal):
    assert accident["largest_acceleration_mps2"] >= 18
    assert normal["largest_acceleration_mps2"] <= 15
