"""Frozen features of many frames: the one way from frames to tokens for whoever does not train the encoder."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from goalsight.base.flops import for_threads
from goalsight.base.precision import autocast
from goalsight.pretrain.encoders.vit import VideoEncoder

BATCH = 256  # frames encoded at a time


def in_batches(
    encode: Callable[[Tensor], Tensor],
    frames: NDArray[np.uint8],
    *,
    device: torch.device | str = "cpu",
    batch: int = BATCH,
    threads: int = 1,
) -> Iterator[Tensor]:
    """Yield the tokens of frames, some at a time, in the CPU's fast precision and without gradients.

    Args:
        encode: an encoder, or its trunk: (b, H, W, 3) uint8 -> (b, tokens, width).
        frames: (n, H, W, 3).
        device: where `encode` computes.
        batch: frames at a time.
        threads: how many times so many at once; no bit depends on it.
    """

    def part(start: int) -> Tensor:
        some = torch.from_numpy(np.array(frames[start : start + batch])).to(device)
        with torch.inference_mode(), autocast(device):
            return encode(some)

    starts = range(0, len(frames), batch)
    if threads == 1 or len(starts) == 1:
        yield from map(part, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(for_threads(part), starts)


class EncoderFeatures:
    """All tokens of many frames, as an array."""

    def __init__(self, encoder: VideoEncoder, *, batch: int = BATCH) -> None:
        """Keep the encoder as it is.

        Args:
            encoder: where its weights are is where it runs.
            batch: frames at a time.
        """
        self.encoder = encoder
        self.batch = batch

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, H, W, 3) uint8 -> (n, tokens, width) float32."""
        out = np.empty((len(frames), self.encoder.tokens, self.encoder.config.width), np.float32)
        device = self.encoder.norm.weight.device
        for index, tokens in enumerate(in_batches(self.encoder, frames, device=device, batch=self.batch)):
            out[index * self.batch : (index + 1) * self.batch] = tokens.float().cpu().numpy()
        return out
