"""The ray tracer: pixels depend on the simulation alone, and show what is there."""

import threading
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
import pytest
from mujoco_warp._src import render as kernels
from numpy.typing import NDArray

from goalsight.envs.arms.catalogue import PANDA
from goalsight.envs.rendering import tracer
from goalsight.envs.rendering.backends import make_camera
from goalsight.envs.rendering.camera import KINEMATICS
from goalsight.envs.rendering.raytrace import chunk_bounds
from goalsight.envs.simulation.scene import ArmIndex, ThingIndex, compose
from goalsight.envs.tasks import TASKS

NUM_SIMS = 11


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return compose(PANDA, TASKS["push"])


@pytest.fixture(scope="module")
def batch(model: mujoco.MjModel) -> mujoco.batch.Batch:
    """Arms in random poses near home, cubes at random places of the workspace."""
    rng = np.random.default_rng(7)
    batch = mujoco.batch.Batch(model, NUM_SIMS)
    for field in (*KINEMATICS, "xpos"):
        batch.bind(field)
    batch.qpos[:, ArmIndex.of(PANDA, model).qpos] = PANDA.home + rng.normal(0, 0.15, (NUM_SIMS, 7))
    cube = ThingIndex.of(TASKS["push"].objects[0].name, model)
    batch.qpos[:, cube.qpos][:, :2] = rng.uniform([0.3, -0.25], [0.6, 0.25], (NUM_SIMS, 2))
    batch.forward()
    return batch


@pytest.fixture(scope="module")
def frames(model: mujoco.MjModel, batch: mujoco.batch.Batch) -> NDArray[np.uint8]:
    """All simulations, drawn one by one on one thread."""
    camera = make_camera(model, num_threads=1, batch_size_hint=1)
    drawn = camera.render(batch)
    camera.close()
    return drawn


def red(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a frame shows the cube, (H, W)."""
    r, g, b = np.moveaxis(frame.astype(int), -1, 0)
    return (r > 60) & (r > 2 * g) & (r > 2 * b)


def seen_at(
    model: mujoco.MjModel, batch: mujoco.batch.Batch, camera: str, points: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Columns and rows of world points (N, 3), one per simulation, in a square picture."""
    index = model.camera(camera).id
    offsets = points - batch.cam_xpos[:, index]
    x, y, z = np.einsum("nij,ni->jn", batch.cam_xmat[:, index].reshape(-1, 3, 3), offsets)
    scale = size / 2 / np.tan(np.radians(model.cam_fovy[index]) / 2)
    return np.stack([size / 2 + scale * x / -z, size / 2 - scale * y / -z], axis=1)


def test_shape_and_type(frames: NDArray[np.uint8]) -> None:
    assert frames.shape == (NUM_SIMS, 64, 64, 3)
    assert frames.dtype == np.uint8
    assert all((frames[i] != frames[j]).any() for i in range(NUM_SIMS) for j in range(i))


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize("hint", [1, 4, 32])
def test_pixels_do_not_depend_on_threads_or_chunks(
    model: mujoco.MjModel, batch: mujoco.batch.Batch, frames: NDArray[np.uint8], num_threads: int, hint: int
) -> None:
    camera = make_camera(model, num_threads=num_threads, batch_size_hint=hint)
    np.testing.assert_array_equal(camera.render(batch), frames)
    np.testing.assert_array_equal(camera.render(batch), frames)
    camera.close()


@pytest.mark.parametrize("ids", [[3], [10, 0, 3, 3], []])
def test_a_subset_is_the_same_as_in_the_whole(
    model: mujoco.MjModel, batch: mujoco.batch.Batch, frames: NDArray[np.uint8], ids: list[int]
) -> None:
    camera = make_camera(model, num_threads=2)
    chosen = np.array(ids, dtype=int)
    np.testing.assert_array_equal(camera.render(batch, chosen), frames[chosen])
    np.testing.assert_array_equal(camera.render(batch), frames)  # and a subset leaves nothing behind


def test_cube_is_where_it_is_seen(model: mujoco.MjModel, batch: mujoco.batch.Batch, frames: NDArray[np.uint8]) -> None:
    centres = seen_at(model, batch, "front", batch.xpos[:, model.body(TASKS["push"].objects[0].name).id], 64)
    assert ((centres > 1) & (centres < 63)).all()
    # Half of them may hide behind the hand; the rest must show where the lens equation puts them.
    shown = [i for i in range(NUM_SIMS) if red(frames[i]).sum() >= 12]
    assert len(shown) > NUM_SIMS / 2
    for i in shown:
        rows, columns = np.nonzero(red(frames[i]))
        assert abs(columns.mean() + 0.5 - centres[i, 0]) < 2.5
        assert abs(rows.mean() + 0.5 - centres[i, 1]) < 2.5
        assert np.ptp(columns) + 1 >= 4


def test_wrist_camera_moves_with_the_hand(model: mujoco.MjModel, batch: mujoco.batch.Batch) -> None:
    camera = make_camera(model, name="panda/wrist", width=32, height=24)
    frames = camera.render(batch)
    assert frames.shape == (NUM_SIMS, 24, 32, 3)
    assert (frames[0] != frames[1]).any()


def test_pretty_adds_shadows(model: mujoco.MjModel, batch: mujoco.batch.Batch, frames: NDArray[np.uint8]) -> None:
    camera = make_camera(model, quality="pretty")
    pretty = camera.render(batch)
    difference = pretty.astype(int) - frames
    assert (difference.sum(axis=-1) < -40).mean() > 0.01  # darker somewhere
    assert abs(difference.mean()) < 10  # and otherwise the same picture


def test_pretty_edges_are_the_mean_of_nine_samples(
    model: mujoco.MjModel, batch: mujoco.batch.Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.array([4, 1])
    smooth = make_camera(model, width=36, height=24, quality="pretty").render(batch, ids)
    monkeypatch.setattr(tracer, "EDGE_CONTRAST", 1.0)  # no edges at all
    sharp = make_camera(model, width=36, height=24, quality="pretty").render(batch, ids)
    monkeypatch.undo()
    # A picture three times as large is made of the very rays that go through the sub-pixels.
    large = make_camera(model, width=108, height=72, quality="pretty", num_threads=1)
    monkeypatch.setattr(tracer, "EDGE_CONTRAST", 1.0)
    means = large.render(batch, ids).reshape(2, 24, 3, 36, 3, 3).mean(axis=(2, 4))
    monkeypatch.undo()
    at_edges = np.stack([tracer.edges(frame) for frame in sharp])
    assert 0.02 < at_edges.mean() < 0.5
    np.testing.assert_allclose(smooth[at_edges], means[at_edges], atol=1)
    np.testing.assert_array_equal(smooth[~at_edges], sharp[~at_edges])


@pytest.mark.parametrize("num_threads", [1, 2])
def test_pretty_pixels_do_not_depend_on_threads(
    model: mujoco.MjModel, batch: mujoco.batch.Batch, num_threads: int
) -> None:
    camera = make_camera(model, width=40, height=40, quality="pretty", num_threads=num_threads)
    frames = camera.render(batch)
    alone = make_camera(model, width=40, height=40, quality="pretty", num_threads=1, batch_size_hint=1)
    for sim in (10, 3):
        np.testing.assert_array_equal(alone.render(batch, np.array([sim]))[0], frames[sim])


@pytest.mark.parametrize("quality", ["fast", "pretty"])
def test_threads_that_draw_find_every_kernel_made(
    model: mujoco.MjModel, batch: mujoco.batch.Batch, quality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contexts that took up their kernels in two threads at once drew wrong pixels for as long as they lived."""
    made_by: list[threading.Thread] = []
    make = kernels._build_megakernel

    def noting(*args: Any) -> Any:
        made_by.append(threading.current_thread())
        return make(*args)

    monkeypatch.setattr(kernels, "_build_megakernel", noting)
    make_camera(model, width=36, height=24, quality=quality, num_threads=2, batch_size_hint=2).render(batch)
    assert len(made_by) >= 2
    assert set(made_by) == {threading.current_thread()}


def test_edges_are_both_sides_of_a_step() -> None:
    frame = np.zeros((3, 5, 3), np.uint8)
    frame[:, 3:] = 255
    frame[2, 0] = 3  # 1.2% of white, too faint
    expected = np.zeros((3, 5), bool)
    expected[:, 2:4] = True
    np.testing.assert_array_equal(tracer.edges(frame), expected)


def test_a_closed_camera_says_so(model: mujoco.MjModel, batch: mujoco.batch.Batch) -> None:
    camera = make_camera(model)
    camera.close()
    with pytest.raises(RuntimeError, match="closed"):
        camera.render(batch)


@pytest.mark.parametrize("total", [0, 1, 2, 7, 32, 33, 257])
@pytest.mark.parametrize("capacity", [1, 16])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_chunks_cover_everything_evenly(total: int, capacity: int, workers: int) -> None:
    sizes = np.diff(chunk_bounds(total, capacity, workers))
    assert sizes.sum() == total
    if total:
        assert sizes.min() >= 1
        assert sizes.max() <= min(capacity, sizes.min() + 1)
        assert len(sizes) >= min(total, workers)
