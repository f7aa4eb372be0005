"""Which episodes of a recording encoders watch, by which learning rates are chosen, and which are asked about.

They are dealt out once, the same for all seeds and objectives, so that no encoder has watched what it is asked about,
nor learnt from what the recorder knows of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from goalsight.eval.probes.factors import Rows
from goalsight.eval.probes.parts import deal

if TYPE_CHECKING:
    from goalsight.pretrain.data.store import FrameStore

WATCHED, CHOOSING, ASKED = "train", "validation", "test"  # six in ten episodes, 15 in a hundred, and a quarter
SEED = 0  # by which they are dealt out
SAID = "No encoder has watched the held-out episodes."
SAID_OF_ALL = "Encoders have watched the frames, not the labels, of the held-out episodes."  # where all were watched


def episodes_of(store: "FrameStore", share: str) -> Rows:
    """The episodes of a share, `WATCHED`, `CHOOSING` or `ASKED`, (n,), ascending."""
    return np.sort(deal(np.arange(store.num_episodes), SEED)[share])


def write_watched(store: "FrameStore", folder: Path) -> Path:
    """Write the episodes that encoders watch as a store of their own, unless it is there; return its folder.

    Raises:
        UserError: when the disk refuses.
    """
    from goalsight.pretrain.data.appender import StoreAppender
    from goalsight.pretrain.data.store import is_store

    if is_store(folder):
        return folder
    appender = StoreAppender(folder, image_size=store.image_size, fps=store.fps)
    try:
        appender.notes = store.notes
        for number in episodes_of(store, WATCHED):
            rows = store.rows_of(number)
            columns = {name: values[rows] for name, values in store.columns.items()}
            said = {"source": store.sources[number], "instruction": store.instructions[number]}
            appender.add_episode(store.episode(number), columns=columns, **said)
        appender.publish(complete=True)
    finally:
        appender.close()
    return folder
