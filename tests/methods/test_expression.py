"""Methods as people write them: one form for one method, and what is said of texts that mean none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import underdog as ud
from underdog.methods.build import build, canonical
from underdog.methods.expression import function_of, parse, split_list
from underdog.methods.table import METHODS, ROLES
from underdog.run.spec import RunSpec

#: Functions of somebody's own, and a module that ends the process.
OWN = """
import sys
import underdog as ud

def share(share: float, halves: int = 2, kind: str = "plain", fast: bool = False):
    return ud.Method(lr_factor=share * halves)

def many(*shares): return ud.Method()
def keywords(**shares): return ud.Method()
def no_method(): return "a method"
def a_class(): return ud.Method
def raises(): raise ZeroDivisionError
def leaves(): sys.exit(0)
def refuses(tau=2): return ud.Method(ud.aos(0.1, tau))
def changes(): return lambda method: method
def changes_badly(): return lambda method: 3
def staged(): return ud.Method(stages=[ud.Stage(share=0.5), ud.Stage(share=0.5)])
a_number = 3
"""


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: Any) -> Any:
    """Modules of somebody's own that can be imported."""
    folder: Path = tmp_path_factory.mktemp("modules")
    (folder / "own_parts.py").write_text(OWN)
    (folder / "leaves_early.py").write_text("import sys\nsys.exit()\n")
    (folder / "breaks_early.py").write_text("1 / 0\n")
    (folder / "no_python.py").write_text("def method(:\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("aos", "aos"),
        ("ros()", "ros"),
        ("aos(tau=0.5, eps=8/255)", "aos(eps=8/255)"),
        ("aos( eps = 16/510 )", "aos(eps=8/255)"),
        ("aos(eps=0.03137254901960784)", "aos(eps=8/255)"),
        ("aos(eps=8/256)", "aos(eps=0.03125)"),
        ("aos(eps=1e-1,tau=0.40)", "aos(eps=0.1,tau=0.4)"),
        ("aos(steps=3,attack=pgd)", "aos(attack=pgd,steps=3)"),
        ("aos(attack=fgsm,select=random)", "aos"),
        ("smote(k=5)", "smote"),
        ("smote(k=6/2)", "smote(k=3)"),
        ("ros(ratio=1/2)", "ros(ratio=0.5)"),
        ("balanced-softmax + aos", "aos+balanced-softmax"),
        ("logit-adjust+crt+focal+mixup+noise+ros+baseline(lr_factor=2)",
         "baseline(lr_factor=2)+ros+noise+mixup+focal+crt+logit-adjust"),
        ("baseline+ros", "ros"),
        ("baseline", "baseline"),
        ("aos(tau=0.4)+logit-adjust(tau=0.4)", "aos(tau=0.4)+logit-adjust(tau=0.4)"),
        ("own_parts:share(kind=a b,share=1/4)+drw", "drw+own_parts:share(share=0.25,kind=a b)"),
        ("own_parts:share(halves=2,share=1,fast=True)", "own_parts:share(share=1.0,fast=true)"),
    ],
)  # fmt: skip
def test_a_method_has_one_form(text: str, form: str) -> None:
    found = canonical(text)
    assert str(found) == form
    assert canonical(form) == found
    assert str(parse(str(found))) == RunSpec("some data", form).method


@pytest.mark.parametrize("n", range(1, 256))
def test_every_length_in_255ths_is_kept_exact(n: int) -> None:
    assert parse(f"aos(eps={n}/255)").number("eps") == n / 255
    assert str(parse("aos").set({"eps": n / 255})) == f"aos(eps={n}/255)"


@given(st.floats(0, 1), st.floats(0, 1))
def test_any_number_is_read_back_exactly(eps: float, tau: float) -> None:
    found = parse("aos").set({"eps": eps, "tau": tau})
    assert parse(str(found)) == found
    assert (found.number("eps"), found.number("tau")) == (eps, tau)


def test_one_text_is_one_identity_and_two_texts_are_two() -> None:
    same = ["aos(eps=8/255)", "aos(tau=0.5,eps=8/255)", " aos ( eps=0.03137254901960784 ) ", "baseline+aos(eps=8/255)"]
    assert len({RunSpec("some data", text).id for text in same}) == 1
    others = ["aos(eps=8/255,tau=0.4)", "aos(eps=9/255)", "noise(eps=8/255)", "aos(eps=8/255)+focal", "aos"]
    assert len({RunSpec("some data", text).id for text in [same[0], *others]}) == 6
    assert RunSpec("some data", "aos(eps=8/255)+balanced-softmax").id.startswith("aos+balanced-softmax-s0-")


def test_a_list_of_methods_is_cut_between_them_alone() -> None:
    assert split_list(" ros ,aos(eps=8/255,tau=0.5)+focal,,") == ["ros", "aos(eps=8/255,tau=0.5)+focal"]


def resampler(text: str) -> ud.Resampler:
    (stage,) = ud.method(text).stages
    return stage.resampler


def test_altered_images_are_balanced_by_oversampling_unless_something_else_in_the_sum_balances() -> None:
    aos = ud.aos(8 / 255, 0.5)
    assert isinstance(aos, ud.Chain)
    oversampling, altering = aos.resamplers
    assert oversampling == ud.RandomOverSampler()
    for text in ("aos(eps=8/255)", "aos(eps=8/255)+focal"):
        assert resampler(text) == aos
    for text in ("aos(eps=8/255)+balanced-softmax", "aos(eps=8/255)+class-weighted", "aos(eps=8/255,balance=none)"):
        assert resampler(text) == altering
    assert resampler("smote+aos(eps=8/255)") == ud.Chain(ud.SMOTE(5), altering)
    assert resampler("rus(ratio=0.5)+aos(eps=8/255)") == ud.Chain(ud.RandomUnderSampler(0.5), altering)
    assert resampler("smote+aos(eps=8/255,balance=ros)") == ud.Chain(ud.SMOTE(5), *aos.resamplers)
    assert resampler("balanced-softmax+aos(eps=8/255,balance=ros)") == aos


def test_schedules_change_the_rest_of_the_sum() -> None:
    first, second = ud.method("aos(eps=0.1)+drs(start=0.6)+focal").stages
    assert (first.share, first.resampler) == (0.6, ud.NoResampling())
    assert second.resampler == ud.aos(0.1, 0.5)
    assert first.loss((5, 1)) == second.loss((5, 1)) == ud.method("focal").stages[0].loss((5, 1))
    assert ud.method("crt+baseline(lr_factor=2)+logit-adjust").lr_factor == 2
    assert ud.method("crt+logit-adjust").adjustment((3, 1)) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # Texts that are none.
        ("", ["a part is a name", "not ''"]),
        ("aos+", ["'aos+'", "a part is a name", "not ''"]),
        ("aos(eps=0.1", ["'aos(eps=0.1'", "not closed", "aos(eps=0.1 >)<"]),
        ("aos)+ros", ["'aos)+ros'", "closes none", "aos >)<"]),
        ("aos(eps=(0.1))", ["within brackets", "aos(eps= >(<"]),
        ("ros+aos(eps=0.1)x", ["'ros+aos(eps=0.1)x'", "a part is a name", "not 'aos(eps=0.1)x'"]),
        ("aos(8/255)", ["aos: parameters are given as name=value, not '8/255'"]),
        ("ros+aos(eps)", ["'ros+aos(eps)'", "aos: parameters are given as name=value, not 'eps'"]),
        ("aos(eps=)", ["aos: parameters are given as name=value, not 'eps='"]),
        ("aos(=8)", ["aos: parameters are given as name=value, not '=8'"]),
        ("aos(eps=0.1,eps=0.1)", ["aos: eps is given twice"]),
        # Names.
        ("aoss", ["unknown method 'aoss'", "did you mean 'aos'", "known: baseline, ", "package.module:function"]),
        ("ros+smoot", ["'ros+smoot'", "unknown method 'smoot'", "did you mean 'smote'"]),
        ("ros(ratoi=0.5)", ["ros has no parameter 'ratoi'", "did you mean 'ratio'", "it has ratio"]),
        ("ros(k=3)", ["ros has no parameter 'k'", "it has ratio"]),
        ("ros(k=3)+focal", ["'ros(k=3)+focal'", "ros has no parameter 'k'"]),
        # Values.
        ("aos(eps=much)", ["aos: eps must be a number such as 0.03 or 8/255, not 'much'"]),
        ("aos(eps=nan)", ["aos: eps must be a number such as 0.03 or 8/255, not 'nan'"]),
        ("aos(eps=1/0)", ["aos: eps must be a number such as 0.03 or 8/255, not '1/0'"]),
        (f"aos(eps={'9' * 99})", ["aos: eps must be a number such as 0.03 or 8/255, not '999"]),
        ("ros+focal(gamma=big)", ["'ros+focal(gamma=big)'", "focal: gamma must be a number", "'big'"]),
        ("smote(k=2.5)", ["smote: k must be a whole number, not 2.5"]),
        ("smote(k=true)", ["smote: k must be a number", "'true'"]),
        ("aos(attack=pgdd)", ["aos: attack must be fgsm or pgd, not 'pgdd'"]),
        ("aos(eps=8)", ["aos: eps must be a number in [0, 1]", "8/255", "not 8"]),
        ("aos(tau=1.5)", ["aos: tau must be a probability in [0, 1], not 1.5"]),
        ("noise(eps=-1/255)", ["noise: eps must be a number in [0, 1]", "not -0.0039"]),
        ("ros(ratio=0)", ["ros: ratio must be a number above 0 and at most 1, not 0"]),
        ("rus(ratio=2)", ["rus: ratio must be a number above 0 and at most 1, not 2"]),
        ("smote(k=0)", ["smote: k must be a whole number above 0, not 0"]),
        ("class-weighted(power=0)", ["class-weighted: power must be a number above 0, not 0"]),
        ("balanced-softmax(power=-1)", ["balanced-softmax: power must be a number above 0, not -1"]),
        ("baseline(lr_factor=0)", ["baseline: lr_factor must be a number above 0, not 0"]),
        ("focal(gamma=-1)", ["focal: gamma must be a number of at least 0, not -1"]),
        ("mixup(alpha=0)", ["mixup: alpha must be a number above 0, not 0"]),
        ("logit-adjust(tau=0)", ["logit-adjust: tau must be a number above 0, not 0"]),
        ("drw(beta=1)", ["drw: beta must be a number from 0 to below 1, not 1"]),
        ("ros+drw(start=1)", ["drw: start must be a share of the epochs above 0 and below 1, not 1"]),
        ("aos(eps=0.1,steps=3)", ["aos: steps belong to attack=pgd, not to attack=fgsm"]),
        # Sums.
        ("focal+balanced-softmax", ["balanced-softmax and focal cannot be added", "decide on the loss"]),
        ("ros+smote", ["ros and smote cannot be added", "how often images are shown"]),
        ("aos+noise", ["aos and noise cannot be added", "altered images"]),
        ("drw+crt", ["crt and drw cannot be added", "decide on when"]),
        ("ros+ros(ratio=0.5)", ["ros is there twice"]),
        ("own_parts:share(share=1)+own_parts:share(share=2)", ["own_parts:share is there twice"]),
        ("ros+own_parts:staged", ["own_parts:staged has stages of its own, and cannot be added to others"]),
        ("drw+own_parts:staged", ["drw: the rest of the sum has stages already"]),
        # Functions of one's own.
        ("no_such:method", ["method 'no_such:method' cannot be imported", "No module named 'no_such'"]),
        ("own_parts:absent", ["method 'own_parts:absent' cannot be imported", "no attribute 'absent'"]),
        ("leaves_early:method", ["method 'leaves_early:method' cannot be imported: SystemExit"]),
        ("breaks_early:method", ["method 'breaks_early:method' cannot be imported: ZeroDivisionError: division by zero"]),
        ("no_python:method", ["method 'no_python:method' cannot be imported: SyntaxError: ", "no_python.py"]),
        ("own_parts:a_number", ["method 'own_parts:a_number' must be a function, not int"]),
        ("own_parts:", ["unknown method 'own_parts:'", "package.module:function"]),
        ("own_parts", ["unknown method 'own_parts'", "package.module:function"]),
        ("own_parts:no_method", ["method 'own_parts:no_method' must return an underdog.Method, not str"]),
        ("own_parts:a_class", ["method 'own_parts:a_class' must return an underdog.Method, not type"]),
        ("own_parts:raises", ["method 'own_parts:raises' failed: ZeroDivisionError"]),
        ("own_parts:leaves", ["method 'own_parts:leaves' failed: SystemExit: 0"]),
        ("own_parts:refuses", ["own_parts:refuses: tau must be a probability in [0, 1], not 2"]),
        ("ros+own_parts:changes_badly", ["method 'own_parts:changes_badly' must return an underdog.Method, not int"]),
        ("own_parts:share(ratio=1)", ["own_parts:share has no parameter 'ratio'", "it has share, halves, kind, fast"]),
        ("own_parts:share(shares=1)", ["no parameter 'shares'", "did you mean 'share'"]),
        ("own_parts:raises(ratio=1)", ["own_parts:raises has no parameter 'ratio'", "it has none"]),
        ("own_parts:share(share=x)", ["own_parts:share: share must be a number", "'x'"]),
        ("own_parts:share(share=1,halves=1.5)", ["own_parts:share: halves must be a whole number, not 1.5"]),
        ("own_parts:share(share=1,fast=1)", ["own_parts:share: fast must be true or false, not '1'"]),
        ("own_parts:many", ["own_parts:many must have parameters that can be named, not *shares"]),
        ("own_parts:keywords(a=1)", ["own_parts:keywords must have parameters that can be named, not **shares"]),
        ("math:sqrt", ["math:sqrt must have parameters that can be named"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_of_the_part_that_it_is_wrong_with(text: str, said: list[str]) -> None:
    with pytest.raises(ud.InputError) as caught:
        canonical(text)
    assert [part for part in said if part not in str(caught.value)] == [], caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aos", "aos needs eps"),
        ("noise(tau=0.4)+focal", "noise+focal needs eps"),
        ("own_parts:share", "own_parts:share needs share"),
        ("aos+own_parts:share", "aos+own_parts:share needs eps and share"),
    ],
)
def test_what_is_missing_is_named_where_the_method_is_made(text: str, said: str) -> None:
    assert str(canonical(text)) == text
    with pytest.raises(ud.InputError, match=rf"^{said.replace('+', '.')}$"):
        ud.method(text)


def test_a_parameter_that_two_parts_have_is_set_by_the_part_s_name() -> None:
    both = parse("aos(eps=0.1)+logit-adjust")
    assert set(both.space) == {"eps", "aos.tau", "logit-adjust.tau"}
    assert str(both.set({"logit-adjust.tau": 0.4})) == "aos(eps=0.1)+logit-adjust(tau=0.4)"
    assert str(both.set({"aos.tau": "0.4", "eps": None})) == "aos(tau=0.4)+logit-adjust"
    assert (both.lookup("aos.tau"), both.lookup("logit-adjust.tau"), both.lookup("tau")) == (0.5, 1.0, None)
    with pytest.raises(ud.InputError, match=r"has 'tau' twice: say aos.tau or logit-adjust.tau"):
        both.set({"tau": 0.4})
    with pytest.raises(ud.InputError, match=r"aos\+logit-adjust has no parameter 'gamma'"):
        both.set({"gamma": 1})
    own = parse("ros+own_parts:share(share=1)")
    assert str(own.set({"halves": 3, "ratio": "1/2"})) == "ros(ratio=0.5)+own_parts:share(share=1.0,halves=3)"


def test_values_of_functions_of_one_s_own_are_those_of_their_signature() -> None:
    text = "own_parts:share(share=0.5,halves=2,fast=false)"
    assert parse(text).get("share") == "0.5"  # a text, since nothing is imported to read a sum
    assert [parse(text).lookup(key) for key in ("share", "halves", "kind", "fast")] == [0.5, 2, "plain", False]
    assert str(canonical(text)) == "own_parts:share(share=0.5)"
    assert build(canonical(text)).lr_factor == 1


def test_every_method_of_the_table_has_a_role_an_explanation_and_parameters_that_are_explained() -> None:
    assert {entry.role for entry in METHODS.values()} == set(ROLES) - {"own"}
    for name, entry in METHODS.items():
        assert "*Source*" in (function_of(name).__doc__ or ""), name
        assert entry.about
        for one in parse(name).parts[0].parameters.values():
            assert one.about.help, (name, one.name)
            assert one.default is not None or one.required or one.kinds or one.choices
            if one.about.search is not None:
                values = one.about.search.values
                assert list(values) == sorted(set(values))
                assert one.about.search.first in values
