"""The page in a real browser, at a desk's width and a telephone's."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest
from fake_runs import HOSTILE, SKILL, write_run

from underdog.reporting import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
]
WIDTHS = (1400, 390)
#: Shows every page in frames of both widths and writes down what it measures there.
MEASURE = """
<script>
window.onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    return {
      name: frame.id, width: frame.clientWidth,
      room: page.documentElement.clientWidth, scroll: page.documentElement.scrollWidth,
      headings: [...page.querySelectorAll("h1, h2, h3")].map(h => h.textContent),
      images: [...page.images].length, loaded: [...page.images].filter(i => i.naturalWidth > 0).length,
      smallest: Math.min(...[...page.querySelectorAll("figure > svg text")].map(t => t.getBoundingClientRect().height)),
    };
  });
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.replaceChildren(out);
};
</script>
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    if BROWSER is None:
        pytest.skip("no chromium or google-chrome on this machine")
    out = tmp_path_factory.mktemp("browser")
    pages = {
        "hostile": HOSTILE,
        "two": ("healthy tissue", "melanoma"),
        "forty": [f"class number {k}" for k in range(40)],
    }
    frames = []
    for name, classes in pages.items():
        folders = [
            write_run(
                out / name,
                m,
                s,
                classes,
                classes[: len(classes) // 2],
                source="x" * 300,
                gallery=m in ("aos", "noise"),
                predictions=s == 0,
            )
            for m in SKILL
            for s in range(2)
        ]
        write_report(folders, out / f"{name}.html")
        page = html.escape((out / f"{name}.html").read_text(encoding="utf-8"))
        frames += [
            f'<iframe id="{name}" style="width:{w}px;height:900px;border:0" srcdoc="{page}"></iframe>' for w in WIDTHS
        ]
    wrapper = out / "wrapper.html"
    wrapper.write_text(f"<!doctype html><meta charset=utf-8><body>{''.join(frames)}{MEASURE}</body>", encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={out / 'profile'}", "--dump-dom", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stderr[-2000:]
    found: list[dict[str, object]] = json.loads(html.unescape(match[1]))
    assert len(found) == len(pages) * len(WIDTHS)
    return found


def test_the_page_never_scrolls_sideways(measured: list[dict[str, object]]) -> None:
    assert [m["width"] for m in measured] == [*WIDTHS] * 3
    assert [m for m in measured if m["scroll"] != m["room"]] == []


def test_the_headings_are_there(measured: list[dict[str, object]]) -> None:
    for page in measured:
        headings = page["headings"]
        assert isinstance(headings, list)
        assert headings[0] == "underdog report"
        assert headings[1].startswith("aos has the highest mean macro-F1 of 2 seeds")
        assert headings[2:] == [
            "Scores",
            "Paired differences",
            "Recall of each class",
            "Training",
            "Confusions",
            "Class sizes",
            "What a decision needs",
            "Altered images",
            "Settings and surroundings",
            "Definitions",
        ]


def test_every_picture_is_shown(measured: list[dict[str, object]]) -> None:
    galleries = 2 * 3 * 3
    assert all(m["images"] == m["loaded"] and int(str(m["images"])) > galleries for m in measured)


def test_figures_stay_readable(measured: list[dict[str, object]]) -> None:
    assert all(float(str(m["smallest"])) > 9 for m in measured)
