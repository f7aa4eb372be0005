"""How well the next frame is predicted: over all its pixels, over those that changed, and beside copying the last."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from goalsight.pretrain.objectives.base import Alarm
from goalsight.pretrain.tokenisers.base import psnr

CHANGED = 0.05  # a pixel has changed when a channel differs by more than this share of the range


def changed(copy_error: Tensor) -> Tensor:
    """Squared differences of two frames (..., 3) -> whether each pixel changed (..., 1)."""
    return copy_error.amax(-1, keepdim=True) > CHANGED**2


@torch.no_grad()
def next_frame_metrics(loss: Tensor, error: Tensor, copy_error: Tensor) -> dict[str, float]:
    """What a prediction is measured by.

    Args:
        loss: of the objective.
        error: squared, of the predicted frame, (B, N, P), P numbers that are pixels of three channels.
        copy_error: squared, of guessing that it looks like the last frame, alike.

    Returns:
        the loss, PSNR of prediction and of copying [dB], and the share of pixels that changed; where some did, PSNR
        of both over those.
    """
    pixels = [part.unflatten(2, (-1, 3)) for part in (error, copy_error)]
    moved = changed(pixels[1]).float()
    share = moved.mean()
    parts = {"psnr_next": error.mean(), "psnr_copy": copy_error.mean()}
    if share > 0:
        parts |= {
            f"{name}_changed": (part * moved).mean() / share
            for name, part in zip(("psnr_next", "psnr_copy"), pixels, strict=True)
        }
    found = {name: psnr(part) for name, part in parts.items()} | {"loss": float(loss), "changed_share": float(share)}
    return {f"pretrain/{name}": value for name, value in found.items() if math.isfinite(value) or name == "loss"}


def next_frame(metrics: Mapping[str, float]) -> str:
    """Say how well the next frame is predicted, beside copying the last one."""
    sentence = f"next frame {metrics['psnr_next']:.1f} dB"
    if "psnr_next_changed" not in metrics:
        return f"{sentence}; no pixel in these clips changes by more than {CHANGED:.0%}"
    return (
        f"{sentence}, where it changed {metrics['psnr_next_changed']:.1f} dB "
        f"(copying the last frame: {metrics['psnr_copy_changed']:.1f} dB)"
    )


def copying(metrics: Mapping[str, float]) -> tuple[Alarm, ...]:
    """Warn when what changed is predicted no better than by copying the last frame."""
    copied, predicted = metrics.get("psnr_copy_changed"), metrics.get("psnr_next_changed")
    if copied is None or predicted is None or predicted > copied:
        return ()
    return (
        Alarm(
            "copying",
            f"where the next frame changed it is predicted to {predicted:.1f} dB, no better than by copying the "
            f"last frame ({copied:.1f} dB)",
        ),
    )
