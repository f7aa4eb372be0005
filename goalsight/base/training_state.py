"""Training state: named objects with `state()` and `load()`, kept as safetensors and JSON, from which a run goes on.

A state is a nested dictionary whose leaves are torch tensors, NumPy arrays, or JSON's own types. It is cut into one
flat dictionary of tensors and one JSON tree that says where they belong, so nothing is ever unpickled.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from goalsight.base.errors import UserError, in_one_line

if TYPE_CHECKING:
    import torch

State = dict[str, Any]  # leaves: tensors, arrays, JSON's own types
TENSOR, ARRAY = "@tensor", "@array"  # keys of the JSON objects that stand for a leaf that lies among the tensors


class Stateful(Protocol):
    """Whatever a run must remember to go on to the bit."""

    def state(self) -> State:
        """Everything that decides what comes next; later changes of the object do not reach into it."""

    def load(self, state: State) -> None:
        """Go back to a state."""


def cut(state: State) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Part a state into tensors by name (copies, on the CPU), and a JSON tree."""
    import torch

    tensors: dict[str, torch.Tensor] = {}

    def tree(value: Any, path: str) -> Any:
        if isinstance(value, torch.Tensor):
            tensors[path] = value.detach().to("cpu", copy=True).contiguous()
            return {TENSOR: path}
        if isinstance(value, np.ndarray):
            # A boolean array, or one of numbers; safetensors keeps the type.
            tensors[path] = torch.from_numpy(np.array(value, order="C"))
            return {ARRAY: path}
        if isinstance(value, Mapping):
            return {str(key): tree(part, f"{path}/{key}" if path else str(key)) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [tree(part, f"{path}/{number}") for number, part in enumerate(value)]
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{path} is a {type(value).__name__}, which a training state cannot hold")

    return tensors, tree(state, "")


def join(tensors: dict[str, "torch.Tensor"], tree: dict[str, Any]) -> State:
    """Undo `cut`; tuples come back as lists.

    Raises:
        KeyError: if a tensor is missing.
    """

    def leaf(value: Any) -> Any:
        if isinstance(value, dict):
            if TENSOR in value:
                return tensors[value[TENSOR]]
            if ARRAY in value:
                return tensors[value[ARRAY]].numpy()
            return {key: leaf(part) for key, part in value.items()}
        return [leaf(part) for part in value] if isinstance(value, list) else value

    return leaf(tree)


@contextmanager
def restoring(what: str) -> Iterator[None]:
    """Say in one line that a training state does not fit what is put back into it: it is another's, or damaged.

    Args:
        what: is put back, such as "the run runs/a".

    Raises:
        UserError: instead of what a part raises that finds something else than it wrote.
    """
    try:
        yield
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise UserError(f"{what} keeps a training state that does not fit: {in_one_line(error)}; train anew") from error


def rng_state(rng: np.random.Generator) -> State:
    """The state of a NumPy generator."""
    return dict(rng.bit_generator.state)


def load_rng(rng: np.random.Generator, state: State) -> None:
    """Put a NumPy generator of the same kind into a state."""
    rng.bit_generator.state = state


def optimiser_state(optimiser: "torch.optim.Optimizer") -> State:
    """The state of an optimiser: what it remembers of each weight, by the weight's number, and its groups' numbers."""
    whole = optimiser.state_dict()
    groups = [{name: value for name, value in group.items() if name != "params"} for group in whole["param_groups"]]
    return {"weights": {str(number): dict(kept) for number, kept in whole["state"].items()}, "groups": groups}


def load_optimiser(optimiser: "torch.optim.Optimizer", state: State) -> None:
    """Put an optimiser of the same weights into a state.

    Of its groups' numbers the learning rate is taken, which schedules change; the others are as it was made with.

    Raises:
        ValueError: the state is not one of such an optimiser.
    """
    made = optimiser.state_dict()["param_groups"]
    groups = [group | {"lr": _rate(kept["lr"])} for group, kept in zip(made, state["groups"], strict=True)]
    kept = {int(number): dict(values) for number, values in state["weights"].items()}
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    names = set().union(*kept.values())
    for number, values in kept.items():
        _check_remembered(values, names, weights[number].shape)
    optimiser.load_state_dict({"state": kept, "param_groups": groups})


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is no learning rate")
    return value


def _check_remembered(values: State, names: set[str], shape: "torch.Size") -> None:
    """Refuse what an optimiser cannot have remembered of a weight; torch would find out in its next step.

    Raises:
        ValueError: less than of the other weights, a count of steps that is none, or a mean of another shape.
    """
    import torch

    if missing := names - set(values):
        raise ValueError(f"an optimiser that remembers {min(missing)} of one weight does so of all")
    for name, value in values.items():
        fits = float(value) >= 0 if name == "step" else isinstance(value, torch.Tensor) and value.shape == shape
        if not fits:
            raise ValueError(f"an optimiser cannot have remembered {name} of a weight of shape {tuple(shape)}")
