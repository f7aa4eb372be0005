"""The training loop: steps until the budget is spent, with metrics, pictures and checkpoints on the way."""

import copy
import math
import time
from collections import defaultdict, deque
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from goalsight.base.budgets import Budget, learning_rate
from goalsight.base.distributed import Group, agree, group, together
from goalsight.base.errors import UserError, choose
from goalsight.base.flops import count_flops, matmul_peak
from goalsight.base.precision import autocast, fast_dtype
from goalsight.base.progress import progress
from goalsight.base.runs import Run
from goalsight.base.training_state import State, load_optimiser, optimiser_state, restoring
from goalsight.pretrain.data.clips import Batch, Sampler
from goalsight.pretrain.data.integrity import stamps
from goalsight.pretrain.data.samplers import ClipSampler
from goalsight.pretrain.data.store import FrameStore
from goalsight.pretrain.encoders.vit import PREFIX, random_encoder
from goalsight.pretrain.gradients import Gradients
from goalsight.pretrain.objectives import OBJECTIVES
from goalsight.pretrain.objectives.base import Alarm, Objective
from goalsight.pretrain.pictures import picture_grid

if TYPE_CHECKING:
    from goalsight.pretrain.train import Pretrain

SECONDS = 120.0  # of training where no budget is given
LOG_EVERY = 10  # steps; what is logged is their mean, and what takes passes of its own is measured at the first
LOSS = "pretrain/loss"  # that every objective measures
APART = 10.0  # times the first loss, and learning has come apart
SUMMARISED = 50  # steps that the summary's means are taken over, and that alarms wait for
NAMED = 4  # clips of a batch that gave no number
PICTURED = 6  # clips in a picture, the same ones each time
FIRST_SAVE = 5.0  # after the training began [s]; later ones come every `save_every`
PEAK_SIDE, PEAK_SECONDS = 1024, 0.3  # of the matrices whose product is the peak, and for how long that is measured
LR_TIMES_WIDTH = 0.24  # wider encoders want smaller steps (Yang et al. 2022); 2.5e-3 for nano
WEIGHT_DECAY = 0.05
CLIP_NORM = 1.0
BAR = "{desc} {percentage:3.0f}% {bar} {elapsed}<{remaining} {postfix}"


class Trainer:
    """Everything that one training needs besides its data. A context manager: its threads end with it."""

    def __init__(self, config: "Pretrain") -> None:
        """Build encoder, objective and optimiser.

        Raises:
            UserError: on names that do not exist, an image size that does not fit, a gap that nothing is read by, or a
                budget that cannot be.
        """
        self.config = config = config.settled()
        unlimited = config.seconds is None and config.steps is None and config.flops is None
        self.budget = Budget(SECONDS if unlimited else config.seconds, config.steps, config.flops)
        self.group = group()
        self.device = _device(config.device, self.group)
        self.encoder = random_encoder(
            *(config.size, config.image_size, config.seed),
            tokeniser=config.tokeniser,
            tokeniser_options=config.tokeniser_options,
        )
        make = OBJECTIVES.load(config.objective)
        self.objective: Objective = make(self.encoder, config.objective_options, seed=config.seed).to(self.device)
        _check_gap(self.objective, config)
        self.lr = LR_TIMES_WIDTH / self.encoder.config.width if config.lr is None else config.lr
        self.optimiser = torch.optim.AdamW(_decay_groups(self.objective), lr=self.lr, betas=(0.9, 0.95), fused=True)
        self.gradients = Gradients(
            self.objective, batch=config.batch, device=self.device, threads=config.threads, seed=config.seed
        )
        self.steps = 0
        self.seconds = 0.0  # of training, those before a stop included
        self.recent: deque[dict[str, float]] = deque(maxlen=SUMMARISED)  # metrics of the last steps
        self._kept: State | None = None  # of a sampler that is yet to be made

    def __enter__(self) -> "Trainer":
        """Start the threads, and speak with the other processes that train."""
        self._open = ExitStack()
        self._open.enter_context(together(self.device))
        self._open.enter_context(self.gradients)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads."""
        self._open.close()

    def open(self, store: FrameStore) -> None:
        """Take the data that is to be learnt from, and count what a step costs.

        Raises:
            UserError: when the store lacks what the objective reads, or the budget is too small for one step.
        """
        self._store, self._as_opened = store, stamps(store.path)
        config, clips = self.config, self.objective.reads(self.config.max_gap)
        rows = self.group.rows(config.batch)
        self.sampler: Sampler = ClipSampler(store, clips, batch=config.batch, seed=config.seed, rows=rows)
        self._shown = ClipSampler(store, clips, batch=PICTURED, seed=config.seed + 1).sample()
        if self._kept is not None:
            with restoring("the run"):
                self.sampler.load(self._kept)
        self._flops = self.flops_per_step(_next_of(self.sampler)) * self.group.size
        if self.budget.flops is not None and self.budget.flops < self._flops:
            raise UserError(
                f"one step takes {self._flops:.3g} operations, and the budget is {self.budget.flops:.3g}; give more"
            )

    def check_data(self) -> None:
        """See to it that what is learnt from is still what was opened; a recording that is still made may grow.

        Raises:
            UserError: it is not.
        """
        if not self._store.path.is_dir():
            raise UserError(f"{self._store.path} was removed while it was learnt from; put it back and resume the run")
        if self._store.complete and stamps(self._store.path) != self._as_opened:
            raise UserError(f"{self._store.path} was changed while it was learnt from; train anew")

    def train(self, run: Run | None) -> dict[str, Any]:
        """Train until the budget is spent or a stop is requested; the last step is published either way.

        Args:
            run: takes metrics, pictures and checkpoints; its `stop` is looked at after every step. None in a process
                that does not lead.

        Returns:
            the summary: steps, seconds, pairs_per_s, flops, the share of this machine's fastest matrix product that
            they came to, precision, alarms, and the last metrics.

        Raises:
            UserError: when the loss is no number any more, the data was changed, or there was time for no step; what
                was published before stays.
        """
        config, flops_per_step = self.config, self._flops
        journal = None if run is None else Journal(self, run, self._shown)
        began = time.perf_counter() - self.seconds
        with progress(total=100, desc="pretrain", bar_format=BAR, disable=not self.group.leads) as bar:
            while True:
                self.seconds = time.perf_counter() - began
                spent = self.budget.spent(seconds=self.seconds, steps=self.steps, flops=self.steps * flops_per_step)
                spent, stop = agree([spent, float(run is not None and run.stop.requested)], self.device)
                bar.update(min(100.0, 100 * spent) - bar.n)
                if spent >= 1 or stop:
                    break
                self.recent.append(self.step(self.sampler.sample(), spent))
                if journal is not None:
                    bar.set_postfix_str(journal.keep(), refresh=False)
        self.seconds = time.perf_counter() - began
        if not self.steps and not stop:
            raise UserError(f"the budget of {self.budget.seconds:g} s is over before the first step; give more")
        if journal is not None:
            journal.close(ended=spent >= 1)
        peak = self._peak()
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "pairs_per_s": round(self.steps * config.batch / self.seconds, 1),
            "flops": self.steps * flops_per_step,
            "flops_per_pair": flops_per_step / config.batch,
            "matmul_peak": peak,
            "share_of_peak": round(self.steps * flops_per_step / self.seconds / peak, 4),
            "precision": str(fast_dtype(str(self.device))).removeprefix("torch."),
            "threads": self.gradients.threads,
            "processes": self.group.size,
            "encoder": self.encoder.content_hash(),
            "alarms": {alarm.name: alarm.sentence for alarm in self.alarms()},
            **self.means(),
        }

    def step(self, batch: Batch, spent: float) -> dict[str, float]:
        """Take one step.

        Args:
            batch: what the objective reads, (B, T, ...) each.
            spent: share of the budget that is spent, in [0, 1]; decides the learning rate.

        Returns:
            its metrics.

        Raises:
            UserError: when the loss or its gradient is no number any more; the weights are then as they were.
        """
        rate = learning_rate(spent, self.lr)
        for weights in self.optimiser.param_groups:
            weights["lr"] = rate
        parts = self.gradients(batch, self.steps)
        norm = float(nn.utils.clip_grad_norm_(self.objective.parameters(), CLIP_NORM))
        for name, value in (("loss", parts[LOSS]), ("gradient", norm)):
            if not math.isfinite(value):  # before the weights are touched: what is saved stays good
                begins = self.sampler.drawn[:, 0].tolist()
                clips = ", ".join(map(str, begins[:NAMED])) + (", ..." if len(begins) > NAMED else "")
                raise UserError(
                    f"the {name} became {value} at step {self.steps} with --lr {self.lr:g}, in clips that begin at "
                    f"frames {clips}; try a smaller one"
                )
        if self.steps % LOG_EVERY == 0:
            parts |= self.gradients.monitor(batch, self.steps)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.objective.after_step(spent)
        self.steps += 1
        return {**parts, "pretrain/lr": rate}

    def flops_per_step(self, batch: Batch) -> int:
        """Count the floating-point operations of a step on such a batch, forward and backward, by a copy that is lost.

        What the objective monitors is no part of it.

        Raises:
            UserError: an objective of someone's own returns what cannot be learnt from.
        """
        batch = {name: values.to(self.device) for name, values in batch.items()}
        draws, objective = torch.Generator(self.device).manual_seed(0), copy.deepcopy(self.objective)

        def step() -> None:
            with autocast(self.device):
                loss = objective(batch, draws)[0]
            if loss.ndim or not loss.requires_grad:
                raise UserError(
                    f'the objective "{self.config.objective}" returns no loss to learn from: it is to be one number '
                    "that depends on the weights"
                )
            loss.backward()

        return count_flops(step)

    def _peak(self) -> float:
        """Measure the fastest matrix product [operations/s] of all processes, in this precision, by these threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.gradients.threads)
        try:
            kind = fast_dtype(str(self.device))
            peak = matmul_peak(kind, device=str(self.device), size=PEAK_SIDE, seconds=PEAK_SECONDS)
        finally:
            torch.set_num_threads(before)
        return peak * self.group.size

    def means(self, steps: int = SUMMARISED) -> dict[str, float]:
        """Return the metrics' means over the last steps, without their prefix; empty before the first step."""
        values: dict[str, list[float]] = defaultdict(list)
        for parts in list(self.recent)[-steps:]:
            for name, value in parts.items():
                values[name.removeprefix("pretrain/")].append(value)
        return {name: sum(list_) / len(list_) for name, list_ in values.items()}

    def alarms(self) -> tuple[Alarm, ...]:
        """Return the known failures that have come about; before there are steps enough to tell, a loss that rose."""
        if len(self.recent) == SUMMARISED:
            return self.objective.alarms(self.means())
        losses = [parts[LOSS] for parts in self.recent]
        if not losses or losses[-1] <= APART * abs(losses[0]):
            return ()
        rose = f"the loss rose from {losses[0]:.3g} to {losses[-1]:.3g}"
        return (Alarm("apart", f"{rose}: the training has come apart; a smaller --lr than {self.lr:g} may help"),)

    def state(self) -> State:
        """Return all that decides the steps to come."""
        return {
            "objective": self.objective.state_dict(),
            "optimiser": optimiser_state(self.optimiser),
            "sampler": self.sampler.state(),
            "steps": self.steps,
            "seconds": self.seconds,
            "recent": list(self.recent),
        }

    def load(self, state: State) -> None:
        """Go on from a state, once the same data is opened.

        Raises:
            UserError: it is that of another training.
        """
        with restoring("the run"):
            self.objective.load_state_dict(state["objective"])
            load_optimiser(self.optimiser, state["optimiser"])
            self._kept = state["sampler"]
            self.steps, self.seconds = int(state["steps"]), float(state["seconds"])
            self.recent.extend({name: float(value) for name, value in parts.items()} for parts in state["recent"])
            if not all(LOSS in parts for parts in self.recent):
                raise ValueError("a step without a loss")


class Journal:
    """What a training leaves behind while it runs: metrics, pictures, checkpoints."""

    def __init__(self, trainer: Trainer, run: Run, shown: Batch) -> None:
        """Begin.

        Args:
            trainer: whose state is written down.
            run: where to.
            shown: clips for the pictures.
        """
        self._trainer = trainer
        self._run = run
        self._shown = {name: values.to(trainer.device) for name, values in shown.items()}
        self._logged = self._pictured = time.perf_counter()
        self._save_at = self._logged + min(FIRST_SAVE, trainer.config.save_every)
        self._text = ""

    def keep(self) -> str:
        """Do what is due after a step, and return a few words for the progress bar."""
        now, trainer = time.perf_counter(), self._trainer
        if trainer.steps % LOG_EVERY == 0:
            self._log(now, LOG_EVERY)
        if now - self._pictured > trainer.config.picture_every:
            self._picture()
        if now > self._save_at:
            self._save()
        return self._text

    def close(self, *, ended: bool) -> None:
        """Publish the last step and its picture.

        Args:
            ended: the budget is spent, so that the last steps are logged, too, however few they are.
        """
        if ended and (rest := self._trainer.steps % LOG_EVERY):
            self._log(time.perf_counter(), rest)
        self._save()
        self._picture()

    def _log(self, now: float, steps: int) -> None:
        """Log the means over the last steps."""
        trainer = self._trainer
        means = trainer.means(steps)
        rate = steps * trainer.config.batch / (now - self._logged)
        values = {f"pretrain/{name}": value for name, value in means.items()}
        self._run.log(trainer.steps, values | {"pretrain/pairs_per_s": rate})
        self._logged = now
        alarms = "".join(f", ALARM {alarm.name}" for alarm in trainer.alarms())
        self._text = f"{means['loss']:.4f} loss, {rate:.0f} pairs/s{alarms}"

    def _picture(self) -> None:
        trainer = self._trainer
        draws = torch.Generator(trainer.device).manual_seed(0)  # the same masks in every picture
        with autocast(trainer.device):
            columns = trainer.objective.visualise(self._shown, draws)
        grid = picture_grid({name: frames.cpu().numpy() for name, frames in columns.items()})
        self._run.log_image(trainer.steps, "seen", grid)
        self._pictured = time.perf_counter()

    def _save(self) -> None:
        trainer = self._trainer
        trainer.check_data()
        weights = {f"{PREFIX}{name}": value for name, value in trainer.encoder.state_dict().items()}
        meta = {"encoder": asdict(trainer.encoder.config), "objective": trainer.config.objective}
        options = {"objective_options": asdict(trainer.config.objective_options)}
        self._run.publish(trainer.steps, weights, meta | options, state=trainer.state(), keep=False)
        self._save_at = time.perf_counter() + trainer.config.save_every


def _next_of(sampler: Sampler) -> Batch:
    """Look at the clips that a sampler draws next, which it then still draws next."""
    state = sampler.state()
    batch = sampler.sample()
    sampler.load(state)
    return batch


def _device(name: str, members: Group) -> torch.device:
    choose("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError('no CUDA device here; choices for device: "auto", "cpu"')
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", members.local_rank % torch.cuda.device_count() if members.size > 1 else 0)
    torch.cuda.set_device(device)
    return device


def _check_gap(objective: Objective, config: "Pretrain") -> None:
    """Refuse a largest gap, other than the usual one, that changes nothing of what is read."""
    usual = type(config).max_gap
    if config.max_gap != usual and objective.reads(config.max_gap) == objective.reads(usual):
        raise UserError(f'--max-gap does nothing for the objective "{config.objective}"; leave it out')


def _decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Split the weights: what has two dimensions or more decays, tables of marks too; norms and biases do not."""
    weights = [value for value in module.parameters() if value.requires_grad]
    return [
        {"params": [value for value in weights if value.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [value for value in weights if value.ndim < 2], "weight_decay": 0.0},
    ]
