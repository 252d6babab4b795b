"""The fixtures of this room's tests."""

from tests.inference.fixtures import image_file, tiny_run, video_file

__all__ = ["image_file", "tiny_run", "video_file"]
