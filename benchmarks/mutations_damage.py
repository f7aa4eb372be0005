"""Damage: bytes that were flipped, lost or moved, and values of JSON, TOML and MJCF that cannot be meant."""

import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np

Rng = np.random.Generator
Damage = tuple[bytes, str]  # what is left, and what was done

DEEP = "@deep@"  # stands in a tree for lists in lists, which no tree of Python's could be written with
TWICE = "@twice@"  # begins a key that is to be there twice
STRANGE: tuple[Any, ...] = (
    *(0, 1, -1, 7, 2**31, -(2**63), 10**30, 10**12, 1e-300, 0.5, 1e30, 1e308, float("nan"), float("inf")),
    *(None, True, False, "", "x", "../../x", "1", "nan", "/", "\x00", "ä" * 300),
    *([], {}, [[]], [None], {"a": {"b": []}}, [0] * 200, DEEP),
)


def damage_bytes(data: bytes, rng: Rng) -> Damage:
    """Damage a file without knowing what it is."""
    if not data:
        return b"\0", "grown"
    how = str(rng.choice(["flipped", "overwritten", "cut off", "zeroed", "spliced", "lost", "doubled"]))
    at = int(rng.integers(len(data)))
    length = int(min(len(data) - at, 1 + rng.geometric(1 / (1 + len(data) // 20))))
    other = int(rng.integers(len(data)))
    if how == "flipped":
        changed = bytearray(data)
        for place in rng.integers(len(data), size=int(rng.integers(1, 9))):
            changed[place] ^= 1 << int(rng.integers(8))
        return bytes(changed), how
    parts = {
        "overwritten": rng.bytes(min(length, 64)) + data[at + min(length, 64) :],
        "cut off": b"",
        "zeroed": bytes(length) + data[at + length :],
        "spliced": data[other : other + length] + data[at + length :],
        "lost": data[at + length :],
        "doubled": data[at : at + length] + data[at:],
    }
    return data[:at] + parts[how], how


def damage_tree(tree: Any, rng: Rng) -> str:
    """Damage a tree of dictionaries and lists in place, and say how."""
    places = list(_places(tree))
    holder, key = places[int(rng.integers(len(places)))]
    kinds = ["replaced", "nested", "swapped", "removed"]
    kinds += ["renamed", "doubled"] if isinstance(holder, dict) else ["repeated"]
    value = holder[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        kinds += ["changed", "changed"]
    how = str(rng.choice(kinds))
    if how == "replaced":
        holder[key] = STRANGE[int(rng.integers(len(STRANGE)))]
    elif how == "nested":
        holder[key] = [value] if rng.random() < 0.5 else {"value": value}
    elif how == "swapped":
        there, other = places[int(rng.integers(len(places)))]
        if not _holds(value, there) and not _holds(there[other], holder):
            holder[key], there[other] = there[other], value
    elif how == "removed":
        del holder[key]
    elif how == "renamed":
        holder[f"{key}x" if rng.random() < 0.5 else str(rng.choice(["", "kind", "step", "__class__"]))] = holder.pop(
            key
        )
    elif how == "doubled":
        holder[f"{TWICE}{key}"] = STRANGE[int(rng.integers(len(STRANGE)))]
    elif how == "repeated":
        holder.insert(key, value)
    else:
        holder[key] = type(value)(rng.choice([-value, value + 1, 2 * value, value * (1 + 1e-6), value - 1]))
    return f"{how} {key!r:.40}"


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _holds(tree: Any, sought: Any) -> bool:
    return tree is sought or (isinstance(tree, dict | list) and any(part is sought for part, _ in _places(tree)))


def damage_json(data: bytes, rng: Rng) -> Damage:
    """Damage one value of JSON."""
    tree = json.loads(data)
    how = damage_tree(tree, rng)
    return _finished(json.dumps(tree, indent=2)), how


def damage_lines(data: bytes, rng: Rng) -> Damage:
    """Damage one line of many."""
    lines = data.splitlines(keepends=True)
    at, other = map(int, rng.integers(len(lines), size=2))
    how = str(rng.choice(["damaged", "damaged", "damaged", "lost", "doubled", "moved", "null"]))
    if how == "damaged":
        tree = json.loads(lines[at])
        how = damage_tree(tree, rng)
        lines[at] = _finished(json.dumps(tree)) + b"\n"
    elif how == "null":
        lines[at] = b"null\n"
    else:
        line = lines[at] if how == "doubled" else lines.pop(at)
        if how != "lost":
            lines.insert(other, line)
    return b"".join(lines), how


def _finished(text: str) -> bytes:
    """Put in what no tree can hold."""
    return text.replace(f'"{DEEP}"', "[" * 5_000 + "]" * 5_000).replace(TWICE, "").encode()


def damage_toml(data: bytes, rng: Rng) -> Damage:
    """Damage one value of TOML."""
    tree = tomllib.loads(data.decode())
    how = damage_tree(tree, rng)
    values = [f"{_key(key)} = {_toml(value)}\n" for key, value in tree.items() if not isinstance(value, dict)]
    for name, table in tree.items():
        if isinstance(table, dict):
            values += [f"\n[{_key(name)}]\n", *(f"{_key(key)} = {_toml(value)}\n" for key, value in table.items())]
    return _finished("".join(values)), how


def _key(key: str) -> str:
    return json.dumps(key.removeprefix(TWICE))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "null" if value is None else json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


WORDS = ("0", "-1", "1e30", "-1e30", "1e308", "1e-12", "nan", "inf", "1000000", "", "x", "0 0 0", "1 2", "tool", "\x07")


def damage_mjcf(data: bytes, rng: Rng) -> Damage:
    """Damage one element of MJCF or one of its attributes."""
    root = ElementTree.fromstring(data.decode())
    parents = {child: parent for parent in root.iter() for child in parent}
    elements = list(parents)
    element = elements[int(rng.integers(len(elements)))]
    other = elements[int(rng.integers(len(elements)))]
    names = list(element.attrib)
    how = str(rng.choice(["set", "set", "number", "unset", "renamed", "removed", "doubled", "moved", "retagged"]))
    what = element.tag
    if how in ("set", "number", "unset", "renamed") and names:
        name = str(rng.choice(names))
        what, value = f"{element.tag} {name}", element.attrib.pop(name)
        if how == "renamed":
            element.set(str(rng.choice(["class", "name", "type", "x"])), value)
        elif how == "set":
            element.set(name, str(rng.choice(WORDS)))
        elif how == "number":
            words = value.split() or [""]
            words[int(rng.integers(len(words)))] = str(rng.choice(WORDS))
            element.set(name, " ".join(words))
    elif how == "retagged":
        element.tag = other.tag
    elif how == "doubled":
        parents[element].append(element)
    elif how == "moved" and not any(part is other for part in element.iter()):
        parents[element].remove(element)
        other.append(element)
    else:
        parents[element].remove(element)
        how = "removed"
    return ElementTree.tostring(root), f"{how} {what}"


BY_NAME: dict[str, Callable[[bytes, Rng], Damage]] = {
    ".json": damage_json,
    ".jsonl": damage_lines,
    ".toml": damage_toml,
    ".xml": damage_mjcf,
}
BLINDLY = 0.25  # share of what could be read that is damaged without being read


def damage(data: bytes, suffix: str, rng: Rng) -> Damage:
    """Damage what a file holds.

    Args:
        data: the file's bytes.
        suffix: of its name, which says what it is.
        rng: decides what is done.

    Returns:
        other bytes, and what was done.
    """
    by = BY_NAME.get(suffix)
    while True:
        changed, how = (damage_bytes if by is None or rng.random() < BLINDLY else by)(data, rng)
        if changed != data:
            return changed, how
