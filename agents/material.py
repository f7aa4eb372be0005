"""What a training is made from: an encoder, silent video, recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from goalsight.agents.networks.features import find_encoder
from goalsight.agents.watching.origin import check_video
from goalsight.agents.watching.video import SilentVideo, open_video
from goalsight.base.run_folders import ENCODER_PATH
from goalsight.pretrain.encoders.vit import VideoEncoder, check_map

if TYPE_CHECKING:
    from goalsight.agents.recordings import Play
    from goalsight.agents.train import Train
    from goalsight.envs.config import EnvConfig


@dataclass(frozen=True)
class Material:
    """What a training is made from.

    Attributes:
        source: the encoder that is meant: "none", "random", or a run's folder.
        encoder: what frames are seen by; None where none are.
        video: what is watched; None where nothing is.
        stores: recordings that are imitated.
    """

    source: str
    encoder: VideoEncoder | None
    video: SilentVideo | None
    stores: Sequence["Play"]

    @classmethod
    def find(cls, config: "Train", env: "EnvConfig", stores: Sequence["Play"]) -> Self:
        """Find what was asked for.

        Args:
            config: what was asked for.
            env: the environment, with its full id.
            stores: recordings, opened.

        Raises:
            UserError: if something is not there, or does not fit.
        """
        return cls(config.source, _find_encoder(config, env), _open_video(config, env), stores)

    @property
    def finds_points(self) -> bool:
        """Whether the encoder has learnt to find points."""
        return self.encoder is not None and self.encoder.points is not None

    def hashes(self) -> dict[str, str]:
        """Hashes by name, and where the encoder lies."""
        found: dict[str, str] = {}
        if self.video is not None:
            found["video"] = self.video.content_hash
        if self.stores:
            found["data"] = ", ".join(store.content_hash for store in self.stores)
        if self.encoder is not None:
            found["encoder"] = self.encoder.content_hash()
            if self.source != "random":
                found[ENCODER_PATH] = str(Path(self.source).resolve())
        return found

    @property
    def watched(self) -> dict[str, Any]:
        """What results must name of the video."""
        return {} if self.video is None else self.video.facts


def _find_encoder(config: "Train", env: "EnvConfig") -> VideoEncoder | None:
    if env.obs != "pixels":
        return None
    tokeniser = "local" if config.estimates else "conv"
    encoder = find_encoder(config.source, env.image_size, config.seed, tokeniser=tokeniser)
    if config.estimates:
        check_map(encoder)
    return encoder.to(config.device)


def _open_video(config: "Train", env: "EnvConfig") -> SilentVideo | None:
    if not config.video:
        return None
    check_video(config.video, env)
    return open_video(config.video, env.image_size)
