"""``fit``'s training against a bare loop: what underdog costs an image.

Same network, images, order, optimiser and memory format; random images. The floor knows nothing of underdog.
"""

from __future__ import annotations

import copy

import torch
from measure import Comparison, Work, arguments, compare, random_images, report
from torch import Tensor, nn
from torch.nn import functional

from underdog import Hyperparameters, Method, PaperNet, RandomStreams, Split, normalized
from underdog.train import Training

BATCH = 128


def bare(model: nn.Module, images: Tensor, labels: Tensor, lr: float) -> Work:
    """An epoch of plain PyTorch, written by hand."""
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    stream, t = RandomStreams(0), iter(range(10**9))

    def epoch() -> None:
        order = torch.from_numpy(stream("shuffle", next(t)).permutation(len(images)))
        for rows in torch.split(order, BATCH):
            x = images[rows].to(torch.float32).div_(255).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(x), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return epoch


def against_bare(name: str, shape: tuple[int, int, int], pairs: int) -> Comparison:
    """``Training.advance``, all of it: shuffling, loss bookkeeping, best weights and ten validation images."""
    train, val = random_images([BATCH] * 10, shape), random_images([1] * 10, shape)
    torch.manual_seed(0)
    model = normalized(PaperNet(shape[0], 10, shape[1:]), train.images)
    floor = bare(copy.deepcopy(model), train.images[:], train.labels, lr=1e-4)
    training = Training(model, Method(), Split(train, val, None), Hyperparameters(epochs=10**6, lr=1e-4, batch=BATCH))
    per = len(train) * 1e-6
    return compare(name, training.advance, floor, target=1.05, per=per, unit="us/image", pairs=pairs)


def main() -> None:
    args = arguments(str(__doc__), pairs=31).parse_args()
    rows = [
        against_bare("training, 1x28x28", (1, 28, 28), args.pairs),
        against_bare("training, 3x32x32", (3, 32, 32), args.pairs),
    ]
    report(rows, args.json)


if __name__ == "__main__":
    main()
