"""What an objective declares that it reads, and the sampler that serves it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from goalsight.base.errors import UserError
from goalsight.pretrain.data.clips import Clips
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter


@pytest.mark.parametrize(
    ("clips", "frames", "shortest"),
    [(Clips(gaps=()), 1, 1), (Clips(), 2, 2), (Clips(gaps=((1, 1),) * 7), 8, 8), (Clips(gaps=((2, 3), (4, 9))), 3, 7)],
)
def test_gaps_decide_how_many_frames_a_clip_has_and_how_long_an_episode_must_be(
    clips: Clips, frames: int, shortest: int
) -> None:
    assert (clips.frames, clips.shortest) == (frames, shortest)


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="smallest, largest"):
        Clips(gaps=((3, 2),))
    with pytest.raises(ValueError, match="at least 1"):
        Clips(gaps=((0, 2),))
    with pytest.raises(ValueError, match="once"):
        Clips(columns=("pixels", "pixels"))
    with pytest.raises(ValueError, match="at least one"):
        Clips(columns=())


def numbered(path: Path, lengths: list[int]) -> FrameStore:
    """A store whose frames carry their own index, as the first pixel and as a column."""
    starts = np.cumsum([0, *lengths])
    with FrameStoreWriter(path, image_size=16) as writer:
        for start, length in zip(starts, lengths, strict=False):
            frames = np.zeros((length, 16, 16, 3), np.uint8)
            frames[:, 0, 0, 0] = np.arange(start, start + length)
            writer.add_episode(frames, {"where": np.repeat(frames[:, 0, 0, :1], 3, 1).astype(np.float32)})
    return FrameStore.open(path)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5).filter(lambda lengths: max(lengths) >= 6),
    gaps=st.lists(st.tuples(st.integers(1, 2), st.integers(2, 20)), max_size=3),
    seed=st.integers(0, 5),
)
def test_clips_lie_in_one_episode_with_gaps_as_declared(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], gaps: list[tuple[int, int]], seed: int
) -> None:
    clips = Clips(gaps=tuple(gaps))
    assume(max(lengths) >= clips.shortest)
    store = numbered(tmp_path_factory.mktemp("clips") / "store", lengths)
    drawn = ClipSampler(store, clips, batch=50, seed=seed).draw()
    assert drawn.shape == (50, clips.frames)
    assert (store.episode_of_frame[drawn] == store.episode_of_frame[drawn[:, :1]]).all()
    for index, (least, most) in enumerate(gaps):
        steps = drawn[:, index + 1] - drawn[:, index]
        assert ((steps >= least) & (steps <= most)).all()


def test_columns_are_of_the_same_frames_as_the_pixels(tmp_path: Path) -> None:
    store = numbered(tmp_path / "store", [9, 7])
    (column,) = store.columns
    batch = ClipSampler(store, Clips(columns=("pixels", column), gaps=((1, 3), (2, 2))), batch=20, seed=0).sample()
    assert batch["pixels"].shape == (20, 3, 16, 16, 3)
    assert batch[column].shape == (20, 3, 3)
    assert torch.equal(batch[column][..., 0], batch["pixels"][:, :, 0, 0, 0].float())
    with pytest.raises(UserError, match='has no column "action"; it has pixels, '):
        ClipSampler(store, Clips(columns=("action",)), batch=1, seed=0)
    with pytest.raises(UserError, match=r"it has pixels.*; ask for less by --max-gap"):
        ClipSampler(store, Clips(columns=("action",), less="--max-gap"), batch=1, seed=0)


def test_a_sampler_goes_on_from_its_state(tmp_path: Path) -> None:
    store = numbered(tmp_path / "store", [9, 7])
    ours, other = (ClipSampler(store, Clips(), batch=10, seed=seed) for seed in (0, 1))
    ours.sample()
    other.load(ours.state())
    assert torch.equal(ours.sample()["pixels"], other.sample()["pixels"])
