"""Data sets as people have them, and what of them is refused, at the first call."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch
from extras import needs
from PIL import Image
from scripts import SHAPE, AlwaysDropping, Checkpointed, FixedBackbone, From, Photos, network
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

import underdog as ud

AOS = ud.aos(16 / 255, 1)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def shown(data: Dataset, net: nn.Module | None = None, **options: object) -> list[object]:
    """Every item of epoch 0, one by one."""
    net = options.pop("net", net or network())
    aos = ud.Snapshot(data, options.pop("resampler", AOS), **options).bind(net)  # type: ignore[arg-type]
    aos.set_epoch(0)
    loader = aos.loader(collate_fn=lambda items: items[0])
    return list(loader)


class Rows(Dataset):
    """The items of a data set in another form."""

    def __init__(self, make: object, data: Photos | None = None) -> None:
        self.data = data or Photos(transform=ud.to_unit)
        self.make, self.labels = make, self.data.targets

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> object:
        return self.make(*self.data[index])  # type: ignore[operator]


Pair = namedtuple("Pair", "picture label name")


def to_tensor(image: Image.Image) -> Tensor:
    return ud.to_unit(torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()))


def picture(x: Tensor) -> Image.Image:
    return Image.fromarray((x * 255).round().byte().permute(1, 2, 0).numpy())


FORMS = {
    "list": (lambda x, y: [x, y], lambda item: item[0]),
    "named": (lambda x, y: Pair(x, y, "a"), lambda item: item.picture),
    "dict": (lambda x, y: {"label": y, "pixel_values": x}, lambda item: item["pixel_values"]),
}
BYTES = {
    "picture": lambda x, y: (picture(x), y),
    "bytes": lambda x, y: ((x * 255).round().byte(), y),
    "array": lambda x, y: (np.asarray(picture(x)), torch.tensor(y)),
}


@pytest.mark.parametrize("form", FORMS)
def test_items_of_any_form_show_the_same_images(form: str) -> None:
    make, image = FORMS[form]
    items = shown(Rows(make))
    expected = shown(Photos(transform=ud.to_unit))
    assert all(torch.equal(image(a), b[0]) for a, b in zip(items, expected, strict=True))
    assert type(items[0]) is type(make(torch.zeros(SHAPE), 0))


def up_to_255() -> nn.Module:
    """The same network for images that are numbers up to 255."""
    return nn.Sequential(ud.Normalize(torch.zeros(3), torch.full((3,), 255.0)), network())


@pytest.mark.parametrize("form", BYTES)
def test_bytes_are_never_divided_unasked(form: str) -> None:
    data = Rows(BYTES[form])
    with pytest.raises(ud.InputError, match=r"(?s)values go from 0 to 255: .*high=255.*to_unit"):
        ud.Snapshot(data, AOS)
    plain = shown(Photos(transform=lambda x: x.float()), up_to_255(), high=255)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(shown(data, up_to_255(), high=255), plain, strict=True))
    pixels = torch.stack([x for x, _ in shown(Photos(transform=ud.to_unit), network())])
    assert (torch.stack([x for x, _ in plain]) / 255 - pixels).abs().max() < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_a_list_of_items_is_a_data_set(form: str) -> None:
    make, image = FORMS[form]
    photos = Photos(transform=ud.to_unit)
    items = shown([make(*photos[i]) for i in range(44)])
    assert all(torch.equal(image(a), b[0]) for a, b in zip(items, shown(photos), strict=True))


def test_dictionaries_with_a_name_of_ones_own() -> None:
    items = shown(Rows(lambda x, y: {"scan": x, "label": y, "patient": 7}), image="scan")
    assert torch.equal(items[3]["scan"], shown(Photos(transform=ud.to_unit))[3][0])
    assert items[3]["patient"] == 7
    with pytest.raises(ud.InputError, match="name it with image="):
        shown(Rows(lambda x, y: {"scan": x, "label": y}))


def test_subsets_and_concatenations() -> None:
    data = Photos(transform=ud.to_unit)
    parts = ConcatDataset([Subset(data, range(30)), Subset(data, range(30, 44))])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(shown(parts), shown(data), strict=True))
    held_out = Subset(data, range(22))
    seen = {index.row for index in ud.Snapshot(held_out, AOS).bind(network()).loader().sampler}
    assert seen == set(range(22))


def test_labels_of_ones_own() -> None:
    data = Rows(lambda x, y: (x, y))
    del data.labels
    with pytest.raises(ud.InputError, match="give labels="):
        shown(data)
    expected = shown(data.data)
    for labels in (data.data.targets, np.array(data.data.targets), lambda i: data.data.targets[i]):
        assert all(torch.equal(a[0], b[0]) for a, b in zip(shown(data, labels=labels), expected, strict=True))


def test_one_hot_labels_reach_the_loss_as_they_are() -> None:
    data = Photos(transform=ud.to_unit)
    hot = TensorDataset(torch.stack([data[i][0] for i in range(44)]), torch.eye(3)[data.targets])
    seen = []

    def loss(z: Tensor, y: Tensor) -> Tensor:
        seen.append(y.shape[1:])
        return nn.functional.cross_entropy(z, y, reduction="none")

    aos = ud.Snapshot(hot, AOS).bind(network(), loss)
    aos.set_epoch(0)
    got = torch.cat([x for x, _ in aos.loader(60)])
    assert set(seen) == {(3,)}
    assert torch.equal(got, torch.stack([x for x, _ in shown(data)]))


def test_normalised_data_move_as_their_pixels_do() -> None:
    def normalise(x: Tensor) -> Tensor:
        return (ud.to_unit(x) - MEAN.view(-1, 1, 1)) / STD.view(-1, 1, 1)

    net = network()
    pixels = shown(Photos(transform=ud.to_unit), nn.Sequential(ud.Normalize(MEAN, STD), net))
    seen = shown(Photos(transform=normalise), net, mean=MEAN, std=STD)
    for (p, _), (v, _) in zip(pixels, seen, strict=True):
        back = v.double() * STD.double().view(-1, 1, 1) + MEAN.double().view(-1, 1, 1)
        assert (back - p).abs().max() < 1e-6


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_normalize_gives_images_in_the_type_they_come_in(kind: torch.dtype) -> None:
    x = torch.rand(2, 3, 4, 4).to(kind)
    seen = ud.Normalize(MEAN, STD)(x)
    assert seen.dtype is kind
    exact = (x.double() - MEAN.double().view(-1, 1, 1)) / STD.double().view(-1, 1, 1)
    assert torch.allclose(seen.double(), exact, rtol=2 * torch.finfo(kind).eps, atol=1e-6)
    net = nn.Conv2d(3, 2, 3).to(kind)
    assert nn.Sequential(ud.Normalize(MEAN, STD), net)(x).dtype is kind


def test_a_normalising_layer_follows_its_images_to_any_device() -> None:
    x = torch.rand(2, 3, 12, 12, device="meta")  # stands for a GPU: nothing on the CPU may be combined with it
    assert nn.Sequential(ud.Normalize(MEAN, STD), network().to("meta"))(x).device.type == "meta"


def test_values_up_to_255() -> None:
    pixels = shown(Photos(transform=ud.to_unit), nn.Sequential(ud.Normalize(torch.zeros(3), torch.ones(3)), network()))
    for data in (Photos(transform=lambda x: x.float()), Photos()):
        seen = shown(data, up_to_255(), high=255)
        assert max(float((v / 255 - p).abs().max()) for (p, _), (v, _) in zip(pixels, seen, strict=True)) < 1e-6


def test_half_precision_networks_and_images_of_their_own_device_type() -> None:
    aos = ud.Snapshot(Photos(transform=ud.to_unit), AOS).bind(network().bfloat16())
    aos.set_epoch(0)
    assert next(iter(aos.loader(60)))[0].dtype == torch.float32
    assert aos.current.zero_gradients == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images_keep_their_type(dtype: torch.dtype) -> None:
    items = shown(Photos(transform=lambda x: ud.to_unit(x).to(dtype)), network().to(dtype))
    expected = shown(Photos(transform=ud.to_unit))
    assert {x.dtype for x, _ in items} == {dtype}
    far = torch.stack([(x.float() - e).abs() for (x, _), (e, _) in zip(items, expected, strict=True)])
    assert (far > 1e-2).float().mean() < 0.1  # few signs differ


def test_a_data_set_of_hugging_face() -> None:
    needs("datasets")
    import datasets  # noqa: PLC0415

    photos = Photos(transform=ud.to_unit)
    table = datasets.Dataset.from_dict({"image": [picture(photos[i][0]) for i in range(44)], "label": photos.targets})
    table = table.cast_column("image", datasets.Image())
    expected = torch.stack([x for x, _ in shown(photos)])
    plain = torch.stack([x for x, _ in shown(Photos(), up_to_255(), high=255)])
    assert torch.equal(torch.stack([item["image"] for item in shown(table, up_to_255(), high=255)]), plain)
    own = table.with_transform(
        lambda rows: {"pixel_values": [to_tensor(i) for i in rows["image"]], "label": rows["label"]}
    )
    assert torch.equal(torch.stack([item["pixel_values"] for item in shown(own)]), expected)


class Stream(IterableDataset):
    def __iter__(self) -> object:
        return iter(())


class NoLength(Dataset):
    def __getitem__(self, index: int) -> object:
        return index


class Sizes(Photos):
    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, y = super().__getitem__(index)
        return x[:, : 12 - index % 2], y


def flipped(x: Tensor) -> Tensor:
    return ud.to_unit(x if torch.rand(()) < 0.5 else x.flip(-1))


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (Stream(), {}, "perturb_batch"),
        (NoLength(), {}, "a length and items by index"),
        (Photos(transform=flipped), {}, "augment="),
        (Photos(transform=lambda x: ud.to_unit(x) * np.random.rand()), {}, "augment="),
        (Photos(transform=lambda x: x.float()), {}, "high=255"),
        (Photos(transform=lambda x: ud.to_unit(x) * 4 - 2), {}, "mean= and std="),
        (Photos(transform=ud.to_unit), {"labels": [0, 1]}, "one for each of the 44 images, not 2"),
        (Photos(transform=ud.to_unit), {"labels": [0] * 22 + [1] * 22}, "labels found say"),
        (Photos(transform=ud.to_unit), {"resampler": ud.SMOTE()}, "ImageSet"),
        (Photos((20, 20), transform=ud.to_unit), {}, "no class has at most half"),
        (Sizes(transform=ud.to_unit), {}, "one size"),
        (Photos(transform=lambda x: "x"), {}, "ToTensor"),
        (Rows(lambda x, y: x), {}, "tuples"),
        (Photos(transform=ud.to_unit), {"resampler": "aos"}, "resampler must be one, .* not 'aos'"),
        (Photos(transform=ud.to_unit), {"resampler": ud.aos}, "resampler must be one"),
        (Photos(transform=ud.to_unit), {"resampler": ud.SMOTE}, "resampler must be one"),
        (Photos(transform=ud.to_unit), {"minority": 2}, r"minority must be class numbers .* not 2"),
        (Photos(transform=ud.to_unit), {"minority": ["cat"]}, r"minority must be class numbers .* not \['cat'\]"),
        (Photos(transform=ud.to_unit), {"minority": []}, "name it with minority="),
        (Photos(transform=ud.to_unit), {"mean": "imagenet", "std": 1}, "mean must be .* not 'imagenet'"),
        (Photos(transform=ud.to_unit), {"rank": "0"}, "rank must be an integer, not '0'"),
        (Photos(transform=ud.to_unit), {"seed": 1.5}, "seed must be an integer, not 1.5"),
        (Photos(transform=ud.to_unit), {"augment": "flip"}, "augment must be a function .* not 'flip'"),
        (Photos(transform=ud.to_unit), {"net": lambda x: x}, "model must be a torch.nn.Module"),
    ],
)
def test_bad_input_is_refused_before_training(data: Dataset, options: dict[str, object], said: str) -> None:
    with pytest.raises(ud.InputError, match=said):
        shown(data, **options)


def test_what_decides_which_items_are_shown_is_refused() -> None:
    aos = ud.Snapshot(Photos(transform=ud.to_unit), AOS)
    with pytest.raises(ud.InputError, match="Subset of them"):
        aos.loader(8, sampler=SubsetRandomSampler(range(30)))
    with pytest.raises(ud.InputError, match="batch_sampler cannot"):
        aos.loader(batch_sampler=[[0, 1]])
    with pytest.raises(ud.InputError, match="as one block"):
        aos.loader(8, shuffle=False)
    with pytest.raises(ud.InputError, match="through its own sampler"):
        aos.loader().dataset[3]


def test_a_model_that_cannot_be_attacked_is_refused_at_the_first_epoch_even_if_it_refreshes_later() -> None:
    late = ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), 0.1, From(9)))
    for net, said in (
        (network(classes=2), "column for each class"),
        (nn.Sequential(nn.Flatten(0)), "must return logits"),
        (Checkpointed(network(), reentrant=True), "use_reentrant=False"),
        (FixedBackbone("no_grad"), r"requires_grad_\(False\)"),
    ):
        with pytest.raises(ud.InputError, match=said):
            shown(Photos(transform=ud.to_unit), net, resampler=late)
    aos = ud.Snapshot(Photos(transform=ud.to_unit), late)
    with pytest.raises(ud.InputError, match="bind"):
        next(iter(aos.loader()))
    aos.bind(network(), lambda z, y: nn.functional.cross_entropy(z, y, weight=torch.tensor([1.0, 2, 30]))).set_epoch(0)
    with pytest.raises(ud.InputError, match="neither the mean nor the sum"):
        next(iter(aos.loader()))
    with pytest.warns(UserWarning, match="functional dropout"):
        shown(Photos(transform=ud.to_unit), AlwaysDropping(network()), resampler=late)


def test_an_epoch_whose_length_changes_is_refused() -> None:
    class Shrinking(ud.NoResampling):
        def refresh(self, epoch: ud.Epoch, now: ud.Moment) -> ud.Epoch:
            return ud.RandomUnderSampler().start(epoch, now)

    with pytest.raises(ud.InputError, match="from 44 to 12"):
        shown(Photos(transform=ud.to_unit), resampler=Shrinking())
