"""The page on a source of images: all of it, harmless whatever the names are."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_report_browser import BROWSER, FLAGS, MEASURE, WIDTHS

import underdog as ud
from underdog.reporting.data_page import write_data_page

HOSTILE = ["<script>alert(1)<|script>", '"><img src=x onerror=alert(1)>', "x" * 150, "a\x1b[31m\u202eb", "{{ 7 * 7 }}"]


def source(root: Path, pictures: Any, names: list[str]) -> Path:
    """A hard source: parts, sizes, equal images, groups in several parts, files that are no images."""
    parts = (("train", 14, (80, 90)), ("test", 4, (16, 20)))
    files = {
        f"{part}/{name}": data
        for seed, (part, n, size) in enumerate(parts)
        for name, data in pictures.tree(dict.fromkeys(names, n), size, 3, seed).items()
    }
    first = next(iter(files))
    files[f"test/{names[1]}/003.png"] = files[first]
    files[f"train/{names[0]}/<b>bad.png"] = b"?"
    files["g.csv"] = "\n".join(["i,g", *(f'"{n.replace(chr(34), chr(34) * 2)}",<i>{n[-6:-4]}' for n in files)]).encode()
    return pictures.folder(root, files)


@pytest.fixture
def page(tmp_path: Path, pictures: Any) -> str:
    found = ud.inspect_images(source(tmp_path / "<u>photos", pictures, HOSTILE), ud.Reading(groups="g.csv:i,g"))
    write_data_page(found, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_names_are_text_and_nothing_is_fetched(page: str) -> None:
    tags = set(re.findall(r"<\s*(\w+)", page))
    assert not tags & {"script", "i", "b", "u", "iframe", "object"}
    assert "onerror=alert(1)&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html.unescape(page)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert not re.findall(r"url\((?!data:)", page)


def test_everything_has_its_section(page: str) -> None:
    assert re.findall(r'<h3 id="(\w+)"', page) == ["classes", "samples", "sizes", "equal", "corrupt", "groups"]
    assert "&lt;b&gt;bad.png" in page
    assert "no image in a format that is known" in page
    assert "different labels, several parts" in page
    assert "a\\x1b[31m\\u202eb" in page  # in sentences, where a mark of direction would turn what follows


def test_pictures_are_those_of_the_images(tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree({"cat": 3, "dog": 3})
    files["dog/000.png"] = pictures.encode(Image.new("RGB", (300, 200), (200, 30, 90)))
    found = ud.inspect_images(pictures.folder(tmp_path / "photos", files))
    write_data_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = re.findall(
        r'<img( class="squares")? src="data:image/(\w+);base64,([^"]+)" alt="([^"]*)" title="([^"]*)"', page
    )
    assert [path for *_, path in shown] == sorted(files)
    for squares, kind, data, alt, path in shown:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert alt == f"Image of class {path[:3]}"
        if path == "dog/000.png":
            assert (pixels.shape, kind, squares) == ((85, 128, 3), "jpeg", "")
            assert np.abs(pixels.astype(int) - (200, 30, 90)).max() < 8
        else:
            assert (kind, squares) == ("png", ' class="squares"')
            assert (pixels == np.asarray(Image.open(io.BytesIO(files[path])))).all()


def test_a_healthy_source_has_nothing_to_warn_about(tmp_path: Path, pictures: Any) -> None:
    found = ud.inspect_images(pictures.folder(tmp_path / "photos", pictures.tree({"cat": 140, "dog": 140}, (8, 8))))
    write_data_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Nothing to warn about" in page
    assert re.findall(r'<h3 id="(\w+)"', page) == ["classes", "samples"]
    assert "No class is rare, rho = 1, mu = 0." in page


def test_the_page_fits_a_desk_and_a_telephone(tmp_path: Path, page: str) -> None:
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome on this machine")
    frames = [
        f'<iframe id="{w}" style="width:{w}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        for w in WIDTHS
    ]
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(frames)}{MEASURE}</body>", encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stderr[-2000:]
    for frame in json.loads(html.unescape(match[1])):
        assert frame["scroll"] <= frame["room"], frame["name"]
        assert frame["images"] == 5 * 8 - 1 + 1  # 8 of each class, one of them no image, and the equal pair
