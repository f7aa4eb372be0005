"""Video that is broken, cut off, or not there: one clear line, and what can be read is kept."""

import io
import os
import shutil
import struct

import av
import numpy as np
import pytest
from films import SIZE, film, gif, image, one_line
from PIL import Image

from goalsight.base.errors import UserError
from goalsight.pretrain.data.ingest import cached_ingest, find_sources, ingest
from goalsight.pretrain.data.pictures import UnreadableError
from goalsight.pretrain.data.readers.video import read_video


def broken(tmp_path, kind):
    path = tmp_path / "bad.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no film\n" * 50)
    elif kind == "without its end":  # mp4 keeps its index there
        path.write_bytes(film(tmp_path / "whole.mp4").read_bytes()[:600])
    elif kind == "of one frame":
        film(path, count=1)
    elif kind == "gif of one frame":
        image(path := tmp_path / "bad.gif", 5, mode="L")
    elif kind == "sound only":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux([*stream.encode(frame), *stream.encode()])
    elif kind == "image":
        image(path := tmp_path / "bad.png")
    (tmp_path / "whole.mp4").unlink(missing_ok=True)
    return path


BROKEN = ["empty", "text", "without its end", "of one frame", "gif of one frame", "sound only", "image"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_alone_is_refused_by_name(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(UserError) as caught:
        ingest([path], tmp_path / "store", SIZE)
    assert str(path) in one_line(caught)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_among_others_gets_a_line(tmp_path, capfd, kind):
    path = broken(tmp_path, kind)
    store = ingest([path, film(tmp_path / "good.mp4")], tmp_path / "store", SIZE)
    assert store.num_episodes == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("goalsight:")]
    assert len(lines) == 1
    assert str(path) in lines[0]


def test_nothing_but_broken_files_is_refused(tmp_path):
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path in paths:
        path.touch()
    with pytest.raises(UserError, match="none of the 2"):
        ingest(paths, tmp_path / "store", SIZE)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("suffix", [".mkv", ".gif"])
def test_what_decodes_of_a_cut_off_video_is_kept_and_said(tmp_path, capfd, suffix):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    if suffix == ".gif":
        pictures = [Image.fromarray(frame) for frame in noise]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for frame in noise:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    store = ingest([path], tmp_path / "store", SIZE)
    assert 10 < store.num_frames < 30
    said = capfd.readouterr().err.strip()
    assert f"{path} breaks off: only" in said
    assert "\n" not in said


def test_a_film_that_lacks_its_last_frames_breaks_off(tmp_path, capfd):
    path = film(tmp_path / "film.mkv", count=40)
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        rate, places = float(stream.average_rate), [packet.pos for packet in container.demux(stream) if packet.size]
    path.write_bytes(path.read_bytes()[: places[37]])
    assert ingest([path], tmp_path / "store", SIZE).num_frames == 37
    assert f"{path} breaks off: only 37 frames, {37 / rate:.1f} s of {40 / rate:.1f} s" in capfd.readouterr().err


def test_a_png_whose_checksums_do_not_fit_is_left_out(tmp_path, capfd):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png", compress_level=0)
    data = bytearray((tmp_path / "1.png").read_bytes())
    data[len(data) // 2] ^= 1  # in the pixels, which are not compressed: a decoder takes it
    (tmp_path / "1.png").write_bytes(data)
    assert ingest([tmp_path], tmp_path / "store", SIZE).num_frames == 2
    assert f"{tmp_path / '1.png'} left out" in capfd.readouterr().err


def test_a_broken_image_in_a_folder_is_left_out(tmp_path, capfd):
    for number in range(3):
        image(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_text("no image")
    assert ingest([tmp_path], tmp_path / "store", SIZE).num_frames == 2
    assert f"{tmp_path / '1.png'} left out" in capfd.readouterr().err


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.write_text("text"), lambda path: None, os.mkfifo]
)
def test_nothing_to_read_is_one_line_that_names_the_choices(tmp_path, make):
    make(tmp_path / "thing")
    with pytest.raises(UserError) as caught:
        find_sources([tmp_path / "thing"])
    assert str(tmp_path / "thing") in one_line(caught)
    with pytest.raises(UserError, match="no data"):
        find_sources([])


def test_a_full_disk_is_not_blamed_on_the_videos(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    films = [film(tmp_path / "a.mp4"), film(tmp_path / "b.mp4")]
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left") as caught:
        ingest(films, tmp_path / "out" / "store", SIZE)
    assert str(tmp_path / "out" / "store") in one_line(caught)
    assert list((tmp_path / "out").iterdir()) == []
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_gif_among_good_videos_gets_a_line(tmp_path, capfd, share):
    path = gif(tmp_path / "cut.gif", [100] * 40, (64, 64))
    for end in range(int(share * path.stat().st_size), int(share * path.stat().st_size) + 12):
        cut = tmp_path / f"cut-{end}.gif"
        cut.write_bytes(path.read_bytes()[:end])
    path.unlink()
    film(tmp_path / "good.mp4")
    assert ingest([tmp_path], tmp_path / "store", SIZE).num_episodes >= 1
    lines = capfd.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("goalsight:") and "cut-" in line]) == 12


def test_what_a_decoder_raises_is_damage_whatever_its_kind(tmp_path, monkeypatch):
    def broken(image):
        raise IndexError("pop from an empty table")

    path = gif(tmp_path / "bad.gif", [100] * 3)
    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.load", broken)
    with pytest.raises(UnreadableError) as caught:
        list(read_video(path, SIZE, 0))
    assert one_line(caught) == f"{path} cannot be read as video: IndexError: pop from an empty table"


def test_a_link_to_nothing_is_left_out_with_a_line(tmp_path, capfd):
    film(tmp_path / "good.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert cached_ingest([tmp_path], tmp_path / "cache", SIZE).num_episodes == 1
    said = capfd.readouterr().err
    assert f"{tmp_path / 'dangling.mp4'} left out: a link to nothing" in said
    assert f"{tmp_path / 'pipe.mp4'} left out: no plain file" in said


def test_what_was_left_out_is_said_each_time_that_it_is_opened(tmp_path, capfd):
    films = tmp_path / "films"
    films.mkdir()
    film(films / "good.mp4")
    (films / "empty.mp4").write_bytes(b"")
    whole = (films / "good.mp4").read_bytes()
    (films / "half.mp4").write_bytes(whole[: len(whole) // 2])
    said = []
    for _ in range(2):
        cached_ingest([films], tmp_path / "cache", SIZE)
        said.append([line for line in capfd.readouterr().err.splitlines() if line.startswith("goalsight: ")])
    assert said[0] == said[1]
    assert any("left out" in line and "empty.mp4" in line for line in said[0])
    assert any("half.mp4" in line for line in said[0])


def test_a_folder_that_links_to_itself_is_read_once(tmp_path, capfd):
    (tmp_path / "films" / "more").mkdir(parents=True)
    film(tmp_path / "films" / "good.mp4")
    (tmp_path / "films" / "more" / "up").symlink_to(tmp_path / "films")
    assert cached_ingest([tmp_path / "films"], tmp_path / "cache", SIZE).num_episodes == 1
    assert "up left out: a link to a folder that it lies in" in capfd.readouterr().err


# The last one is more than PIL bears without a word of its own.
@pytest.mark.parametrize("side", [9000, 10_000, 14_000])
@pytest.mark.parametrize("name", ["large.png", "large.gif"])
def test_a_picture_that_would_take_the_memory_is_refused_before_it_is_decoded(tmp_path, capfd, name, side):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("1", (side, side)).save(folder / name)
    film(tmp_path / "good.mp4")
    assert ingest([folder, tmp_path / "good.mp4"], tmp_path / "store", SIZE).num_episodes == 1
    said = capfd.readouterr().err
    assert any(str(folder / name) in line and "is too large" in line for line in said.splitlines())
    assert "Warning" not in said


@pytest.mark.parametrize("side", [9000, 10_000, 14_000])
def test_a_gif_that_grows_is_refused_before_it_is_decoded(tmp_path, capfd, side):
    def head_and_picture(side):
        whole = io.BytesIO()
        Image.new("P", (side, side)).save(whole, "GIF")
        begins = whole.getvalue().index(b"," + struct.pack("<4H", 0, 0, side, side))
        return whole.getvalue()[:begins], whole.getvalue()[begins:-1]

    (head, small), (_, large) = head_and_picture(10), head_and_picture(side)
    (tmp_path / "grows.gif").write_bytes(head + small + large + small + b";")
    film(tmp_path / "good.mp4")
    assert ingest([tmp_path / "grows.gif", tmp_path / "good.mp4"], tmp_path / "store", SIZE).num_episodes == 1
    said = capfd.readouterr().err
    assert f"{tmp_path / 'grows.gif'}: a picture " in said
    assert "is too large" in said
    assert "Warning" not in said
