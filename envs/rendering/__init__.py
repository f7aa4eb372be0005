"""Cameras over a batch of simulations: `render(batch) -> (N, H, W, 3) uint8`."""

from goalsight.envs.rendering.camera import BACKENDS, KINEMATICS, QUALITIES, Camera, make_camera
from goalsight.envs.rendering.report import renderer_report
from goalsight.envs.rendering.translucent import TranslucentCamera

__all__ = ["BACKENDS", "KINEMATICS", "QUALITIES", "Camera", "TranslucentCamera", "make_camera", "renderer_report"]
