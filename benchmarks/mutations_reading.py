"""The worker of mutations.py: damages files of one kind and reads them as users do, one request after another.

It is asked in lines of JSON on its standard input, each a list of numbers; it answers on its standard output, for each
number what it is about to read, and then what came of it. A number always means the same damage.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mutations_damage import damage

from goalsight.base.errors import UserError
from goalsight.base.files import to_json

MARGIN = 2 << 30  # that reading may take beyond what reading undamaged files did [bytes of address space]
OUT_OF_MEMORY = re.compile(r"can.?t allocate|could not allocate|cannot allocate|not enough memory|out of memory", re.I)
REFUSED, UNCHANGED, SAID, OTHER, SILENT = "refused", "unchanged", "said", "other", "silent"
CONTAINED, EXCEPTION, MEMORY = "contained", "exception", "memory"
CLOCKS = ("seconds", "costs")  # of a training state: they differ each time
WORST_FIRST = (MEMORY, EXCEPTION, SILENT, REFUSED, CONTAINED, SAID, OTHER, UNCHANGED)

Found = tuple[str, str]  # an outcome, and a line about it
Content = str  # a hash of all that was read


def digest(*parts: Any) -> Content:
    """Sha256 over arrays, tensors, texts and JSON's own types."""
    found = hashlib.sha256()
    for part in parts:
        numbers = np.asarray(part) if hasattr(part, "__array__") else None
        found.update(repr(to_json(part)).encode() if numbers is None else numbers.tobytes())
    return found.hexdigest()


# Runs ---------------------------------------------------------------------------------------------------------------


def opened(path: Path) -> Content:
    """`Run.open`, and all that it holds."""
    from goalsight.base.runs import Run

    run = Run.open(path)
    return digest(run.kind, run.config, run.manifest, run.status, run.summary, run.metrics())


def listed(path: Path) -> Content:
    """`goalsight runs`."""
    from goalsight.commands.runs import Runs, list_runs

    return digest(list(map(asdict, list_runs(Runs(path.parent)))))


def reported(path: Path) -> Content:
    """`goalsight report`."""
    from goalsight.base.runs import Run
    from goalsight.eval.reports.report import render

    return digest(render(Run.open(path)))


def store(path: Path) -> Content:
    """`FrameStore.open`."""
    from goalsight.pretrain.data.store import FrameStore

    read = FrameStore.open(path / "frames")
    about = (read.fps, read.complete, read.notes, read.sources, read.instructions, read.content_hash)
    pixels = [read.episode(i) for i in range(read.num_episodes)]
    return digest(about, *(part for item in sorted(read.columns.items()) for part in item), *pixels)


def encoder(path: Path) -> Content:
    """`load_encoder`."""
    from goalsight import load_encoder

    return str(load_encoder(path).content_hash())


def agent(path: Path) -> Content:
    """`load_agent`, and a step of its own environment."""
    import gymnasium

    from goalsight import load_agent

    read = load_agent(path)
    env = gymnasium.make(read.env_id, **read.env_kwargs)
    with contextlib.closing(env):
        actions, _ = read.predict(env.reset(seed=0)[0])
        env.step(actions)
    return digest(read.env_id, read.env_kwargs, read.facts, *read.actor.state_dict().values(), actions)


def resumed(path: Path) -> Content:
    """`goalsight resume`, stopped before its first step: all is read, and published again."""
    from goalsight.base import runs
    from goalsight.base.interruption import Stop
    from goalsight.commands.resume import Resume, resume

    @contextlib.contextmanager
    def stopped_at_once() -> Iterator[Stop]:
        yield Stop(requested=True)

    before, runs.interrupted = runs.interrupted, stopped_at_once
    try:
        resume(Resume(path))
    finally:
        runs.interrupted = before
    run = runs.Run.open(path)
    if run.kind == "collect":
        return store(path)
    folder = run.checkpoint("last")
    tree = _timeless(json.loads((folder / "state.json").read_bytes()))
    return digest(tree, (folder / "state.safetensors").read_bytes())


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _timeless(part) for key, part in tree.items() if key not in CLOCKS}
    return [_timeless(part) for part in tree] if isinstance(tree, list) else tree


GENERAL = (opened, listed, reported)
READERS: dict[str, dict[str, tuple[Callable[[Path], Content], ...]]] = {
    "collect": {"config.json": GENERAL, "manifest.json": GENERAL, "summary.json": GENERAL,
                "frames/index.json": (store,), "frames/*.raw": (store,)},
    "collect-stopped": {"config.json": (resumed,), "manifest.json": (resumed,), "frames/index.json": (store, resumed),
                        "frames/*.raw": (store, resumed)},
    "pretrain": {"config.json": (*GENERAL, resumed), "manifest.json": (*GENERAL, resumed), "summary.json": GENERAL,
                 "metrics.jsonl": (*GENERAL, resumed), "checkpoints/last": (encoder, resumed),
                 "checkpoints/*/meta.json": (encoder, resumed), "checkpoints/*/model.safetensors": (encoder,),
                 "checkpoints/*/state.*": (resumed,)},
    "train": {"config.json": (*GENERAL, resumed), "manifest.json": (*GENERAL, resumed), "summary.json": GENERAL,
              "eval.json": GENERAL, "metrics.jsonl": (*GENERAL, resumed), "checkpoints/[bl]*t": (agent, resumed),
              "checkpoints/*/meta.json": (agent, resumed), "checkpoints/*/model.safetensors": (agent,),
              "checkpoints/*/state.*": (resumed,), "replay/*.safetensors": (resumed,)},
}  # fmt: skip
HASHED = ("frames/", "checkpoints/0", "replay/")  # what a hash covers, or could, because nobody edits it


class RunFiles:
    """Damages one file of a run, and lets all read the run who would read that file."""

    def __init__(self, workshop: Path, scratch: Path) -> None:
        self._workshop, self._scratch = workshop, scratch
        self._choices = [(run, files) for run in READERS for files in READERS[run]]
        self._whole: dict[tuple[str, str], Found | Content] = {}

    def warm_up(self) -> None:
        """Read what is undamaged, twice: what differs then is no content."""
        for run, files in READERS.items():
            for reader in {reader for readers in files.values() for reader in readers}:
                first, again = (_read(reader, self._copy(run)) for _ in range(2))
                if first[0] or first[1:] != again[1:]:
                    sys.exit(f"{reader.__name__} of an undamaged {run}: {first} {again}")
                self._whole[run, reader.__name__] = first[1]

    def _copy(self, run: str) -> Path:
        folder = self._scratch / "runs"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._workshop / run, folder / run)
        return folder / run

    def read(
        self, rngs: dict[int, np.random.Generator], begin: Callable[[int, str], None]
    ) -> Iterator[tuple[int, Found]]:
        """Damage and read once for each generator."""
        for number, rng in rngs.items():
            run, pattern = self._choices[int(rng.integers(len(self._choices)))]
            found = sorted((self._workshop / run).glob(pattern))
            file = found[int(rng.integers(len(found)))]
            name = str(file.relative_to(self._workshop / run))
            data, how = damage(file.read_bytes(), file.suffix, rng)
            bare = name.startswith("checkpoints/0") and rng.random() < 0.5
            begin(number, f"{run}/{name}{', without hashes' if bare else ''}: {how}")
            yield (
                number,
                min(
                    (self._one(run, name, data, reader, bare=bare) for reader in READERS[run][pattern]),
                    key=lambda outcome: WORST_FIRST.index(outcome[0]),
                ),
            )

    def _one(self, run: str, name: str, data: bytes, reader: Callable[[Path], Content], *, bare: bool) -> Found:
        path = self._copy(run)
        (path / name).write_bytes(data)
        if bare:
            (path / name).with_name("sums.json").unlink(missing_ok=True)
        failed, content, said = _read(reader, path)
        if failed:
            return failed, f"{reader.__name__}: {content}"
        if content == self._whole[run, reader.__name__]:
            return UNCHANGED, ""
        if said:
            return SAID, f"{reader.__name__}: {said}"
        return (SILENT if name.startswith(HASHED) and not bare else OTHER), reader.__name__


def _read(reader: Callable[[Path], Content], path: Path) -> tuple[str, str, str]:
    """Read; what went wrong or "", the content or a line about that, and what was said on the way."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            content = reader(path)
    except BaseException as error:  # whatever comes is counted
        return *_outcome(error), ""
    lines = [line for line in said.getvalue().splitlines() if line.startswith(("goalsight:", "since ", "warning:"))]
    lines = [line for line in lines if ": the machine's " not in line]
    return "", content, lines[0] if lines else ""


def _outcome(error: BaseException) -> Found:
    """What an exception counts as; a refusal that hides a failed allocation is one of memory."""
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    for each in chain:
        if isinstance(each, MemoryError) or (not isinstance(each, UserError) and OUT_OF_MEMORY.search(str(each))):
            return MEMORY, f"{type(each).__name__}: {each}"[:200]
    if isinstance(error, UserError):
        return (REFUSED, str(error)[:200]) if "\n" not in str(error) else (EXCEPTION, f"many lines: {error}"[:200])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "mutations" not in frame.filename]
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "<" not in frame.filename]
    at = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else ""
    return EXCEPTION, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}{at}"


# Videos -------------------------------------------------------------------------------------------------------------

VIDEOS = ("film.mp4", "film.webm", "film.gif", "pictures")
SIDE = 32  # of the frames that are kept [pixels]


class Videos:
    """Damages films and pictures, many at a time, and decodes them together."""

    def __init__(self, workshop: Path, scratch: Path) -> None:
        self._workshop, self._scratch = workshop, scratch
        self._whole: dict[str, Content] = {}

    def warm_up(self) -> None:
        """Decode what is undamaged."""
        frames, said = self._decode([self._workshop / name for name in VIDEOS])
        if said or len(frames) != len(VIDEOS):
            sys.exit(f"undamaged: {frames} {said}")
        self._whole = {Path(path).name: content for path, content in frames.items()}

    def read(
        self, rngs: dict[int, np.random.Generator], begin: Callable[[int, str], None]
    ) -> Iterator[tuple[int, Found]]:
        """Damage one for each generator, and decode them at once; one after another where that fails."""
        folder = self._scratch / "videos"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        paths = {number: folder / f"{number}{Path(VIDEOS[number % len(VIDEOS)]).suffix}" for number in rngs}
        for number, path in paths.items():
            whole = self._workshop / VIDEOS[number % len(VIDEOS)]
            file = path
            if whole.is_dir():
                shutil.copytree(whole, path)
                file = path / sorted(entry.name for entry in whole.iterdir())[1]
            else:
                shutil.copy(whole, path)
            data, how = damage(file.read_bytes(), file.suffix, rngs[number])
            file.write_bytes(data)
            begin(number, f"{whole.name}: {how}")
        try:
            frames, said = self._decode([self._workshop / VIDEOS[0], *paths.values()])
            for number, path in paths.items():
                yield number, self._judge(number, frames.get(str(path)), said, path)
        except BaseException:
            for number, path in paths.items():
                try:
                    frames, said = self._decode([self._workshop / VIDEOS[0], path])
                    yield number, self._judge(number, frames.get(str(path)), said, path)
                except Exception as error:
                    yield number, _outcome(error)

    def _judge(self, number: int, content: Content | None, said: str, path: Path) -> Found:
        name = VIDEOS[number % len(VIDEOS)]
        lines = [line for line in said.splitlines() if f"{path}" in line and line.startswith("goalsight:")]
        line = lines[0] if lines else ""
        if re.search(r"MemoryError|crashed the decoder|gave no frame within", line):
            return CONTAINED, line
        if "Traceback" in said:
            return EXCEPTION, said.strip().splitlines()[-1]
        if content is None:
            return (REFUSED, line) if line else (SILENT, "left out without a word")
        if content == self._whole[name]:
            return UNCHANGED, line
        # Of these files only PNG has checksums throughout.
        return (SAID, line) if line else ((SILENT if name == "pictures" else OTHER), "")

    def _decode(self, paths: list[Path]) -> tuple[dict[str, Content], str]:
        """Decode files into a store; the content of each that is in it, by its path, and what was said."""
        from goalsight.pretrain.data.ingest import ingest

        out, said = self._scratch / "store", io.StringIO()
        shutil.rmtree(out, ignore_errors=True)
        with contextlib.redirect_stderr(said):
            read = ingest(paths, out, SIDE, fps=0)
        parts: dict[str, list[Any]] = {}
        for i, source in enumerate(read.sources):
            parts.setdefault(source.split(" scene ")[0], []).append(read.episode(i))
        return {source: digest(*frames) for source, frames in parts.items()}, said.getvalue()


# Arms ---------------------------------------------------------------------------------------------------------------

ARMS = ("bare", "served")
STEPS = 20  # of random actions, after which all must still be a number


class ArmFiles:
    """Damages the TOML or the MJCF of an arm, and makes an environment with it."""

    def __init__(self, workshop: Path, scratch: Path) -> None:
        self._workshop, self._scratch = workshop, scratch
        self._whole: dict[str, Content] = {}

    def warm_up(self) -> None:
        """Make environments with undamaged arms."""
        for name in ARMS:
            failed, content, _ = _read(acted, self._copy(name) / "arm.toml")
            if failed:
                sys.exit(f"undamaged {name}: {content}")
            self._whole[name] = content

    def _copy(self, name: str) -> Path:
        folder = self._scratch / "arms"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._workshop / name, folder)
        return folder

    def read(
        self, rngs: dict[int, np.random.Generator], begin: Callable[[int, str], None]
    ) -> Iterator[tuple[int, Found]]:
        """Damage and read once for each generator."""
        for number, rng in rngs.items():
            name, file = ARMS[int(rng.integers(2))], str(rng.choice(["arm.toml", "arm.xml"]))
            path = self._copy(name)
            data, how = damage((path / file).read_bytes(), Path(file).suffix, rng)
            (path / file).write_bytes(data)
            begin(number, f"{name}/{file}: {how}")
            failed, content, _ = _read(acted, path / "arm.toml")
            if failed:
                yield number, (failed, content)
            elif content.startswith(SILENT):
                yield number, (SILENT, content)
            else:
                yield number, ((UNCHANGED if content == self._whole[name] else OTHER), "")


def acted(path: Path) -> Content:
    """`load_arm`, and some steps of an environment with it."""
    from goalsight.envs.arms.files import load_arm
    from goalsight.envs.vector import GoalVectorEnv

    env = GoalVectorEnv("reach", load_arm(path), num_threads=1)
    with contextlib.closing(env):
        seen, rng = [env.reset(seed=0)[0]], np.random.default_rng(0)
        for _ in range(STEPS):
            obs, reward, *_ = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
            seen += [obs, {"reward": reward}]
    parts = [part for each in seen for part in each.values()]
    if not all(np.isfinite(part).all() for part in parts):
        return f"{SILENT}: observations are not finite"
    return digest(*parts)


KINDS = {"runs": RunFiles, "videos": Videos, "arms": ArmFiles}


def serve(kind: str, workshop: Path, scratch: Path, seed: int) -> None:
    """Do what is asked for, line by line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(scratch)
    worker: Any = KINDS[kind](workshop, scratch)
    worker.warm_up()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MARGIN, size + MARGIN))
    print(json.dumps({"ready": True}), file=answers)
    tag = list(KINDS).index(kind)

    def begin(number: int, what: str) -> None:
        print(json.dumps({"number": number, "what": what}), file=answers)

    for line in sys.stdin:
        rngs = {number: np.random.default_rng((seed, tag, number)) for number in json.loads(line)}
        for number, (outcome, about) in worker.read(rngs, begin):
            print(json.dumps({"number": number, "outcome": outcome, "about": about[:240]}), file=answers)


if __name__ == "__main__":
    kind, workshop, scratch, seed = sys.argv[1:]
    serve(kind, Path(workshop), Path(scratch), int(seed))
