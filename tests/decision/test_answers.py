"""Predictions are read as they were written, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from underdog import Answers, InputError, read_predictions

HEADER = "part,epoch,item,group,label,logit:cat,logit:dog\n"
LINES = "val,best,v.png,,cat,1,2\ntest,best,x.png,p1,dog,0.5,-2.25\ntest,last,x.png,p1,dog,9,9\ntest,best,y.png,p1,cat,3,4\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_parts_of_the_epoch_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + LINES)
    with pytest.raises(InputError, match="no line of the validation part at the last epoch"):
        read_predictions(path, "last")
    parts = read_predictions(path)
    assert set(parts) == {"val", "test"}
    test = parts["test"]
    assert (test.classes, test.items, test.groups) == (("cat", "dog"), ("x.png", "y.png"), ("p1", "p1"))
    np.testing.assert_array_equal(test.labels, [1, 0])
    np.testing.assert_array_equal(test.logits, [[0.5, -2.25], [3, 4]])
    np.testing.assert_array_equal(test.units, [0, 0])
    assert test.same_images(read_predictions(str(path))["test"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a table of predictions"),
        ("a,b\n", "not a table of predictions"),
        (HEADER.replace("logit:dog", "logit:cat") + LINES, "not a table of predictions"),
        (HEADER.replace("logit:", "") + LINES, "not a table of predictions"),
        (HEADER + "val,best,v.png,,owl,1,2\n", "line 2: 'owl' is no class"),
        (HEADER + LINES + "test,best,z.png,,cat,1\n", "line 6: 1 logits for 2 classes"),
        (HEADER + LINES + "test,best,z.png,,cat,1,x\n", "line 6: could not convert"),
        (HEADER + LINES + "test\n", "line 6"),
        (HEADER + LINES + "test,best,z.png,,cat,1,nan\n", "finite"),
        (HEADER + "val,best,v.png,,cat,1,1e999\n", "finite"),
        (HEADER, "no line of the validation part"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_predictions(written(tmp_path, text))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"predictions\.csv: No such file"):
        read_predictions(tmp_path / "predictions.csv")
    (tmp_path / "predictions.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"predictions\.csv"):
        read_predictions(tmp_path / "predictions.csv")


def test_images_without_a_group_stand_alone() -> None:
    answers = Answers(("a", "b"), [0, 0, 1, 1, 1], np.zeros((5, 2)), groups=["p", "", "q", "", "p"])
    np.testing.assert_array_equal(answers.units, [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(Answers(("a", "b"), [0, 1], np.zeros((2, 2))).units, [0, 1])


@pytest.mark.parametrize("name", ["items", "groups"])
def test_names_must_be_as_many_as_images(name: str) -> None:
    with pytest.raises(InputError, match=name):
        Answers(("a", "b"), [0, 1], np.zeros((2, 2)), **{name: ["x"]})
