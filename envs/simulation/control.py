"""Control: from actions in [-1, 1] to joint position targets. Pure, batched functions of the array API."""

from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import array_namespace

from goalsight.envs.geometry.region import Array, Region

DAMPING = 0.05  # of the least squares [m or rad]: bounds joint speed near singular poses
TABLETOP = Region((0.25, -0.35, 0.015), (0.68, 0.35, 0.45))  # what a tool can reach over the table [m]
# tool_in_world when pointing down. The fingers open along x: seen from the front the hand is at its narrowest.
DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
MAX_TURN = 0.2  # the largest rotation corrected in one control step [rad]
ROUNDING = 1e-6  # a place that lies outside the workspace by less is on its edge [m]
TURN = 0.1  # tool rotation at full scale, where actions turn it [rad]


def geometric_jacobian(axes: Array, anchors: Array, point: Array) -> Array:
    """Jacobian of a point on the last link of a chain of hinges.

    Args:
        axes: unit joint axes in the world, shape (N, J, 3).
        anchors: joint positions in the world [m], shape (N, J, 3).
        point: the point in the world [m], shape (N, 3).

    Returns:
        shape (N, 6, J): rows 0-2 linear [m/rad], rows 3-5 angular. Siciliano et al., Robotics (2009), section 3.1.
    """
    xp = array_namespace(axes)
    linear = xp.linalg.cross(axes, point[:, None, :] - anchors)  # (N, J, 3)
    return xp.permute_dims(xp.concat([linear, axes], axis=-1), (0, 2, 1))  # (N, 6, J)


def rotation_error(current: Array, target: Array) -> Array:
    """The rotation that takes `current` to `target`, to first order.

    Args:
        current: rotation matrices, shape (N, 3, 3).
        target: rotation matrices, shape (N, 3, 3) or (3, 3).

    Returns:
        rotation vector in the world [rad], shape (N, 3); exact to first order, never longer than 1.5.
        Luh, Walker and Paul, Resolved-acceleration control (1980), equation 21.
    """
    xp = array_namespace(current)
    target = xp.broadcast_to(target, current.shape)
    return 0.5 * xp.sum(xp.linalg.cross(current, target, axis=-2), axis=-1)


def damped_least_squares(jacobian: Array, error: Array, damping: float = DAMPING) -> Array:
    """Joint displacement that reduces a task-space error, bounded near singularities.

    Args:
        jacobian: shape (N, 6, J).
        error: wanted displacement of the tool: linear [m], angular [rad], shape (N, 6).
        damping: trades accuracy for joint speed.

    Returns:
        joint displacement [rad], shape (N, J). Wampler, IEEE SMC 16(1), 1986.
    """
    xp = array_namespace(jacobian)
    transposed = xp.permute_dims(jacobian, (0, 2, 1))
    gram = xp.matmul(jacobian, transposed) + damping**2 * xp.eye(6, dtype=jacobian.dtype)
    return xp.matmul(transposed, xp.linalg.solve(gram, error[..., None]))[..., 0]


def limit_norm(vectors: Array, longest: float) -> Array:
    """Shorten vectors, shape (N, K), to at most `longest`, keeping their direction."""
    xp = array_namespace(vectors)
    norm = xp.linalg.vector_norm(vectors, axis=-1, keepdims=True)
    return vectors * (longest / xp.maximum(norm, xp.asarray(longest, dtype=vectors.dtype)))


@dataclass(frozen=True)
class Chain:
    """The state of the arm that control looks at, for N simulations."""

    joints: Array  # joint positions [rad], (N, J)
    axes: Array  # joint axes in the world, (N, J, 3)
    anchors: Array  # joint anchors in the world [m], (N, J, 3)
    tool: Array  # tool position in the world [m], (N, 3)
    orientation: Array  # tool rotation in the world, (N, 3, 3)
    turn_weight: float = 1.0  # being turned a radian wrong counts as being so far off its place [m/rad]


def joint_displacement(chain: Chain, move: Array, turn: Array, damping: float = DAMPING) -> Array:
    """Joint displacement [rad], shape (N, J), for a displacement of the tool.

    Args:
        chain: the arm as it is.
        move: displacement wanted [m], shape (N, 3).
        turn: rotation vector wanted, in the world [rad], shape (N, 3); counts as the arm's `turn_weight` says.
        damping: of the least squares.
    """
    xp = array_namespace(chain.joints)
    jacobian = geometric_jacobian(chain.axes, chain.anchors, chain.tool)
    weights = xp.asarray([1.0] * 3 + [chain.turn_weight] * 3, dtype=jacobian.dtype)
    error = weights * xp.concat([move, turn], axis=-1)
    return damped_least_squares(weights[:, None] * jacobian, error, damping)


def reach_for(chain: Chain, position: Array, orientation: Array, damping: float = DAMPING) -> Array:
    """One step of inverse kinematics toward a tool pose.

    Args:
        chain: the arm as it is.
        position: tool position wanted [m], shape (N, 3).
        orientation: tool rotation wanted, shape (3, 3) or (N, 3, 3).
        damping: of the least squares.

    Returns:
        joint positions [rad], shape (N, J).
    """
    turn = limit_norm(rotation_error(chain.orientation, orientation), MAX_TURN)
    return chain.joints + joint_displacement(chain, position - chain.tool, turn, damping)


@dataclass(frozen=True)
class EndEffectorControl:
    """Cartesian displacements of the tool, which keeps pointing straight down or is turned by three more entries."""

    step: float = 0.04  # tool displacement at full scale [m]
    reach: Region = TABLETOP  # where the tool may be sent [m]; tasks have their own
    turn: float = 0.0  # tool rotation about each axis of the world at full scale [rad]; 0 keeps it straight down

    def arm_size(self, joints: int) -> int:
        """Number of action entries that move an arm of so many joints."""
        return 6 if self.turn else 3

    def within(self, workspace: Region, turns: bool = False) -> "EndEffectorControl":
        """The same control, with the tool kept in a task's workspace, and turned too where the task wants that."""
        return replace(self, reach=workspace, turn=TURN if turns else 0.0)

    def reaches(self, places: Array) -> Array:
        """Whether the tool may be sent to places [m], shape (N, 3); bool (N,)."""
        xp = array_namespace(places)
        return xp.max(xp.abs(places - self.reach.clip(places)), axis=-1) < ROUNDING

    def targets(self, chain: Chain, action: Array, orientation: Array) -> Array:
        """Joint targets [rad], shape (N, J), for actions in [-1, 1], shape (N, 3), or (N, 6) where it turns."""
        place = self.reach.clip(chain.tool + self.step * action[:, :3])
        if self.turn:
            return chain.joints + joint_displacement(chain, place - chain.tool, self.turn * action[:, 3:])
        return reach_for(chain, place, orientation)

    def toward(self, chain: Chain, move: Array, turn: Array | None) -> Array:
        """Actions, shape (N, 3) or (N, 6), not yet limited, for displacements of the tool.

        Args:
            chain: the arm as it is.
            move: displacement wanted [m], shape (N, 3).
            turn: rotation vector wanted, in the world [rad], shape (N, 3); None keeps the tool straight down.
        """
        xp = array_namespace(move)
        return move / self.step if turn is None else xp.concat([move / self.step, turn / self.turn], axis=-1)


@dataclass(frozen=True)
class JointControl:
    """Displacements of the joints."""

    step: float = 0.08  # joint displacement at full scale [rad]

    def arm_size(self, joints: int) -> int:
        """Number of action entries that move an arm of so many joints."""
        return joints

    def within(self, workspace: Region, turns: bool = False) -> "JointControl":
        """The same control: joints know no workspace."""
        return self

    def reaches(self, places: Array) -> Array:
        """Everywhere: joints know no workspace; bool (N,)."""
        xp = array_namespace(places)
        return xp.ones(places.shape[0], dtype=xp.bool)

    def targets(self, chain: Chain, action: Array, orientation: Array) -> Array:
        """Joint targets [rad], shape (N, J), for actions in [-1, 1], shape (N, J)."""
        return chain.joints + self.step * action

    def toward(self, chain: Chain, move: Array, turn: Array | None) -> Array:
        """Actions in [-1, 1], shape (N, J); see `EndEffectorControl.toward`.

        The tool goes no farther than Cartesian control would send it, and more slowly, but the same way, where a
        joint would have to be faster than it can.
        """
        xp = array_namespace(move)
        if turn is None:
            turn = limit_norm(rotation_error(chain.orientation, xp.asarray(DOWN, dtype=move.dtype)), MAX_TURN)
        farthest = EndEffectorControl.step
        action = joint_displacement(chain, xp.clip(move, -farthest, farthest), turn) / self.step
        fastest = xp.max(xp.abs(action), axis=-1, keepdims=True)
        return action / xp.maximum(fastest, xp.ones_like(fastest))


CONTROLS: dict[str, EndEffectorControl | JointControl] = {"ee": EndEffectorControl(), "joint": JointControl()}
