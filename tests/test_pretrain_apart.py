"""Decoding in a process of its own: the same frames, and files that hang or crash it."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from films import film, filmed

from goalsight.pretrain.data.ahead import Ahead
from goalsight.pretrain.data.apart import Apart, recorded
from goalsight.pretrain.data.ingest import ingest
from goalsight.pretrain.data.pictures import UnreadableError
from goalsight.pretrain.data.readers.base import Reading
from goalsight.pretrain.data.readers.video import VideoReader

HOW = Reading(16, 0.0)


def decoded(episodes):
    return [(episode.source, np.array(list(episode.pixels))) for episode in episodes]


def test_frames_are_those_that_the_reader_gives(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (150, 32, 48, 3), dtype=np.uint8)
    cut = np.concatenate([np.full((9, 32, 48, 3), 20, np.uint8), np.full((9, 32, 48, 3), 230, np.uint8)])
    paths = [filmed(tmp_path / "long.mp4", noise), filmed(tmp_path / "cut.mkv", cut)]
    with Apart() as apart:
        for path in paths:
            here, there = (
                decoded(VideoReader().episodes(path, HOW)),
                decoded(recorded(apart.parts(VideoReader(), path, HOW))),
            )
            assert [source for source, _ in here] == [source for source, _ in there]
            assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(here, there, strict=True))
        assert len(here) == 2, "two scenes"
        process = apart._process
    assert process.poll() is not None, "it ends with the block"


def test_frames_that_nobody_wants_do_not_stand_in_the_way(tmp_path):
    path = film(tmp_path / "film.mp4")
    with Apart() as apart:
        for episode in recorded(apart.parts(VideoReader(), path, HOW)):
            next(iter(episode.pixels))
        assert len(decoded(recorded(apart.parts(VideoReader(), path, HOW)))[0][1]) == 12


def test_what_the_decoder_says_is_said_here(tmp_path, capsys):
    whole = film(tmp_path / "whole.mkv", count=60).read_bytes()
    path = tmp_path / "broken.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    with Apart() as apart:
        assert decoded(recorded(apart.parts(VideoReader(), path, HOW)))
    line = capsys.readouterr().err
    assert line.startswith(f"goalsight: {path}")
    assert line.count("\n") == 1


def test_what_cannot_be_read_is_said_as_the_reader_says_it(tmp_path):
    path = tmp_path / "nothing.mp4"
    path.write_bytes(b"")
    with Apart() as apart:
        for _ in range(2):  # the process goes on
            with pytest.raises(UnreadableError, match=r"nothing.mp4 is empty"):
                decoded(recorded(apart.parts(VideoReader(), path, HOW)))


def impostor(words):
    return (sys.executable, "-c", words)


def test_a_file_at_which_the_decoder_hangs_is_given_up():
    with Apart(limit=0.3, command=impostor("import time; time.sleep(60)")) as apart:
        with pytest.raises(UnreadableError, match=r"slow.mp4 gave no frame within 0.3 s"):
            decoded(recorded(apart.parts(VideoReader(), Path("slow.mp4"), HOW)))
        assert apart._process is None, "the next file gets another process"


def test_a_file_at_which_the_decoder_crashes_is_given_up():
    crash = f"import os; input(); os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    with Apart(command=impostor(crash)) as apart:
        for _ in range(2):
            with pytest.raises(UnreadableError, match=r"bad.mp4 crashed the decoder \(SIGSEGV\)"):
                decoded(recorded(apart.parts(VideoReader(), Path("bad.mp4"), HOW)))


def test_a_good_film_is_kept_beside_one_that_crashes_the_decoder(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "films"
    folder.mkdir()
    film(folder / "a.mp4")
    film(folder / "b.mp4")
    film(folder / "c.mp4")
    broken = """
import os, sys
from goalsight.pretrain.data import apart
from goalsight.pretrain.data.readers import video
real = video.read_video
video.read_video = lambda file, *rest: os.abort() if file.name == "b.mp4" else real(file, *rest)
apart.serve(sys.stdin.buffer, sys.stdout.buffer)
"""
    monkeypatch.setattr("goalsight.pretrain.data.ahead.Apart", lambda: Apart(command=impostor(broken)))
    store = ingest([folder], tmp_path / "store", 16, fps=0)
    assert [os.path.basename(source) for source in store.sources] == ["a.mp4", "c.mp4"]
    assert "b.mp4 crashed the decoder (SIGABRT)" in capsys.readouterr().err


def films(folder, count):
    """Write films that differ in their pictures and lengths."""
    folder.mkdir()
    for number in range(count):
        frames = np.random.default_rng(number).integers(0, 256, (5 + 40 * (number % 3), 16, 16, 3), dtype=np.uint8)
        filmed(folder / f"{number}.mkv", frames)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("processes", [1, 3, 20])
def test_several_processes_give_what_one_gives_in_the_same_order(tmp_path, processes, monkeypatch):
    monkeypatch.setattr("goalsight.pretrain.data.ahead.HELD", 1)  # so that decoding has to wait for who reads
    paths = films(tmp_path / "films", 10)
    with Ahead(HOW, processes) as ahead:
        found = [decoded(one) for one in ahead.each((VideoReader(), path) for path in paths)]
    for path, episodes in zip(paths, found, strict=True):
        for (source, pixels), (other, known) in zip(episodes, decoded(VideoReader().episodes(path, HOW)), strict=True):
            assert source == other
            assert np.array_equal(pixels, known)


def test_files_that_cannot_be_read_keep_their_place(tmp_path):
    paths = films(tmp_path / "films", 4)
    paths[1].write_bytes(b"")
    with Ahead(HOW, 2) as ahead:
        each = ahead.each((VideoReader(), path) for path in paths)
        assert len(decoded(next(each))) == 1
        with pytest.raises(UnreadableError, match=r"1.mkv is empty"):
            decoded(next(each))
        assert [len(decoded(one)) for one in each] == [1, 1]


def test_decoding_that_nobody_waits_for_any_more_ends(tmp_path):
    paths = films(tmp_path / "films", 6)
    with Ahead(HOW, 3) as ahead:
        next(next(ahead.each((VideoReader(), path) for path in paths)))
        threads = [decoding._thread for decoding in ahead._under_way]
        processes = [decoding._apart._process for decoding in ahead._under_way]
    assert not any(thread.is_alive() for thread in threads)
    assert all(process is None or process.poll() is not None for process in processes)


def test_a_film_that_is_left_early_does_not_spoil_the_next(tmp_path):
    paths = films(tmp_path / "films", 3)
    with Ahead(HOW, 1) as ahead:
        lengths = []
        for one in ahead.each((VideoReader(), path) for path in paths):
            lengths.append(len(list(next(one).pixels)) if lengths else next(one) and 0)
    assert lengths == [0, 45, 85]
