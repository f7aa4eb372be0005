"""The frame store: what goes in comes out, and a store is whole or absent."""

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goalsight.base.errors import UserError
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

SIZE = 8


def episode(length, seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (length, size, size, 3), dtype=np.uint8)


def write(path, lengths=(3, 2), **kwargs):
    with FrameStoreWriter(path, image_size=SIZE, **kwargs) as writer:
        for i, length in enumerate(lengths):
            writer.add_episode(episode(length, i), source=f"clip {i}")
    return FrameStore.open(path)


def test_frames_come_back_as_they_went_in(tmp_path):
    store = write(tmp_path / "store")
    assert (store.num_frames, store.num_episodes, store.image_size) == (5, 2, SIZE)
    assert store.episode_lengths.tolist() == [3, 2]
    assert store.episode_starts.tolist() == [0, 3]
    assert store.episode_of_frame.tolist() == [0, 0, 0, 1, 1]
    assert store.sources == ("clip 0", "clip 1")
    np.testing.assert_array_equal(store.episode(1), episode(2, 1))
    np.testing.assert_array_equal(store.frames(np.array([4, 0])), [episode(2, 1)[1], episode(3, 0)[0]])
    assert not store.episode(0).flags.writeable
    assert store.labels == {}


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    shard_frames=st.integers(1, 8),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_shards_are_invisible(tmp_path_factory, lengths, shard_frames, data):
    folder = tmp_path_factory.mktemp("stores")
    one = write(folder / "one", lengths)
    many = write(folder / "many", lengths, shard_bytes=shard_frames * SIZE * SIZE * 3)
    rows = data.draw(st.lists(st.integers(0, sum(lengths) - 1), max_size=8))
    np.testing.assert_array_equal(one.frames(np.array(rows, int)), many.frames(np.array(rows, int)))
    for i, length in enumerate(lengths):
        np.testing.assert_array_equal(many.episode(i), episode(length, i))
    assert one.content_hash == many.content_hash


def test_labels_are_kept_per_frame(tmp_path):
    gripper = np.arange(15, dtype=np.float32).reshape(5, 3)
    with FrameStoreWriter(tmp_path / "store", image_size=SIZE) as writer:
        writer.add_episode(episode(3), {"gripper": gripper[:3]})
        writer.add_episode(episode(2), {"gripper": gripper[3:]})
    store = FrameStore.open(tmp_path / "store")
    assert list(store.labels) == ["gripper"]
    np.testing.assert_array_equal(store.labels["gripper"], gripper)


def test_a_caller_may_use_its_arrays_again(tmp_path):
    frames, label = episode(2), np.ones((2, 1), np.float32)
    with FrameStoreWriter(tmp_path / "store", image_size=SIZE) as writer:
        for _ in range(2):
            writer.add_episode(frames, {"speed": label})
            frames[:], label[:] = 0, 0
    store = FrameStore.open(tmp_path / "store")
    assert store.labels["speed"].ravel().tolist() == [1, 1, 0, 0]
    assert store.episode(0).any()
    assert not store.episode(1).any()


@pytest.mark.parametrize(
    "labels", [{}, {"object": np.zeros((2, 3))}, {"gripper": np.zeros((2, 2))}, {"gripper": np.zeros((3, 3))}]
)
def test_labels_must_agree_and_a_refused_episode_leaves_no_trace(tmp_path, labels):
    with FrameStoreWriter(tmp_path / "store", image_size=SIZE) as writer:
        writer.add_episode(episode(3), {"gripper": np.zeros((3, 3), np.float32)})
        with pytest.raises(ValueError, match="label"):
            writer.add_episode(episode(2, 1), labels)
    store = FrameStore.open(tmp_path / "store")
    assert store.num_frames == 3
    np.testing.assert_array_equal(store.episode(0), episode(3))


def test_a_stream_that_fails_half_way_is_taken_back(tmp_path):
    def stream():
        yield episode(1)[0]
        raise RuntimeError("the decoder gave up")

    with FrameStoreWriter(tmp_path / "store", image_size=SIZE) as writer:
        with pytest.raises(RuntimeError):
            writer.add_episode(stream())
        writer.add_episode(episode(2, 1))
    plain = tmp_path / "plain"
    with FrameStoreWriter(plain, image_size=SIZE) as writer:
        writer.add_episode(episode(2, 1))
    assert FrameStore.open(tmp_path / "store").content_hash == FrameStore.open(plain).content_hash


def test_content_hash_by_hand(tmp_path):
    store = write(tmp_path / "store", [2])
    pixels = hashlib.sha256(episode(2, 0).tobytes()).digest()
    head = json.dumps(["goalsight-frames-1", SIZE, [2]]).encode()
    assert store.content_hash == hashlib.sha256(head + pixels).hexdigest()


def test_content_hash_knows_boundaries_and_pixels_but_not_names(tmp_path):
    frames = episode(4)
    hashes = []
    for name, parts, source in (("a", [4], "x"), ("b", [4], "y"), ("c", [1, 3], "x")):
        with FrameStoreWriter(tmp_path / name, image_size=SIZE) as writer:
            for part in np.split(frames, np.cumsum(parts)[:-1]):
                writer.add_episode(part, source=source)
        hashes.append(FrameStore.open(tmp_path / name).content_hash)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("frame", [np.zeros((4, 4, 3), np.uint8), np.zeros((SIZE, SIZE, 3), np.float32)])
def test_frames_of_another_kind_are_refused(tmp_path, frame):
    writer = FrameStoreWriter(tmp_path / "store", image_size=SIZE)
    with pytest.raises(ValueError, match="must be uint8"):
        writer.add_episode(frame[None])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_nothing(tmp_path):
    def interrupted_recording():
        with FrameStoreWriter(tmp_path / "store", image_size=SIZE) as writer:
            writer.add_episode(episode(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_recording()
    assert list(tmp_path.iterdir()) == []


def test_nothing_stored_is_refused(tmp_path):
    with pytest.raises(UserError, match="no frames"), FrameStoreWriter(tmp_path / "store", image_size=SIZE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_taken_target_is_refused_and_left_alone(tmp_path):
    store = write(tmp_path / "store")
    with pytest.raises(UserError, match="exists already"):
        FrameStoreWriter(tmp_path / "store", image_size=SIZE)
    assert FrameStore.open(tmp_path / "store").content_hash == store.content_hash
    (tmp_path / "empty").mkdir()
    assert write(tmp_path / "empty").num_frames == 5


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"store: No space left on device$"):
        write(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_target_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        FrameStoreWriter(tmp_path / "file" / "store", image_size=SIZE)


def damage_shard(path):
    shard = path / "frames-00000.u8"
    shard.write_bytes(shard.read_bytes()[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        damage_shard,
        lambda path: (path / "frames-00000.u8").unlink(),
        lambda path: (path / "index.json").write_text('{"format":'),
        lambda path: (path / "index.json").write_text("[]"),
        lambda path: (path / "index.json").unlink(),
        lambda path: (path / "index.json").write_text('{"format": "goalsight-frames-9"}'),
    ],
)
def test_a_damaged_store_is_one_line(tmp_path, damage):
    write(tmp_path / "store")
    damage(tmp_path / "store")
    with pytest.raises(UserError, match="store") as error:
        FrameStore.open(tmp_path / "store")
    assert "\n" not in str(error.value)


def test_a_missing_store_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no frame store"):
        FrameStore.open(Path("nowhere"))
