import numpy as np
import pytest

from goalsight.base.errors import UserError
from goalsight.base.video import VideoWriter, decode, describe_video, mosaic


def gradient(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.linspace(0, 255, width)
    frame[..., 1] = np.linspace(0, 255, height)[:, None]
    frame[..., 2] = 10 * number
    return frame


def test_what_is_written_can_be_decoded(tmp_path):
    with VideoWriter(tmp_path / "new" / "film.mp4", fps=10) as video:
        for number in range(12):
            video.add(gradient(number))
    facts = describe_video(tmp_path / "new" / "film.mp4")
    assert (facts.frames, facts.width, facts.height, facts.fps) == (12, 64, 48, 10)
    assert (facts.codec, facts.pixel_format) == ("h264", "yuv420p")
    frames = list(decode(tmp_path / "new" / "film.mp4"))
    assert np.abs(frames[7].astype(int) - gradient(7)).mean() < 6
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["film.mp4"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_text("old")

    def fail() -> None:
        with VideoWriter(path, fps=10) as video:
            video.add(gradient(0))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_black_video_is_refused(tmp_path):
    with pytest.raises(UserError, match="flat colour"), VideoWriter(tmp_path / "film.mp4", fps=10) as video:
        video.add(np.zeros((48, 64, 3), np.uint8))
    assert not any(tmp_path.iterdir())


def test_no_frames_are_refused(tmp_path):
    with pytest.raises(UserError, match="no frames"), VideoWriter(tmp_path / "film.mp4", fps=10):
        pass
    assert not any(tmp_path.iterdir())


def test_odd_sides_are_refused(tmp_path):
    with pytest.raises(ValueError, match="even"), VideoWriter(tmp_path / "film.mp4", fps=10) as video:
        video.add(gradient(0, 47))


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write video"):
        VideoWriter(tmp_path / "file" / "film.mp4", fps=10)


def test_mosaic_places_tiles_row_by_row():
    tiles = np.arange(1, 4, dtype=np.uint8)[:, None, None, None] * np.ones((3, 1, 1, 3), np.uint8)
    picture = mosaic(tiles, columns=2, scale=2)
    one, two, three, dark = [1, 1], [2, 2], [3, 3], [16, 16]
    line = [16] * 8
    above, below = [16, *one, 16, 16, *two, 16], [16, *three, 16, 16, *dark, 16]
    assert picture[..., 0].tolist() == [line, above, above, line, line, below, below, line]
    assert mosaic(tiles, columns=3, scale=1).shape == (4, 10, 3), "odd sides are made even"
