"""Decoding in a process of its own: the same frames, and files that hang or crash it."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from films import film, filmed

from goalsight.pretrain.data.apart import Apart
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
            here, there = decoded(VideoReader().episodes(path, HOW)), decoded(apart.episodes(VideoReader(), path, HOW))
            assert [source for source, _ in here] == [source for source, _ in there]
            assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(here, there, strict=True))
        assert len(here) == 2, "two scenes"
        process = apart._process
    assert process.poll() is not None, "it ends with the block"


def test_frames_that_nobody_wants_do_not_stand_in_the_way(tmp_path):
    path = film(tmp_path / "film.mp4")
    with Apart() as apart:
        for episode in apart.episodes(VideoReader(), path, HOW):
            next(iter(episode.pixels))
        assert len(decoded(apart.episodes(VideoReader(), path, HOW))[0][1]) == 12


def test_what_the_decoder_says_is_said_here(tmp_path, capsys):
    whole = film(tmp_path / "whole.mkv", count=60).read_bytes()
    path = tmp_path / "broken.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    with Apart() as apart:
        assert decoded(apart.episodes(VideoReader(), path, HOW))
    line = capsys.readouterr().err
    assert line.startswith(f"goalsight: {path}")
    assert line.count("\n") == 1


def test_what_cannot_be_read_is_said_as_the_reader_says_it(tmp_path):
    path = tmp_path / "nothing.mp4"
    path.write_bytes(b"")
    with Apart() as apart:
        for _ in range(2):  # the process goes on
            with pytest.raises(UnreadableError, match=r"nothing.mp4 is empty"):
                decoded(apart.episodes(VideoReader(), path, HOW))


def impostor(words):
    return (sys.executable, "-c", words)


def test_a_file_at_which_the_decoder_hangs_is_given_up():
    with Apart(limit=0.3, command=impostor("import time; time.sleep(60)")) as apart:
        with pytest.raises(UnreadableError, match=r"slow.mp4 gave no frame within 0.3 s"):
            decoded(apart.episodes(VideoReader(), Path("slow.mp4"), HOW))
        assert apart._process is None, "the next file gets another process"


def test_a_file_at_which_the_decoder_crashes_is_given_up():
    crash = f"import os; input(); os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    with Apart(command=impostor(crash)) as apart:
        for _ in range(2):
            with pytest.raises(UnreadableError, match=r"bad.mp4 crashed the decoder \(SIGSEGV\)"):
                decoded(apart.episodes(VideoReader(), Path("bad.mp4"), HOW))


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
    monkeypatch.setattr("goalsight.pretrain.data.ingest.Apart", lambda: Apart(command=impostor(broken)))
    store = ingest([folder], tmp_path / "store", 16, fps=0)
    assert [os.path.basename(source) for source in store.sources] == ["a.mp4", "c.mp4"]
    assert "b.mp4 crashed the decoder (SIGABRT)" in capsys.readouterr().err
