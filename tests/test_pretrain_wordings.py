"""Instructions in other words, and clips that come with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from films import film

from goalsight.base.errors import UserError
from goalsight.commands import cli
from goalsight.pretrain.data.clips import INSTRUCTION, MEANING, UNHEARD, Clips
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter
from goalsight.pretrain.data.wordings import FRAMES, LONGEST, VERBS, as_bytes, wordings

KINDS = [  # one sentence of each kind that the recorder tells
    "Push the object to the left.",
    "Move the red object away from the arm.",
    "Lift the object.",
    "Lift the object and put it down where it was.",
    "Move the object off the table.",
    "Push the object and bring it back.",
    "Move the arm about and leave everything where it is.",
    "Move the arm about.",
]


@pytest.mark.parametrize("sentence", KINDS)
def test_every_kind_is_worded_in_at_least_twenty_ways_of_which_some_are_kept(sentence):
    heard, kept = wordings(sentence)
    assert sentence in heard
    assert len(heard) + len(kept) >= 20
    assert len({*heard, *kept}) == len(heard) + len(kept), "no two are the same"
    assert len(kept) == 6
    assert max(len(words.encode()) for words in (*heard, *kept)) <= LONGEST
    assert all(words[0].isupper() and words.endswith(".") for words in (*heard, *kept))


def test_what_is_kept_is_made_of_what_is_heard():
    heard, kept = wordings("Push the object to the left.")
    assert "Please shove the object to the left." in heard
    assert "Nudge the object to the left." in kept
    for verb in VERBS["push"]:
        assert any(verb in words.lower() for words in heard)
    for frame in FRAMES:
        first = frame.split("{")[0].capitalize()
        assert any(words.startswith(first) for words in heard)


def test_the_longest_beginning_counts_and_other_sentences_keep_their_verb():
    assert "Wave the arm." in wordings("Move the arm about.")[0] + wordings("Move the arm about.")[1]
    assert "Shift the arm about." not in wordings("Move the arm about.")[0]
    heard, kept = wordings("put the eggplant into the pot")
    assert "Put the eggplant into the pot." in heard
    assert (len(heard), len(kept)) == (5, 1)
    assert wordings("Pushing is fun.")[0][0] == "Pushing is fun."


def test_sentences_as_bytes():
    assert as_bytes("Hä").tolist() == [72, 0xC3, 0xA4] + [0] * (LONGEST - 3)
    assert as_bytes("x" * 500).tolist() == [120] * LONGEST


def told(path: Path) -> FrameStore:
    """Episodes of 3, 4, 2 and 5 frames that show their number; nothing is told of the third."""
    with FrameStoreWriter(path, image_size=8) as writer:
        for number, (length, sentence) in enumerate(
            [(3, "Lift the object."), (4, "Push the object to the left."), (2, ""), (5, "Lift the object.")]
        ):
            frames = np.full((length, 8, 8, 3), 10 * number, np.uint8)
            frames[:, 0, 0, 0] = np.arange(length)
            writer.add_episode(frames, {"object": np.full((length, 3), number, np.float32)}, instruction=sentence)
    return FrameStore.open(path)


def test_clips_of_ends_come_with_what_is_said_of_the_episode(tmp_path: Path) -> None:
    store = told(tmp_path / "store")
    clips = Clips(columns=("pixels", INSTRUCTION, UNHEARD, MEANING), ends=True, also="position.")
    sampler = ClipSampler(store, clips, batch=300, seed=0)
    batch = sampler.sample()
    episode = batch["pixels"][:, 0, 1, 1, 0] // 10
    assert sorted(set(episode.tolist())) == [0, 1, 3], "of the third nothing is told"
    assert (batch["pixels"][:, 0, 0, 0, 0] == 0).all()
    last = torch.tensor([2, 3, 1, 4])[episode.long()]
    assert torch.equal(batch["pixels"][:, 1, 0, 0, 0].long(), last)
    assert torch.equal(batch["position.object"][:, 1, 0], episode.float())
    assert batch[INSTRUCTION].shape == (300, 2, LONGEST)
    assert torch.equal(batch[MEANING][:, 0], (episode == 1).long()), "the first and the last mean the same"
    said = {bytes(words.tolist()).rstrip(b"\0").decode() for words in batch[INSTRUCTION][episode == 0, 0]}
    heard, kept = wordings("Lift the object.")
    assert said == set(heard)
    said = {bytes(words.tolist()).rstrip(b"\0").decode() for words in batch[UNHEARD][episode == 3, 1]}
    assert said == set(kept)
    state = sampler.state()
    again = sampler.sample()
    sampler.load(state)
    assert torch.equal(sampler.sample()[INSTRUCTION], again[INSTRUCTION])


def test_ends_are_a_tenth_of_an_episode(tmp_path: Path) -> None:
    with FrameStoreWriter(tmp_path / "store", image_size=8) as writer:
        for length in (3, 40):
            writer.add_episode(np.zeros((length, 8, 8, 3), np.uint8), instruction="Lift the object.")
    sampler = ClipSampler(FrameStore.open(tmp_path / "store"), Clips(ends=True), batch=400, seed=0)
    early, late = sampler.draw().T
    assert {(0, 2)} == {(a, b) for a, b in zip(early.tolist(), late.tolist(), strict=True) if a < 3}
    assert set(early[early >= 3].tolist()) == {3, 4, 5, 6}
    assert set(late[early >= 3].tolist()) == {39, 40, 41, 42}


def test_of_some_frames_only_numbers_are_read(tmp_path: Path) -> None:
    store = told(tmp_path / "store")
    clips = Clips(gaps=((1, 1), (1, 1)), also=("position.object", "speed"), seen=2)
    batch = ClipSampler(store, clips, batch=5, seed=0).sample()
    assert set(batch) == {"pixels", "position.object"}, "the store has no speed"
    assert batch["pixels"].shape == (5, 2, 8, 8, 3)
    assert batch["position.object"].shape == (5, 3, 3)
    whole = ClipSampler(store, Clips(gaps=((1, 1), (1, 1))), batch=5, seed=0).sample()
    assert torch.equal(batch["pixels"], whole["pixels"][:, :2]), "the same clips are drawn"
    twice = Clips(columns=("pixels", "position.object"), also="position.")
    assert list(ClipSampler(store, twice, batch=5, seed=0).sample()) == ["pixels", "position.object"]
    with pytest.raises(ValueError, match="of 2 frames 1 to 2 can be seen, got 3"):
        Clips(seen=3)


def test_processes_hear_the_same_words(tmp_path: Path) -> None:
    store, clips = told(tmp_path / "store"), Clips(columns=("pixels", INSTRUCTION), ends=True)
    whole = ClipSampler(store, clips, batch=8, seed=0).sample()
    parts = [ClipSampler(store, clips, batch=8, seed=0, rows=slice(at, at + 4)).sample() for at in (0, 4)]
    for name in ("pixels", INSTRUCTION):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    assert set(whole) == {"pixels", INSTRUCTION}


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with FrameStoreWriter(tmp_path / "silent", image_size=8) as writer:
        writer.add_episode(np.zeros((3, 8, 8, 3), np.uint8))
    silent = FrameStore.open(tmp_path / "silent")
    with pytest.raises(UserError, match="has no instructions; record play with `goalsight collect`") as caught:
        ClipSampler(silent, Clips(columns=("pixels", INSTRUCTION)), batch=1, seed=0)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="an episode has two ends"):
        Clips(ends=True, gaps=())


def test_data_without_instructions_is_refused_before_a_run_is_made(tmp_path, capsys):
    (tmp_path / "films").mkdir()
    film(tmp_path / "films" / "one.mp4")
    asked = ["--data", str(tmp_path / "films"), "--image-size", "16", "--cache", str(tmp_path / "cache")]
    out = tmp_path / "run"
    assert cli.run(["pretrain", *asked, "--objective", "paired", "--steps", "2", "--out", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    words = "has no instructions; record play with `goalsight collect`, which knows them"
    assert said == f"goalsight: {tmp_path / 'films'} {words}"
    asked += ["--paired.partner", "proprioception"]
    assert cli.run(["pretrain", *asked, "--objective", "paired", "--steps", "2", "--out", str(out)]) == 2
    assert f'{tmp_path / "films"} has no column "proprioception"; it has pixels' in capsys.readouterr().err
    assert not out.exists()
