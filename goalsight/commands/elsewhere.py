"""What other libraries call an option, for whoever comes from them."""

import re
from collections.abc import Callable

# What stable-baselines3, its zoo, CleanRL and others call an option, and what it is called here.
# Of several names the first is meant that the command has.
ELSEWHERE = {
    "--algo": ("--algorithm",),
    "--batch-size": ("--batch",),
    "--capture-video": ("goalsight record RUN",),
    "--cuda": ("--device cuda",),
    "--env-id": ("--env",),
    "--env-name": ("--env",),
    "--epochs": ("--steps",),
    "--eval-freq": ("--eval-every",),
    "--exp-name": ("--out",),
    "--learning-rate": ("--lr",),
    "--learning-starts": ("--warmup",),
    "--log-dir": ("--out",),
    "--lr": ("--learning-rate",),
    "--max-steps": ("--steps",),
    "--n-envs": ("--num-envs",),
    "--n-eval-episodes": ("--eval-episodes", "--episodes"),
    "--n-timesteps": ("--frames", "--steps"),
    "--net-arch": ("--hidden",),
    "--num-timesteps": ("--frames", "--steps"),
    "--output-dir": ("--out",),
    "--tensorboard-log": ("--track tensorboard",),
    "--total-timesteps": ("--frames", "--steps"),
    "--train-steps": ("--steps",),
    "--wandb": ("--track wandb",),
    "--wandb-project-name": ("--track wandb",),
}


def known_elsewhere(said: str, options: Callable[[], set[str]]) -> str:
    """Return how options that a command does not know are called here, where others call them so.

    Args:
        said: the complaint about the options.
        options: gives the names of those that the command has; asked only where one is known elsewhere.
    """
    unknown = re.findall(r"--[\w-]+", said) if said.startswith("Unrecognized options") else []
    words = [word.replace("_", "-") for word in unknown]
    if not any(word in ELSEWHERE for word in words):
        return ""
    known = options() | {"goalsight"}
    here = {word: [name for name in ELSEWHERE.get(word, ()) if name.split()[0] in known] for word in words}
    return "".join(f"; here {word} is {names[0]}" for word, names in here.items() if names)
