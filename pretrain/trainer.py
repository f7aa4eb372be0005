"""The training loop: steps until the budget is spent, with metrics, pictures and checkpoints on the way."""

import math
import time
from collections import defaultdict, deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from goalsight.base.budgets import Budget, learning_rate
from goalsight.base.errors import UserError, choose
from goalsight.base.flops import count_flops
from goalsight.base.precision import autocast, fast_dtype
from goalsight.base.runs import Run, Stop
from goalsight.pretrain.data.samplers import PairSampler
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.encoders.vit import random_encoder
from goalsight.pretrain.gradients import Gradients
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.pictures import picture_grid

if TYPE_CHECKING:
    from goalsight.pretrain.train import Pretrain

SECONDS = 120.0  # of training where no budget is given
LOG_EVERY = 10  # steps; what is logged is their mean
SUMMARISED = 50  # steps that the summary's means are taken over
PICTURED = 6  # pairs in a picture, the same ones each time
LR_TIMES_WIDTH = 0.24  # wider encoders want smaller steps (Yang et al. 2022); 2.5e-3 for nano
WEIGHT_DECAY = 0.05
CLIP_NORM = 1.0
BAR = "{desc} {percentage:3.0f}% {bar} {elapsed}<{remaining} {postfix}"


class Trainer:
    """Everything that one training needs besides its data. A context manager: its threads end with it."""

    def __init__(self, config: "Pretrain") -> None:
        """Build encoder, objective and optimiser.

        Raises:
            UserError: on names that do not exist, an image size that does not fit, or a budget that cannot be.
        """
        self.config = config
        unlimited = config.seconds is None and config.steps is None and config.flops is None
        self.budget = Budget(SECONDS if unlimited else config.seconds, config.steps, config.flops)
        self.device = _device(config.device)
        encoder = random_encoder(config.size, config.image_size, config.seed)
        make = OBJECTIVES[choose("objective", config.objective, OBJECTIVES)]
        self.objective = make(encoder, seed=config.seed).to(self.device)
        self.encoder = encoder
        self.lr = LR_TIMES_WIDTH / encoder.config.width if config.lr is None else config.lr
        self.optimiser = torch.optim.AdamW(_decay_groups(self.objective), lr=self.lr, betas=(0.9, 0.95), fused=True)
        self.gradients = Gradients(
            self.objective, batch=config.batch, device=self.device, threads=config.threads, seed=config.seed
        )
        self.steps = 0

    def __enter__(self) -> "Trainer":
        """Start the threads."""
        self.gradients.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads."""
        self.gradients.__exit__()

    def train(self, store: FrameStore, run: Run, stop: Stop) -> dict[str, Any]:
        """Train until the budget is spent or a stop is requested; the last step is published either way.

        Args:
            store: the frames to learn from.
            run: takes metrics, pictures and checkpoints.
            stop: looked at after every step.

        Returns:
            the summary: steps, seconds, pairs_per_s, flops, precision, and the last metrics.

        Raises:
            UserError: when the loss is no number any more; what was published before stays.
        """
        config = self.config
        sampler = PairSampler(store, batch=config.batch, max_gap=config.max_gap, seed=config.seed)
        shown = PairSampler(store, batch=PICTURED, max_gap=config.max_gap, seed=config.seed + 1).sample()
        journal = Journal(self, run, shown)
        flops_per_step = self.flops_per_step()
        began = time.perf_counter()
        with tqdm(total=100, desc="pretrain", bar_format=BAR, disable=None) as bar:
            while not stop.requested:
                seconds = time.perf_counter() - began
                spent = self.budget.spent(seconds=seconds, steps=self.steps, flops=self.steps * flops_per_step)
                bar.update(min(100.0, 100 * spent) - bar.n)
                if spent >= 1:
                    break
                parts = self.step(sampler.sample(), spent)
                bar.set_postfix_str(journal.keep(parts), refresh=False)
        seconds = time.perf_counter() - began
        journal.close()
        return {
            "steps": self.steps,
            "seconds": round(seconds, 2),
            "pairs_per_s": round(self.steps * config.batch / seconds, 1),
            "flops": self.steps * flops_per_step,
            "flops_per_pair": flops_per_step / config.batch,
            "precision": str(fast_dtype(str(self.device))).removeprefix("torch."),
            "threads": self.gradients.threads,
            "encoder": self.encoder.content_hash(),
            **journal.means(),
        }

    def step(self, clip: Tensor, spent: float) -> dict[str, float]:
        """Take one step.

        Args:
            clip: (B, 2, H, W, 3) uint8, frames t and t+k.
            spent: share of the budget that is spent, in [0, 1]; decides the learning rate.

        Returns:
            its metrics.

        Raises:
            UserError: when the loss is no number any more.
        """
        rate = learning_rate(spent, self.lr)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        parts = self.gradients(clip)
        if not math.isfinite(parts["pretrain/loss"]):
            raise UserError(
                f"the loss became {parts['pretrain/loss']} at step {self.steps} with --lr {self.lr:g}; "
                "try a smaller one"
            )
        nn.utils.clip_grad_norm_(self.objective.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1
        return {**parts, "pretrain/lr": rate}

    def flops_per_step(self) -> int:
        """Count the floating-point operations of a step, forward and backward; nothing is learnt."""
        size = self.config.image_size
        blank = torch.zeros(self.config.batch, 2, size, size, 3, dtype=torch.uint8, device=self.device)
        masks = torch.Generator(self.device).manual_seed(0)  # the training's own generator must not move

        def step() -> None:
            with autocast(self.device):
                self.objective(blank, masks)[0].backward()

        operations = count_flops(step)
        self.optimiser.zero_grad()
        return operations


class Journal:
    """What a training leaves behind while it runs: metrics, pictures, checkpoints."""

    def __init__(self, trainer: Trainer, run: Run, shown: Tensor) -> None:
        """Begin.

        Args:
            trainer: whose state is written down.
            run: where to.
            shown: clips (n, 2, H, W, 3) uint8 for the pictures.
        """
        self._trainer = trainer
        self._run = run
        self._shown = shown
        self._recent: deque[dict[str, float]] = deque(maxlen=SUMMARISED)
        self._logged = self._pictured = self._saved = time.perf_counter()
        self._text = ""

    def keep(self, parts: dict[str, float]) -> str:
        """Take the metrics of a step, and do what is due; return a few words for the progress bar."""
        now, step, config = time.perf_counter(), self._trainer.steps, self._trainer.config
        self._recent.append(parts)
        if step % LOG_EVERY == 0:
            means = self._mean(LOG_EVERY)
            means["pretrain/pairs_per_s"] = LOG_EVERY * config.batch / (now - self._logged)
            self._run.log(step, means)
            self._logged = now
            self._text = f"{means['pretrain/loss']:.4f} loss, {means['pretrain/pairs_per_s']:.0f} pairs/s"
        if now - self._pictured > config.picture_every:
            self._picture()
        if now - self._saved > config.save_every:
            self._save()
        return self._text

    def means(self) -> dict[str, float]:
        """Return the metrics' means over the last steps, without their prefix; empty before the first step."""
        return {name.removeprefix("pretrain/"): value for name, value in self._mean(SUMMARISED).items()}

    def close(self) -> None:
        """Publish the last step and its picture."""
        self._save()
        self._picture()

    def _mean(self, steps: int) -> dict[str, float]:
        values: dict[str, list[float]] = defaultdict(list)
        for parts in list(self._recent)[-steps:]:
            for name, value in parts.items():
                values[name].append(value)
        return {name: sum(list_) / len(list_) for name, list_ in values.items()}

    def _picture(self) -> None:
        trainer = self._trainer
        masks = torch.Generator(trainer.device).manual_seed(0)  # the same masks in every picture
        with autocast(trainer.device):
            columns = trainer.objective.look(self._shown.to(trainer.device), masks)
        grid = picture_grid({name: frames.cpu().numpy() for name, frames in columns.items()})
        self._run.log_image(trainer.steps, "seen", grid)
        self._pictured = time.perf_counter()

    def _save(self) -> None:
        trainer = self._trainer
        meta = {"encoder": asdict(trainer.encoder.config), "objective": trainer.config.objective}
        self._run.publish(trainer.steps, trainer.objective.state_dict(), meta)
        self._saved = time.perf_counter()


def _device(name: str) -> torch.device:
    choose("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError('no CUDA device here; choices for device: "auto", "cpu"')
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Split the weights into matrices, which decay, and norms, biases and marks, which do not."""
    weights = [value for value in module.parameters() if value.requires_grad]
    return [
        {"params": [value for value in weights if value.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [value for value in weights if value.ndim < 2], "weight_decay": 0.0},
    ]
