"""Teaching a state estimator from the arm's own experience, and what can then be read by it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from goalsight.agents.networks.estimates import AT_ONCE
from goalsight.agents.networks.estimator import StateEstimator
from goalsight.agents.watching.experience import Experience
from goalsight.base.precision import autocast
from goalsight.base.shards import SHARD, Shards
from goalsight.pretrain.encoders.features import in_batches

BATCH = 32  # at equal compute read places more exactly than 64 or 128 did, on one seed of PickPlace
GOALS = 4  # of a batch: goal images, of which only what they achieve is known
HEAD_RATE, ENCODER_RATE = 2e-3, 5e-4
BETA = 0.1  # below so many standard deviations an error counts as its square
READABLE = 0.5  # share of a number's variance that must be explained for it to be believed


@dataclass(frozen=True)
class Legibility:
    """What an estimator can read, judged on episodes it has not learnt from.

    Attributes:
        explained: share of each number's variance that is explained, (targets,).
        error: root mean squared error of each, in its own unit, (targets,).
        goal: size of what is achieved, the first of the numbers.
    """

    explained: NDArray[np.float32]
    error: NDArray[np.float32]
    goal: int

    @property
    def readable(self) -> NDArray[np.intp]:
        """Which numbers are believed, in order."""
        return np.flatnonzero(self.explained >= READABLE)

    @property
    def readable_goal(self) -> NDArray[np.intp]:
        """Which of them say what is achieved."""
        return self.readable[self.readable < self.goal]


class Lessons:
    """Frames with what is true in them, drawn for an estimator.

    Args:
        experience: of which some episodes are held out.
        view: key of the frames.
        rng: draws.
    """

    def __init__(self, experience: Experience, view: str, rng: np.random.Generator) -> None:
        self._rng = rng
        held, frames, targets = experience.held_out, experience.frames[view], experience.targets
        self._taught = np.flatnonzero(~held)
        self._frames, self._targets = frames, targets
        self._goals, self._wanted = experience.goals[f"goal_{view}"], experience.goals["desired_goal"]
        self._held = np.flatnonzero(held)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return frames (B, H, W, 3), numbers (B, S), and whether each number is known (B, S)."""
        episode = self._rng.choice(self._taught, BATCH)
        time = self._rng.integers(self._frames.shape[1], size=BATCH)
        frames, numbers = self._frames[episode, time], self._targets[episode, time]
        known = np.ones_like(numbers)
        some = episode[:GOALS]
        goal = self._wanted.shape[1]
        frames[:GOALS], numbers[:GOALS, :goal], known[:GOALS, goal:] = self._goals[some], self._wanted[some], 0.0
        return torch.from_numpy(frames), torch.from_numpy(numbers), torch.from_numpy(known)

    def measures(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the numbers, (S,) each; of what is achieved, over the goals as well."""
        numbers = torch.from_numpy(self._targets[self._taught]).flatten(0, 1).double()
        goal = self._wanted.shape[1]
        mean, spread = numbers.mean(0), numbers.std(0)
        asked = torch.from_numpy(self._wanted[self._taught]).double()
        mean[:goal], spread[:goal] = asked.mean(0), torch.maximum(asked.std(0), spread[:goal])
        return mean.float(), spread.clamp_min(1e-3).float()

    def judge(self, estimator: StateEstimator, device: str, threads: int = 1) -> Legibility:
        """Judge an estimator by the episodes that were held out, and what is achieved by their goal images too."""
        goal = self._wanted.shape[1]
        truth = self._targets[self._held].reshape(-1, self._targets.shape[-1])
        frames = self._frames[self._held]
        read = readings(estimator, frames.reshape(-1, *frames.shape[2:]), device, threads)
        seen = readings(estimator, self._goals[self._held], device, threads)[:, :goal]
        wrong = [(read - truth) ** 2, (seen - self._wanted[self._held]) ** 2]
        squared = wrong[0].mean(0)
        squared[:goal] = np.concatenate([wrong[0][:, :goal], wrong[1]]).mean(0)
        spread = estimator.spread.cpu().numpy()
        return Legibility(1 - squared / spread**2, np.sqrt(squared), goal)


def readings(
    estimator: StateEstimator, frames: NDArray[np.uint8], device: str, threads: int = 1
) -> NDArray[np.float32]:
    """What is read off frames (n, H, W, 3), each number in its own unit, (n, targets)."""
    read = torch.cat(list(in_batches(estimator, frames, device=device, batch=AT_ONCE, threads=threads))).cpu()
    return (read * estimator.spread.cpu() + estimator.mean.cpu()).numpy()


def teach(
    estimator: StateEstimator,
    lessons: Lessons,
    *,
    updates: int,
    device: str = "cpu",
    threads: int = 1,
    fresh: bool = True,
) -> Iterator[float]:
    """Teach an estimator; yields the loss of each update.

    Args:
        estimator: is changed.
        lessons: from the arm's own experience.
        updates: gradient steps, of `BATCH` frames each.
        device: where the estimator is.
        threads: of a CPU; no bit depends on them.
        fresh: take the numbers' mean and spread from the lessons.
    """
    if fresh:
        mean, spread = lessons.measures()
        estimator.mean.copy_(mean)
        estimator.spread.copy_(spread)
    encoder = list(estimator.encoder.parameters())
    theirs = {id(weight) for weight in encoder}
    head = [weight for weight in estimator.parameters() if id(weight) not in theirs]
    groups = [{"params": head, "lr": HEAD_RATE}, {"params": encoder, "lr": ENCODER_RATE}]
    optimiser = torch.optim.AdamW(groups, weight_decay=1e-4, fused=True)
    pace = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda update: min(1.0, update / 50 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * update / updates))
    )

    def learn(frames: Tensor, numbers: Tensor, share: Tensor) -> tuple[Tensor, float]:
        with autocast(device):
            read = estimator(frames)
        error = F.smooth_l1_loss(read, (numbers - estimator.mean) / estimator.spread, beta=BETA, reduction="none")
        loss = (error * share).sum()
        return loss, float(loss.detach())

    size = SHARD if torch.device(device).type == "cpu" else BATCH
    with Shards([*head, *encoder], threads=threads) as shards:
        for _ in range(updates):
            frames, numbers, known = (part.to(device) for part in lessons.draw())
            columns = (part.split(size) for part in (frames, numbers, known / known.sum()))
            losses = shards.backward([partial(learn, *part) for part in zip(*columns, strict=True)])
            optimiser.step()
            pace.step()
            yield sum(losses)
