"""How an environment is made: one description, which commands take, runs record, `make` obeys and snapshots carry."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, Self, get_args

import tyro

from goalsight.base.errors import UserError, choose
from goalsight.base.options import options_from

Obs = Literal["state", "pixels"]
Control = Literal["ee", "joint"]
Reward = Literal["sparse", "dense"]
Renderer = Literal["raytrace", "opengl"]
OBS_MODES, CONTROL_MODES, REWARDS, RENDERERS = map(get_args, (Obs, Control, Reward, Renderer))
MAX_IMAGE_SIZE = 4096  # [px]
IMAGES = ("image_size", "camera", "renderer")  # options that matter only where images are observed
WORDS = ("vary", "aids", "channels")  # options of which one word may stand for a list of one
LOOKS = ("obs", *IMAGES, "privileged", "aids", "channels")  # options that change what is seen, not what happens


@dataclass(frozen=True)
class EnvConfig:
    """How an environment is made.

    Raises:
        UserError: a choice that does not exist, or a number out of range. Ids, cameras, factors of variation and
            visual aids are looked up when the environment is made; `goalsight.envs.ids.resolved` looks an id up before.
    """

    id: Annotated[str, tyro.conf.arg(name="env")] = "goalsight/PandaPush-v1"
    """Environment id; `goalsight envs` lists them."""
    obs: Obs = "state"
    """What is observed: the simulator's state, or a camera image and a goal image."""
    image_size: int = 64
    """Side of an image [pixels]."""
    camera: tuple[str, ...] | str = "front"
    """Which camera gives the images: front, wrist or studio. Of several, the first is the main one."""
    renderer: Renderer = "raytrace"
    """Renderer of the images."""
    vary: tuple[str, ...] = ()
    """Factors of variation: colour, size, mass, friction, table, light, camera, distractors, latency, noise, or all."""
    aids: tuple[str, ...] = ()
    """Visual aids: transparent_arm, goal_markers."""
    control: Control = "ee"
    """What actions move: the end effector (ee) or the joints."""
    reward: Reward = "sparse"
    """-1 until the goal is reached (sparse), or minus the distance from it (dense)."""
    max_episode_steps: tyro.conf.Suppress[int | None] = None
    """Length of an episode [steps]; the task's own unless given."""
    training_starts: tyro.conf.Suppress[bool] = False
    """Draw the task's training starts rather than its evaluation starts."""
    privileged: tyro.conf.Suppress[bool] = False
    """Show the full state beside images, for critics."""
    channels: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Goal channels beside those that obs brings, such as image where the state is observed."""

    def __post_init__(self) -> None:
        for name in WORDS:
            words = getattr(self, name)
            object.__setattr__(self, name, (words,) if isinstance(words, str) else tuple(words))
        cameras = self.cameras
        if not cameras or len(set(cameras)) < len(cameras):
            raise UserError(f"name cameras, and each of them once; got {', '.join(cameras) or 'none'}")
        object.__setattr__(self, "camera", cameras if len(cameras) > 1 else cameras[0])
        choose("observation mode", self.obs, OBS_MODES)
        choose("control mode", self.control, CONTROL_MODES)
        choose("reward", self.reward, REWARDS)
        choose("renderer", self.renderer, RENDERERS)
        if not 8 <= self.image_size <= MAX_IMAGE_SIZE:
            raise UserError(f"image_size must lie in [8, {MAX_IMAGE_SIZE}], got {self.image_size}")
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise UserError(f"max_episode_steps must be at least 1, got {self.max_episode_steps}")

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras by name, the first of which gives `pixels`."""
        return (self.camera,) if isinstance(self.camera, str) else tuple(self.camera)

    @property
    def shows_images(self) -> bool:
        """Whether images are observed."""
        return self.obs == "pixels" or "image" in self.channels

    @classmethod
    def of(cls, id: str, arguments: Mapping[str, Any]) -> Self:
        """The description that an id and `arguments()` of one make, as checkpoints and results keep them.

        Raises:
            UserError: an argument that no environment takes; suggests the nearest.
        """
        for name in arguments:
            choose("option of an environment", name, [option.name for option in fields(cls)])
        return cls(id, **arguments)

    @classmethod
    def recorded(cls, config: Mapping[str, Any]) -> Self | None:
        """The environment that the record of a run names; None where it names none.

        Runs that are older than this class keep an id and a few options among all others.

        Raises:
            UserError: an option that no environment takes, or one that cannot be what it is said to be.
        """
        env = config.get("env")
        known = [option.name for option in fields(cls)]
        if env is None:
            return None
        if isinstance(env, Mapping):
            for name in env:
                choose("option of an environment", name, known)
            said = dict(env)
        else:
            said = {name: config[name] for name in known if name in config} | {"id": env}
        if "id" not in said:
            raise UserError("config.json: env has no id")
        listed = {name: [said[name]] for name in WORDS if isinstance(said.get(name), str)}
        return options_from(cls, said | listed)

    def change(self, **changes: Any) -> Self:
        """The same with other options.

        Raises:
            UserError: an option that no environment takes; suggests the nearest.
        """
        for name in changes:
            choose("option of an environment", name, [option.name for option in fields(self)])
        return replace(self, **changes)

    def arguments(self) -> dict[str, Any]:
        """What a constructor is told besides the id, in JSON's own types.

        That is `obs`, the options of the images where there are any, and all that is not as it usually is.
        """
        told: dict[str, Any] = {}
        for option in fields(self):
            value = getattr(self, option.name)
            matters = self.shows_images if option.name in IMAGES else option.name == "obs" or value != option.default
            if option.name != "id" and matters:
                told[option.name] = list(value) if isinstance(value, tuple) else value
        return told

    def unseen(self) -> Self:
        """The same episodes observed by their state, with nothing done to images."""
        usual: dict[str, Any] = {option.name: option.default for option in fields(self) if option.name in LOOKS}
        return replace(self, **usual | {"obs": "state"})


@dataclass(frozen=True)
class EnvChanges:
    """What to have in place of what a run says of its environment; None leaves it."""

    id: Annotated[str | None, tyro.conf.arg(name="env")] = None
    """Environment, where no run names it; `goalsight envs` lists them."""
    vary: tuple[str, ...] | None = None
    """Factors of variation (colour, size, ..., or all) in place of the run's own; nothing after it means none."""
    aids: tuple[str, ...] | None = None
    """Visual aids (transparent_arm, goal_markers) in place of the run's own; nothing after it means none."""

    @property
    def conditions(self) -> dict[str, Any]:
        """Those that are given, without the id."""
        given = {"vary": self.vary, "aids": self.aids}
        return {name: words for name, words in given.items() if words is not None}
