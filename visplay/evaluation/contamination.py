"""Find training pictures in benchmarks by perceptual hashes, which also match scaled or compressed copies.

A picture's hash is the 256 bits of pHash (Zauner 2010, computed by the library imagehash). Two pictures are
suspects if few bits differ. Suspects are only reported, because different plain drawings may look alike.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from visplay.data.images import ImageSet
from visplay.evaluation.items import Item

_AT_ONCE = 256  # pictures compared with all others at once; bounds the memory


def hash_pictures(images: ImageSet) -> Any:
    """The pHash of every training picture, [pictures, 4] 64-bit numbers, each picture decoded once."""
    return np.array([perceptual_hash(images.load(record.key)) for record in images.records])


def find_suspects(
    images: ImageSet,
    trained: Any,
    items: Mapping[str, Iterable[Item]],
    *,
    bits: int,
) -> list[dict[str, Any]]:
    """Compare every training picture with every benchmark picture.

    Args:
        images: the training pictures.
        trained: their hashes from `hash_pictures`.
        items: benchmark id -> its items; benchmarks are processed one after the other.
        bits: report pairs that differ in at most this number of bits, 0..256.

    Returns:
        One row per benchmark picture with a match. `benchmark` is its id, `item` the key of the first item
        with that picture, `picture` the name of the nearest training picture in its source, and `bits` the
        number of bits that differ.
    """
    suspects = []
    for benchmark, own in items.items():
        pictures = [(item.key, perceptual_hash(image)) for item in own for image in item.images()]
        for start in range(0, len(pictures), _AT_ONCE):
            part = pictures[start : start + _AT_ONCE]
            hashes = np.array([found for _, found in part])
            apart = np.bitwise_count(hashes[:, None, :] ^ trained[None, :, :]).sum(axis=2, dtype=np.int16)
            nearest = apart.argmin(axis=1)
            for i in np.flatnonzero(apart.min(axis=1) <= bits):
                suspects.append(
                    {
                        "benchmark": benchmark, "item": part[i][0], "bits": int(apart[i, nearest[i]]),
                        "picture": images.records[int(nearest[i])].source,
                    }
                )  # fmt: skip
    return suspects


def perceptual_hash(image: Image.Image) -> Any:
    """A picture's pHash as [4] 64-bit numbers."""
    return np.frombuffer(np.packbits(imagehash.phash(image, hash_size=16).hash.ravel()).tobytes(), np.uint64)
