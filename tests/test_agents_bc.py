"""Imitation of recorded play: goals by hindsight, losses by hand, and learning a rule that a recording shows."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from gymnasium import spaces

from goalsight.agents.algorithms.base import Setting
from goalsight.agents.algorithms.bc import BC, BCOptions, Imitation
from goalsight.agents.collecting.collect import Collect, PlayEnv, collect
from goalsight.agents.learning import Learner
from goalsight.agents.networks.inputs import PIXELS, STATE
from goalsight.agents.offline import Offline
from goalsight.agents.recordings import Recording, check_stores, open_stores, read_recording, some_frames
from goalsight.agents.train import Train
from goalsight.base.errors import UserError
from goalsight.base.training_state import cut, join
from goalsight.envs.config import EnvConfig
from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

LENGTHS = (5, 2, 4)


@dataclass
class Store:
    """A stand-in for a frame store whose every number tells the frame's episode and time: 10 * episode + time."""

    episode_lengths: np.ndarray = field(default_factory=lambda: np.array(LENGTHS))

    @property
    def names(self) -> np.ndarray:
        return np.array([10 * e + t for e, n in enumerate(self.episode_lengths) for t in range(n)], np.float32)

    @property
    def num_frames(self) -> int:
        return int(self.episode_lengths.sum())

    @property
    def columns(self) -> dict[str, np.ndarray]:
        columns = {"state": 4, "proprioception": 2, "achieved_goal": 3, "action": 2}
        return {name: np.repeat(self.names[:, None], size, 1) for name, size in columns.items()}

    def frames(self, rows) -> np.ndarray:
        return np.tile(self.names[rows][:, None, None, None], (1, 2, 2, 3)).astype(np.uint8)


def read(frames: np.ndarray) -> np.ndarray:
    """Features that say what a frame shows."""
    return frames[:, :1, 0].astype(np.float16)  # (n, 1, 3)


def make_recording(obs: str = "state", last_goals: float = 0.5, stores=None) -> Recording:
    features = read if obs == "pixels" else None
    return read_recording(stores or [Store()], obs, features, last_goals=last_goals, seed=0)


def test_goals_are_later_frames_of_the_same_episode_and_half_of_them_the_last():
    batch = make_recording().sample(1000)
    frame, goal = batch.observations["observation"][:, 0], batch.observations["desired_goal"][:, 0]
    episode = frame // 10
    assert (goal // 10 == episode).all()
    assert (goal % 10 > frame % 10).all()
    last = torch.tensor(LENGTHS)[episode.long()] - 1
    assert (goal % 10 == last)[:500].all()
    # Of episode 0 from frame 0, later goals are uniform over frames 1 to 4.
    rest = goal[500:][frame[500:] == 0]
    assert set(rest.tolist()) == {1, 2, 3, 4}
    assert (batch.actions[:, 0] == frame).all()
    assert torch.equal(batch.achieved[:, 0], frame)
    assert torch.equal(batch.goal[:, 0], goal)


def test_the_last_frame_of_an_episode_is_only_a_goal():
    frames = make_recording().sample(1000).observations["observation"][:, 0]
    assert set(frames.tolist()) == {0, 1, 2, 3, 10, 20, 21, 22}


def test_from_pixels_the_goal_is_a_picture():
    batch = make_recording("pixels", 1.0, [Store(), Store(np.array([3]))]).sample(400)
    frame = batch.observations["observation"][:, 0]
    assert set(batch.observations) == {"observation", "achieved_goal", "features", "goal_features"}
    assert torch.equal(batch.observations["features"][:, 0, 0].float(), frame)
    assert torch.equal(batch.observations["goal_features"][:, 0, 0].float(), batch.goal[:, 0])
    assert batch.observations["observation"].shape == (400, 2)  # proprioception alone


def test_inputs_are_brought_to_zero_mean_and_unit_spread():
    recording = make_recording()
    centre, scale = recording.scales()["observation"]
    inputs = (recording.frames["observation"] - centre) * scale
    assert torch.allclose(inputs.mean(0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(inputs.std(0), torch.ones(4), atol=1e-5)
    assert torch.equal(recording.scales()["desired_goal"][1], recording.scales()["achieved_goal"][1])


def test_draws_follow_the_seed_and_go_on_from_a_state():
    one, other = make_recording(), make_recording()
    first = one.draw(8)
    assert np.array_equal(first, other.draw(8))
    again = make_recording()
    again.load(join(*cut(one.state())))
    assert np.array_equal(again.draw(8), one.draw(8))


def test_frames_to_fit_on_come_from_all_recordings():
    names = some_frames([Store(), Store(np.array([3]))], 6)[:, 0, 0, 0].tolist()
    assert names == [0, 10, 23, 0, 1, 2]


def space(*shape: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


SPACE = spaces.Dict(
    {
        "observation": space(4),
        "achieved_goal": space(3),
        "desired_goal": space(3),
        "features": space(8, 2),
        "goal_features": space(8, 2),
    }
)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def make_bc(sight=STATE, **options) -> BC:
    torch.manual_seed(0)
    scales = {key: (torch.zeros(part.shape), torch.full(part.shape, 2.0)) for key, part in SPACE.items()}
    return BC(Setting(SPACE, ACTIONS, sight, sight, scales), BCOptions(**{"hidden": (32, 32)} | options))


def batch(rows: int, seed: int = 0) -> Imitation:
    generator = torch.Generator().manual_seed(seed)
    obs = {key: torch.randn(rows, *part.shape, generator=generator) for key, part in SPACE.items()}
    actions = torch.tanh(obs["desired_goal"] - obs["achieved_goal"])[:, :2]
    return Imitation(obs, actions, obs["achieved_goal"], obs["desired_goal"])


def test_the_loss_is_the_mean_squared_error_of_the_actions():
    bc = make_bc()
    data = batch(16)
    with torch.no_grad():
        error = ((bc.actor.mean_action(data.observations) - data.actions) ** 2).mean()
    bc.update(data)
    assert bc.losses() == {"action_error": pytest.approx(float(error))}
    assert bc.updates == 1


def test_what_is_read_off_the_glances_is_judged_in_units_of_its_spread():
    bc = make_bc(PIXELS)
    bc.networks["reading"].weight.data.zero_()
    bc.networks["reading"].bias.data.fill_(1.0)
    data = batch(4)._replace(achieved=torch.full((4, 3), 0.25), goal=torch.full((4, 3), 1.0))
    # Scaled by 2 these are 0.5 and 2: errors of 0.5 and -1, squares 0.25 and 1.
    assert bc._misread(data, bc.actor.first.goal(data.observations)).item() == pytest.approx(0.625)
    bc.update(data)
    assert set(bc.losses()) == {"action_error", "misread"}
    without = make_bc(PIXELS, grounding=0.0)
    without.update(data)
    assert set(without.losses()) == {"action_error"}


def test_it_learns_the_rule_that_actions_follow():
    bc = make_bc(learning_rate=3e-3)
    for seed in range(300):
        bc.update(batch(128, seed))
    data = batch(256, seed=999)
    acted = bc.act({key: value.numpy() for key, value in data.observations.items()}, explore=True)
    assert np.square(acted - data.actions.numpy()).mean() < 0.05  # acting as the mean action has 0.5


def test_a_state_goes_on_to_the_bit():
    whole, part = make_bc(PIXELS), make_bc(PIXELS)
    for seed in range(3):
        whole.update(batch(8, seed))
    part.load(join(*cut(whole.state())))
    for bc in (whole, part):
        bc.update(batch(8, 7), remaining=0.3)
    ours = part.networks.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in whole.networks.state_dict().items())


def test_recordings_without_actions_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="imitation needs a recording: --data RUN"):
        open_stores([], "state")
    with FrameStoreWriter(tmp_path / "video", image_size=16) as writer:
        writer.add_episode(np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8))
    assert FrameStore.open(tmp_path / "video").num_frames == 4
    with pytest.raises(UserError, match="has no column action, so it cannot be imitated"):
        open_stores([tmp_path / "video"], "pixels")


def test_another_environment_is_refused():
    seen = spaces.Dict({"observation": space(4), "achieved_goal": space(3)})
    stores = [Store()]
    check_stores(stores, "state", seen, ACTIONS, "goalsight/PandaPush-v1")
    with pytest.raises(UserError, match=r"the recording has action of shape \(2,\), a/B-v0 of shape \(3,\)"):
        check_stores(stores, "state", seen, spaces.Box(-1, 1, (3,), np.float32), "a/B-v0")
    with pytest.raises(UserError, match=r"the recording has observation of shape \(2,\), a/B-v0 of shape \(4,\)"):
        check_stores(stores, "pixels", seen, ACTIONS, "a/B-v0")


def test_bad_options_are_refused():
    with pytest.raises(UserError, match=r"last_goals must lie in \[0, 1\], got 1.5"):
        BCOptions(last_goals=1.5)
    with pytest.raises(UserError, match="grounding must not be negative"):
        BCOptions(grounding=-1.0)


def test_learning_from_a_recording_goes_on_to_the_bit():
    def loop(bc: BC) -> Offline:
        return Offline(bc, make_recording(), batch_size=16, total=6)

    whole = loop(make_bc())
    states = []

    def rest() -> bool:
        if whole.steps == 3:
            states.append(join(*cut({"loop": whole.state(), "bc": whole.algorithm.state()})))
        return True

    whole.run(rest)
    part = loop(make_bc())
    part.load(states[0]["loop"])
    part.algorithm.load(states[0]["bc"])
    part.run(lambda: True)
    assert part.steps == part.algorithm.updates == 6
    ours = part.algorithm.networks.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in whole.algorithm.networks.state_dict().items())


def test_recordings_of_another_task_or_camera_are_refused(tmp_path):
    push = EnvConfig("goalsight/PandaPush-v1", obs="pixels", image_size=16)
    reach = PlayEnv("goalsight/PandaReach-v1", image_size=16)
    of_reach = collect(Collect(env=reach, frames=40, steps=10, num_envs=2, film=0, out=tmp_path / "reach"))
    by_wrist = PlayEnv(push.id, image_size=16, camera="wrist")
    of_push = collect(Collect(env=by_wrist, frames=40, steps=10, num_envs=2, film=0, out=tmp_path / "push"))
    with pytest.raises(UserError, match=r"shows goalsight/PandaReach-v1, and goalsight/PandaPush-v1 is to be learnt"):
        Learner(Train(push, algorithm="bc", data=(of_reach,)))
    with pytest.raises(UserError, match=r"recorded with camera wrist, and .* is seen with camera front"):
        Learner(Train(push, algorithm="bc", data=(of_push,)))
    Learner(Train(EnvConfig(push.id), algorithm="bc", data=(of_push,)))  # the state is the same by any camera
