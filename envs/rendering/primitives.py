"""Kernels that draw spheres, capsules, ellipsoids, cylinders and boxes where they can be seen, in daylight."""

# mypy: disable-error-code="index, misc, type-var, no-untyped-def, no-untyped-call, call-overload, operator, valid-type"
# Kernels are compiled by Warp, whose arrays type checkers do not know as such.

import mujoco
import warp as wp

TILE = 8  # side of the squares of pixels that a thread traces together
MOST = 64  # geoms
NEAR = 0.05  # what comes closer to the camera's plane is taken to be anywhere on the picture [m]
SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX = SHAPES = tuple(
    wp.constant(int(shape))
    for shape in (
        mujoco.mjtGeom.mjGEOM_SPHERE,
        mujoco.mjtGeom.mjGEOM_CAPSULE,
        mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        mujoco.mjtGeom.mjGEOM_BOX,
    )
)
MISS = wp.constant(-1.0)
Indices = wp.types.vector(length=MOST, dtype=wp.int32)


@wp.kernel
def bound(
    position: wp.array2d[wp.vec3],
    rotation: wp.array2d[wp.mat33],
    box: wp.array[wp.vec3],
    eye: wp.vec3,
    view: wp.mat33,
    focal: float,
    width: int,
    height: int,
    eyes: wp.array2d[wp.vec3],
    bounds: wp.array2d[wp.vec4i],
):
    """Where on the picture a geom can be, as first and last column and row; and the eye in the geom's frame."""
    sim, geom = wp.tid()
    turn = rotation[sim, geom]
    offset = eye - position[sim, geom]
    eyes[sim, geom] = wp.transpose(turn) @ offset
    left, right = float(width), wp.float32(-1.0)
    top, bottom = float(height), wp.float32(-1.0)
    half = box[geom]
    for corner in range(8):
        sign = wp.vec3(float(corner & 1) * 2.0 - 1.0, float(corner & 2) - 1.0, float(corner & 4) * 0.5 - 1.0)
        seen = wp.transpose(view) @ (turn @ wp.cw_mul(sign, half) - offset)
        ahead = -seen[2]
        if ahead < NEAR:
            bounds[sim, geom] = wp.vec4i(0, width - 1, 0, height - 1)
            return
        column = 0.5 * float(width) - 0.5 + focal * seen[0] / ahead
        row = 0.5 * float(height) - 0.5 - focal * seen[1] / ahead
        left, right = wp.min(left, column), wp.max(right, column)
        top, bottom = wp.min(top, row), wp.max(bottom, row)
    # A hundredth of a pixel makes up for rounding.
    bounds[sim, geom] = wp.vec4i(
        wp.max(0, int(wp.ceil(wp.clamp(left, -1.0, float(width)) - 0.01))),
        wp.min(width - 1, int(wp.floor(wp.clamp(right, -1.0, float(width)) + 0.01))),
        wp.max(0, int(wp.ceil(wp.clamp(top, -1.0, float(height)) - 0.01))),
        wp.min(height - 1, int(wp.floor(wp.clamp(bottom, -1.0, float(height)) + 0.01))),
    )


@wp.func
def hit_ellipsoid(eye: wp.vec3, ray: wp.vec3, size: wp.vec3):
    """Distance at which a ray enters an ellipsoid, or MISS, and the normal there."""
    start, along = wp.cw_div(eye, size), wp.cw_div(ray, size)
    a, b, c = wp.dot(along, along), wp.dot(start, along), wp.dot(start, start) - 1.0
    discriminant = b * b - a * c
    if discriminant < 0.0:
        return MISS, wp.vec3(0.0)
    distance = (-b - wp.sqrt(discriminant)) / a
    return distance, wp.normalize(wp.cw_div(start + along * distance, size))


@wp.func
def hit_tube(eye: wp.vec3, ray: wp.vec3, radius: float, half: float):
    """Distance at which a ray enters the side of a cylinder, or MISS, and the normal there."""
    a = ray[0] * ray[0] + ray[1] * ray[1]
    b = eye[0] * ray[0] + eye[1] * ray[1]
    discriminant = b * b - a * (eye[0] * eye[0] + eye[1] * eye[1] - radius * radius)
    if discriminant < 0.0 or a < 1.0e-12:
        return MISS, wp.vec3(0.0)
    distance = (-b - wp.sqrt(discriminant)) / a
    if wp.abs(eye[2] + distance * ray[2]) > half:
        return MISS, wp.vec3(0.0)
    return distance, wp.vec3(eye[0] + distance * ray[0], eye[1] + distance * ray[1], 0.0) / radius


@wp.func
def hit_capsule(eye: wp.vec3, ray: wp.vec3, radius: float, half: float):
    """Distance at which a ray enters a capsule, or MISS, and the normal there."""
    distance, normal = hit_tube(eye, ray, radius, half)
    if distance > 0.0:
        return distance, normal
    best = float(MISS)
    for end in range(2):
        side = float(end) * 2.0 - 1.0
        start = eye - wp.vec3(0.0, 0.0, side * half)
        b = wp.dot(start, ray)
        discriminant = b * b - wp.dot(start, start) + radius * radius
        if discriminant >= 0.0:
            distance = -b - wp.sqrt(discriminant)
            if side * (start[2] + distance * ray[2]) >= 0.0 and (best < 0.0 or distance < best):
                best = distance
                normal = (start + distance * ray) / radius
    return best, normal


@wp.func
def hit_cylinder(eye: wp.vec3, ray: wp.vec3, radius: float, half: float):
    """Distance at which a ray enters a cylinder, or MISS, and the normal there."""
    distance, normal = hit_tube(eye, ray, radius, half)
    if distance > 0.0 or wp.abs(ray[2]) < 1.0e-9:
        return distance, normal
    side = -wp.sign(ray[2])
    distance = (side * half - eye[2]) / ray[2]
    x, y = eye[0] + distance * ray[0], eye[1] + distance * ray[1]
    if x * x + y * y > radius * radius:
        return MISS, normal
    return distance, wp.vec3(0.0, 0.0, side)


@wp.func
def hit_box(eye: wp.vec3, ray: wp.vec3, size: wp.vec3):
    """Distance at which a ray enters a box, or MISS, and the normal there."""
    enter, leave = wp.float32(-1.0e9), wp.float32(1.0e9)
    normal = wp.vec3(0.0)
    for axis in range(3):
        if wp.abs(ray[axis]) < 1.0e-9:
            if wp.abs(eye[axis]) > size[axis]:
                return MISS, normal
        else:
            side = -wp.sign(ray[axis])
            near = (side * size[axis] - eye[axis]) / ray[axis]
            far = (-side * size[axis] - eye[axis]) / ray[axis]
            leave = wp.min(leave, far)
            if near > enter:
                enter = near
                normal = wp.vec3(0.0)
                normal[axis] = side
    if enter > leave:
        return MISS, normal
    return enter, normal


@wp.func
def hit(shape: int, eye: wp.vec3, ray: wp.vec3, size: wp.vec3):
    """Distance at which a ray of length 1 enters a geom, or MISS, and the normal there, in the geom's frame."""
    if shape == CAPSULE:
        return hit_capsule(eye, ray, size[0], size[1])
    if shape == CYLINDER:
        return hit_cylinder(eye, ray, size[0], size[1])
    if shape == BOX:
        return hit_box(eye, ray, size)
    return hit_ellipsoid(eye, ray, size)


@wp.kernel
def trace(
    rotation: wp.array2d[wp.mat33],
    eyes: wp.array2d[wp.vec3],
    bounds: wp.array2d[wp.vec4i],
    shape: wp.array[int],
    size: wp.array[wp.vec3],
    colour: wp.array[wp.vec3],
    rays: wp.array[wp.vec3],
    depth: wp.array[float],
    sun: wp.array[wp.vec3],
    shine: wp.array[wp.vec3],
    ambient: wp.vec3,
    width: int,
    height: int,
    frames: wp.array4d[wp.uint8],
):
    """Draw the moving geoms that a tile of pixels shows over what the frames hold."""
    sim, tile_row, tile_column = wp.tid()
    left, top = tile_column * TILE, tile_row * TILE
    right, bottom = wp.min(left + TILE, width), wp.min(top + TILE, height)
    here = Indices()
    count = wp.int32(0)
    for geom in range(shape.shape[0]):
        area = bounds[sim, geom]
        if area[0] < right and area[1] >= left and area[2] < bottom and area[3] >= top:
            here[count] = geom
            count += 1
    if count == 0:
        return
    for row in range(top, bottom):
        for column in range(left, right):
            pixel = row * width + column
            ray = rays[pixel]
            nearest = depth[pixel]
            found = wp.int32(-1)
            normal = wp.vec3(0.0)
            for which in range(count):
                geom = here[which]
                area = bounds[sim, geom]
                if column >= area[0] and column <= area[1] and row >= area[2] and row <= area[3]:
                    local = wp.transpose(rotation[sim, geom]) @ ray
                    distance, facing = hit(shape[geom], eyes[sim, geom], local, size[geom])
                    # The later geom wins where two are as near as rounding can tell.
                    if distance >= 0.0 and distance <= nearest + 1.0e-6 * wp.max(nearest, 1.0):
                        nearest = distance
                        found = geom
                        normal = facing
            if found >= 0:
                normal = rotation[sim, found] @ normal
                light = ambient
                for lamp in range(sun.shape[0]):
                    light += wp.max(0.0, wp.dot(normal, sun[lamp])) * shine[lamp]
                shade = wp.cw_mul(colour[found], light)
                for channel in range(3):
                    frames[sim, row, column, channel] = wp.uint8(255.0 * wp.clamp(shade[channel], 0.0, 1.0))
