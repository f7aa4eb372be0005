"""How `lerobot/` beside this file was made: by the official package, lerobot 0.6.1, in an environment of its own."""

import sys
from pathlib import Path

import numpy as np

CAMERA = {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
FEATURES = {
    "observation.images.front": CAMERA,
    "observation.images.wrist": CAMERA,
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
}


def main(root: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset.create("goalsight/tiny", fps=25, features=FEATURES, root=root, robot_type="toy")
    row = 0
    for episode, (length, task) in enumerate([(5, "Push the block."), (3, "Lift the block."), (4, "Push the block.")]):
        for time in range(length):
            image = np.full((48, 64, 3), 20 + 40 * episode + 8 * time, np.uint8)
            image[:, :24] = 10 * episode
            data.add_frame(
                {
                    "observation.images.front": image,
                    "observation.images.wrist": 255 - image,
                    "observation.state": np.array([row, time, episode], np.float32),
                    "action": np.array([time, -episode], np.float32),
                    "next.reward": np.array([time - 10], np.float32),
                    "next.success": np.array([time == length - 1]),
                    "task": task,
                }
            )
            row += 1
        data.save_episode()
    data.finalize()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
