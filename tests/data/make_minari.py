"""How `minari/` beside this file was made: by Minari 0.5.4, with its extras hdf5 and create."""

import gymnasium as gym
import minari
import numpy as np

EPISODES, STEPS = 3, 10


def main() -> None:
    env = minari.DataCollector(gym.make("goalsight:goalsight/PandaReach-v1", max_episode_steps=STEPS))
    noise = np.random.default_rng(0)
    for seed in range(EPISODES):
        obs, _ = env.reset(seed=seed)
        for _ in range(STEPS):
            way = obs["desired_goal"] - obs["achieved_goal"]
            obs, *_ = env.step(np.clip(10 * way + noise.normal(0, 0.1, 3), -1, 1).astype(np.float32))
    env.create_dataset("goalsight/panda-reach/expert-v0")


if __name__ == "__main__":
    main()
