"""Arms from files of strangers: nothing outside their folder is opened, nothing endless is followed."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from strange_arm import SAID, mjcf, strange_arm

from goalsight.base.errors import UserError
from goalsight.envs.arms.catalogue import UR5E
from goalsight.envs.arms.files import OF_USERS, load_arm
from goalsight.envs.arms.mjcf import check_references


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return strange_arm(tmp_path / "robot")


@pytest.mark.parametrize(
    "element",
    [
        '<include file="../secret.xml"/>',
        '<include file="/etc/passwd"/>',
        '<compiler meshdir="/etc"/>',
        '<compiler meshdir=".."/>',
        '<asset><mesh file="../secret.stl"/></asset>',
        '<compiler meshdir="meshes/../.."/><asset><mesh file="a.stl"/></asset>',
        '<asset><texture type="cube" fileright="../a.png"/></asset>',
        '<asset><hfield file="https://host/a.png"/></asset>',
        '<asset><model file="../other.xml"/></asset>',
        '<asset><mesh file="link.stl"/></asset>',
        '<include file="inner.xml"/>',
        '<asset><mesh file="C:\\secret.stl"/></asset>',
    ],
)
def test_what_leaves_the_folder_is_refused_before_it_is_opened(folder: Path, element: str) -> None:
    (folder.parent / "secret.xml").write_text("<mujoco/>")
    (folder.parent / "secret.stl").write_text("")
    (folder / "link.stl").symlink_to(folder.parent / "secret.stl")
    (folder / "inner.xml").write_text('<mujoco><include file="../secret.xml"/></mujoco>')
    (folder / "arm.xml").write_text(f"<mujoco>{element}</mujoco>")
    with pytest.raises(UserError, match=r"lies outside|not a path inside"):
        check_references(folder / "arm.xml", folder)


@pytest.mark.parametrize("meshdir", ["{folder}", ".."])
def test_folders_that_an_included_file_names_count_for_all(folder: Path, meshdir: str) -> None:
    sub = folder / "sub"
    sub.mkdir()
    (folder.parent / "secret.stl").write_text("")
    (sub / "arm.xml").write_text(
        '<mujoco><include file="dirs.xml"/><asset><mesh file="../secret.stl"/></asset></mujoco>'
    )
    (sub / "dirs.xml").write_text("<mujoco/>")
    check_references(sub / "arm.xml", folder)
    (sub / "dirs.xml").write_text(f'<mujoco><compiler meshdir="{meshdir.format(folder=folder)}"/></mujoco>')
    with pytest.raises(UserError, match=r'<mesh> names "\.\./secret\.stl", which lies outside'):
        check_references(sub / "arm.xml", folder)


def test_files_inside_the_folder_may_be_named(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "parts" / "inner.xml").write_text('<mujoco><asset><mesh file="a.stl"/></asset></mujoco>')
    (folder / "arm.xml").write_text('<mujoco><compiler meshdir="meshes"/><include file="parts/inner.xml"/></mujoco>')
    check_references(folder / "arm.xml", folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco/>', "document type"),
        ("<mujoco>", "is no MJCF"),
        ("", "is no MJCF"),
        ('<mujoco><include file="gone.xml"/></mujoco>', "does not exist"),
    ],
)
def test_what_is_no_mjcf_is_refused(folder: Path, text: str, says: str) -> None:
    (folder / "arm.xml").write_text(text)
    with pytest.raises(UserError, match=says):
        check_references(folder / "arm.xml", folder)


@pytest.mark.parametrize(
    "element",
    [
        '<asset><hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/></asset>',
        '<asset><texture name="t" type="2d" builtin="flat" width="60000" height="60000"/></asset>',
        '<worldbody><body name="b"><flexcomp name="f" type="grid" count="1000 1000 1000"/></body></worldbody>',
        '<worldbody><replicate count="200"><replicate count="200"><site/></replicate></replicate></worldbody>',
        '<worldbody><camera name="c" resolution="1e5 1e5"/></worldbody>',
        '<sensor><user dim="1000000000"/></sensor>',
        "<sensor>" + 20 * '<user dim="900000"/>' + "</sensor>",
        '<asset><texture type="cube" builtin="flat" width="4000" height="4000"/></asset>',
        "<asset>" + 20 * '<texture builtin="flat" width="8000" height="8000"/>' + "</asset>",
        "<asset>" + 20 * '<hfield nrow="4000" ncol="4000" size="1 1 1 1"/>' + "</asset>",
        "<worldbody>" + 10 * '<body><flexcomp count="46 46 46"/></body>' + "</worldbody>",
        '<worldbody><replicate count="10000"><geom size="1"/></replicate></worldbody>',
        '<actuator><position joint="a" delay="0.01" nsample="16000000"/></actuator>',
        '<sensor><jointpos joint="a" delay="0.01" nsample="16000000"/></sensor>',
        '<sensor><jointpos nsample="60000"/></sensor><actuator><motor nsample="60000"/></actuator>',
        "<worldbody>" + 10_000 * '<geom size="1"/>' + "</worldbody>",
        '<sensor><contact num="200000000"/></sensor>',
        '<asset><mesh name="m" builtin="supersphere" params="1000 1 1"/></asset>',
        '<size memory="100G"/>',
        '<include file="inner.xml"/>',
    ],
)
def test_what_would_fill_the_memory_is_refused_before_mujoco_makes_it(folder: Path, element: str) -> None:
    (folder / "inner.xml").write_text('<mujoco><size memory="2T"/></mujoco>')
    (folder / "arm.xml").write_text(f"<mujoco>{element}</mujoco>")
    with pytest.raises(UserError, match=r"at most .* may be") as refused:
        check_references(folder / "arm.xml", folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("tag", ["texture", "hfield"])
def test_a_picture_that_would_fill_the_memory_is_not_decoded(folder: Path, tag: str) -> None:
    Image.new("1", (9000, 9000)).save(folder / "large.png")
    Image.new("1", (90, 90)).save(folder / "small.png")
    (folder / "arm.xml").write_text(f'<mujoco><asset><{tag} name="a" file="small.png"/></asset></mujoco>')
    check_references(folder / "arm.xml", folder)
    (folder / "arm.xml").write_text(f'<mujoco><asset><{tag} name="a" file="large.png"/></asset></mujoco>')
    with pytest.raises(UserError, match=f'<{tag}> names "large.png", a picture of 9000 x 9000 pixels; at most'):
        check_references(folder / "arm.xml", folder)


def test_a_part_that_lies_beyond_all_measure_is_refused(folder: Path) -> None:
    (folder / "arm.xml").write_text(mjcf().replace("<worldbody>", '<worldbody><body name="far" pos="0 0 1e30"/>', 1))
    with pytest.raises(UserError, match="a body lies more than 100 m from what it hangs on"):
        load_arm(folder / "arm.toml")


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ('<inertial pos="1e30 0 0" mass="1" diaginertia="1 1 1"/>', "a centre of mass lies more than 100 m"),
        ('<inertial pos="0 0 0" mass="1e30" diaginertia="1 1 1"/>', "some mass is more than"),
        ('<joint armature="1e30"/><geom size="1"/>', "some armature is more than"),
        ('<joint damping="1e300"/><geom size="1"/>', "some damping is more than"),
    ],
)
def test_a_part_beyond_all_weight_is_refused(folder: Path, held: str, said: str) -> None:
    (folder / "arm.xml").write_text(mjcf().replace("<worldbody>", f"<worldbody><body>{held}</body>", 1))
    with pytest.raises(UserError, match=said) as refused:
        load_arm(folder / "arm.toml")
    assert "\n" not in str(refused.value)


def test_what_arms_ask_for_is_granted(folder: Path) -> None:
    text = """<mujoco><size memory="64M"/><asset><texture name="t" type="2d" builtin="flat" width="4096" height="4096"/>
    <texture name="sky" builtin="flat" width="2048" height="2048"/></asset>
    <worldbody><replicate count="200"><geom size="1"/></replicate><replicate count="200"><geom size="1"/></replicate>
    <camera resolution="640 480"/></worldbody></mujoco>"""
    (folder / "arm.xml").write_text(text)
    check_references(folder / "arm.xml", folder)
    (folder / "arm.xml").write_text('<mujoco><size memory="lots"/><texture width="a" height="1e400"/></mujoco>')
    with pytest.raises(UserError, match="at most"):
        check_references(folder / "arm.xml", folder)


def test_sizes_that_nobody_reads_are_the_scenes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = "".join(f'nuser_{of}="1000" ' for of in OF_USERS) + 'nkey="100000"'
    (folder / "arm.xml").write_text(mjcf().replace("<compiler", f"<size {said}/><compiler", 1))
    load_arm(folder / "arm.toml")
    assert "value" not in capfd.readouterr().err


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("arm", "other"),
    [
        ('<asset><model name="m" file="arm.xml"/></asset>', ""),
        ('<asset><model name="m" file="./parts/../arm.xml"/></asset>', ""),
        ('<asset><model name="m" file="alias.xml"/></asset>', ""),
        ('<include file="arm.xml"/>', ""),
        ('<include file="other.xml"/>', '<include file="arm.xml"/>'),
        ('<include file="other.xml"/>', '<asset><model name="m" file="arm.xml"/></asset>'),
        (
            '<asset><model name="m" file="other.xml"/></asset><worldbody><attach model="m" prefix="p"/></worldbody>',
            '<asset><model name="m" file="arm.xml"/></asset><worldbody><attach model="m" prefix="p"/></worldbody>',
        ),
    ],
)
def test_a_file_that_holds_itself_is_refused(folder: Path, arm: str, other: str, trusted: bool) -> None:
    (folder / "parts").mkdir()
    (folder / "alias.xml").symlink_to("arm.xml")
    (folder / "arm.xml").write_text(f"<mujoco>{arm}</mujoco>")
    (folder / "other.xml").write_text(f"<mujoco>{other}</mujoco>")
    with pytest.raises(UserError, match=r"it names .*\.xml, which holds it") as refused:
        load_arm(folder / "arm.toml", trusted=trusted)
    assert "\n" not in str(refused.value)


def test_files_that_hold_very_many_are_refused(folder: Path) -> None:
    model = '<asset><model name="{name}" file="{file}"/></asset>'
    for level in range(10):  # each holds the next one four times: 4 ** 10 files to be read
        held = "".join(model.format(name=f"m{i}", file=f"level{level + 1}.xml") for i in range(4))
        (folder / f"level{level}.xml").write_text(f"<mujoco>{held}</mujoco>")
    (folder / "level10.xml").write_text("<mujoco/>")
    with pytest.raises(UserError, match="more files hold each other than"):
        check_references(folder / "level0.xml", folder)
    check_references(folder / "level8.xml", folder)  # 1 + 4 + 16
    for level in range(100):
        (folder / f"deep{level}.xml").write_text(f'<mujoco><include file="deep{level + 1}.xml"/></mujoco>')
    (folder / "deep100.xml").write_text("<mujoco/>")
    with pytest.raises(UserError, match="more files hold each other than"):
        check_references(folder / "deep0.xml", folder)


PIPE, SOCKET, FOLDER, DEVICE = "pipe", "socket", "meshes", "device"


@pytest.fixture
def odd_files(folder: Path) -> Iterator[Path]:
    """A folder that holds a pipe, a socket, a folder and a link to a device beside the arm."""
    os.mkfifo(folder / PIPE)
    (folder / FOLDER).mkdir()
    (folder / DEVICE).symlink_to("/dev/zero")
    here = os.open(".", os.O_RDONLY)
    os.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(SOCKET)
        os.fchdir(here)
        os.close(here)
        yield folder


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("odd", [PIPE, SOCKET, FOLDER, DEVICE])
@pytest.mark.parametrize(
    "element",
    [
        '<include file="{odd}"/>',
        '<asset><model name="m" file="{odd}"/></asset>',
        '<asset><mesh name="m" file="{odd}"/></asset>',
        '<asset><texture type="2d" file="{odd}"/></asset>',
        '<asset><texture type="cube" fileright="{odd}"/></asset>',
        '<asset><hfield name="h" size="1 1 1 1" file="{odd}"/></asset>',
        '<compiler meshdir="."/><asset><mesh name="m" file="{odd}"/></asset>',
    ],
)
def test_what_is_no_plain_file_is_refused_before_it_is_opened(
    odd_files: Path, element: str, odd: str, trusted: bool
) -> None:
    (odd_files / "arm.xml").write_text(f"<mujoco>{element.format(odd=odd)}</mujoco>")
    with pytest.raises(UserError, match=r"is no plain file|does not exist|lies outside") as refused:
        load_arm(odd_files / "arm.toml", trusted=trusted)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("odd", [PIPE, SOCKET, FOLDER, DEVICE])
def test_the_arm_itself_must_be_plain_files(odd_files: Path, odd: str) -> None:
    (odd_files / "arm.toml").write_text(SAID.replace("arm.xml", odd))
    with pytest.raises(UserError, match=r"is no plain file|lies outside"):
        load_arm(odd_files / "arm.toml")
    (odd_files / "arm.toml").write_text(SAID.replace("[gripper]", f'[gripper]\nmjcf = "{odd}"\nattach = "hand"'))
    with pytest.raises(UserError, match=r"is no plain file|lies outside"):
        load_arm(odd_files / "arm.toml")
    (odd_files / "arm.toml").unlink()
    (odd_files / odd).rename(odd_files / "arm.toml")
    with pytest.raises(UserError, match=r"arm\.toml: it is no plain file"):
        load_arm(odd_files / "arm.toml")


def test_links_lead_to_where_the_file_they_are_in_is_looked_for(folder: Path) -> None:
    """MuJoCo looks for what a linked file names beside the link, not beside the file."""
    (folder / "parts").mkdir()
    (folder.parent / "secret.stl").write_text("")
    (folder / "secret.stl").write_text("")
    (folder / "parts" / "inner.xml").write_text('<mujoco><asset><mesh file="../secret.stl"/></asset></mujoco>')
    check_references(folder / "parts" / "inner.xml", folder)
    (folder / "linked.xml").symlink_to("parts/inner.xml")
    with pytest.raises(UserError, match=r'<mesh> names "\.\./secret\.stl", which lies outside'):
        check_references(folder / "linked.xml", folder)


@pytest.mark.parametrize("name", ["round.xml", "n" * 300 + ".xml"])
def test_names_that_the_system_refuses_are_one_line(folder: Path, name: str) -> None:
    (folder / "round.xml").symlink_to("round.xml")
    (folder / "arm.xml").write_text(f'<mujoco><include file="{name}"/></mujoco>')
    with pytest.raises(UserError, match=r"arm\.xml") as refused:
        load_arm(folder / "arm.toml")
    assert "\n" not in str(refused.value)


def test_trusted_files_may_name_what_they_like(folder: Path) -> None:
    outside = folder.parent / "outside.xml"
    (folder / "arm.xml").rename(outside)
    (folder / "arm.toml").write_text(SAID.replace("arm.xml", "../outside.xml"))
    assert load_arm(folder / "arm.toml", trusted=True).joints == UR5E.joints
