"""Behavioural cloning towards goals: recorded play is imitated as if each episode had wanted what it came to."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from goalsight.agents.algorithms.base import (
    Algorithm,
    Options,
    Setting,
    descend,
    set_rate,
    settling,
)
from goalsight.agents.algorithms.imitation import Imitation, Rehearsal, cloning_error
from goalsight.agents.networks.inputs import Glance
from goalsight.base.options import check_not_negative, check_positive, check_share
from goalsight.envs.tasks.shared.training import Training

UPDATES, EVAL_EVERY = 8_000, 2_000  # gradient steps of a training, and between its evaluations


@dataclass(frozen=True)
class BCOptions(Options):
    """Options of behavioural cloning."""

    batch_size: int = 256
    """Frames per gradient step."""
    learning_rate: float = 1e-3
    """Learning rate of all networks; it falls in the second half of the training."""
    weight_decay: float = 1e-2
    """Weight decay of the optimiser, AdamW."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the layers."""
    last_goals: float = 0.5
    """Share of the goals that are the last frame of the episode; the others are any later one."""
    grounding: float = 1.0
    """From pixels, in training: weight of reading what is achieved off the view and the goal image; 0 for none."""

    def __post_init__(self) -> None:
        check_positive(self, "batch_size", "learning_rate", "hidden")
        check_share(self, "last_goals")
        check_not_negative(self, "weight_decay", "grounding")

    def length(self, training: Training, obs: str) -> tuple[int, int]:
        """Gradient steps: what a task takes in environment steps says nothing about a recording."""
        return UPDATES, EVAL_EVERY


class BC(Algorithm):
    """Goal-conditioned imitation with hindsight (Ding et al. 2019, section 4; Ghosh et al. 2021, GCSL).

    The actor's loss is the squared error of its actions. From pixels a second one keeps its eye on the task: a
    linear layer reads what is achieved (in Push, where the cube is) off the glances at view and goal image. Without it
    a goal image is also read for the arm, which stands elsewhere in the goal images that are asked for.
    """

    online = False
    Options = BCOptions

    def __init__(self, setting: Setting, options: BCOptions) -> None:
        self.options, self.device, self._bfloat16 = options, torch.device(setting.device), setting.bfloat16
        self.actor = setting.actor(options.hidden, spread=False)
        self.networks = parts = nn.ModuleDict({"actor": self.actor})
        glance = self.actor.first.glance
        self._grounded = isinstance(glance, Glance) and options.grounding > 0
        if isinstance(glance, Glance):
            size = setting.observation_space["achieved_goal"].shape[0]  # type: ignore[index]
            self._reading = nn.Linear(glance.project.out_features, size).to(self.device)
            parts["reading"] = self._reading
        self._centre, self._scale = (part.to(self.device) for part in setting.scales["achieved_goal"])
        self._optimisers: dict[str, torch.optim.Optimizer] = {
            "all": torch.optim.AdamW(
                self.networks.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
            )
        }
        self._losses: dict[str, Tensor] = {}
        self.updates = 0

    def update(self, batch: Imitation, remaining: float = 1.0, rehearsal: Rehearsal | None = None) -> None:
        """See `Algorithm`."""
        batch = batch.to(self.device)
        set_rate(list(self._optimisers.values()), settling(self.options.learning_rate, remaining))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16, cache_enabled=False):
            goal = self.actor.first.goal(batch.observations)
            error = cloning_error(self.actor, batch, goal)
            loss = error
            if self._grounded and goal is not None:
                reading = self._misread(batch, goal)
                loss = error + self.options.grounding * reading
                self._losses["misread"] = reading.detach()
        descend(self._optimisers["all"], loss)
        self._losses["action_error"] = error.detach()
        self.updates += 1

    def _misread(self, batch: Imitation, goal: Tensor) -> Tensor:
        """Mean squared error of what is read off the view and off the goal image, in units of its spread."""
        assert batch.achieved is not None
        assert batch.goal is not None
        view = self.actor.first.glance(batch.observations["features"])  # type: ignore[misc]
        read = self._reading(torch.cat([view, goal]))
        wanted = (torch.cat([batch.achieved, batch.goal]) - self._centre) * self._scale
        return (read - wanted).square().mean()
