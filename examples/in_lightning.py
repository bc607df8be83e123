"""AOS in Lightning, on scanned digits of which six kinds are rare."""

import sys

import lightning as L
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import underdog as ud
from underdog.loop.lightning import SnapshotCallback


class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = ud.PaperNet(channels=1, classes=10, size=(16, 16))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, number):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


split = ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split
train = TensorDataset(ud.to_unit(split.train.images), split.train.labels)
aos = ud.Snapshot(train, ud.aos(16 / 255, tau=0.5), minority=split.train.minority)
module, quiet = Digits(), {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=[SnapshotCallback(aos)], **quiet)
trainer.fit(module, aos.loader(batch_size=64))
predicted = module.eval()(ud.to_unit(split.test.images)).argmax(1)
print(f"macro-F1 {ud.Metrics.of(split.test.labels.numpy(), predicted.numpy(), classes=10).macro_f1:.3f}")
