"""Captions say in plain words where, when and what, and who hits whom."""

import pytest

from worldtune.data.scenes.captions import caption, vehicle_words
from worldtune.data.scenes.its import ItsScene, its_scene

NUMBERS = range(12)


@pytest.fixture(scope="module")
def scenes() -> list[ItsScene]:
    return [its_scene(kind, number) for kind in ("normal", "accident") for number in NUMBERS]


def test_a_caption_names_camera_place_hour_and_weather(scenes):
    weather = {"clear": "clear weather", "overcast": "overcast", "rain": "rain", "fog": "fog"}
    for scene in scenes:
        told = caption(scene)
        assert told.startswith("A fixed traffic camera looks down on")
        assert scene.shot.recording.layout.words in told
        assert weather[scene.shot.light.weather] in told
        assert scene.shot.light.hour in told


def test_a_caption_names_the_pair_by_colour_and_kind(scenes):
    for scene in scenes:
        for body in scene.event.bodies:
            assert vehicle_words(scene, body) in caption(scene)


def test_an_accident_is_told_with_its_cause_and_who_hits_whom(scenes):
    causes = {
        "red_light": "red light",
        "rear_end": "brake",
        "turning": "turns",
        "lane_change": "changes lanes",
    }
    for scene in scenes:
        contact = scene.shot.recording.contact
        if contact is not None:
            told = caption(scene)
            assert causes[contact.cause] in told
            assert any(
                word in told
                for word in ("crashes into", "runs into", "head-on", "sideswipes", "hits", "is hit")
            )


def test_normal_traffic_is_told_without_an_accident(scenes):
    for scene in scenes:
        if scene.kind == "normal":
            told = caption(scene)
            assert "without incident" in told
            assert not any(word in told for word in ("crash", "collide", "hits"))


def test_a_caption_reads_as_sentences(scenes):
    for scene in scenes:
        told = caption(scene)
        assert told.endswith(".")
        assert "  " not in told
        assert not any(f" a {vowel}" in told for vowel in "aeio")
