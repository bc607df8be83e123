"""The page: self-contained, escaped, whole."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_runs import HOSTILE, SKILL, write_run

from underdog.data.sources import load_images
from underdog.errors import InputError
from underdog.reporting import write_report
from underdog.reporting.collect import collect
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and whether tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [v for _, attributes in self.tags for k, v in attributes.items() if k == name and v is not None]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folders: list[Path], output: Path) -> tuple[str, Page]:
    write_report(folders, output)
    text = output.read_text(encoding="utf-8")
    return text, Page(text)


def check(text: str, page: Page) -> None:
    """What holds of every page."""
    assert page.open == []
    names = Counter(name for name, _ in page.tags)
    assert names["script"] == names["iframe"] == names["object"] == 0
    assert all(re.match(r"data:|#", link) for a in ("href", "src", "xlink:href") for link in page.values(a))
    assert not re.search(r"@import|url\((?!#)", text)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    links = {link[1:] for a in ("href", "xlink:href") for link in page.values(a) if link.startswith("#")}
    assert links | set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert all(image.get("alt") for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    assert names["h1"] == 1


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    out = tmp_path_factory.mktemp("hostile")
    folders = [
        write_run(
            out,
            m,
            s,
            HOSTILE,
            HOSTILE[:3],
            gallery=m == "aos",
            predictions=True,
            source="<b>&amp;</b>",
            notes=["<script>note</script>"],
        )
        for m in SKILL
        for s in range(2)
    ]
    broken = out / "<u>broken"
    broken.mkdir()
    (broken / "result.json").write_text('{"spec"')
    return page_of([*folders, broken], out / "report.html")


def test_the_page_is_whole_and_fetches_nothing(hostile: tuple[str, Page]) -> None:
    check(*hostile)
    assert "://" not in hostile[0]


def test_hostile_names_are_text(hostile: tuple[str, Page]) -> None:
    text, page = hostile
    shown = "".join(page.text)
    for name in HOSTILE:
        assert name in shown
        assert name in page.values("title")
    assert "<script" not in text
    assert "<b>&amp;</b>" in shown
    assert "<script>note</script>" in shown
    assert "<u>broken" in shown
    assert not page.all("u")


def test_what_is_set_aside_is_said(hostile: tuple[str, Page]) -> None:
    shown = re.sub(r"\s+", " ", "".join(hostile[1].text))
    assert "set aside: <u>broken: result.json: not whole JSON" in shown


@pytest.mark.parametrize("classes", [2, 20, 21, 45])
def test_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    names = [f"class {k}" for k in range(classes)]
    folders = [
        write_run(tmp_path, method, seed, names, names[seed : seed + 1], (3, 8, 8), gallery=method == "aos")
        for method in ("ros", "aos")
        for seed in range(2)
    ]
    text, page = page_of(folders, tmp_path / "report.html")
    check(text, page)
    assert ("whole matrices cannot be read" in text) == (classes > 20)


def test_no_rare_class_no_references_one_run(tmp_path: Path) -> None:
    text, page = page_of([write_run(tmp_path, "smote", minority=())], tmp_path / "report.html")
    check(text, page)
    assert "nothing to compare it with" in text


def test_several_problems_get_a_section_each(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, m, lr=lr) for m in ("baseline", "ros", "aos") for lr in (0.1, 0.01)]
    text, page = page_of(folders, tmp_path / "report.html")
    check(text, page)
    assert {"v0", "v1"} <= set(page.values("id"))
    assert text.count("natural counts, lr 0.1<") == 2


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, m, s, gallery=m == "aos") for m in ("ros", "aos") for s in range(6)]
    first, _ = page_of(folders, tmp_path / "a.html")
    second, _ = page_of(folders[::-1], tmp_path / "b.html")
    assert first == second


def test_curves_and_gallery_may_be_missing(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "aos", gallery=True)
    (folder / "epochs.jsonl").unlink()
    (folder / "gallery.safetensors").write_bytes(b"x")
    text, page = page_of([folder], tmp_path / "report.html")
    check(text, page)
    assert "its curves only" in text
    assert "its gallery only" in text


def test_nothing_is_written_when_nothing_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        write_report([tmp_path], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_lone_surrogates_do_not_stop_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "ros", classes=("cat", "dog"))
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"cat"', '"\\udcff"'))
    assert collect([folder]).runs[0].classes[0] == "\udcff"
    check(*page_of([folder], tmp_path / "report.html"))


def test_real_runs(tmp_path: Path) -> None:
    source = load_images("digits")
    spec = RunSpec(source.fingerprint, "aos(eps=16/255)", rho=20, mu=0.6, epochs=1)
    result = execute(spec, source, tmp_path)
    text, page = page_of([tmp_path / spec.id], tmp_path / "report.html")
    check(text, page)
    assert f"macro-F1 of {result['test']['macro_f1']:.3f}" in text
    assert len(page.all("img")) == 3 * 8 + len(result["decision"]["errors"])
