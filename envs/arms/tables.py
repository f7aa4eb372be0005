"""What a file of the user's says of an arm: its tables, and how they are read."""

import tomllib
from dataclasses import MISSING, dataclass, fields
from math import hypot, inf
from pathlib import Path
from typing import Any, TypeVar

from goalsight.base.errors import UserError, choose
from goalsight.base.files import plain_bytes
from goalsight.envs.geometry.region import Region

Table = TypeVar("Table")

# What lies beyond these is meant in other units, or is no number of a robot.
LARGEST = 1e6  # of any number
NARROWEST, WIDEST = 0.001, 1.0  # a gripper when it is open [m]
FARTHEST = 10.0  # that places lie from the origin [m]
SHORTEST = 0.001  # quaternion: from a shorter one its direction is noise
SLOWEST = 0.001  # speed limit of a joint [rad/s]


@dataclass(frozen=True)
class ToolTable:
    """The table [tool]: a site, or a body and a place in it."""

    site: str | None = None
    body: str | None = None
    pos: tuple[float, ...] = (0.0, 0.0, 0.0)  # [m]
    quat: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class GripperTable:
    """The table [gripper]."""

    actuators: tuple[str, ...]
    closed: tuple[float, ...]
    open: tuple[float, ...]
    width: float  # [m]
    mjcf: str | None = None
    attach: str | None = None
    strength: float = 1.0  # how much stronger its actuators are to be than their file says


@dataclass(frozen=True)
class ServoTable:
    """The table [servo]: gains for the arm's actuators, where they are motors, or follow too slowly."""

    stiffness: tuple[float, ...]  # [N m/rad], one for all joints or one each
    damping: tuple[float, ...]  # [N m s/rad]


@dataclass(frozen=True)
class ArmTable:
    """The file: what it says of the arm."""

    tool: ToolTable
    gripper: GripperTable
    mjcf: str
    name: str  # of ids
    servo: ServoTable | None = None
    joints: tuple[str, ...] = ()  # from base to wrist; found without them
    start: tuple[float, ...] = ()  # joint positions near which a home pose is looked for [rad]
    home_at: tuple[float, ...] = (0.45, 0.0, 0.2)  # where the tool is at home [m]
    mount: tuple[float, ...] = (0.0, 0.0, 0.0)  # where the base stands [m]
    max_speed: tuple[float, ...] = (inf,)  # one for all joints or one each [rad/s]
    turn_weight: float = 1.0
    hidden: tuple[float, ...] = ()  # groups of shapes that are not drawn, such as those that only touch
    reach: tuple[float, ...] = ()  # low x, y, z and high x, y, z of what it reaches, if not all [m]

    @property
    def region(self) -> Region | None:
        """What it reaches, if not all [m]."""
        if not self.reach:
            return None
        a, b, c, d, e, f = self.reach
        return Region((a, b, c), (d, e, f))


def read_table(described: Path) -> ArmTable:
    """Read the TOML file of an arm.

    Raises:
        UserError: what is missing or wrong, and where.
    """
    try:
        said = tomllib.loads(plain_bytes(described).decode())
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{described} cannot be read: {error}") from error
    table = _parse(ArmTable, {"name": described.stem, "mjcf": f"{described.stem}.xml"} | said, str(described))
    gripper = table.gripper
    if not table.name.replace("_", "").isalnum():
        raise UserError(f'{described}: name "{table.name}" must be of letters, digits and underscores')
    if not len(gripper.actuators) == len(gripper.closed) == len(gripper.open) > 0:
        raise UserError(f"{described}: [gripper] needs actuators, and one number closed and open for each actuator")
    if not NARROWEST <= gripper.width <= WIDEST:
        raise UserError(f"{described}: [gripper] width must lie in [{NARROWEST}, {WIDEST}] m, got {gripper.width}")
    if gripper.strength <= 0:
        raise UserError(f"{described}: [gripper] strength must be positive, got {gripper.strength}")
    if table.turn_weight < 0:
        raise UserError(f"{described}: turn_weight must not be negative, got {table.turn_weight}")
    if table.tool.site is None and table.tool.body is None:
        raise UserError(f"{described}: [tool] needs a site, or a body")
    if table.tool.site is not None and table.tool.body is not None:
        raise UserError(f"{described}: [tool] has a site and a body; it needs one of them")
    if len(table.tool.pos) != 3 or len(table.tool.quat) != 4:
        raise UserError(f"{described}: [tool] pos is three numbers, quat is four")
    if not SHORTEST <= hypot(*table.tool.quat) < inf:
        raise UserError(f"{described}: [tool] quat is a rotation; it cannot be of zeros alone, or nearly")
    if len(table.reach) not in (0, 6) or len(table.mount) != 3 or len(table.home_at) != 3:
        raise UserError(f"{described}: mount and home_at are three numbers, reach is six")
    if any(low >= high for low, high in zip(table.reach[:3], table.reach[3:], strict=True)):
        raise UserError(f"{described}: reach is low x, y, z and then high x, y, z, got {list(table.reach)}")
    _check_numbers(table, described)
    return table


def _check_numbers(table: ArmTable, described: Path) -> None:
    """Refuse numbers that are meant in other units, or are none of a robot.

    Raises:
        UserError: naming the entry.
    """
    places = (*table.tool.pos, *table.mount, *table.home_at, *table.reach)
    if max(map(abs, places)) > FARTHEST:
        raise UserError(f"{described}: pos, mount, home_at and reach are in metres, at most {FARTHEST:g}")
    if any(0 < speed < SLOWEST for speed in table.max_speed):
        raise UserError(f"{described}: max_speed must be at least {SLOWEST} rad/s, got {list(table.max_speed)}")
    if table.servo is not None and not (table.servo.stiffness and table.servo.damping):
        raise UserError(f"{described}: [servo] needs stiffness and damping, one number or one for each joint")
    if table.servo is not None and min(*table.servo.stiffness, *table.servo.damping) <= 0:
        raise UserError(f"{described}: [servo] needs positive stiffness and damping")


def _parse(kind: type[Table], said: dict[str, Any], where: str) -> Table:
    """A table of the file as a dataclass; a number may stand for a list of one."""
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in said.items():
        try:
            wanted = str(known[choose("entry", key, known)].type)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        tables = [table for table in (ToolTable, GripperTable, ServoTable) if table.__name__ in wanted]
        if tables:
            values[key] = _parse(tables[0], value if isinstance(value, dict) else {}, f"{where}: [{key}]")
            continue
        many = "tuple" in wanted
        items = value if isinstance(value, list) else [value]
        expected = str if "str" in wanted else (int, float)
        if not all(isinstance(item, expected) and not isinstance(item, bool) for item in items) or (
            isinstance(value, list) and not many
        ):
            raise UserError(f'{where}: "{key}" must be {"text" if expected is str else "a number"}, got {value!r}')
        if expected is not str and not all(-LARGEST <= item <= LARGEST for item in items):  # NaN does not either
            raise UserError(f'{where}: "{key}" must lie in [{-LARGEST:g}, {LARGEST:g}], got {value!r:.80}')
        values[key] = tuple(items) if many else value
    missing = [name for name, each in known.items() if each.default is MISSING and name not in values]
    if missing:
        raise UserError(f"{where} does not say: {', '.join(missing)}")
    return kind(**values)
