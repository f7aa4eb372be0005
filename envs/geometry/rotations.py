"""Rotation vectors: an axis times an angle [rad]. Pure, batched functions of the array API."""

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array

TINY = 1e-12  # below it an angle [rad] counts as none


def rotation_matrix(vectors: Array) -> Array:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) [rad]. Rodrigues' formula."""
    xp = array_namespace(vectors)
    angle = xp.linalg.vector_norm(vectors, axis=-1, keepdims=True)
    axis = vectors / xp.maximum(angle, xp.asarray(TINY, dtype=vectors.dtype))
    x, y, z = (axis[..., i] for i in range(3))
    zero = xp.zeros_like(x)
    cross = xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    cross = xp.reshape(cross, (*vectors.shape[:-1], 3, 3))
    sine, cosine = xp.sin(angle)[..., None], xp.cos(angle)[..., None]
    return xp.eye(3, dtype=vectors.dtype) + sine * cross + (1 - cosine) * xp.matmul(cross, cross)


def rotation_vector(matrices: Array) -> Array:
    """Rotation vectors (..., 3) [rad] of rotation matrices (..., 3, 3); loses its axis where it is half a turn."""
    xp = array_namespace(matrices)
    twice = xp.stack(
        [
            matrices[..., 2, 1] - matrices[..., 1, 2],
            matrices[..., 0, 2] - matrices[..., 2, 0],
            matrices[..., 1, 0] - matrices[..., 0, 1],
        ],
        axis=-1,
    )
    sine = 0.5 * xp.linalg.vector_norm(twice, axis=-1, keepdims=True)
    trace = matrices[..., 0, 0] + matrices[..., 1, 1] + matrices[..., 2, 2]
    angle = xp.atan2(sine, 0.5 * (trace[..., None] - 1))
    return 0.5 * twice * xp.where(sine > TINY, angle / xp.maximum(sine, xp.asarray(TINY, dtype=sine.dtype)), 1.0)


def angle_between(a: Array, b: Array) -> Array:
    """The angle [rad], (...), of the rotation that takes one rotation to another, both as vectors (..., 3) [rad]."""
    xp = array_namespace(a, b)
    (real_a, imaginary_a), (real_b, imaginary_b) = _quaternion(a), _quaternion(b)
    real = real_a * real_b + xp.sum(imaginary_a * imaginary_b, axis=-1)
    imaginary = real_a[..., None] * imaginary_b - real_b[..., None] * imaginary_a
    imaginary = imaginary - xp.linalg.cross(imaginary_a, imaginary_b)
    return 2 * xp.atan2(xp.linalg.vector_norm(imaginary, axis=-1), xp.abs(real))


def _quaternion(vectors: Array) -> tuple[Array, Array]:
    """Real (...) and imaginary (..., 3) part."""
    xp = array_namespace(vectors)
    angle = xp.linalg.vector_norm(vectors, axis=-1, keepdims=True)
    axis = vectors / xp.maximum(angle, xp.asarray(TINY, dtype=vectors.dtype))
    return xp.cos(0.5 * angle)[..., 0], axis * xp.sin(0.5 * angle)
