"""One trunk for all that is known of a moment, from the first layer on: images, what is felt, what is done, and words.

After M3AE (Geng et al. 2022) and RPT (Radosavovic et al. 2023): tokens of three frames, of what the arm feels and does
at the first, and of the instruction go through the encoder's blocks together. Patches are hidden, and whatever else
there is is left out at random; what is missing is asked for: which move led here? what does the arm feel? what was it
told, and is that what is seen here? Where the recording knows places, it may be asked where things are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from goalsight.base.errors import UserError
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import INSTRUCTION, MEANING, Batch, Clips
from goalsight.pretrain.data.format import PIXELS, PLACE
from goalsight.pretrain.encoders.transformer import initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden, hide_tokens
from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.objectives.decoding import Decoding, DecodingObjective, put
from goalsight.pretrain.objectives.numbers import NUMBERS, filled, scaled
from goalsight.pretrain.objectives.saying import saying
from goalsight.pretrain.objectives.syllables import SYLLABLE, SYLLABLES, Syllables, spoken

IMAGE, FELT, DONE, WORDS = "image", "proprioception", "action", INSTRUCTION
MODALITIES = (IMAGE, FELT, DONE, WORDS)
FRAMES, LATER = 3, 100  # frames of a clip: this one, the next, and one that comes so much later at most
BYTES = 32  # features of a byte
THINGS = 8  # whose places are asked for, at most
TRIED = 16  # clips by which it is measured what a modality is good for
NONE = 1e-9  # error that is as good as none: of a single clip numbers are known, being their own mean
UNUSED = 0.01  # change of the errors below which leaving a modality out changes nothing


@dataclass(frozen=True)
class Fused(Decoding):
    """Say what is missing of a moment: patches, what is felt, what is done, what was told, and whether it fits.

    Raises:
        UserError: when a share does not lie in (0, 1), or the decoder has no such size.
    """

    hide: float = 0.75
    """Share of each frame's tokens, and of the instruction's, that is hidden."""
    leave_out: float = 0.3
    """Share of the clips in which what is felt, what is done, and what was told are left out, each by itself; images
    are left out a third as often."""
    weight: float = 0.01
    """Of all that is not an image, in the loss."""
    places: bool = False
    """Ask where things are in the picture, too: knowledge of the simulator's that no silent video has, to be named with
    results."""

    def __post_init__(self) -> None:
        """Refuse shares that hide nothing or everything."""
        for name in ("hide", "leave_out"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        check_positive(self, "weight")
        super().__post_init__()


@dataclass(frozen=True)
class Missing:
    """What is not shown of some clips.

    Attributes:
        hidden: patches of each frame.
        syllables: (B, SYLLABLES) True where a syllable is hidden.
        kept: (B,) of each modality, whether any of it is shown.
    """

    hidden: list[Hidden]
    syllables: Tensor
    kept: dict[str, Tensor]


@dataclass(frozen=True)
class Said:
    """What is said of a moment: frames, each (B, tokens, size), and the rest by name."""

    frames: list[Tensor]
    rest: dict[str, Tensor]


class FusedPrediction(DecodingObjective):
    """The encoder as a trunk for all modalities, with a decoder that is asked for whatever is missing."""

    Options = Fused
    whole_batch = True  # numbers are scaled over the batch, and instructions exchanged in it

    def __init__(self, encoder: VideoEncoder, options: Fused | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden and asked for, and the decoder's size.
            seed: of the weights that are its own.
        """
        self.options = options = options or Fused()
        self.saying = saying(encoder.tokeniser)
        super().__init__(encoder, options, size=self.saying.size, marks=FRAMES, seed=seed)
        width, narrow = encoder.config.width, options.decoder_width
        with torch.random.fork_rng(devices=[]):
            self.felt, self.done = nn.Linear(NUMBERS, width), nn.Linear(NUMBERS, width)
            self.words = Syllables(BYTES, width)
            self.asked = nn.Embedding(3 + SYLLABLES + THINGS, narrow)
            self.says = nn.ModuleDict(
                {
                    FELT: nn.Linear(narrow, NUMBERS),
                    DONE: nn.Linear(narrow, NUMBERS),
                    "fits": nn.Linear(narrow, 1),
                    WORDS: nn.Linear(narrow, SYLLABLE * 256),
                    "places": nn.Linear(narrow, 2),
                }
            )
        draws = torch.Generator().manual_seed(seed + 2)
        for part in (self.felt, self.done, self.words, self.asked, self.says):
            initialise(part, draws)
        for head in self.says.values():
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
        self.nothing = nn.Parameter(torch.zeros(len(MODALITIES), width))  # stands for what is left out
        self.frame = nn.Parameter(torch.zeros(FRAMES, width))
        self.kind = nn.Parameter(torch.zeros(len(MODALITIES), narrow))

    def reads(self, max_gap: int) -> Clips:
        """Return a frame, the next one and a later one, and what is felt, done and told."""
        columns = (PIXELS, FELT, DONE, INSTRUCTION, MEANING)
        return Clips(columns=columns, gaps=((1, 1), (1, LATER)), also=PLACE if self.options.places else "")

    def draw_missing(self, batch: Batch, generator: torch.Generator) -> Missing:
        """Draw what is not shown."""
        count, share = len(batch[PIXELS]), self.options.leave_out
        hidden = [hide_tokens(count, self.encoder.tokens, self.options.hide, generator) for _ in range(FRAMES)]
        draws = torch.rand(count, SYLLABLES + len(MODALITIES), generator=generator, device=generator.device)
        shares = {IMAGE: share / 3}
        kept = {name: draws[:, place] >= shares.get(name, share) for place, name in enumerate(MODALITIES)}
        return Missing(hidden, draws[:, len(MODALITIES) :] < self.options.hide, kept)

    def say(self, batch: Batch, pieces: list[Tensor], numbers: Mapping[str, Tensor], missing: Missing) -> Said:
        """Look at what is shown of each moment, all of it together, and say what is missing.

        Args:
            batch: clips.
            pieces: of their frames.
            numbers: what is felt and done, scaled and filled up, (B, NUMBERS).
            missing: what is not shown.
        """
        images, rest = self.look(batch, pieces, numbers, missing)
        count = len(pieces[0])
        memory = torch.cat([*images, *rest], 1)
        blanks = [self.blanks(count) + mark for mark in self.frame_mark]
        asked = self.asked.weight.expand(count, -1, -1)
        answers = torch.cat([*map(put, images, missing.hidden, blanks), asked.to(memory.dtype)], 1)
        for block in self.blocks:
            answers = block(answers, memory)
        *frames, others = self.norm(answers).split([self.encoder.tokens] * FRAMES + [asked.shape[1]], 1)
        felt, done, fits, told, places = others.split([1, 1, 1, SYLLABLES, THINGS], 1)
        questions = {FELT: felt[:, 0], DONE: done[:, 0], "fits": fits[:, 0], WORDS: told, "places": places}
        return Said(
            [self.out(frame).float() + self.saying.first for frame in frames],
            {name: self.says[name](answer).float() for name, answer in questions.items()},
        )

    def look(
        self, batch: Batch, pieces: list[Tensor], numbers: Mapping[str, Tensor], missing: Missing
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Put all that is shown through the trunk together; return the tokens of each frame, and those of the rest."""
        nothing = dict(zip(MODALITIES, self.nothing, strict=True))
        seen = [
            self.encoder.embedding.embed(one, hidden.visible) + mark
            for one, hidden, mark in zip(pieces, missing.hidden, self.frame, strict=True)
        ]
        words = torch.where(missing.syllables.unsqueeze(2), nothing[WORDS], self.words(batch[INSTRUCTION][:, 0]))
        parts = {
            IMAGE: torch.cat(seen, 1),
            FELT: self.felt(numbers[FELT]).unsqueeze(1),
            DONE: self.done(numbers[DONE]).unsqueeze(1),
            WORDS: words,
        }
        shown = [
            torch.where(missing.kept[name].view(-1, 1, 1), part, nothing[name].to(part.dtype))
            for name, part in parts.items()
        ]
        thought = self.encoder.think(torch.cat(shown, 1)).split([part.shape[1] for part in shown], 1)
        looked = thought[0].split([one.shape[1] for one in seen], 1)
        images = [
            self.remember(one, hidden.visible) + mark + self.kind[0]
            for one, hidden, mark in zip(looked, missing.hidden, self.frame_mark, strict=True)
        ]
        return images, [self.narrow(one) + kind for one, kind in zip(thought[1:], self.kind[1:], strict=True)]

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: what `reads` declares.
            generator: draws what is missing, and whose instructions are exchanged.

        Returns:
            the error of images that are not left out, plus `weight` times the squared errors of what is felt and done
            where that is left out, in units of their variance, the cross-entropy of hidden bytes and that of whether
            the instruction fits [nats]; and metrics.
        """
        pieces = [self.encoder.embedding.cut(frames) for frames in batch[PIXELS].unbind(1)]
        numbers = {name: self.numbers(batch, name) for name in (FELT, DONE)}
        told, fits = exchanged(batch, generator)
        missing = self.draw_missing(batch, generator)
        said = self.say(batch | {INSTRUCTION: told}, pieces, numbers, missing)
        parts = self.parts(said, self.errors(batch, pieces, numbers, said), told[:, 0], fits, missing)
        if self.options.places:
            parts["places"] = _mean(self.place_errors(batch, said), missing.kept[IMAGE])
        rest = torch.stack([part for name, part in parts.items() if name not in ("image", "right")]).sum()
        loss = parts["image"] + self.options.weight * rest
        known = {name: float(part.detach()) for name, part in parts.items()}
        metrics = self.saying.metrics(loss, said.frames[1], *pieces[:2]) | {
            "pretrain/felt_explained": 1 - known["felt"],
            "pretrain/done_explained": 1 - known["done"],
            "pretrain/bits_of_letter": known["letters"] / math.log(2),
            "pretrain/fits_told": known["right"],
        }
        if self.options.places:
            metrics["pretrain/place_error"] = known["places"] ** 0.5
        return loss, metrics

    @staticmethod
    def parts(
        said: Said, errors: Mapping[str, Tensor], told: Tensor, fits: Tensor, missing: Missing
    ) -> dict[str, Tensor]:
        """Return what each kind of question cost, () each, and how often it was rightly said whether words fit.

        Args:
            said: the answers.
            errors: of images and numbers, (B,) each.
            told: the instructions that were shown, (B, LONGEST).
            fits: whether each is its own, (B,).
            missing: what was not shown.
        """
        kept, doubted = missing.kept, said.rest["fits"][:, 0]
        unheard = (missing.syllables | ~kept[WORDS].unsqueeze(1)) & spoken(told) & fits.unsqueeze(1)
        letters = said.rest[WORDS].unflatten(2, (SYLLABLE, 256)).flatten(1, 2).transpose(1, 2)
        misspelt = cross_entropy(letters, told.long(), reduction="none").unflatten(1, (-1, SYLLABLE)).mean(2)
        fit = binary_cross_entropy_with_logits(doubted, fits.float(), reduction="none")
        both = kept[IMAGE] & kept[WORDS]
        return {
            "image": _mean(errors[IMAGE], kept[IMAGE]),
            "felt": _mean(errors[FELT], ~kept[FELT]),
            "done": _mean(errors[DONE], ~kept[DONE]),
            "letters": _mean(misspelt.flatten(), unheard.flatten()),
            "fits": _mean(fit, both),
            "right": _mean(((doubted > 0) == fits).float(), both),
        }

    def numbers(self, batch: Batch, name: str, *, alone: bool = False) -> Tensor:
        """Return what is felt or done at the first frame, scaled and filled up with zeros: (B, NUMBERS).

        Args:
            batch: what `reads` declares.
            name: what is felt, or what is done.
            alone: whether the other processes do not ask at the same time.

        Raises:
            UserError: there are more numbers than can be taken.
        """
        return filled(scaled(batch[name][:, 0], alone=alone), name)

    def errors(
        self, batch: Batch, pieces: list[Tensor], numbers: Mapping[str, Tensor], said: Said
    ) -> dict[str, Tensor]:
        """Return the mean squared errors of each clip's images, and of what is felt and done, (B,) each."""
        images = [self.saying.errors(*one).flatten(1).mean(1) for one in zip(said.frames, pieces, strict=True)]
        size = {name: batch[name].shape[-1] for name in (FELT, DONE)}
        rest = {name: (said.rest[name] - numbers[name])[:, : size[name]].square().mean(1) for name in (FELT, DONE)}
        return {IMAGE: torch.stack(images).sum(0)} | rest

    def place_errors(self, batch: Batch, said: Said) -> Tensor:
        """Return the mean squared error of the places of things at the first frame, as shares of the side: (B,)."""
        names = sorted(name for name in batch if name.startswith(PLACE))[:THINGS]
        if not names:
            raise UserError("the recording knows no places; record play anew with `goalsight collect`")
        places = torch.stack([batch[name][:, 0] for name in names], 1)
        return (said.rest["places"][:, : len(names)] - places).square().mean((1, 2))

    @torch.no_grad()
    def monitor(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Return by how many times what is said of the others gets worse without each modality, in a few clips.

        Patches are hidden and the action is asked for, without images what is felt too; errors are those of images, of
        the action, and of what is felt.

        Args:
            batch: what `reads` declares.
            generator: draws which patches are hidden.
        """
        numbers = {name: self.numbers(batch, name)[:TRIED] for name in (FELT, DONE)}
        batch = {name: values[:TRIED] for name, values in batch.items()}
        pieces = [self.encoder.embedding.cut(frames) for frames in batch[PIXELS].unbind(1)]
        missing = self.draw_missing(batch, generator)
        everything = {name: torch.ones_like(missing.kept[name]) for name in MODALITIES}

        def errors(*left_out: str) -> dict[str, Tensor]:
            kept = everything | {name: torch.zeros_like(everything[name]) for name in left_out}
            shown = replace(missing, kept=kept, syllables=torch.zeros_like(missing.syllables))
            return self.errors(batch, pieces, numbers, self.say(batch, pieces, numbers, shown))

        def times(without: Tensor, beside: Tensor) -> Tensor:
            return (without.mean() + NONE) / (beside.mean() + NONE)

        usual = errors(DONE)
        worse = {
            IMAGE: (errors(DONE, FELT, IMAGE), errors(DONE, FELT), (DONE, FELT)),
            FELT: (errors(DONE, FELT), usual, (DONE, IMAGE)),
            WORDS: (errors(DONE, WORDS), usual, (DONE, IMAGE)),
            DONE: (usual, errors(), (IMAGE,)),
        }
        return {
            f"pretrain/without_{name}": float(torch.stack([times(without[one], beside[one]) for one in judged]).mean())
            for name, (without, beside, judged) in worse.items()
        }

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return what is shown of the three frames, and what they are taken for."""
        pieces = [self.encoder.embedding.cut(frames) for frames in batch[PIXELS].unbind(1)]
        numbers = {name: self.numbers(batch, name, alone=True) for name in (FELT, DONE)}
        missing = self.draw_missing(batch, generator)
        missing = replace(missing, kept=missing.kept | {IMAGE: torch.ones_like(missing.kept[IMAGE])})
        said = self.say(batch, pieces, numbers, missing)
        columns: dict[str, Tensor] = {}
        for number, name in enumerate(("t", "t+1", "later")):
            columns |= {
                f"frame {name}": batch[PIXELS][:, number],
                f"visible of {name}": self.greyed(pieces[number], missing.hidden[number]),
                f"{name} filled": self.saying.frames(said.frames[number]),
            }
        return columns

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well what is missing is said."""
        said = f"{self.saying.headline(metrics)}; which move led here explained to {metrics['done_explained']:.2f}, "
        said += f"what is felt to {metrics['felt_explained']:.2f}; {metrics['bits_of_letter']:.1f} bits to a letter; "
        said += f"whether words fit told in {metrics['fits_told']:.0%}"
        if "place_error" in metrics:
            said += f"; things are placed within {metrics['place_error']:.1%} of the side"
        return said

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when leaving a modality out changes nothing."""
        unused = [name for name in MODALITIES if abs(metrics[f"without_{name}"] - 1) < UNUSED]
        if not unused:
            return ()
        return (Alarm("unused", f"errors are the same without {' and without '.join(unused)}"),)


def exchanged(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Give half of the clips the instruction of another.

    Returns:
        the instructions, as in the batch; and whether each means what its own does, (B,).
    """
    told, meaning = batch[INSTRUCTION], batch[MEANING][:, 0]
    draws = torch.rand(2, len(told), generator=generator, device=generator.device)
    other = torch.where(draws[0] < 0.5, draws[1].argsort(), torch.arange(len(told), device=told.device))
    return told[other], meaning[other] == meaning


def _mean(values: Tensor, which: Tensor) -> Tensor:
    """Return the mean of some of the values (B,); 0 where there are none."""
    weights = which.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp_min(1)
