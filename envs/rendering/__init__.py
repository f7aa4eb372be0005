"""Cameras over a batch of simulations: `render(batch) -> (N, H, W, 3) uint8`."""

from goalsight.envs.rendering.camera import BACKENDS, KINEMATICS, QUALITIES, Camera, make_camera
from goalsight.envs.rendering.report import renderer_report

__all__ = ["BACKENDS", "KINEMATICS", "QUALITIES", "Camera", "make_camera", "renderer_report"]
