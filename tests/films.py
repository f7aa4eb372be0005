"""Videos, pictures and recordings that tests make for themselves."""

import av
import numpy as np
from PIL import Image

from goalsight.pretrain.data.store import FrameStore, FrameStoreWriter

SIZE = 16
CODECS = {
    ".mp4": "mpeg4",
    ".mkv": "mpeg4",
    ".mov": "mpeg4",
    ".avi": "mpeg4",
    ".webm": "libvpx",
}


def film(path, count=12, fps=10, width=48, height=32):
    """A grey film that brightens from frame to frame."""
    return filmed(path, np.broadcast_to(brightness(count)[:, None, None, None], (count, height, width, 3)), fps)


def filmed(path, frames, fps=10):
    """A film of frames (T, H, W, 3) uint8."""
    height, width = frames.shape[1:3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix], rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 500_000
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
    return path


def brightness(count):
    return np.linspace(20, 220, count).astype(np.uint8)


def image(path, colour=(10, 20, 30), size=(20, 20), mode="RGB"):
    Image.new(mode, size, colour).save(path)
    return path


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


def play(path, count=3, size=SIZE):
    with FrameStoreWriter(path, image_size=size) as writer:
        for i in range(2):
            frames = np.random.default_rng(i).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
            writer.add_episode(frames, {"gripper": np.zeros((count, 3), np.float32)})
    return FrameStore.open(path)


def gif(path, durations, size=(20, 20)):
    pictures = [Image.new("L", size, int(value)) for value in brightness(len(durations))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations)
    return path
