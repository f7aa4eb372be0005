"""What tasks speak about: things on a table, the world as it is, and where everything stands in an episode."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array
from goalsight.envs.simulation.control import DOWN

if TYPE_CHECKING:
    import mujoco


# What a state's parts and the points of a scene are called that belong to the arm.
RESERVED = (
    *("tool", "tool_velocity", "tool_rotation", "tool_angular_velocity", "opening", "opening_velocity"),
    *("joints", "joint_velocities", "gripper"),
)


class Thing(Protocol):
    """What a task puts on the table: a body and a joint of the same name.

    With a free joint it can lie anywhere; with a slide or a hinge it is a part that moves, of something fixed, and
    its body's frame is where a hand takes hold of it.
    """

    @property
    def name(self) -> str:
        """Of the body and of the joint."""

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add it to a scene."""


@dataclass(frozen=True)
class Cube:
    """A free cube."""

    name: str
    half: float = 0.025  # half of the edge [m]
    mass: float = 0.1  # [kg]
    rgba: tuple[float, float, float, float] = (0.85, 0.11, 0.10, 1.0)

    def add_to(self, spec: "mujoco.MjSpec") -> None:
        """Add the cube to a scene."""
        import mujoco

        body = spec.worldbody.add_body(name=self.name, pos=[0.45, 0, self.half])
        body.add_freejoint(name=self.name)
        body.add_geom(
            name=self.name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[self.half] * 3,
            mass=self.mass,
            rgba=self.rgba,
            condim=4,
            # Less than the inverse of the fingers' friction, or a pushed cube would jam against the table.
            friction=[0.5, 0.01, 0.0001],
            solref=[0.01, 1.0],  # stiff enough not to be pressed into the table
            solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
        )


@dataclass(frozen=True)
class World:
    """The physical quantities that tasks speak about, for N simulations."""

    tool: Array  # point between the fingertips [m], (N, 3)
    tool_velocity: Array  # [m/s], (N, 3)
    opening: Array  # of the gripper, per finger [m], (N, 1)
    objects: dict[str, Array] = field(default_factory=dict)  # positions [m], (N, 3) each; of parts their handles'
    joints: dict[str, Array] = field(default_factory=dict)  # where moving parts stand [m or rad], (N,) each
    velocities: dict[str, Array] = field(default_factory=dict)  # of free objects [m/s], (N, 3) each
    orientation: Array = None  # tool rotation in the world, (N, 3, 3)
    angular_velocity: Array = None  # of the tool, in the world [rad/s], (N, 3)
    response: float = 0.65  # share of the speed asked of the hand that a thing takes which it strikes; by trial


@dataclass(frozen=True)
class Placement:
    """Where everything stands at rest, for n simulations."""

    tool: Array  # tool position [m], (n, 3)
    objects: dict[str, Array] = field(default_factory=dict)  # positions [m], (n, 3) each; of parts their handles'
    yaw: dict[str, Array] = field(default_factory=dict)  # of free objects [rad], (n,) each
    joints: dict[str, Array] = field(default_factory=dict)  # where moving parts stand [m or rad], (n,) each
    orientation: Array | None = None  # tool rotation in the world, (n, 3, 3); None points straight down

    def world(self) -> World:
        """What tasks see of it, with the gripper closed."""
        xp = array_namespace(self.tool)
        still = xp.zeros_like(self.tool)
        velocities = {name: xp.zeros_like(place) for name, place in self.objects.items() if name not in self.joints}
        down = xp.asarray(DOWN, dtype=self.tool.dtype) if self.orientation is None else self.orientation
        orientation = xp.broadcast_to(down, (self.tool.shape[0], 3, 3))
        return World(self.tool, still, still[:, :1], self.objects, self.joints, velocities, orientation, still)


@dataclass(frozen=True)
class Layout:
    """One draw of an episode, for n simulations: where things start, and the goal."""

    start: Placement
    goal: Array  # (n, goal_size)


def distance(a: Array, b: Array) -> Array:
    """Euclidean distance [m] of points of shape (..., 3)."""
    xp = array_namespace(a, b)
    return xp.linalg.vector_norm(a - b, axis=-1)
