"""Whose features are asked: an encoder of ours or anybody's, the same with weights that learnt nothing, plain pixels.

Features of a frame are tokens (n, T, D), or one vector (n, D).
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from goalsight.base.errors import UserError, in_one_line
from goalsight.eval.probes.answers import ENCODER, RANDOM

if TYPE_CHECKING:
    import torch

    from goalsight.pretrain.encoders.vit import VideoEncoder

Frames = NDArray[np.uint8]  # (n, H, W, 3)
Floats = NDArray[np.float32]
See = Callable[[Frames], Floats]

EXPORTED = ".pt2"  # what torch.export.save writes
SIDES = (16, 8)  # to which pixels are averaged down


class Subject:
    """An encoder that is asked what it knows.

    Args:
        path: a run that pretrained one, or a module that `torch.export.save` wrote, which takes frames (n, H, W, 3)
            uint8, of any number, to tokens (n, T, D) or vectors (n, D).
        seed: of the random weights that stand beside it.
        trusted: load a module: what torch.export writes is in part unpickled, so it may run code of its own.

    Raises:
        UserError: if there is no such encoder, or it is a module that is not trusted.
    """

    def __init__(self, path: Path, *, seed: int, trusted: bool = False) -> None:
        from goalsight.pretrain.encoders.vit import VideoEncoder, load_named

        self.ours: VideoEncoder | None = None
        self.facts: dict[str, Any] = {"path": path}
        if path.suffix == EXPORTED:
            if not trusted:
                raise UserError(
                    f"{path} is a module of torch.export, which may run code of its own; if you trust it: --trust"
                )
            module = _exported(path)
            self._see, self._unlearnt = (foreign(one, path) for one in (module, shuffled(module, seed)))
            return
        self.ours = load_named(path)
        untrained = VideoEncoder(self.ours.config, seed=seed)
        self._see, self._unlearnt = learnt(self.ours), learnt(untrained)
        self.facts |= {"hash": self.ours.content_hash(), **asdict(self.ours.config)}

    @property
    def sees(self) -> dict[str, See]:
        """By name: the encoder, the same without what it has learnt, and pixels averaged down."""
        return {
            ENCODER: self._see,
            RANDOM: self._unlearnt,
            **{pixels(side): partial(averaged, side=side) for side in SIDES},
        }

    def layers(self) -> Iterator[tuple[str, See]]:
        """What each of the encoder's layers says, from the first; nothing of a module of others."""
        if self.ours is None:
            return
        for depth in range(self.ours.config.depth + 1):
            trunk, _ = self.ours.split(self.ours.config.depth - depth)
            yield (f"block {depth}" if depth else "stem"), tokens_of(trunk)


def learnt(encoder: "VideoEncoder") -> See:
    """Return what an encoder has learnt to say of frames: where its points lie, (n, 2 points), or all its tokens."""
    return tokens_of(encoder if encoder.points is None else encoder.places)


def tokens_of(module: Callable[["torch.Tensor"], "torch.Tensor"]) -> See:
    """Return what sees frames by a module, some at a time."""
    import torch

    from goalsight.pretrain.encoders.features import in_batches

    def see(frames: Frames) -> Floats:
        return torch.cat([tokens.float() for tokens in in_batches(module, frames)]).numpy()

    return see


def foreign(module: "torch.nn.Module", path: Path) -> See:
    """Return what sees frames by a module of others, of which nothing is known beforehand."""
    see = tokens_of(module)

    def seen(frames: Frames) -> Floats:
        wanted = f"{path} is to take frames (n, H, W, 3) uint8, of any number n, to (n, T, D) or (n, D)"
        try:
            found = see(frames)
        except Exception as error:  # whatever a module does
            raise UserError(f"{wanted}; with {frames.shape} it fails: {in_one_line(error)}") from error
        if found.ndim not in (2, 3) or len(found) != len(frames):
            raise UserError(f"{wanted}; of {frames.shape} it makes {found.shape}")
        return found

    return seen


def pixels(side: int) -> str:
    """The name of pixels averaged down to a side."""
    return f"pixels {side}x{side}"


def check_sides(size: int, sides: Sequence[int] = SIDES) -> None:
    """Refuse frames whose pixels cannot be averaged down.

    Args:
        size: of the frames [pixels].
        sides: to which they are averaged [pixels].

    Raises:
        UserError: one does not divide the size.
    """
    for side in sides:
        if size % side:
            raise UserError(f"frames of {size} pixels cannot be averaged down to {side}; record them in 64")


def averaged(frames: Frames, side: int) -> Floats:
    """Frames averaged down to side x side pixels, flat, in [0, 1]: (n, side * side * 3).

    Raises:
        UserError: if that does not divide their size.
    """
    count, size = frames.shape[:2]
    check_sides(size, (side,))
    blocks = frames.reshape(count, side, size // side, side, size // side, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1) / np.float32(255)


def shuffled(module: "torch.nn.Module", seed: int) -> "torch.nn.Module":
    """Return a copy whose weights are shuffled within each tensor: as large as before, and what was learnt is gone."""
    import torch

    draws = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for weights in other.parameters():
            weights.copy_(weights.flatten()[torch.randperm(weights.numel(), generator=draws)].view_as(weights))
    return other


def _exported(path: Path) -> "torch.nn.Module":
    import torch

    if not path.is_file():
        raise UserError(f"there is no exported module at {path}")
    try:
        return torch.export.load(path).module()
    except Exception as error:  # whatever is wrong with a file
        raise UserError(f"{path} holds no module that torch.export wrote ({str(error).splitlines()[0]})") from error
