"""Frames drawn over a kept background are those that are drawn whole."""

import mujoco
import numpy as np
import pytest
import warp as wp

from goalsight.envs.registration import make_vector
from goalsight.envs.rendering import raytrace
from goalsight.envs.rendering.moving import MovingTracer, moving_geoms
from goalsight.envs.rendering.primitives import SHAPES, hit
from goalsight.envs.rendering.raytrace import RayTraceCamera
from goalsight.envs.vector import GoalVectorEnv


@wp.kernel
def hit_each(
    shape: int,
    eyes: wp.array[wp.vec3],
    rays: wp.array[wp.vec3],
    size: wp.vec3,
    distances: wp.array[float],
    normals: wp.array[wp.vec3],
):
    i = wp.tid()
    distance, normal = hit(shape, eyes[i], rays[i], size)
    distances[i] = distance
    normals[i] = normal


@pytest.mark.parametrize("shape", SHAPES)
def test_rays_hit_primitives_where_mujoco_says(shape):
    rng = np.random.default_rng(shape)
    size = {2: (0.2, 0.2, 0.2), 3: (0.1, 0.3, 0)}.get(shape, (0.1, 0.3, 0.2))
    eyes = rng.normal(size=(4000, 3))
    eyes *= rng.uniform(0.6, 2, (4000, 1)) / np.linalg.norm(eyes, axis=1, keepdims=True)  # outside
    rays = rng.uniform(-0.35, 0.35, (4000, 3)) - eyes
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    distances, normals = wp.zeros(4000, dtype=float), wp.zeros(4000, dtype=wp.vec3)
    inputs = [shape, wp.array(eyes, dtype=wp.vec3), wp.array(rays, dtype=wp.vec3), wp.vec3(*size)]
    wp.launch(hit_each, 4000, inputs=inputs, outputs=[distances, normals])
    eye, straight = np.zeros(3), np.eye(3).flatten()
    theirs, facing = np.empty(4000), np.empty((4000, 3))
    for i in range(4000):
        theirs[i] = mujoco.mju_rayGeom(eye, straight, np.array(size), eyes[i], rays[i], shape, facing[i])
    ours = distances.numpy()
    both = (ours > 0) & (theirs > 0)
    assert both.mean() > 0.1
    assert ((ours > 0) != (theirs > 0)).mean() < 0.002  # rays that graze
    np.testing.assert_allclose(ours[both], theirs[both], atol=2e-3)
    assert np.abs(ours[both] - theirs[both]).mean() < 1e-5
    assert (np.abs(normals.numpy()[both] - facing[both]).max(axis=1) > 1e-2).mean() < 0.002  # edges


def drawn(env, monkeypatch, whole):
    """Frames of all environments, and by what."""
    with monkeypatch.context() as patch:
        if whole:
            patch.setattr(MovingTracer, "suits", staticmethod(lambda model, camera: False))
        camera = RayTraceCamera(
            env.sim.model, name="front", width=64, height=48, quality="fast", num_threads=1, batch_size_hint=4
        )
    frames = camera.render(env.batch)
    kind = camera._make
    camera.close()
    return frames.astype(int), kind


@pytest.mark.parametrize(
    ("arm", "task"),
    [
        *(("panda", task) for task in ("reach", "sort4", "door", "scene")),
        *(("ur5e", "push"), ("xarm7", "buttons"), ("so101", "switches")),
    ],
)
def test_frames_are_those_that_are_drawn_whole(arm, task, monkeypatch):
    env = GoalVectorEnv(task, arm, num_envs=10, num_threads=1)
    env.reset(seed=0)
    for _ in range(10):
        env.step(env.expert_action())
    (ours, kind), (theirs, plain) = (drawn(env, monkeypatch, whole) for whole in (False, True))
    assert kind is MovingTracer
    assert plain is raytrace.Tracer
    difference = np.abs(ours - theirs).max(axis=-1)
    assert (difference > 0).mean() < 0.005  # rounding
    assert (difference > 2).mean() < 0.0002  # edges
    assert np.ptp(theirs, axis=0).max() > 50  # and there was something that moved


@pytest.mark.parametrize(("field", "row"), [("geom_pos", "table"), ("cam_pos", "front")])
def test_what_does_not_stay_as_it_was_is_drawn_whole(field, row, monkeypatch):
    env = make_vector("goalsight/PandaPush-v1", num_envs=6, num_threads=1)
    env.reset(seed=0)
    index = env.sim.model.geom(row).id if field == "geom_pos" else env.sim.model.camera(row).id
    env.batch.expand(field)[1:, index, 2] -= np.linspace(0.02, 0.1, 5)
    env.batch.forward()
    ours, _ = drawn(env, monkeypatch, whole=False)
    theirs, _ = drawn(env, monkeypatch, whole=True)
    np.testing.assert_array_equal(ours[1:], theirs[1:])
    assert (np.abs(ours[0] - theirs[0]).max(axis=-1) > 2).mean() < 0.001  # and the first is as it was
    assert (theirs[1:] != theirs[0]).any()


def test_a_camera_on_the_hand_does_not_suit():
    env = make_vector("goalsight/PandaPush-v1", num_envs=1, num_threads=1)
    assert MovingTracer.suits(env.sim.model, "front")
    assert not MovingTracer.suits(env.sim.model, "panda/wrist")


def test_what_moves_is_the_arm_and_the_cube():
    model = make_vector("goalsight/PandaPush-v1", num_envs=1, num_threads=1).sim.model
    still = {model.geom(i).name for i in np.setdiff1d(np.arange(model.ngeom), moving_geoms(model))}
    assert still == {"floor", "table", "panda/base_foot", "panda/base_column"}
