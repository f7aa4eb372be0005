"""Readers: what data can be learnt from, one file each; a new kind is one file and one line here."""

from goalsight.base.registry import Registry

# In the order in which they are asked: a folder belongs to the first reader that knows it.
READERS = Registry(
    "reader",
    {
        "store": "goalsight.pretrain.data.readers.store:StoreReader",
        "lerobot": "goalsight.pretrain.data.readers.lerobot:LeRobotReader",
        "video": "goalsight.pretrain.data.readers.video:VideoReader",
        "images": "goalsight.pretrain.data.readers.images:ImagesReader",
    },
)
