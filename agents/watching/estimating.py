"""Teaching a state estimator from the arm's own experience, and what can then be read by it."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
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
READ_RATE, FOUND_RATE = 1e-3, 2e-4  # of the head, and of the encoder, where points were found before
RIDGE = 3e-4  # of the linear reading, beside points whose places vary by about 0.1
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

    def shown(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """All frames that are learnt from, (n, H, W, 3), and their numbers, (n, S)."""
        frames, numbers = self._frames[self._taught], self._targets[self._taught]
        return frames.reshape(-1, *frames.shape[2:]), numbers.reshape(-1, numbers.shape[-1])

    def asked(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The goal images that are learnt from, (m, H, W, 3), and what they achieve, (m, G)."""
        return self._goals[self._taught], self._wanted[self._taught]

    def measures(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the numbers, (S,) each.

        Of what is achieved, the mean of the goals that were asked for, and the larger of the deviations of both.
        """
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


def prepare(estimator: StateEstimator, lessons: Lessons, *, device: str = "cpu", threads: int = 1) -> None:
    """Give a fresh estimator the numbers' mean and spread.

    One whose encoder has found points before begins with the best linear reading of them.

    Args:
        estimator: is changed.
        lessons: from the arm's own experience.
        device: where the estimator is.
        threads: of a CPU; no bit depends on them.
    """
    mean, spread = lessons.measures()
    estimator.mean.copy_(mean)
    estimator.spread.copy_(spread)
    if estimator.linear is not None:
        read_linearly(estimator, estimator.linear, lessons, device, threads)


def teach(
    estimator: StateEstimator, lessons: Lessons, *, updates: int, device: str = "cpu", threads: int = 1
) -> Generator[float]:
    """Teach an estimator that has been prepared; yields the loss of each update.

    Args:
        estimator: is changed.
        lessons: from the arm's own experience.
        updates: gradient steps, of `BATCH` frames each.
        device: where the estimator is.
        threads: of a CPU; no bit depends on them.
    """
    encoder = list(estimator.encoder.parameters())
    theirs = {id(weight) for weight in encoder}
    head = [weight for weight in estimator.parameters() if id(weight) not in theirs]
    rates = (HEAD_RATE, ENCODER_RATE) if estimator.linear is None else (READ_RATE, FOUND_RATE)
    groups = [{"params": weights, "lr": rate} for weights, rate in zip((head, encoder), rates, strict=True)]
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


def read_linearly(estimator: StateEstimator, linear: nn.Linear, lessons: Lessons, device: str, threads: int) -> None:
    """Set an estimator's linear reading to the best by ridge regression: what is achieved from goal images as well.

    Goal images count for as much as in the batches that follow.
    """

    def points(frames: NDArray[np.uint8]) -> Tensor:
        seen = in_batches(estimator.points, frames, device=device, batch=AT_ONCE, threads=threads)
        return torch.cat(list(seen)).cpu().double()

    def scaled(numbers: NDArray[np.float32]) -> Tensor:
        size = numbers.shape[1]
        return ((torch.from_numpy(numbers) - estimator.mean[:size].cpu()) / estimator.spread[:size].cpu()).double()

    frames, numbers = lessons.shown()
    goals, wanted = lessons.asked()
    seen, images = points(frames), points(goals)
    size = wanted.shape[1]
    weight = torch.ones(len(seen), dtype=torch.double)
    of_goals = torch.full((len(images),), GOALS / (BATCH - GOALS) * len(seen) / len(images), dtype=torch.double)
    rest = ridge(seen, scaled(numbers)[:, size:], weight)
    achieved = ridge(
        torch.cat([seen, images]), torch.cat([scaled(numbers)[:, :size], scaled(wanted)]), torch.cat([weight, of_goals])
    )
    found = torch.cat([achieved, rest], 1).float().to(device)
    with torch.no_grad():
        linear.weight.copy_(found[:-1].T)
        linear.bias.copy_(found[-1])


def ridge(inputs: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """Weighted ridge regression: inputs (n, D), numbers (n, K), weights (n,) -> (D + 1, K), the last row constant."""
    extended = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
    weighted = extended.T * (weights / weights.sum())
    penalty = torch.full((extended.shape[1],), RIDGE, dtype=inputs.dtype)
    penalty[-1] = 0.0
    return torch.linalg.solve(weighted @ extended + penalty.diag(), weighted @ numbers)
