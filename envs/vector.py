"""`GoalVectorEnv`: many goal-conditioned environments stepped as one batch."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from goalsight.base.errors import UserError, choose
from goalsight.base.memory import check_memory
from goalsight.envs.arms.catalogue import Arm
from goalsight.envs.autoreset import check_begun, check_mask, copied, final_of, info_of, mode_of, seed_each
from goalsight.envs.config import IMAGES, EnvConfig
from goalsight.envs.goals import Image, Stage, asked_goals, beyond, channels_of, spaces_of
from goalsight.envs.ids import id_by_parts
from goalsight.envs.rendering.pictures import Pictures
from goalsight.envs.simulation.aids import aids_of
from goalsight.envs.simulation.simulator import GoalSimulator
from goalsight.envs.simulation.state import Observed
from goalsight.envs.snapshots import Snapshot
from goalsight.envs.tasks import Task
from goalsight.envs.variation import Factor, factors_of

Obs = dict[str, NDArray[Any]]
RESET_OPTIONS = ("goal", "reset_mask")
RENDER_MODES = ("rgb_array", "depth_array")
HUMAN = "human"  # a further one, of a single environment
PICTURES = 8  # of each environment and camera that are held at once: views, goals, copies, and the renderer's own


class GoalVectorEnv(VectorEnv[Obs, NDArray[Any], NDArray[Any]]):
    """N environments of one task and arm, on `mujoco.batch.Batch`.

    Observations are dictionaries of arrays of shape (N, ...):

    - `observation` float32: proprioception with `obs="pixels"`, the full state with `obs="state"`;
    - `achieved_goal`, `desired_goal` float32 (N, G); positions [m], G = 3, in most tasks;
    - with `obs="pixels"`: `pixels`, `goal_pixels` uint8 (N, size, size, 3), the goal image being a picture of
      the goal state itself; likewise `pixels_wrist`, `goal_pixels_wrist` where the wrist's camera is not the first;
      with `privileged` also `state` float32, what `obs="state"` would observe.

    What is handed out belongs to the caller: whatever is done to it changes nothing here.

    Actions are float32 in [-1, 1], shape (N, A): with `control="ee"` a displacement of the tool (4 cm at full
    scale), with `control="joint"` of the joints; tasks that grasp add the gripper (-1 closes, 1 opens).
    `info["is_success"]` says where the goal is achieved, and has been for as long as the task wants it held.
    Nothing terminates. Episodes truncate at `max_episode_steps`, or when physics diverges (`info["diverged"]`), as it
    has where a number is larger than 1000; so all that is observed lies within the finite bounds of its space.
    Environment i seeded with s behaves as the only environment of a batch seeded with s, bit for bit.
    `pictures` draws the present states by any camera, and says where points are in such a picture.
    """

    has_expert = True

    def __init__(
        self,
        task: str | Task = "reach",
        arm: str | Arm = "panda",
        num_envs: int = 1,
        *,
        control: str = "ee",
        obs: str = "state",
        image_size: int = 64,
        camera: str | Sequence[str] = "front",
        channels: str | Sequence[str] = (),
        renderer: str = "raytrace",
        reward: str = "sparse",
        max_episode_steps: int | None = None,
        num_threads: int = 0,
        privileged: bool = False,
        training_starts: bool = False,
        vary: str | Factor | Sequence[str | Factor] = (),
        aids: str | Sequence[str] = (),
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        """Compile the scene.

        Args:
            task: a task or its name.
            arm: an arm or its name.
            num_envs: N.
            control: "ee" or "joint".
            obs: "state" or "pixels".
            image_size: edge of the pixel observations [px].
            camera: "front", "wrist" or "studio", or several: the first gives `pixels`, others images under their names.
            channels: goal channels beside those that `obs` brings; "image" adds images to `obs="state"`.
            renderer: "raytrace" or "opengl".
            reward: "sparse" (-1, and 0 where the goal is reached) or "dense" (minus the distance [m]).
            max_episode_steps: horizon; None takes the task's.
            num_threads: of physics and of rendering; 0 means one for each CPU.
            privileged: add the full state to pixel observations.
            training_starts: draw the task's training starts rather than its evaluation starts.
            vary: factors of variation that are drawn anew for each episode, by name or as `Factor`s: "colour",
                "size", "mass", "friction", "table", "light", "camera", "distractors", "latency", "noise", or "all".
            aids: visual aids that make the scene easier to see than it is: "transparent_arm", "goal_markers".
            render_mode: what `render` returns: "rgb_array", pictures; "depth_array", distances; None, nothing.
            autoreset_mode: what happens where an episode ends: the next one begins within the same step, in the next
                step ("next_step", which then ignores the action), or when `reset` is told so ("disabled"); as a name or
                as Gymnasium's `AutoresetMode`.

        Raises:
            UserError: a name that does not exist, or a number out of range.
        """
        self._given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        factors, chosen_aids = factors_of(vary), aids_of(aids)
        self.autoreset_mode = mode_of(autoreset_mode)
        config = EnvConfig(
            control=control,  # type: ignore[arg-type]  # checked there, as is what follows
            obs=obs,  # type: ignore[arg-type]
            image_size=image_size,
            camera=camera if isinstance(camera, str) else tuple(camera),
            channels=(channels,) if isinstance(channels, str) else tuple(channels),
            renderer=renderer,  # type: ignore[arg-type]
            reward=reward,  # type: ignore[arg-type]
            max_episode_steps=max_episode_steps,
            privileged=privileged,
            training_starts=training_starts,
            vary=tuple(factor.name for factor in factors),
            aids=chosen_aids,
        )
        if render_mode == HUMAN:
            choices = ", ".join(RENDER_MODES)
            raise UserError(f'render mode "{HUMAN}" is for one environment; choices of a batch: {choices}')
        if render_mode is not None:
            choose("render mode", render_mode, RENDER_MODES)
        self.render_mode, self.num_envs = render_mode, num_envs
        self.sim = GoalSimulator(
            task,
            arm,
            num_envs,
            control=control,
            num_threads=num_threads,
            training_starts=training_starts,
            vary=factors,
            aids=chosen_aids,
        )
        self._name_parts(config)
        self.pictures = Pictures(self.sim, renderer, num_threads)
        for name in config.cameras:
            self.pictures.check(name)
        self._make_observations()
        self._kind = self._describe(config, factors)

    def __getstate__(self) -> dict[str, Any]:
        """What it was made from: a copy, or what is unpickled, is made alike and not yet reset."""
        return self._given

    def __setstate__(self, given: dict[str, Any]) -> None:
        """Make it."""
        self.__init__(**given)  # type: ignore[misc]  # simulations cannot be copied; `snapshot` keeps their state

    def _name_parts(self, config: EnvConfig) -> None:
        """Name what the simulator is made of, and what of the configuration matters later."""
        sim = self.sim
        self.task, self.arm, self.model, self.batch = sim.task, sim.arm, sim.model, sim.batch
        own = self.task.max_episode_steps
        self.horizon = config.max_episode_steps or own
        asked = None if self.horizon == own else self.horizon  # the task's own is what Gymnasium names as well
        self.config = replace(config, id=id_by_parts(self.arm, self.task), max_episode_steps=asked)
        self.pixels = config.obs == "pixels"
        # An OpenGL context belongs to the thread that made it.
        self.bound_to_thread = config.shows_images and config.renderer == "opengl"
        self.image_size, self.privileged = config.image_size, config.privileged and self.pixels
        self.tolerance = self.task.tolerance
        self.metadata = {"render_modes": [*RENDER_MODES], "render_fps": 25, "autoreset_mode": self.autoreset_mode}
        self._reward = getattr(self.task, f"{config.reward}_reward")

    def _make_observations(self) -> None:
        """Make the channels, the spaces, and what is kept of each episode."""
        count = self.num_envs
        self._elapsed = np.zeros(count, np.int64)
        self._achieved_for = np.zeros(count, np.int64)  # steps in a row
        self._over = np.zeros(count, bool)  # episodes that have ended and are still to be reset
        self._obs: Obs | None = None
        stage = Stage(self.config, self.sim, self.pictures, self._elapsed)
        self.channels = channels_of(stage)
        size = sum(int(np.prod(one.space.shape)) for one in self.channels if isinstance(one, Image))
        check_memory(f"a batch of {count:,} with pixels", PICTURES * count * size, "take fewer, or smaller ones")
        self._goals = {one.goal: np.zeros((count, *one.space.shape), one.space.dtype) for one in self.channels}
        seen = spaces_of(stage, self.channels)
        self._keys, self.single_observation_space = tuple(seen), seen
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (self.sim.action_size,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)

    def _describe(self, config: EnvConfig, factors: Sequence[Factor]) -> dict[str, str]:
        """What decides how the environments go on, for snapshots."""
        idle = ("id", *(() if config.shows_images else IMAGES), *(() if self.pixels else ("privileged",)))
        chosen = {name: value for name, value in asdict(config).items() if name not in idle}
        own = {"num_envs": self.num_envs, "task": self.task, "arm": self.arm}
        exactly = {"max_episode_steps": self.horizon, "vary": factors, "autoreset_mode": self.autoreset_mode.value}
        return {name: repr(value) for name, value in (own | chosen | exactly).items()}

    # --- the Gymnasium contract ---------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: an int s seeds environment i with s + i; a sequence seeds each; None goes on with the streams.
            options: `reset_mask`, bool (N,), resets only the environments it marks; `goal` is what they shall
                achieve, for one episode: the name of one of the task's goals, or numbers of shape (G,) or (N, G).

        Returns:
            observations of all environments, and `info` with `is_success` and `diverged`, bool (N,), of those reset.

        Raises:
            UserError: a goal that cannot be achieved, of a wrong shape or unknown, after which all is as it was before;
                a wrong number of seeds, a wrong mask, an unknown option.
        """
        self.sim.batch.check()
        for name in options or {}:
            choose("option of reset", name, RESET_OPTIONS)
        seeds = seed_each(seed, self.num_envs)
        mask = check_mask((options or {}).get("reset_mask"), self.num_envs, first=self._obs is None)
        ids = np.flatnonzero(mask)
        goals = asked_goals(self.task, (options or {}).get("goal"), self.num_envs)
        before = None if goals is None or self._obs is None else self.snapshot()
        try:
            self.sim.seed(ids, [seeds[int(i)] for i in ids])
            self._obs = self._restart(ids, self._obs, None if goals is None else goals[ids])
        except UserError:
            if before is not None:
                self.restore(before)
            raise
        success, diverged = np.zeros((2, self.num_envs), bool)
        return copied(self._obs), info_of(success, diverged, mask)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Obs, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Apply actions, shape (N, A), for one control step (40 ms).

        With `autoreset_mode="same_step"`, where an episode ends the observation is already the first of the next one;
        the last of the old one is in `info["final_obs"]`, and `info["final_info"]` says how it ended. The reward,
        `is_success` and `diverged` are those of the step just taken, for all environments. With "next_step", the step
        after the last one begins the next episode, whatever the action; its reward is 0.

        Raises:
            UserError: actions of a wrong shape or not finite, no reset before, or, with "disabled", none after an end.
        """
        if self._obs is None:
            raise UserError("call reset() before step()")
        check_begun(self._over, self.autoreset_mode)
        begun = self._over.copy()  # next-step autoreset: to be reset now, instead of stepped
        diverged = self.sim.step(actions)
        self._elapsed += 1
        seen = self.sim.reader.observe()
        diverged = (diverged | beyond(seen)) & ~begun
        obs = self._observe(seen, self._obs, diverged)
        reward = self.compute_reward(obs["achieved_goal"], obs["desired_goal"], {})
        achieved = self.task.success(obs["achieved_goal"], obs["desired_goal"])
        self._achieved_for = np.where(achieved & self.sim.reader.grasped(), self._achieved_for + 1, 0)
        if begun.any():
            obs = self._restart(np.flatnonzero(begun), obs)
            reward[begun] = 0
        info = self._info(diverged)
        truncated = (self._elapsed >= self.horizon) | diverged
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            self._over = truncated.copy()
        elif truncated.any():
            info |= final_of(obs, info, truncated)
            obs = self._restart(np.flatnonzero(truncated), obs)
        self._obs = obs
        return copied(obs), reward, np.zeros(self.num_envs, bool), truncated, info

    @property
    def goal_keys(self) -> dict[str, str]:
        """Which keys of the observation show a goal, and which the frames that could be one: for relabelling."""
        return {channel.goal: channel.frame for channel in self.channels}

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Reward of achieving `achieved_goal` when `desired_goal` was asked for, both (..., G); float32 (...).

        Pure: it depends on its first two arguments only.
        """
        return self._reward(achieved_goal, desired_goal)

    def snapshot(self) -> Snapshot:
        """A copy of all from which the environments go on: physics, goals, episodes, generators.

        Raises:
            UserError: no reset before.
        """
        if self._obs is None:
            raise UserError("call reset() before snapshot()")
        episodes = self._elapsed.copy(), self._achieved_for.copy(), self._over.copy()
        return Snapshot(dict(self._kind), self.sim.snapshot(), *episodes, copied(self._obs), copied(self._goals))

    def restore(self, snapshot: Snapshot) -> Obs:
        """Go back to a snapshot of this batch or of one that is made alike; what follows is the same to the bit.

        Returns:
            the observations at that moment.

        Raises:
            UserError: the snapshot is of another number or kind of environments.
        """
        if self._kind != snapshot.kind:
            differ = [name for name, value in self._kind.items() if snapshot.kind.get(name) != value]
            raise UserError(f"the snapshot is of other environments, with another {', '.join(differ)}")
        self.sim.restore(snapshot.simulator)
        self._elapsed[:], self._achieved_for[:] = snapshot.elapsed, snapshot.achieved_for
        self._over[:] = snapshot.over
        for key, goals in snapshot.goals.items():
            self._goals[key][:] = goals
        self._obs = copied(snapshot.obs) | self._goals
        return copied(self._obs)

    def render(self) -> tuple[NDArray[Any], ...] | None:
        """The view of each environment at 480 px.

        Returns:
            uint8 (480, 480, 3) each when `render_mode` is "rgb_array"; what `depth_frames` returns, float32 (480, 480)
            each, when it is "depth_array"; else None.
        """
        if self.render_mode == "rgb_array":
            return tuple(self.render_frames())
        return tuple(self.depth_frames()) if self.render_mode == "depth_array" else None

    def close_extras(self, **kwargs: Any) -> None:
        """Release the cameras, and let nothing be stepped any more."""
        self.pictures.close()
        self.sim.batch.close()

    # --- for agents, evaluation and videos ----------------------------------------------------------------------

    def expert_action(self) -> NDArray[np.float32]:
        """Actions of the task's scripted expert in the present states, shape (N, A)."""
        return self.sim.expert_action()

    def state_observation(self) -> NDArray[np.float32]:
        """The full state, float32 (N, S); `state_layout()` says which entries hold what."""
        return self.sim.reader.observe().state

    def state_layout(self) -> dict[str, slice]:
        """Names of the parts of the state and where they lie in it."""
        return self.sim.reader.state_layout()

    def object_positions(self) -> dict[str, NDArray[np.float32]]:
        """Named physical points [m], each (N, 3): "gripper", and the task's things, a single one as "object"."""
        world = self.sim.reader.world()
        points = {"gripper": world.tool} | self._called(world.objects)
        return {name: point.astype(np.float32) for name, point in points.items()}

    def touched(self) -> dict[str, NDArray[np.bool_]]:
        """Whether the arm touches each of the task's things, (N,) each, by the names of `object_positions`."""
        return self._called(self.sim.reader.touched())

    def _called(self, by_thing: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What is known of the task's things by the names that users see: a single one is "object"."""
        names = [thing.name for thing in self.task.objects]
        return {"object" if len(names) == 1 else name: by_thing[name] for name in names}

    def render_frames(
        self, *, size: int = 480, camera: str = "front", ids: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint8]:
        """Pictures of the present states, (n, size, size, 3), of environments `ids` or of all."""
        return self.pictures.draw(size, camera, ids)

    def depth_frames(
        self, *, size: int = 480, camera: str = "front", ids: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """How far ahead lies what `render_frames` shows [m], (n, size, size), of environments `ids` or of all.

        Distances are from the plane through the camera, across its line of sight; endless for the sky.
        """
        return self.pictures.distances(size, camera, ids)

    def goal_frames(
        self, *, size: int = 480, camera: str = "front", ids: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint8]:
        """Pictures of the goal states, (n, size, size, 3), of environments `ids` or of all."""
        ids = np.arange(self.num_envs) if ids is None else ids
        with self.sim.show_goal(ids):
            return self.render_frames(size=size, camera=camera, ids=ids)

    # --- internals ----------------------------------------------------------------------------------------------

    def _observe(self, seen: Observed, previous: Obs, diverged: NDArray[np.bool_]) -> Obs:
        """Observations after a step; a diverged simulation repeats its last good one."""
        obs = self._all_seen(seen, np.arange(self.num_envs))
        if diverged.any():
            for key, value in obs.items():
                obs[key] = np.where(diverged.reshape(-1, *[1] * (value.ndim - 1)), previous[key], value)
        return obs

    def _restart(self, ids: NDArray[np.int64], obs: Obs | None, goals: NDArray[np.float64] | None = None) -> Obs:
        """Begin new episodes in environments `ids`; the rows of the others are those of `obs`."""
        self._obs = None  # until that is done there is nothing to step
        self.sim.reset(ids, goals)
        self._elapsed[ids] = self._achieved_for[ids] = 0
        self._over[ids] = False
        for channel in self.channels:
            self._goals[channel.goal][ids] = channel.show(ids)
        fresh = self._all_seen(self.sim.reader.observe(), ids)
        if obs is None:  # all begin
            return fresh
        for key, value in fresh.items():
            if key not in self._goals:
                obs[key][ids] = value
        return obs | self._goals

    def _all_seen(self, seen: Observed, ids: NDArray[np.int64]) -> Obs:
        """What environments `ids` observe, (n, ...) per key; goals, which last for an episode, of all, as they are."""
        obs: Obs = {"observation": self._sensed(seen)[ids]}
        for channel in self.channels:
            obs |= {channel.frame: channel.observe(seen, ids), channel.goal: self._goals[channel.goal]}
        if self.privileged:
            obs["state"] = seen.state[ids]
        return {key: obs[key] for key in self._keys}

    def _sensed(self, seen: Observed) -> NDArray[np.float32]:
        """What `observation` holds, (N, K)."""
        exact = seen.proprioception if self.pixels else seen.state
        return exact if self.sim.variation is None else self.sim.variation.sensed(exact, self._elapsed)

    def _info(self, diverged: NDArray[np.bool_]) -> dict[str, Any]:
        return info_of(self._achieved_for >= self.task.hold_steps, diverged, np.ones(self.num_envs, bool))
