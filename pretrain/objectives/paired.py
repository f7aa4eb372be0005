"""Two encoders, compared at the end: does this image belong to that instruction, or to what that arm feels?

After CLIP (Radford et al. 2021), by the loss of SigLIP (Zhai et al. 2023): every image of a batch with every
instruction of it is one question of yes or no. An instruction says what became of the object in an episode, so what is
compared with it is a frame of the episode's beginning and one of its end. Whoever reads the arm alone can guess much of
that, so frames in which the object is painted out tell whether it is looked at.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from goalsight.base.distributed import gather_rows, group
from goalsight.base.errors import UserError, choose
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import INSTRUCTION, MEANING, UNHEARD, Batch, Clips
from goalsight.pretrain.data.format import PIXELS, PLACE
from goalsight.pretrain.data.wordings import from_bytes
from goalsight.pretrain.encoders.transformer import Block, initialise, mlp
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.objectives.base import Alarm, Objective
from goalsight.pretrain.objectives.numbers import NUMBERS, filled, scaled
from goalsight.pretrain.objectives.placed import SQUARE, Summary
from goalsight.pretrain.objectives.syllables import Syllables, spoken
from goalsight.pretrain.pictures import worded

PROPRIOCEPTION = "proprioception"
TEMPERATURE, BIAS = 10.0, -2.0  # that similarities are multiplied by and moved by at first; SigLIP has more negatives
AS_GOOD = 0.9  # share of the pairs found that may still be found with the object painted out
ENOUGH = (
    0.1  # more than by chance of the pairs must be found, for it to be worth asking whether the object is looked at
)


@dataclass(frozen=True)
class Paired:
    """Tell which instruction, or which proprioception, belongs to what is seen.

    Raises:
        UserError: when there is no such partner, or a number is not positive.
    """

    partner: Literal["instruction", "proprioception"] = "instruction"
    """What images are compared with."""
    features: int = 128
    """Numbers that are compared."""
    token_features: int = 16
    """Numbers of each token that they are made from."""
    text_width: int = 64
    """Encoder of instructions: features per token."""
    text_depth: int = 2
    """Encoder of instructions: transformer blocks."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        choose("partner", self.partner, (INSTRUCTION, PROPRIOCEPTION))
        check_positive(self, "features", "token_features", "text_width", "text_depth")
        if self.text_width % 8:
            raise UserError(f"text_width must divide by 8, got {self.text_width}")


class Reader(nn.Module):
    """Sentences as bytes to vectors: four bytes are a token, and a small transformer reads those."""

    def __init__(self, width: int, depth: int, features: int) -> None:
        super().__init__()
        self.syllables = Syllables(width, width)
        self.blocks = nn.ModuleList(Block(width, 2) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, features)

    def forward(self, text: Tensor) -> Tensor:
        """(B, LONGEST) uint8, zeros where it has ended, -> (B, features)."""
        tokens = self.syllables(text)
        for block in self.blocks:
            tokens = block(tokens)
        heard = spoken(text).unsqueeze(2).to(tokens.dtype)
        mean = (self.norm(tokens) * heard).sum(1) / heard.sum(1).clamp_min(1)
        said: Tensor = self.out(mean)
        return said


class PairedComparison(Objective):
    """The encoder with what sums up a frame or two, and an encoder of what they are compared with."""

    Options = Paired
    whole_batch = True

    def __init__(self, encoder: VideoEncoder, options: Paired | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is compared with what.
            seed: of the weights that are its own.
        """
        super().__init__(encoder)
        self.options = options = options or Paired()
        sizes = {"token_features": options.token_features, "features": options.features}
        self.summary = Summary(encoder, **sizes, seed=seed + 1)
        self.told = options.partner == INSTRUCTION
        self.column = INSTRUCTION if self.told else PROPRIOCEPTION
        with torch.random.fork_rng(devices=[]):
            self.both = nn.Linear(2 * options.features, options.features)
            self.partner = (
                Reader(options.text_width, options.text_depth, options.features)
                if self.told
                else nn.Sequential(nn.Linear(NUMBERS, options.features), mlp(options.features))
            )
        draws = torch.Generator().manual_seed(seed + 2)
        for part in (self.both, self.partner):
            initialise(part, draws)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(TEMPERATURE)))
        self.bias = nn.Parameter(torch.tensor(BIAS))

    def reads(self, max_gap: int) -> Clips:
        """Return a frame of an episode's beginning, one of its end and what is said; or frames and what is felt."""
        if self.told:
            return Clips(columns=(PIXELS, INSTRUCTION, UNHEARD, MEANING), ends=True, also=PLACE)
        return Clips(columns=(PIXELS, PROPRIOCEPTION), gaps=(), also=PLACE)

    def see(self, frames: Tensor) -> Tensor:
        """Clips (B, 2 or 1, H, W, 3) uint8 -> directions (B, features) float32."""
        summed = self.summary(self.encoder, self.encoder.embedding.cut(frames.flatten(0, 1)))
        vectors = self.both(summed.unflatten(0, frames.shape[:2]).flatten(1)) if self.told else summed
        return normalize(vectors.float(), dim=1)

    def hear(self, batch: Batch, column: str, *, alone: bool = False) -> Tensor:
        """Return the directions (B, features) float32 of what images are compared with.

        Args:
            batch: what `reads` declares.
            column: of it, what is heard.
            alone: whether the other processes do not listen at the same time.

        Raises:
            UserError: when proprioception has more numbers than can be taken.
        """
        values = batch[column][:, 0]
        if not self.told:
            values = filled(scaled(values, alone=alone), PROPRIOCEPTION)
        return normalize(self.partner(values).float(), dim=1)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: what `reads` declares.
            generator: not used.

        Returns:
            the sum of all questions' cross-entropies over the number of images [nats], each meaning asked for once;
            and that as a metric.
        """
        seen, heard = gather_rows(self.see(batch[PIXELS])), gather_rows(self.hear(batch, self.column))
        meaning = gather_rows(batch[MEANING][:, 0]) if self.told else torch.arange(len(seen), device=seen.device)
        once = _first_of_each(meaning)
        heard, belongs = heard[once], meaning.unsqueeze(1) == meaning[once]
        with torch.autocast(seen.device.type, enabled=False):
            logits = self.log_temperature.exp() * seen @ heard.T + self.bias
        loss = -logsigmoid(torch.where(belongs, logits, -logits)).sum() / len(seen)
        metrics = {"pretrain/loss": float(loss.detach())}
        # As in `contrastive.choose`: gradients reach the rows of this process alone.
        return loss + (group().size - 1) * (loss - loss.detach()), metrics

    @torch.no_grad()
    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return how well images are found by what belongs to them, in this process's part of the batch.

        Args:
            batch: what `reads` declares.
            generator: not used.

        Returns:
            retrieval as of `retrieval`, each meaning once, and among how many; by unheard words; and with the object
            painted out, where its place is known.
        """
        once = _first_of_each(batch[MEANING][:, 0]) if self.told else torch.arange(len(batch[PIXELS]))
        few = {name: values[once] for name, values in batch.items()}
        seen, heard = self.see(few[PIXELS]), self.hear(few, self.column)
        parts = {"among": float(len(once))} | retrieval(heard @ seen.T)
        if self.told:
            parts |= {f"{name}_unheard": value for name, value in retrieval(self.hear(few, UNHEARD) @ seen.T).items()}
        painted = painted_out(few)
        if painted is not None:
            parts |= {f"{name}_painted": value for name, value in retrieval(heard @ self.see(painted).T).items()}
        return {f"pretrain/{name}": value for name, value in parts.items()}

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what is seen, what was told, what is found for it, and what is seen with the object painted out."""
        frames = batch[PIXELS]
        best = (self.hear(batch, self.column, alone=True) @ self.see(frames).T).argmax(1)
        names = ("early frame", "late frame") if self.told else ("frame",)
        columns = {name: frames[:, number] for number, name in enumerate(names)}
        if self.told:
            said = [from_bytes(words.cpu().numpy()) for words in batch[INSTRUCTION][:, 0]]
            columns["told"] = torch.from_numpy(worded(said, frames.shape[2]))
        columns |= {f"found: {name}": frames[best, number] for number, name in enumerate(names)}
        painted = painted_out(batch)
        return columns if painted is None else columns | {"painted out": painted[:, -1]}

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how often what belongs together is found."""
        partner, among = self.options.partner, metrics["among"]
        said = f"the image is found by its {partner} among {among:.0f} in {metrics['r1']:.0%} of cases"
        said += f", is one of five in {metrics['r5']:.0%}"
        if "r1_unheard" in metrics:
            said += f"; by words it never heard in {metrics['r1_unheard']:.0%}"
        if "r1_painted" in metrics:
            said += f"; with the object painted out in {metrics['r1_painted']:.0%}"
        return said

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when nothing is found, or what is found does not depend on the object."""
        chance = 1 / metrics["among"]
        if metrics["r1"] < chance + ENOUGH:
            words = f"images are found in {metrics['r1']:.0%} of cases, by chance in {chance:.0%}"
            return (Alarm("unpaired", words),)
        painted = metrics.get("r1_painted")
        if painted is None or painted - chance < AS_GOOD * (metrics["r1"] - chance):
            return ()
        words = f"images are found as well with the object painted out: {painted:.0%} against {metrics['r1']:.0%}"
        return (Alarm("blind", words),)


def retrieval(alike: Tensor) -> dict[str, float]:
    """Return R@1 and R@5: how often the right one of n is the most similar, or among the five most similar.

    Of several that are equally similar any may be taken.

    Args:
        alike: (n, n), row i of what is looked for by i, which belongs to column i.
    """
    right = alike.diagonal().unsqueeze(1)
    better, like_it = (alike > right).sum(1), (alike == right).sum(1)  # the right one among those like it
    return {f"r{most}": float(((most - better) / like_it).clamp(0, 1).mean()) for most in (1, 5)}


def painted_out(batch: Batch) -> Tensor | None:
    """Return a batch's frames with every thing but the gripper painted over, in its frame's mean colour.

    Args:
        batch: pixels (B, T, H, W, 3) uint8, and `place.NAME` (B, T, 2) as shares of the side.

    Returns:
        the same shape; None where no place is known.
    """
    places = [values for name, values in batch.items() if name.startswith(PLACE) and name != f"{PLACE}gripper"]
    if not places:
        return None
    frames = batch[PIXELS]
    side = frames.shape[2]
    pixels = (torch.arange(side, device=frames.device) + 0.5) / side
    covered = torch.zeros(frames.shape[:4], dtype=torch.bool, device=frames.device)
    for place in places:
        near = (pixels - place.unsqueeze(-1)).abs() < 1 / SQUARE  # (B, T, 2, side): twice a square's side, in all
        covered |= near[:, :, 1, :, None] & near[:, :, 0, None, :]
    mean = frames.float().mean((2, 3), keepdim=True).to(frames.dtype)
    return torch.where(covered.unsqueeze(-1), mean, frames)


def _first_of_each(meaning: Tensor) -> Tensor:
    """Return the row at which each number (n,) comes first."""
    _, which = torch.unique(meaning, return_inverse=True)
    rows = torch.arange(len(meaning), device=meaning.device)
    return rows.new_full((int(which.max()) + 1,), len(meaning)).scatter_reduce(0, which, rows, "amin")
