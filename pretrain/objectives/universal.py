"""One rule for every kind of data: say what an averaged teacher makes of what is hidden.

After data2vec 2.0 (Baevski et al. 2022): the teacher sees everything, its last blocks' features, normalised, averaged
and freed of what all share at a position, are what is to be said, and several parts of the same data are hidden from
the encoder for one look of the teacher's. Pixels, what the arm feels over time, what it does over time, and words go
through the same blocks, each by itself, with the same options. Nobody says that all kinds gain by that (DABS, Tamkin et
al. 2021): beside each stands what a linear reading makes of an encoder that has learnt nothing.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from goalsight.base.distributed import gather_rows, group
from goalsight.base.errors import UserError, choose
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import INSTRUCTION, MEANING, Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.transformer import grid_positions, initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden, hide_tokens, take
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.decoding import Decoding, DecodingObjective
from goalsight.pretrain.objectives.numbers import NUMBERS, filled, scaled
from goalsight.pretrain.objectives.syllables import SYLLABLES, Syllables, spoken
from goalsight.pretrain.objectives.teaching import Teaching, colours_of, targets

FELT, DONE, WORDS = "proprioception", "action", INSTRUCTION
MODALITIES = (PIXELS, FELT, DONE, WORDS)
LENGTH = 16  # frames of a series
BYTES = 32  # features of a byte
READ = 512  # clips at least, by which linear readings are judged; a half of them is learnt from
STRENGTHS = (0.03, 0.3, 3.0, 30.0)  # of the ridge, relative to the mean variance of a direction
CLEARLY = 0.05  # by so much more of an error less can be read
CHUNKS = 4  # of a sequence, each of which they read the mean of
SIGNS = 16  # that stand for what a sentence means


@dataclass(frozen=True)
class Universal(Teaching, Decoding):
    """Say what an averaged copy of the encoder makes of what is hidden, of any kind of data by the same rule.

    Raises:
        UserError: when there is no such kind of data, a number is out of range, or the decoder has no such size.
    """

    modalities: tuple[str, ...] = MODALITIES
    """Kinds of data: pixels, proprioception, action, instruction."""
    hide: float = 0.6
    """Share of the tokens that is hidden."""
    masks: int = 2
    """Parts hidden, one after another, for one look of the teacher's."""
    averaged: int = 2
    """Last blocks whose features are averaged."""

    def __post_init__(self) -> None:
        """Refuse what cannot be learnt."""
        for name in self.modalities:
            choose("kind of data", name, MODALITIES)
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise UserError(f"name each kind of data once, and at least one, got {' '.join(self.modalities) or 'none'}")
        check_positive(self, "masks", "averaged")
        if not 0 < self.hide < 1:
            raise UserError(f"hide must lie in (0, 1), got {self.hide}")
        Teaching.__post_init__(self)
        Decoding.__post_init__(self)


class Senses(nn.Module):
    """An encoder, and what makes tokens for it of every kind of data."""

    series: Tensor

    def __init__(self, encoder: VideoEncoder, seed: int) -> None:
        super().__init__()
        width = encoder.config.width
        with torch.random.fork_rng(devices=[]):
            self.felt, self.done = nn.Linear(NUMBERS, width), nn.Linear(NUMBERS, width)
            self.words = Syllables(BYTES, width)
        draws = torch.Generator().manual_seed(seed)
        for part in (self.felt, self.done, self.words):
            initialise(part, draws)
        self.encoder = encoder
        self.register_buffer("series", grid_positions(width, (1, LENGTH)), persistent=False)

    def tokens(self, name: str, values: Tensor, visible: Tensor | None = None) -> Tensor:
        """Make tokens (B, T, width), or those visible, of pieces, a series (B, LENGTH, NUMBERS), or bytes (B, LONGEST).

        Args:
            name: of the kind of data.
            values: what tokens are made of.
            visible: (B, K) which of them are made; nothing of the others enters.
        """
        if name == PIXELS:
            return self.encoder.embedding.embed(values, visible)
        series = self.felt if name == FELT else self.done
        made: Tensor = self.words(values) if name == WORDS else series(values) + self.series
        return made if visible is None else take(made, visible)

    def layers(self, tokens: Tensor, last: int) -> Tensor:
        """Return the mean of the last blocks' features, each normalised: (B, T, width) -> the same, float32."""
        found = []
        for block in self.encoder.blocks:
            tokens = block(tokens)
            found.append(layer_norm(tokens.float(), tokens.shape[-1:]))
        return torch.stack(found[-last:]).mean(0)


class UniversalPrediction(DecodingObjective):
    """The encoder with its teacher, and what stands beside them having learnt nothing."""

    codes: Tensor

    Options = Universal
    whole_batch = True  # numbers are scaled over the batch

    def __init__(self, encoder: VideoEncoder, options: Universal | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: which kinds of data, what is hidden, and the teacher's pace.
            seed: of the weights that are its own.
        """
        self.options = options = options or Universal()
        super().__init__(encoder, options, size=encoder.config.width, marks=len(MODALITIES), seed=seed)
        self.senses = Senses(encoder, seed + 2)
        self.teacher = copy.deepcopy(self.senses).requires_grad_(False)
        self.untrained = copy.deepcopy(self.teacher)
        self._kept: dict[str, list[Tensor]] = {}  # by kind, of clips not read yet: what tokens are made of, and wanted
        self._read: dict[str, float] = {}  # the newest readings
        lengths = {FELT: LENGTH, DONE: LENGTH, WORDS: SYLLABLES}
        for name, length in lengths.items():
            places = grid_positions(options.decoder_width, (1, length))
            self.register_buffer(f"places_{name}", places, persistent=False)
        codes = torch.randn(256, SIGNS, generator=torch.Generator().manual_seed(0)).sign()
        self.register_buffer("codes", codes, persistent=False)

    def reads(self, max_gap: int) -> Clips:
        """Return a frame, what is felt and done from there on, and what was told; linear readings want some of it."""
        told = (INSTRUCTION, MEANING) if WORDS in self.options.modalities else ()
        numbers = sorted({FELT, DONE} & set(self.options.modalities))
        gaps = ((1, 1),) * (LENGTH - 1 if numbers else 0)
        return Clips(
            columns=(PIXELS, *numbers, *told), gaps=gaps, also=(FELT, DONE), seen=1, less="--universal.modalities"
        )

    def values(self, batch: Batch) -> dict[str, Tensor]:
        """Return what tokens are made of, by kind."""
        found: dict[str, Tensor] = {}
        for name in self.options.modalities:
            if name == PIXELS:
                found[name] = self.encoder.embedding.cut(batch[PIXELS][:, 0])
            elif name == WORDS:
                found[name] = batch[INSTRUCTION][:, 0]
            else:
                found[name] = filled(scaled(batch[name]), name)
        return found

    def wanted(self, batch: Batch) -> dict[str, Tensor]:
        """Return what is read off each kind, (B, K): something that another kind tells of it, where that is known."""
        found: dict[str, Tensor] = {}
        if FELT in batch:
            felt = batch[FELT].float()
            found |= {PIXELS: felt[:, 0], DONE: felt[:, -1] - felt[:, 0]}
        if DONE in batch:
            found[FELT] = batch[DONE].float().mean(1)
        if MEANING in batch:
            found[WORDS] = self.codes[batch[MEANING][:, 0] % len(self.codes)]
        return {name: found[name] for name in self.options.modalities if name in found}

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: what `reads` declares.
            generator: draws what is hidden.

        Returns:
            the mean over the kinds of data of the squared errors where something is hidden (1 is that of saying what
            all share at a position); and metrics: those by kind.
        """
        parts: dict[str, Tensor] = {}
        for name, value in self.values(batch).items():
            there = spoken(value) if name == WORDS else None
            wanted = targets(self.look(self.teacher, name, value), there)
            errors = [self._say_hidden(name, value, wanted, there, generator) for _ in range(self.options.masks)]
            parts[f"error_{name}"] = torch.stack(errors).mean()
        parts = {"loss": torch.stack(list(parts.values())).mean()} | parts
        return parts["loss"], {f"pretrain/{name}": float(value.detach()) for name, value in parts.items()}

    @torch.no_grad()
    def look(self, senses: Senses, name: str, value: Tensor) -> Tensor:
        """Return what somebody makes of a whole sequence of one kind, of whom nothing learns: (B, T, width) float32."""
        return senses.layers(senses.tokens(name, value), self.options.averaged)

    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return linear readings, the newer the more they count; one is made as often as there are clips enough for it.

        Args:
            batch: what `reads` declares.
            generator: not used.
        """
        values = self.values(batch)
        for name, wanted in self.wanted(batch).items():
            newest = [values[name], wanted]
            before = self._kept.get(name, [part[:0] for part in newest])
            self._kept[name] = [torch.cat(pair) for pair in zip(before, newest, strict=True)]
            if len(self._kept[name][0]) * group().size >= READ:
                read = self.read(name, *self._kept.pop(name))
                self._read |= {key: (self._read.get(key, error) + error) / 2 for key, error in read.items()}
        return {f"pretrain/{name}": value for name, value in self._read.items()}

    @torch.no_grad()
    def read(self, name: str, values: Tensor, wanted: Tensor) -> dict[str, float]:
        """Return the errors of a linear reading of a kind of data, off who has learnt and off who has not.

        A half of the clips of all processes is learnt from by ridge regression, a quarter chooses its strength, the
        last judges; 1 is the error of the mean.

        Args:
            name: of the kind.
            values: what its tokens are made of, of this process's clips, (n, ...).
            wanted: what is read, (n, K).
        """
        wanted = gather_rows(scaled(wanted))
        return {
            f"read_{name}_{who}": linear_error(gather_rows(_summary(self.look(senses, name, values))), wanted)
            for who, senses in (("learnt", self.teacher), ("untrained", self.untrained))
        }

    def get_extra_state(self) -> dict[str, Any]:
        """Return what `monitor` goes on from."""
        return {"kept": dict(self._kept), "read": dict(self._read)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Let `monitor` go on from there."""
        device = self.codes.device
        self._kept = {name: [part.to(device) for part in parts] for name, parts in state["kept"].items()}
        self._read = {name: float(error) for name, error in state["read"].items()}

    def _say_hidden(
        self, name: str, value: Tensor, wanted: Tensor, there: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Hide a part of the tokens, look at the rest, and return the mean squared error of what is said of it."""
        hidden = hide_tokens(len(wanted), wanted.shape[1], self.options.hide, generator)
        asked = hidden.mask if there is None else hidden.mask & there
        errors = (self.say(name, value, hidden) - wanted).square().mean(2)
        return (errors * asked).sum() / asked.sum().clamp_min(1)

    def say(self, name: str, value: Tensor, hidden: Hidden) -> Tensor:
        """Say what the teacher makes of a sequence of one kind, part of which is hidden: (B, T, width)."""
        number, seen = MODALITIES.index(name), self.encoder.think(self.senses.tokens(name, value, hidden.visible))
        places = self.positions if name == PIXELS else getattr(self, f"places_{name}")
        memory = self.narrow(seen) + places[hidden.visible] + self.frame_mark[number]
        blank = (self.blank + places + self.frame_mark[number]).expand(len(seen), -1, -1)
        return self.decode(blank, memory)

    def after_step(self, spent: float) -> None:
        """Move the teacher towards the encoder."""
        self.options.follow(self.teacher, self.senses, spent)

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the frames at which clips begin, what is shown of them, and the features said of it, as colours.

        Colours are the teacher's first three principal components.
        """
        frames = batch[PIXELS][:, 0]
        pieces = self.encoder.embedding.cut(frames)
        hidden = hide_tokens(len(frames), self.encoder.tokens, self.options.hide, generator)
        columns = {"frame": frames, "visible": self.greyed(pieces, hidden)}
        if PIXELS not in self.options.modalities:
            return columns
        wanted = targets(self.look(self.teacher, PIXELS, pieces))
        colour = colours_of(wanted)
        said = self.painted(colour(self.say(PIXELS, pieces, hidden).float()))
        return columns | {"said of it": said, "by teacher": self.painted(colour(wanted))}

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well what is hidden is said, and how well a linear reading does, of each kind."""
        said = []
        for name in self.options.modalities:
            words = f"{name} {1 - metrics[f'error_{name}']:.2f}"
            if f"read_{name}_learnt" in metrics:
                learnt, untrained = (metrics[f"read_{name}_{who}"] for who in ("learnt", "untrained"))
                words += f" (a linear reading's error {learnt:.2f}, untrained {untrained:.2f})"
            said.append(words)
        return f"of hidden features is explained: {', '.join(said)}"

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn where clearly less can be read than off an encoder that has learnt nothing, and anything at all."""
        worse = []
        for name in self.options.modalities:
            learnt, untrained = (metrics.get(f"read_{name}_{who}", 1.0) for who in ("learnt", "untrained"))
            if untrained < min(learnt - CLEARLY, 1.0):
                worse.append(name)
        if not worse:
            return ()
        return (Alarm("unlearnt", f"less can be read than off an untrained encoder of {', '.join(worse)}"),)


def _summary(features: Tensor) -> Tensor:
    """The mean of each part of a sequence, (B, T, D) -> (B, CHUNKS * D)."""
    return torch.cat([part.mean(1) for part in features.tensor_split(CHUNKS, 1)], 1)


def linear_error(features: Tensor, wanted: Tensor) -> float:
    """Read the last quarter of some rows by ridge regression on the first half; the third chooses its strength.

    Args:
        features: (n, D).
        wanted: (n, K).

    Returns:
        the squared error over that of the mean.
    """
    half, last = len(wanted) // 2, len(wanted) * 3 // 4
    x, y = features.double(), wanted.double()
    x, y = x - x[:half].mean(0), y - y[:half].mean(0)
    gram, told = x[:half].T @ x[:half], x[:half].T @ y[:half]
    scale, ones = gram.diagonal().mean(), torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    misses = [y - x @ torch.linalg.solve(gram + (by * scale + 1e-9) * ones, told) for by in STRENGTHS]
    missed = min(misses, key=lambda miss: float(miss[half:last].square().mean()))
    return float(missed[last:].square().mean() / y[last:].square().mean().clamp_min(1e-9))
