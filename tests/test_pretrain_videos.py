"""Reading video of any origin: what comes out by hand, and what is decoded only once."""

import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import CODECS, SIZE, brightness, film, gif, image, play
from PIL import Image

from goalsight.base.errors import UserError
from goalsight.pretrain.data.format import Column
from goalsight.pretrain.data.ingest import cached_ingest, find_sources, ingest
from goalsight.pretrain.data.pictures import natural_order, square, squared
from goalsight.pretrain.data.readers import READERS
from goalsight.pretrain.data.readers.base import Reading, Recorded
from goalsight.pretrain.data.readers.video import VideoReader, read_video, thinned
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter


@pytest.mark.parametrize("suffix", CODECS)
def test_containers_are_decoded(tmp_path, suffix):
    store = ingest([film(tmp_path / f"film{suffix}")], tmp_path / "store", SIZE)
    assert (store.num_episodes, store.image_size) == (1, SIZE)
    np.testing.assert_allclose(store.episode(0).mean((1, 2, 3)), brightness(12), atol=6)
    assert store.sources == (str(tmp_path / f"film{suffix}"),)


def test_gif_frames_and_transparency(tmp_path):
    half, other = Image.new("RGBA", (20, 20), (255, 0, 0, 255)), Image.new("RGBA", (20, 20), (0, 0, 255, 255))
    half.paste((0, 0, 0, 0), (0, 0, 10, 20))
    other.paste((0, 0, 0, 0), (10, 0, 20, 20))
    half.save(tmp_path / "film.gif", save_all=True, append_images=[other], duration=100, disposal=2)
    store = ingest([tmp_path / "film.gif"], tmp_path / "store", SIZE)
    assert store.episode(0)[0, 3, [3, 12]].tolist() == [[255, 255, 255], [255, 0, 0]]
    assert store.episode(0)[1, 3, [3, 12]].tolist() == [[0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize(
    ("native", "wanted", "step"), [(30, 10, 3), (25, 10, 2), (10, 10, 1), (5, 10, 1), (60, 10, 6), (24, 10, 2)]
)
def test_rates_are_brought_near_the_one_asked_for(native, wanted, step):
    times = [round(k / native, 3) for k in range(30)]  # as containers round them
    assert [k for _, k in thinned(zip(times, range(30), strict=True), wanted)] == list(range(0, 30, step))


def test_each_frame_is_thinned_by_its_own_time():
    # 60 frames a second for a second, then one picture every 0.33 s.
    times = [k / 60 for k in range(60)] + [1 + 0.33 * k for k in range(1, 11)]
    kept = [time for time, _ in thinned(((time, None) for time in times), 10)]
    np.testing.assert_allclose(kept, [k / 10 for k in range(10)] + [1 + 0.33 * k for k in range(1, 11)])


def test_fast_video_is_thinned(tmp_path):
    path = film(tmp_path / "film.mp4", count=12, fps=30)
    assert ingest([path], tmp_path / "thin", SIZE).num_frames == 4
    assert ingest([path], tmp_path / "all", SIZE, fps=0).num_frames == 12
    thin, every = FrameStore.open(tmp_path / "thin"), FrameStore.open(tmp_path / "all")
    np.testing.assert_array_equal(thin.episode(0), every.episode(0)[::3])


def test_the_square_is_cut_from_the_middle_and_averaged():
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = [[[100], [200], [0], [40]]]  # the middle four columns
    pixels[:, :2] = 255
    result = square(Image.fromarray(pixels), 2)
    assert result[..., 0].tolist() == [[150, 20], [150, 20]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 77, [77, 77, 77]),
        ("RGBA", (0, 0, 0, 0), [255, 255, 255]),
        ("I;16", 0x8000, [128, 128, 128]),
        ("1", 1, [255, 255, 255]),
    ],
)
def test_images_of_every_mode_become_colour(mode, colour, expected):
    assert square(Image.new(mode, (8, 8), colour), 4)[1, 1].tolist() == expected


def test_a_folder_of_images_is_one_episode_in_natural_order(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (10, 2, 1):
        image(folder / f"frame-{number}.png", (number, 0, 0))
    (folder / "notes.txt").write_text("not an image")
    store = ingest([folder], tmp_path / "store", SIZE)
    assert store.episode(0)[:, 0, 0, 0].tolist() == [1, 2, 10]
    assert sorted((folder / "a10", folder / "A9", folder / "b"), key=natural_order)[0].name == "A9"


def test_a_folder_of_folders_and_videos_is_walked(tmp_path):
    for name in ("b", "a"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            image(tmp_path / "data" / name / f"{number}.jpg")
    film(tmp_path / "data" / "c.mp4")
    found = find_sources([tmp_path / "data"])
    assert [source.path.name for source in found] == ["a", "b", "c.mp4"]


def test_recorded_play_of_the_right_size_is_used_where_it_lies(tmp_path):
    recorded = play(tmp_path / "run" / "frames")
    store = cached_ingest([tmp_path / "run"], tmp_path / "cache", SIZE)
    assert store.path == recorded.path
    assert not (tmp_path / "cache").exists()


def test_recorded_play_of_another_size_and_among_others_is_copied(tmp_path):
    recorded = play(tmp_path / "one", size=32)
    store = ingest([tmp_path / "one", film(tmp_path / "film.mp4")], tmp_path / "store", SIZE)
    assert store.episode_lengths.tolist() == [3, 3, 12]
    halved = recorded.episode(0).reshape(3, 16, 2, 16, 2, 3).mean((2, 4))
    np.testing.assert_allclose(store.episode(0), halved, atol=1)


def test_decoding_is_remembered_until_a_file_changes(tmp_path):
    path = film(tmp_path / "film.mp4")
    first = cached_ingest([path], tmp_path / "cache", SIZE)
    assert cached_ingest([path], tmp_path / "cache", SIZE).path == first.path
    assert cached_ingest([path], tmp_path / "cache", 32).path != first.path
    film(path, count=20)
    assert cached_ingest([path], tmp_path / "cache", SIZE).num_frames == 20


def timed(path, times, codec="libvpx", rate=60):
    """A grey film whose frames are shown at these times [s], whatever its header says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for value, time in zip(brightness(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "libvpx"), (".mkv", "mpeg4"), (".mp4", "libx264")])
def test_every_picture_of_a_screen_recording_is_due(tmp_path, capfd, suffix, codec):
    path = timed(tmp_path / f"screen{suffix}", [0.33 * k for k in range(20)], codec)
    store = ingest([path], tmp_path / "store", SIZE)
    np.testing.assert_allclose(store.episode(0).mean((1, 2, 3)), brightness(20), atol=6)
    assert "breaks off" not in capfd.readouterr().err


def test_a_rate_that_changes_is_thinned_where_it_is_high(tmp_path):
    times = [k / 60 for k in range(60)] + [1 + 0.33 * k for k in range(10)]
    store = ingest([timed(tmp_path / "screen.webm", times)], tmp_path / "store", SIZE)
    assert store.num_frames == 10 + 10


STEADY = [k / 30 for k in range(60)]


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (STEADY[:20] + STEADY[40:], "shows nothing new for 0.7 s after frame 20, or is damaged there"),
        (STEADY[:20] + STEADY[22:], None),  # a camera drops a frame or two
        ([0.33 * k for k in range(20)], None),
        ([0.1, 0.15, 0.3, 0.35, 0.6, 1.4, 1.5, 1.7, 2.9, 3.0], None),  # a screen is recorded when it changes
    ],
)
def test_a_hole_in_a_steady_film_is_said(tmp_path, capfd, times, line):
    path = timed(tmp_path / "film.webm", times)
    assert len(list(read_video(path, SIZE, 0))) == len(times)
    assert capfd.readouterr().err == (f"goalsight: {path} {line}\n" if line else "")


def test_the_rate_of_a_film_whose_header_says_none_is_counted(tmp_path):
    slow = timed(tmp_path / "slow.webm", [0.33 * k for k in range(20)])
    assert VideoReader().rate(slow, Reading(SIZE, 0)) == pytest.approx(1 / 0.33, rel=0.01)


def test_sound_that_is_longer_than_the_picture_breaks_nothing_off(tmp_path, capfd):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("mpeg4", rate=10), container.add_stream("aac", rate=8000)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        for value in brightness(10):
            pixels = np.full((32, 32, 3), value, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode())
        for k in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, 1024 * k
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    assert ingest([path], tmp_path / "store", SIZE).num_frames == 10
    assert "breaks off" not in capfd.readouterr().err


def test_each_picture_of_a_gif_lasts_as_long_as_it_says(tmp_path):
    # As browsers do, 10 ms count as 100; then thirty pictures of 50 ms, of which every other one is due.
    path = gif(tmp_path / "film.gif", [10] + [100] * 9 + [50] * 30)
    assert ingest([path], tmp_path / "store", SIZE).num_frames == 10 + 15


@pytest.mark.parametrize(
    ("turned", "hflip", "vflip"),
    [(0, True, False), (0, False, True), (90, False, False), (180, False, False), (90, True, False), (90, False, True)],
)
def test_a_film_is_shown_as_its_display_matrix_says(tmp_path, turned, hflip, vflip):
    corners = np.zeros((32, 32, 3), np.uint8)
    corners[:16, :16], corners[:16, 16:], corners[16:, :16] = 220, 150, 80
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.set_display_rotation(turned, hflip=hflip, vflip=vflip)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corners, format="rgb24")))
        container.mux(stream.encode())
    expected = np.rot90(corners, turned // 90)  # as av's documentation has it: turned counterclockwise, then mirrored
    expected = expected[:: -1 if vflip else 1, :: -1 if hflip else 1]
    frame = ingest([path], tmp_path / "store", 32).episode(0)[0]
    np.testing.assert_allclose(frame[8::16, 8::16].astype(int), expected[8::16, 8::16].astype(int), atol=8)


RACE = """
import sys
from pathlib import Path
from goalsight.pretrain.data.ingest import cached_ingest
store = cached_ingest([Path(sys.argv[1])], Path(sys.argv[2]), 16)
print(store.path, store.num_frames)
"""


def test_whoever_comes_second_opens_what_the_first_has_decoded(tmp_path):
    path, cache = film(tmp_path / "film.mp4", count=200), tmp_path / "cache"
    both = [
        subprocess.Popen([sys.executable, "-c", RACE, str(path), str(cache)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert said[0].endswith(" 200\n")
    assert [entry.name for entry in cache.iterdir()] == [Path(said[0].split()[0]).name]


def test_one_waits_for_the_other_and_killed_decoders_leave_nothing(tmp_path, monkeypatch):
    path, cache = film(tmp_path / "film.mp4"), tmp_path / "cache"
    store = cached_ingest([path], cache, SIZE)
    place = store.path
    shutil.rmtree(place)
    for name in (place.name, "another"):  # what two that were killed have left
        (cache / f".{name}.partial").mkdir()
        (cache / f".{name}.partial" / "pixels.raw").write_bytes(b"half")
        (cache / f".{name}.lock").touch()
    with FrameStoreWriter(cache / "busy", image_size=SIZE):  # this one is alive
        again = cached_ingest([path], cache, SIZE)
        assert again.content_hash == store.content_hash
        assert sorted(entry.name for entry in cache.iterdir()) == [".busy.lock", ".busy.partial", place.name]
        with pytest.raises(UserError, match="is being written by another process"):
            FrameStoreWriter(cache / "busy", image_size=SIZE)
        raise_nothing_to_store(monkeypatch)


def raise_nothing_to_store(monkeypatch):
    monkeypatch.setattr(FrameStoreWriter, "close", FrameStoreWriter.abort)


def test_decoding_that_was_stopped_goes_on_where_it_was_saved(tmp_path, monkeypatch):
    from goalsight.pretrain.data import ingest as module

    films = [film(tmp_path / f"{number}.mp4", count=5 + number) for number in range(4)]
    whole, cache = ingest(films, tmp_path / "whole", SIZE), tmp_path / "cache"
    decoded, real = [], module._each

    def stop():
        raise KeyboardInterrupt
        yield

    def stopped_at(number):
        def each(sources, how, ahead):
            for source, episodes in zip(sources, real(sources, how, ahead), strict=True):
                if source.path.name == f"{number}.mp4":
                    yield stop()
                decoded.append(source.path.name)
                yield episodes

        return each

    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(module, "_each", stopped_at(2))
    with pytest.raises(KeyboardInterrupt):
        cached_ingest(films, cache, SIZE)
    (left,) = cache.iterdir()
    monkeypatch.setattr(module, "_each", stopped_at(None))
    store = cached_ingest(films, cache, SIZE)
    assert decoded == [f"{number}.mp4" for number in range(4)], "nothing twice"
    assert store.content_hash == whole.content_hash
    assert store.notes == whole.notes == {}
    assert list(cache.iterdir()) == [store.path]

    shutil.copytree(store.path, left)  # saved, and damaged since
    shutil.rmtree(store.path)
    (left / "index.json").write_text("{}")
    assert cached_ingest(films, cache, SIZE).content_hash == whole.content_hash

    other = cache / ".other.partial"
    shutil.copytree(store.path, other)
    cached_ingest(films[:1], cache, SIZE)
    assert other.exists(), "it may be gone on with"
    os.utime(other, (0, 0))
    cached_ingest(films[:2], cache, SIZE)
    assert not other.exists(), "nobody came back"


def test_another_decoder_decodes_anew(tmp_path, monkeypatch):
    path = film(tmp_path / "film.mp4")
    first = cached_ingest([path], tmp_path / "cache", SIZE)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    assert cached_ingest([path], tmp_path / "cache", SIZE).path != first.path


def test_columns_are_kept_where_all_the_data_has_them(tmp_path):
    for name, extra in (("one", {"reward": np.ones((3, 1), np.float32)}), ("two", {})):
        with FrameStoreWriter(tmp_path / name, image_size=32) as writer:
            columns = {"action": np.full((3, 2), len(name), np.float32), **extra}
            writer.add_episode(np.zeros((3, 32, 32, 3), np.uint8), columns=columns, instruction=f"Do {name}.")
    store = ingest([tmp_path / "one", tmp_path / "two"], tmp_path / "store", SIZE)
    assert set(store.columns) == {"action"}
    assert store.columns["action"].ravel().tolist() == [3.0] * 12
    assert store.instructions == ("Do one.", "Do two.")


class NpyReader:
    """A kind of data that the project does not know: frames in an .npy file, each with its number as an action."""

    KIND = "an .npy file of frames"
    OWNS_FOLDERS = False

    def detect(self, path):
        return path.suffix == ".npy"

    def files(self, path):
        return (path,)

    def rate(self, path, how):
        return 0.0

    def size(self, path):
        return np.load(path).shape[1:3]

    def columns(self, path):
        return {"action": Column("float32", (1,))}

    def episodes(self, path, how):
        frames = np.load(path)
        action = np.arange(len(frames), dtype=np.float32)[:, None]
        yield Recorded((squared(frame, how.image_size) for frame in frames), str(path), "Count.", {"action": action})


def test_a_reader_of_ones_own_is_one_class_and_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(READERS, "_parts", {**READERS, "npy": f"{__name__}:NpyReader"})
    np.save(tmp_path / "clip.npy", np.full((4, 20, 30, 3), 7, np.uint8))
    store = cached_ingest([tmp_path], tmp_path / "cache", SIZE)
    assert (store.num_frames, store.instructions) == (4, ("Count.",))
    assert store.columns["action"].ravel().tolist() == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"or an \.npy file of frames"):
        find_sources([])
