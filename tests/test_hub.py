"""Runs on a hub: published, fetched by name wherever a run is named, and refused in one line."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, Hub, serving
from safetensors.torch import load_file

import goalsight
from goalsight.base import hub
from goalsight.base.checkpoints import OLDER_WEIGHTS, SUMS, WEIGHTS, read_checkpoint
from goalsight.base.errors import UserError
from goalsight.base.hub import HubName, local, with_local
from goalsight.base.runs import Run
from goalsight.commands import cli
from goalsight.commands.push import Push, push
from goalsight.pretrain.encoders.vit import PREFIX, EncoderConfig, VideoEncoder

CONFIG = EncoderConfig(image_size=16, width=16, depth=1, heads=2)
NAME = "someone/an-encoder"


@pytest.fixture
def server(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub of its own, which is the one that huggingface_hub knows; the current folder is empty."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with serving() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "".join((found.address, *template[1:])))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(workplace / "cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def an_encoder(path: Path, seed: int = 5) -> Run:
    """A run of two checkpoints, of which the first is the best, with what should and should not be given away."""
    run = Run.create("pretrain", {"objective": "masked"}, out=path, seed=0)
    for step in (1, 2):
        weights = VideoEncoder(CONFIG, seed=seed + step).state_dict()
        tensors = {f"{PREFIX}{name}": value for name, value in weights.items()}
        state = {"rows": torch.arange(step)}
        run.publish(step, tensors, {"encoder": asdict(CONFIG)}, state=state, best=step == 1)
    run.log(2, {"pretrain/loss": 0.5})
    run.finish({"steps": 2}, status="finished")
    (run.path / "report.html").write_text("<p>")
    (run.videos / "film.mp4").write_bytes(b"film")
    return Run.open(run.path)


def test_what_is_published_is_fetched_and_is_the_same_run(server, capsys):
    run = an_encoder(Path("mine"))
    push(Push(run.path, NAME))
    assert f"hf://{NAME}" in capsys.readouterr().out
    files = server.repositories[NAME]
    best = "checkpoints/000001/"
    assert set(files) == {
        *("README.md", "config.json", "manifest.json", "summary.json", "metrics.jsonl", "videos/film.mp4"),
        *(WEIGHTS, f"{best}{WEIGHTS}", f"{best}meta.json", f"{best}sums.json", "checkpoints/last", "checkpoints/best"),
    }
    assert files[WEIGHTS] == files[f"{best}{WEIGHTS}"]
    assert "process" not in json.loads(files["manifest.json"])
    assert f'goalsight.load_encoder("hf://{NAME}")' in files["README.md"].decode()

    found = Run.open(local(f"hf://{NAME}"))
    assert found.path == Path("runs/hf-someone--an-encoder")
    assert (found.status, found.config, found.summary) == (run.status, run.config, run.summary)
    assert found.metrics() == run.metrics()
    assert WEIGHTS not in server.sent, "the copy at the top is for hubs"
    frames = torch.randint(0, 255, (2, 16, 16, 3), dtype=torch.uint8)
    theirs = goalsight.load_encoder(f"hf://{NAME}")
    mine = goalsight.load_encoder(run.checkpoint("best"))
    assert torch.equal(theirs(frames), mine(frames))


def test_a_newer_run_takes_the_place_of_an_older_and_is_fetched_anew(server):
    push(Push(an_encoder(Path("one")).path, NAME))
    before = local(f"hf://{NAME}")
    (before / "probe.json").write_text("{}")  # what was found out here
    server.sent.clear()
    assert local(f"hf://{NAME}") == before
    assert not server.sent, "nothing has changed"
    newer = an_encoder(Path("two"), seed=50)
    push(Push(newer.path, NAME, checkpoint="last"))
    assert "checkpoints/000001/meta.json" not in server.repositories[NAME]
    weights = load_file(Run.open(local(f"hf://{NAME}")).checkpoint("last") / WEIGHTS)
    assert all(torch.equal(value, weights[name]) for name, value in newer.load("last")[0].items())
    assert (before / "probe.json").exists()


def test_what_was_fetched_is_there_without_a_network(server, monkeypatch):
    push(Push(an_encoder(Path("mine")).path, NAME))
    folder = local(f"hf://{NAME}")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert local(f"hf://{NAME}") == folder
    with pytest.raises(UserError, match="cannot fetch hf://someone/else") as caught:
        local("hf://someone/else")
    assert "\n" not in str(caught.value)
    assert not Path("runs/hf-someone--else").exists()


def test_commands_take_names_on_the_hub(server, capsys):
    run = an_encoder(Path("mine"))
    assert cli.run(["push", str(run.path), f"hf://{NAME}", "--private"]) == 0
    assert server.private == {NAME}
    assert cli.run(["report", f"hf://{NAME}"]) == 0
    assert Path("runs/hf-someone--an-encoder/report.html").exists()
    assert with_local(["--encoder", f"hf://{NAME}", f"--encoder=hf://{NAME}", "--note=a=b"]) == [
        *("--encoder", "runs/hf-someone--an-encoder", "--encoder=runs/hf-someone--an-encoder", "--note=a=b"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "hf://someone/nothing"], "cannot fetch hf://someone/nothing"),
        (["report", f"hf://{NAME}@no-such-branch"], f"cannot fetch hf://{NAME}@no-such-branch"),
        (["report", "hf://someone"], "hf://someone names nothing on a hub; it should be user/name"),
        (["report", "hf://../../etc"], "names nothing on a hub"),
        (["push", "mine", "some one/it"], "names nothing on a hub"),
        (["push", "nowhere", NAME], "run nowhere does not exist"),
        (["push", "play", NAME], "holds recorded play; give it away by goalsight export play"),
        (["push", "empty", NAME], "has no checkpoint yet"),
    ],
)
def test_mistakes_are_one_line(server, capsys, words, said):
    run = an_encoder(Path("mine"))
    push(Push(run.path, NAME))
    before = dict(server.repositories[NAME])
    for kind, name in (("collect", "play"), ("pretrain", "empty")):
        Run.create(kind, {}, out=Path(name), seed=0).finish({}, status="finished")
    capsys.readouterr()
    assert cli.run(words) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1
    assert server.repositories == {NAME: before}


def test_a_run_that_is_still_written_is_not_given_away(server):
    with Run.start("pretrain", {}, out=Path("mine"), seed=0), pytest.raises(UserError, match="run mine still runs"):
        push(Push(Path("mine"), NAME))
    assert not server.repositories


def test_whoever_is_not_known_is_told_to_log_in(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(UserError, match=r"cannot publish hf://someone/an-encoder: .*log in by `hf auth login`"):
        push(Push(an_encoder(Path("mine")).path, NAME))


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'goalsight\[hub\]'"):
        local(f"hf://{NAME}")
    assert hub.local("runs/agent") == Path("runs/agent")


@pytest.mark.parametrize("text", ["a/b/c", "a", "", "a/b@", "-a/b", "a--b/c", "a/b..c", "a/ b"])
def test_names_that_no_hub_takes_are_refused(text):
    with pytest.raises(UserError, match="names nothing on a hub"):
        HubName.parse(text)


def test_a_checkpoint_of_before_the_name_changed_is_still_read(tmp_path):
    folder = an_encoder(tmp_path / "mine").checkpoint("last")
    whole = read_checkpoint(folder)[0]
    shutil.move(folder / WEIGHTS, folder / OLDER_WEIGHTS)
    (folder / SUMS).write_text((folder / SUMS).read_text().replace(WEIGHTS, OLDER_WEIGHTS))
    assert all(torch.equal(value, whole[name]) for name, value in read_checkpoint(folder)[0].items())
    (folder / OLDER_WEIGHTS).write_bytes(b"else")
    with pytest.raises(UserError, match="not what was written"):
        read_checkpoint(folder)
