"""What an objective declares that it reads."""

import pytest

from goalsight.pretrain.data.clips import Clips


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
