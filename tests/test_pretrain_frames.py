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
from goalsight.pretrain.data.appender import StoreAppender
from goalsight.pretrain.data.clips import Clips
from goalsight.pretrain.data.format import Column
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.shards import Shards
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


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), data=st.data())
@settings(max_examples=25, deadline=None)
def test_shards_are_read_as_one(lengths, data):
    arrays = [episode(length, i) for i, length in enumerate(lengths)]
    shards, whole = Shards(arrays), np.concatenate(arrays)
    rows = np.array(data.draw(st.lists(st.integers(0, sum(lengths) - 1), max_size=8)), int)
    np.testing.assert_array_equal(shards[rows], whole[rows])
    for array, end in zip(arrays, np.cumsum(lengths), strict=True):
        np.testing.assert_array_equal(shards.slice(slice(end - len(array), end)), array)


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
        with pytest.raises(ValueError, match="column"):
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
    pixels = hashlib.sha256(episode(2, 0).tobytes()).hexdigest()
    columns = {"pixels": {"dtype": "uint8", "shape": [SIZE, SIZE, 3]}}
    content = json.dumps(["goalsight-store-2", columns, [[2, pixels]]]).encode()
    assert store.content_hash == hashlib.sha256(content).hexdigest()


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
    shard = path / "pixels.raw"
    shard.write_bytes(shard.read_bytes()[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        damage_shard,
        lambda path: (path / "pixels.raw").unlink(),
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


def columns(length, start=0):
    rows = np.arange(start, start + length)
    action = np.stack([rows, -rows], 1).astype(np.float32)
    return {"action": action, "success": (rows % 2 == 0)[:, None], "count": rows[:, None]}


def record(folder, lengths=(3, 2, 4), notes=()):
    """A store that is published after every episode."""
    store = StoreAppender(folder, image_size=SIZE, fps=25)
    for i in range(len(store.episodes), len(lengths)):
        start = sum(lengths[:i])
        store.add_episode(
            episode(lengths[i], i),
            {"object": np.full((lengths[i], 3), i, np.float32)},
            columns=columns(lengths[i], start),
            instruction=f"Do {i}.",
        )
        store.notes["next"] = i + 1
        store.publish(complete=i + 1 == len(lengths))
    store.close()
    return FrameStore.open(folder)


def test_columns_are_kept_typed_and_in_step_with_the_frames(tmp_path):
    store = record(tmp_path / "store")
    whole = columns(9)
    for name, values in whole.items():
        assert store.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(store.columns[name], values)
        assert not store.columns[name].flags.writeable
    np.testing.assert_array_equal(store.labels["object"][:, 0], [0, 0, 0, 1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(store.rows("action", np.array([8, 0])), whole["action"][[8, 0]])
    np.testing.assert_array_equal(store.rows("pixels", np.array([3])), episode(2, 1)[:1])
    assert store.column("success") == Column("bool", (1,))
    assert (store.instructions, store.fps, store.complete) == (("Do 0.", "Do 1.", "Do 2."), 25, True)
    with pytest.raises(UserError, match=r'no column "reward"; it has pixels, action'):
        store.column("reward")


def test_what_was_published_is_whole_whatever_follows(tmp_path):
    whole = record(tmp_path / "whole")
    store = StoreAppender(tmp_path / "store", image_size=SIZE, fps=25)
    for i, length in enumerate((3, 2)):
        store.add_episode(
            episode(length, i),
            {"object": np.full((length, 3), i, np.float32)},
            columns=columns(length, 3 * i),
            instruction=f"Do {i}.",
        )
        if i == 0:
            store.notes["next"] = 1
            store.publish(complete=False)
    store.close()  # as after a kill: the second episode's rows are on the disk, and no index names them
    seen = FrameStore.open(tmp_path / "store")
    assert (seen.num_episodes, seen.complete, seen.notes) == (1, False, {"next": 1})
    np.testing.assert_array_equal(seen.columns["count"].ravel(), [0, 1, 2])
    again = record(tmp_path / "store")
    assert again.content_hash == whole.content_hash
    for file in sorted((tmp_path / "whole").glob("[!.]*")):
        assert (tmp_path / "store" / file.name).read_bytes() == file.read_bytes()


def test_a_store_of_another_size_is_not_gone_on_with(tmp_path):
    record(tmp_path / "store")
    with pytest.raises(UserError, match="another size"):
        StoreAppender(tmp_path / "store", image_size=16)


def test_a_column_that_is_too_short_is_found_when_the_store_is_opened(tmp_path):
    record(tmp_path / "store")
    file = tmp_path / "store" / "action.raw"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"damaged \(action.raw has 68 bytes, not 72\)"):
        FrameStore.open(tmp_path / "store")


@pytest.mark.parametrize("kind", [{"dtype": "object", "shape": [1]}, {"dtype": "float32", "shape": [-1]}])
def test_a_column_of_another_kind_is_refused(tmp_path, kind):
    record(tmp_path / "store")
    index = json.loads((tmp_path / "store" / "index.json").read_text())
    index["columns"]["action"] = kind
    (tmp_path / "store" / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="is damaged"):
        FrameStore.open(tmp_path / "store")


# Sha256 over sizes and lengths, the hash of the pixels, and each label's name and values.
FIRST_HASH = hashlib.sha256(
    json.dumps(["goalsight-frames-1", SIZE, [3, 2]]).encode()
    + hashlib.sha256(np.concatenate([episode(3, 0), episode(2, 1)]).tobytes()).digest()
    + b"gripper"
    + np.arange(15, dtype=np.float32).tobytes()
).hexdigest()


def test_stores_of_the_first_format_are_read_on(tmp_path):
    """Written by hand as the first version wrote them: shards, and positions as .npy files."""
    arrays = [episode(3, 0), episode(2, 1)]
    for number, array in enumerate(arrays):
        (tmp_path / f"frames-{number:05d}.u8").write_bytes(array.tobytes())
    gripper = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.save(tmp_path / "label-gripper.npy", gripper)
    index = {
        "format": "goalsight-frames-1",
        "image_size": SIZE,
        "content_hash": FIRST_HASH,
        "shards": [{"file": f"frames-{n:05d}.u8", "frames": len(array)} for n, array in enumerate(arrays)],
        "labels": {"gripper": 3},
        "episodes": [{"length": 3, "source": "a"}, {"length": 2, "source": "b"}],
    }
    (tmp_path / "index.json").write_text(json.dumps(index))
    store = FrameStore.open(tmp_path)
    np.testing.assert_array_equal(store.frames(np.arange(5)), np.concatenate(arrays))
    np.testing.assert_array_equal(store.episode(1), arrays[1])
    np.testing.assert_array_equal(store.columns["position.gripper"], gripper)
    np.testing.assert_array_equal(store.labels["gripper"], gripper)
    assert (store.content_hash, store.complete, store.instructions) == (FIRST_HASH, True, ("", ""))
    flip(tmp_path / "label-gripper.npy")
    with pytest.raises(UserError, match=r"damaged .it does not hold what was written"):
        FrameStore.open(tmp_path)


def flip(file):
    """Turn one bit of a file over, and leave its size."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["pixels", "action", "position.object"])
def test_a_flipped_bit_is_found_when_the_store_is_opened(tmp_path, name):
    record(tmp_path / "store")
    flip(tmp_path / "store" / f"{name}.raw")
    with pytest.raises(UserError, match=r"damaged .episode 2 is not what was written"):
        FrameStore.open(tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "value"),
    [("fps", 25.5), ("notes", {"next": 2}), ("complete", False), ("content_hash", "0" * 64), ("columns", {})],
)
def test_an_index_that_is_not_what_was_written_is_refused(tmp_path, name, value):
    record(tmp_path / "store")
    file = tmp_path / "store" / "index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(UserError, match=r"damaged .*its index is not what was written"):
        FrameStore.open(tmp_path / "store")


@pytest.mark.parametrize("value", ["0" * 64, 10**30, None, [[]]])
def test_an_older_index_is_still_held_against_the_hashes_in_it(tmp_path, value):
    record(tmp_path / "store")
    file = tmp_path / "store" / "index.json"
    index = json.loads(file.read_text())
    del index["sha256"]
    file.write_text(json.dumps(index))
    assert FrameStore.open(tmp_path / "store").complete
    for place, key in ((index, "content_hash"), (index["episodes"][0], "length"), (index, "episodes")):
        before, place[key] = place[key], value
        file.write_text(json.dumps(index))
        place[key] = before
        with pytest.raises(UserError, match="is damaged"):
            FrameStore.open(tmp_path / "store")


def test_a_recording_that_was_broken_off_is_checked_when_it_is_read_and_gone_on_with(tmp_path):
    store = StoreAppender(tmp_path / "store", image_size=SIZE)
    store.add_episode(episode(3), columns=columns(3, 0))
    store.publish(complete=False)
    store.close()
    flip(tmp_path / "store" / "action.raw")
    for read in (FrameStore.open, lambda path: StoreAppender(path, image_size=SIZE)):
        with pytest.raises(UserError, match="episode 0 is not what was written"):
            read(tmp_path / "store")


def test_a_store_is_checked_once_and_where_it_cannot_be_noted_each_time(tmp_path, monkeypatch):
    record(tmp_path / "store")
    (tmp_path / "store" / ".checked").unlink()
    asked = []
    real = FrameStore._check
    monkeypatch.setattr(FrameStore, "_check", lambda store, index: (asked.append(1), real(store, index)))
    for _ in range(3):
        FrameStore.open(tmp_path / "store")
    assert len(asked) == 1
    monkeypatch.setattr(Path, "write_text", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
    (tmp_path / "store" / ".checked").unlink()
    for _ in range(2):
        FrameStore.open(tmp_path / "store")
    assert len(asked) == 3


@pytest.mark.parametrize("cut", ["pixels.raw", "action.raw"])
def test_a_store_that_is_cut_short_while_it_is_read_is_one_line(tmp_path, cut):
    with FrameStoreWriter(tmp_path / "store", image_size=SIZE) as writer:
        for _ in range(3):
            columns = {"action": np.zeros((40, 2), np.float32)}
            writer.add_episode(np.zeros((40, SIZE, SIZE, 3), np.uint8), columns=columns)
    store = FrameStore.open(tmp_path / "store")
    sampler = ClipSampler(store, Clips(columns=("pixels", "action"), gaps=((1, 2),)), batch=4, seed=0)
    sampler.sample()
    os.truncate(tmp_path / "store" / cut, 100)
    for read in (sampler.sample, lambda: store.episode(2), lambda: store.frames(np.array([100]))):
        with pytest.raises(UserError, match=f"{cut} was cut short while it was read"):
            read()
