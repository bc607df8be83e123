"""AOS in the Trainer of Transformers, on scanned digits of which six kinds are rare."""

import sys
import tempfile

from transformers import ResNetConfig, ResNetForImageClassification, TrainingArguments

import underdog as ud
from underdog.loop.trainer import SnapshotTrainer


def items(images):
    """What a Trainer takes: a list, or any data set, of dictionaries."""
    pairs = zip(ud.to_unit(images.images), images.labels.tolist(), strict=True)
    return [{"pixel_values": x, "label": y} for x, y in pairs]


split = ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split
config = ResNetConfig(
    num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10
)
labels, rare = split.train.labels, split.train.minority
aos = ud.Snapshot(items(split.train), ud.aos(16 / 255, tau=0.5), labels=labels, minority=rare)
with tempfile.TemporaryDirectory() as folder:
    args = TrainingArguments(
        folder,
        num_train_epochs=int(sys.argv[1]) if len(sys.argv) > 1 else 20,
        per_device_train_batch_size=64,
        learning_rate=1e-3,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    trainer = SnapshotTrainer(ResNetForImageClassification(config), args, snapshot=aos)
    trainer.train()
    answer = trainer.predict(items(split.test))
print(f"macro-F1 {ud.Metrics.of(answer.label_ids, answer.predictions.argmax(1), classes=10).macro_f1:.3f}")
