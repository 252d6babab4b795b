"""What is known of a clip, for programs: one JSON object."""

from typing import Any

import numpy as np

from worldtune.data.scenes.captions import caption
from worldtune.data.scenes.its import ItsScene
from worldtune.data.scenes.paint_movers import boxes, size_of
from worldtune.data.scenes.playback import Motion, motion_at

FORMAT = "worldtune traffic label 1"


def label(scene: ItsScene) -> dict[str, Any]:
    """Return all that is known of a clip; lengths in metres, times in seconds, frames from 0."""
    shot, recording = scene.shot, scene.shot.recording
    bodies = [_body(scene, number) for number in range(len(recording.bodies))]
    shown = [body for body in bodies if body is not None]
    return {
        "format": FORMAT,
        "name": scene.name,
        "class": scene.kind,
        "caption": caption(scene),
        "frames": shot.frames,
        "fps": shot.fps,
        "size": list(shot.camera.size),
        "seed": scene.seed,
        "number": scene.number,
        "recording": recording.name,
        "layout": recording.layout.name,
        "start_s": round(shot.start_s, 4),
        "weather": shot.light.weather,
        "hour": shot.light.hour,
        "district": shot.district,
        "camera": _camera(scene),
        "contact": _contact(scene),
        "largest_acceleration_mps2": max(
            (b["largest_acceleration_mps2"] for b in shown), default=0
        ),
        "bodies": shown,
    }


def _camera(scene: ItsScene) -> dict[str, Any]:
    camera = scene.shot.camera
    return {
        "position": [round(v, 3) for v in camera.position],
        "rotation": np.round(camera.rotation, 6).tolist(),  # rows: right, down, ahead
        "intrinsics": np.round(camera.intrinsics, 3).tolist(),
        "yaw": round(camera.yaw, 5),
        "pitch": round(camera.pitch, 5),
        "field_of_view": round(camera.field_of_view, 5),
    }


def _contact(scene: ItsScene) -> dict[str, Any] | None:
    contact = scene.shot.recording.contact
    if contact is None:
        return None
    pixels, _ = scene.shot.camera.project(np.array([*contact.place, 0.6]))
    return {
        "frame": scene.event_frame,
        "time_s": round(contact.time_s - scene.shot.start_s, 4),
        "place": [round(v, 3) for v in contact.place],
        "pixel": [round(float(v), 2) for v in pixels],
        "bodies": list(contact.bodies),
        "at_fault": contact.at_fault,
        "cause": contact.cause,
        "speed_change_mps": [round(v, 3) for v in contact.speed_change_mps],
    }


def _body(scene: ItsScene, number: int) -> dict[str, Any] | None:
    """Describe one body, or None where no frame shows it."""
    shot = scene.shot
    body = shot.recording.bodies[number]
    motion = motion_at(shot.recording, number, shot.times_s)
    places = np.stack([motion.x, motion.y, motion.heading], axis=1)
    around = boxes(size_of(body), places, shot.camera)
    height, width = shot.camera.size
    with np.errstate(invalid="ignore"):
        seen = motion.present & (around[:, 2] > 0) & (around[:, 3] > 0)
        seen &= (around[:, 0] < width) & (around[:, 1] < height)
    if not seen.any():
        return None
    return {
        "body": number,
        "kind": body.kind,
        "colour": None if body.kind == "pedestrian" else shot.colours[number],
        "size": [round(v, 2) for v in (body.length, body.width, body.height)],
        "largest_acceleration_mps2": round(largest_acceleration(motion, shot.fps), 2),
        "boxes": _rows(np.round(around, 1), seen),  # left, top, right, bottom in pixels
        "track": _rows(np.round(places, 3), motion.present),  # x, y, heading
    }


def _rows(values: np.ndarray, told: np.ndarray) -> list[list[float] | None]:
    """Return rows of numbers, None where nothing is to be told."""
    return [row if shown else None for row, shown in zip(values.tolist(), told, strict=True)]


def largest_acceleration(motion: Motion, fps: float) -> float:
    """Return the largest change of velocity from frame to frame, metres a second squared."""
    change = np.linalg.norm(np.diff(motion.velocity, axis=0), axis=1) * fps
    there = motion.present[1:] & motion.present[:-1]
    return float(change[there].max(initial=0.0))
