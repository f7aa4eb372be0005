"""Replaced-token detection: which patches of a frame are not its own?

After ELECTRA (Clark et al. 2020) and corrupted image modelling (Fang et al. 2023): a small generator fills hidden
tokens with SAMPLES of what it takes to be there, and the encoder says of every token whether it was replaced. So it
learns from all tokens rather than from the hidden ones alone. Samples, never the likeliest code: that would tell a
table from a cube, and nothing of where the cube may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from goalsight.base.errors import UserError
from goalsight.base.options import check_positive
from goalsight.pretrain.data.clips import Batch, Clips
from goalsight.pretrain.data.format import PIXELS
from goalsight.pretrain.encoders.transformer import Block, grid_positions, initialise
from goalsight.pretrain.encoders.vit import VideoEncoder
from goalsight.pretrain.masking import Hidden, hide_tokens
from goalsight.pretrain.objectives.base import Alarm, Objective
from goalsight.pretrain.objectives.decoding import GREY
from goalsight.pretrain.tokenisers.codes import CodeStem

TOLD_APART = (0.6, 0.98)  # AUROC: less is guessing, and more is a game that teaches nothing
HEAD = 4  # least width of an attention head of the generator


@dataclass(frozen=True)
class Replaced:
    """Say which tokens a small generator has replaced by samples of its own.

    Raises:
        UserError: when a number is not positive, or `hide` does not lie in (0, 1).
    """

    hide: float = 0.25
    """Share of the tokens hidden from the generator and filled in by it."""
    narrower: int = 4
    """Times that the generator is narrower than the encoder."""
    generator_depth: int = 2
    """Blocks of the generator."""
    weight: float = 50.0
    """Of telling tokens apart; that of the generator's own loss is 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        check_positive(self, "narrower", "generator_depth", "weight")
        if not 0 < self.hide < 1:
            raise UserError(f"hide must lie in (0, 1), got {self.hide}")


class ReplacedDetection(Objective):
    """The encoder with a generator that shares its code book."""

    Options = Replaced
    positions: Tensor

    def __init__(self, encoder: VideoEncoder, options: Replaced | None = None, *, seed: int = 0) -> None:
        """Wrap an encoder.

        Args:
            encoder: trained in place.
            options: what is hidden, and the generator's size.
            seed: of the weights that are its own.

        Raises:
            UserError: when tokens are no codes, or the encoder is too narrow.
        """
        super().__init__(encoder)
        self.options = options = options or Replaced()
        stem, config = encoder.embedding.stem, encoder.config
        if not isinstance(stem, CodeStem) or encoder.tokeniser.vocabulary is None:
            raise UserError(f'replaced samples codes, and the tokeniser "{config.tokeniser}" has none; choose codes')
        width = config.width // options.narrower // 4 * 4
        if width < HEAD:
            raise UserError(f"an encoder of width {config.width} leaves no generator {options.narrower} times narrower")
        heads = max(count for count in range(1, config.heads + 1) if width % count == 0 and width // count >= HEAD)
        with torch.random.fork_rng(devices=[]):
            self.narrow = nn.Linear(config.width, width)
            self.blocks = nn.ModuleList(Block(width, heads) for _ in range(options.generator_depth))
            self.norm = nn.LayerNorm(width)
            self.out = nn.Linear(width, encoder.tokeniser.vocabulary)
            self.judge = nn.Linear(config.width, 1)
        self.blank = nn.Parameter(torch.zeros(width))
        self.register_buffer("positions", grid_positions(width, encoder.tokeniser.grid), persistent=False)
        draws = torch.Generator().manual_seed(seed + 1)
        for part in (self.narrow, self.blocks, self.judge):
            initialise(part, draws)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def reads(self, max_gap: int) -> Clips:
        """Return single frames."""
        return Clips(gaps=())

    def guess(self, codes: Tensor, hidden: Hidden) -> Tensor:
        """Return the generator's scores of every code: codes (B, tokens), of which some are hidden, -> (B, tokens, V).

        It sees codes by the encoder's book, which is learnt by both.
        """
        stem = self.encoder.embedding.stem
        seen = self.narrow(stem(codes.unsqueeze(2)))
        tokens = torch.where(hidden.mask.unsqueeze(2), self.blank.to(seen.dtype), seen) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        scores: Tensor = self.out(self.norm(tokens)).float()
        return scores

    def fill(self, codes: Tensor, scores: Tensor, hidden: Hidden, generator: torch.Generator) -> Tensor:
        """Return codes (B, tokens) whose hidden ones are drawn by scores (B, tokens, V)."""
        noise = torch.rand(scores.shape, generator=generator, device=scores.device).clamp_min(1e-20)
        drawn = (scores.detach() - (-noise.log()).log()).argmax(2)  # by Gumbel's noise, which samples the softmax
        return torch.where(hidden.mask, drawn, codes)

    def judged(self, codes: Tensor) -> Tensor:
        """Return how much each token looks replaced: codes (B, tokens) -> logits (B, tokens) float32."""
        logits: Tensor = self.judge(self.encoder.encode(codes.unsqueeze(2))).squeeze(2).float()
        return logits

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and what it is made of.

        Args:
            batch: pixels (B, 1, H, W, 3) uint8.
            generator: draws what is hidden, and the samples that replace it.

        Returns:
            the generator's cross-entropy over the hidden tokens plus `weight` times the binary cross-entropy of telling
            over all tokens [nats]; and metrics: both, the share of tokens replaced by another code, and the area under
            the receiver operating characteristic of telling those.
        """
        tokeniser = self.encoder.tokeniser
        codes = tokeniser.targets(self.encoder.embedding.cut(batch[PIXELS][:, 0]))
        hidden = hide_tokens(len(codes), codes.shape[1], self.options.hide, generator)
        scores = self.guess(codes, hidden)
        filled = self.fill(codes, scores, hidden, generator)
        replaced = filled != codes  # what is drawn as it was is not replaced
        logits = self.judged(filled)
        filling = cross_entropy(scores[hidden.mask], codes[hidden.mask])
        telling = binary_cross_entropy_with_logits(logits, replaced.float())
        loss = filling + self.options.weight * telling
        parts = {
            "loss": float(loss.detach()),
            "loss_filling": float(filling.detach()),
            "loss_telling": float(telling.detach()),
            "replaced_share": float(replaced.float().mean()),
        }
        if replaced.any() and not replaced.all():
            parts["auroc"] = area_under_curve(logits.detach().flatten(), replaced.flatten())
        return loss, {f"pretrain/{name}": value for name, value in parts.items()}

    @torch.no_grad()
    def visualise(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return frames, as codes, with some replaced; which those are, and which are taken for so, the rest grey."""
        frames, tokeniser = batch[PIXELS][:, 0], self.encoder.tokeniser
        codes = tokeniser.targets(self.encoder.embedding.cut(frames))
        hidden = hide_tokens(len(codes), codes.shape[1], self.options.hide, generator)
        filled = self.fill(codes, self.guess(codes, hidden), hidden, generator)
        shown = tokeniser.frames(filled)

        def only(chosen: Tensor) -> Tensor:
            return torch.where(tokeniser.enlarge(chosen).unsqueeze(3), shown, GREY.to(shown.device))

        return {
            "frame t": frames,
            "as codes": tokeniser.frames(codes),
            "some replaced": shown,
            "replaced": only(filled != codes),
            "taken for so": only(self.judged(filled) > 0),
        }

    def headline(self, metrics: Mapping[str, float]) -> str:
        """Say how well replaced tokens are told from others."""
        if "auroc" not in metrics:
            return "the generator has replaced nothing"
        return f"of {metrics['replaced_share']:.0%} replaced tokens told apart by an AUROC of {metrics['auroc']:.3f}"

    def alarms(self, metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
        """Warn when tokens are not told apart, or too easily."""
        area, (least, most) = metrics.get("auroc"), TOLD_APART
        if area is None or least <= area <= most:
            return ()
        words = "are not told from others" if area < least else "are told so easily that nothing is left to learn"
        return (Alarm("detection", f"replaced tokens {words}: an AUROC of {area:.3f}"),)


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Return how often one of the positive scores (n,) is higher than another; ties count half.

    Args:
        scores: (n,).
        positive: (n,) bool, some of them and not all.
    """
    above, below = scores[positive].unsqueeze(1), scores[~positive]
    return float(((above > below).float() + (above == below).float() / 2).mean())
