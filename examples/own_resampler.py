"""Write a resampler and an attack of one's own, and train with them epoch by epoch."""

import sys
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

import underdog as ud


@dataclass(frozen=True)
class Halve(ud.NoResampling):
    """Show a random half of every class's images: the same half in all epochs."""

    def start(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
        keep = now.rng("halve").random(len(epoch)) < 0.5
        return replace(epoch, index=epoch.index[keep])


@dataclass(frozen=True)
class Brighten:
    """Alter images by light instead of by the gradient: each pixel by ``eps`` at most."""

    def __call__(
        self, victim: ud.Victim, x: Tensor, y: Tensor, eps: Tensor, rng: np.random.Generator
    ) -> ud.AlteredPixels:
        brighter = (x + x * eps.to(x.dtype).view(-1, 1, 1, 1)).clamp(0, 1)
        return ud.AlteredPixels(brighter, (brighter != x).flatten(1).any(1))


sampler = ud.Chain(Halve(), ud.RandomOverSampler(), ud.Every(3, ud.Perturb(Brighten(), eps=0.3, tau=0.5)))
split = ud.prepare(ud.load_images("digits"), rho=10, mu=0.4).split
model = ud.ResNet(channels=1, classes=10, n=1, width=0.5)
hyper = ud.Hyperparameters(epochs=int(sys.argv[1]) if len(sys.argv) > 1 else 10)
for record in ud.iter_epochs(model, ud.Method(sampler, ud.balanced_softmax), split, hyper, seed=1):
    print(f"epoch {record.epoch}: loss {record.loss:.3f}, validation macro-F1 {record.val.macro_f1:.3f}")
