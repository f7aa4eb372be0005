"""A trained agent, acting: what a training run's checkpoint holds, made into a policy."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from goalsight.agents.algorithms.base import Algorithm
from goalsight.agents.networks.estimates import Estimates
from goalsight.agents.networks.features import BASIS, ENCODER, MEAN, Features, FrozenFeatures, Reduction, encode
from goalsight.agents.networks.inputs import Sight
from goalsight.agents.networks.policy import GoalActor
from goalsight.agents.policies import Actions, Mask, Observation
from goalsight.base.errors import UserError
from goalsight.base.hub import local
from goalsight.base.records import check_form
from goalsight.base.runs import Run
from goalsight.envs.config import EnvConfig
from goalsight.envs.ids import lasting_id, recorded

if TYPE_CHECKING:
    from goalsight.envs.making import GoalEnvs

KIND = "agent"  # of a checkpoint, in its meta
ACTOR = "actor."  # prefix of weights


def views_of(env_kwargs: dict[str, Any]) -> list[str]:
    """Return the keys of what each camera shows, the first camera's first."""
    cameras = env_kwargs.get("camera", "front")
    return ["pixels", *(f"pixels_{name}" for name in (() if isinstance(cameras, str) else cameras[1:]))]


class AgentMeta(TypedDict, total=False):
    """What an agent's meta holds; see `agent_meta`."""

    kind: str
    env: str
    env_kwargs: dict[str, Any]
    facts: dict[str, Any]
    sight: dict[str, Any]
    hidden: list[int]
    spread: bool
    observation: dict[str, list[int]]
    actions: int
    tune_blocks: int
    encoder: dict[str, Any] | None


class Agent:
    """Acts deterministically on raw observations; encodes a goal image once per episode.

    Attributes:
        env_id: the environment it was trained in.
        env_kwargs: how to make that environment for it.
        facts: what results must name: observations, critic, encoder, steps.
        run: the run it came from, None while it is being trained.
        description: the facts as a phrase.
    """

    def __init__(
        self,
        actor: GoalActor,
        features: Features | None,
        *,
        env_id: str,
        env_kwargs: dict[str, Any],
        facts: dict[str, Any],
        run: Run | None = None,
    ) -> None:
        self.actor = actor
        self.env_id = env_id
        self.env_kwargs = env_kwargs
        self.facts = facts
        self.run = run
        self.description = ", ".join(f"{key}: {value}" for key, value in facts.items() if value is not None)
        self._features = features
        self._views = views_of(env_kwargs)
        self._goals = np.zeros((0,), np.float16)
        self._shown: list[NDArray[np.uint8]] = []  # the goal images that `predict` saw last, and their features
        self._wanted = self._goals

    def reset(self, obs: Observation, mask: Mask) -> None:
        """Start new episodes where `mask` (N,) is set; `obs` is their first observation."""
        if self._features is None:
            return
        if len(self._goals) != len(mask):
            # Environments that nobody counts begin without a reset; their goal is all zeros.
            self._goals = np.zeros((len(mask), *self._features.space.shape), self._features.space.dtype)
        if mask.any():
            self._goals[mask] = encode(self._features, [obs[f"goal_{view}"][mask] for view in self._views])

    def act(self, obs: Observation, env: "GoalEnvs | None" = None) -> Actions:
        """Return actions (N, A) in [-1, 1], for the goals that the episodes began with.

        Raises:
            UserError: it is no batch of observations.
        """
        _check_observation(obs)
        if any(np.ndim(obs[key]) != axes + 1 for key, axes in self._looks.items() if key in obs):
            raise UserError(
                "act takes a batch, of episodes that reset began; predict takes one observation, or a batch"
            )
        return self._act(obs, self._goals, deterministic=True)

    def predict(
        self,
        observation: Observation,
        state: None = None,
        episode_start: Mask | None = None,
        deterministic: bool = True,
    ) -> tuple[Actions, None]:
        """Say what to do, whatever came before; as models of stable-baselines3 do, and where they are taken.

        Args:
            observation: one environment's, or a batch's, (N, ...) by key.
            state: there is none.
            episode_start: not needed.
            deterministic: act as well as is known; otherwise as in training, where the algorithm draws its actions.

        Returns:
            actions (A,) or (N, A) in [-1, 1]; None.

        Raises:
            UserError: when the observation lacks something that the agent sees, or holds what is no number.
        """
        _check_observation(observation)
        seen, shapes = self._looks, cast(spaces.Dict, self.actor.observation_space)
        if missing := [key for key in seen if key not in observation]:
            raise UserError(f"the agent sees {', '.join(seen)}; the observation lacks {', '.join(missing)}")
        values = {key: np.asarray(observation[key]) for key in seen}
        single = all(values[key].ndim == axes for key, axes in seen.items())
        if single:
            values = {key: value[None] for key, value in values.items()}
        for key in self.actor.first.sight.vectors:
            if values[key].shape[1:] != shapes[key].shape:
                raise UserError(f'the agent takes "{key}" of shape {shapes[key].shape}, got {values[key].shape[1:]}')
            if not np.isfinite(values[key]).all():
                raise UserError(f'of "{key}" some numbers are not finite')
        goals = [] if self._features is None else [values[f"goal_{view}"] for view in self._views]
        if self._features is not None and not _same(goals, self._shown):
            self._shown, self._wanted = [goal.copy() for goal in goals], encode(self._features, goals)
        actions = self._act(values, self._wanted, deterministic=deterministic)
        return actions[0] if single else actions, None

    @property
    def _looks(self) -> dict[str, int]:
        """What it sees of an observation, and how many axes one environment's has."""
        images = [] if self._features is None else [*self._views, *(f"goal_{view}" for view in self._views)]
        shapes = cast(spaces.Dict, self.actor.observation_space)
        return dict.fromkeys(images, 3) | {key: len(shapes[key].shape or ()) for key in self.actor.first.sight.vectors}

    @torch.inference_mode()
    def _act(self, obs: Observation, goals: NDArray[Any], *, deterministic: bool) -> Actions:
        device = next(self.actor.parameters()).device
        seen = {key: torch.as_tensor(obs[key], device=device) for key in self.actor.first.sight.vectors}
        if self._features is not None:
            seen["features"] = torch.from_numpy(encode(self._features, [obs[view] for view in self._views])).to(device)
            seen["goal_features"] = torch.from_numpy(goals).to(device)
        return self.actor(seen, deterministic=deterministic).cpu().numpy()


def _check_observation(given: object) -> None:
    if not isinstance(given, Mapping):
        raise UserError(f"an observation is arrays by their names, as environments give it; got {type(given).__name__}")


def _same(some: list[NDArray[np.uint8]], others: list[NDArray[np.uint8]]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def agent_tensors(algorithm: Algorithm, features: Features | None) -> dict[str, Tensor]:
    """Return all that a checkpoint keeps: the algorithm's networks, and what its features are computed by."""
    judged = {f"{ACTOR}{name}": tensor for name, tensor in algorithm.judged.state_dict().items()}
    tensors: dict[str, Tensor] = dict(algorithm.networks.state_dict()) | judged
    return tensors if features is None else tensors | features.tensors()


def agent_meta(
    actor: GoalActor,
    features: Features | None,
    *,
    env_id: str,
    env_kwargs: dict[str, Any],
    facts: dict[str, Any],
    options: Any,
) -> dict[str, Any]:
    """Return what `load_agent` needs beside the tensors, and the algorithm's options, in JSON's own types."""
    space: Any = actor.observation_space
    return {
        "kind": KIND,
        "env": lasting_id(env_id),
        "env_kwargs": env_kwargs,
        "facts": facts,
        "options": asdict(options),
        "sight": asdict(actor.first.sight),
        "hidden": list(actor.hidden),
        "spread": actor.spread,
        "observation": {key: list(part.shape) for key, part in space.spaces.items()},
        "actions": int(np.prod(actor.action_space.shape or ())),
        **({"tune_blocks": 0, "encoder": None} if features is None else features.describe()),
    }


def load_agent(run: Path | str, which: str | int = "best", *, device: str = "cpu") -> Agent:
    """Read an agent from a training run; nothing is unpickled.

    Args:
        run: the run's folder, or `hf://user/name`.
        which: "best", "last" or a step.
        device: where it computes.

    Raises:
        UserError: if the run, the checkpoint or the agent in it does not exist or is damaged.
    """
    source = Run.open(local(run))
    if source.kind == "train":
        tensors, meta = source.load(which)
    if source.kind != "train" or meta.get("kind") != KIND:
        raise UserError(f"{run} holds no agent; give a folder that goalsight train made")
    try:
        check_form(meta, AgentMeta, "meta.json")
        _check_sizes(tensors, meta)
        EnvConfig.recorded({"env": {"id": meta["env"], **meta["env_kwargs"]}})
        features = _features(tensors, meta)
        actor = _actor(tensors, meta, features)
        env_id = recorded(meta["env"])
    except UserError as error:
        raise UserError(f"the agent in {run}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the agent in {run} does not fit its description: {reason}") from error
    if features is not None:
        features.to(device)
    return Agent(
        actor.to(device).eval(),
        features,
        env_id=env_id,
        env_kwargs=meta["env_kwargs"],
        facts=meta["facts"],
        run=source,
    )


def _check_sizes(tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Refuse a description of networks that would take more memory than there are weights for.

    Raises:
        ValueError: it does.
    """
    sizes = [meta["actions"], *meta["hidden"], *(prod(shape) for shape in meta["observation"].values())]
    weights = sum(tensor.numel() for tensor in tensors.values())
    if not meta["hidden"]:
        raise ValueError("it has no hidden layer")
    if min(sizes) < 0 or max(sizes) > weights or sum(a * b for a, b in pairwise(meta["hidden"])) > weights:
        raise ValueError(f"{weights:,} weights are too few for it")


def _features(tensors: dict[str, Tensor], meta: dict[str, Any]) -> Features | None:
    if meta["encoder"] is None:
        return None
    if "estimates" in meta:
        return Estimates.from_kept(tensors, meta)
    from goalsight.pretrain.encoders.vit import encoder_of

    encoder = encoder_of(meta["encoder"], _under(ENCODER, tensors))
    cameras = len(views_of(meta["env_kwargs"]))
    return FrozenFeatures(encoder, meta["tune_blocks"], Reduction(tensors[MEAN], tensors[BASIS]), cameras=cameras)


def _actor(tensors: dict[str, Tensor], meta: dict[str, Any], features: Features | None) -> GoalActor:
    space = spaces.Dict(
        {key: spaces.Box(-np.inf, np.inf, tuple(shape), np.float32) for key, shape in meta["observation"].items()}
    )
    seen = meta["sight"]
    sight = Sight(tuple(seen["vectors"]), bool(seen["tokens"]), seen.get("goal_size"))
    tuned = isinstance(features, FrozenFeatures) and features.tune_blocks
    eye = features.make_eye() if tuned else None  # type: ignore[union-attr]
    actor = GoalActor(
        space,
        spaces.Box(-1.0, 1.0, (int(meta["actions"]),), np.float32),
        sight=sight,
        hidden=meta["hidden"],
        eye=eye,
        spread=bool(meta.get("spread", True)),  # all had one before there was a choice
    )
    actor.load_state_dict(_under(ACTOR, tensors))
    return actor


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
