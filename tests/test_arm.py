"""Arms as text and as products: what is read, how they are named, what is refused."""

import math
from typing import Any

import pytest

import jaxinv as ji
from jaxinv.arm import ARM_FIELDS, arm_text, cross, parse_arm
from jaxinv.errors import InputError


@pytest.mark.parametrize(
    ("text", "arm"),
    [
        ("adam: optimizer=adam learning_rate=0.001", ji.Arm("adam", optimizer="adam", learning_rate=0.001)),
        ("adam:optimizer=adam  learning-rate = 1e-3", ji.Arm("adam", optimizer="adam", learning_rate=0.001)),
        ("two rates: learning_rate=0.1, 0.5", ji.Arm("two rates", learning_rate=(0.1, 0.5))),
        ("wide: model=mlp:128,64", ji.Arm("wide", model="mlp:128,64")),
        ("centred: preprocess=inverted + pixel_mean", ji.Arm("centred", preprocess="inverted+pixel_mean")),
        (
            "all: preprocess=raw model=mlp optimizer=adam learning_rate=1 loss=squared_error augment=flip batch_size=7 "
            "train_examples=30 label_noise=0.25",
            ji.Arm(
                "all",
                preprocess="raw",
                model="mlp",
                optimizer="adam",
                learning_rate=1.0,
                loss="squared_error",
                augment="flip",
                batch_size=7,
                train_examples=30,
                label_noise=0.25,
            ),
        ),
    ],
)
def test_text_makes_an_arm(text: str, arm: ji.Arm) -> None:
    assert parse_arm(text) == arm
    assert parse_arm(str(arm_text(arm))) == arm
    study = ji.Study(arms=("normal", text), learning_rate=(0.1, 0.5))
    assert study.arms == ("normal", arm)
    assert ji.Study.from_json(study.to_json()) == study


@pytest.mark.parametrize(
    "arm",
    [
        ji.Arm("x"),
        ji.Arm("x: y", model="mlp"),
        ji.Arm(" x", model="mlp"),
        ji.Arm("x", learning_rate=(0.1,)),
        ji.Arm("x", loss=lambda logits, labels: logits[:, 0]),
    ],
)
def test_arms_that_no_text_makes_have_none(arm: ji.Arm) -> None:
    assert arm_text(arm) is None


def test_text_sets_every_field_of_an_arm() -> None:
    texts = {"preprocess": "zca", "model": "mlp", "optimizer": "adam", "loss": "squared_error", "augment": "flip"}
    texts |= {"batch_stats": "recomputed"}
    for field in ARM_FIELDS:
        value = texts.get(field, "1")
        assert str(parse_arm(f"x: {field}={value}").changes[field]).removesuffix(".0") == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adam: optimzer=adam", "arms: adam: 'optimzer' is not known; did you mean 'optimizer'? Give one of preproc"),
        ("adam: optimizer=adm", "arms: adam: optimizer: 'adm' is not known; did you mean 'adam'?"),
        ("adam: optimizer=", "arms: adam: optimizer: '' is not known; give one of"),
        ("adam:", "arms: 'adam:' sets no field; give a preprocessing, or name: field=value"),
        ("adam: ", "arms: 'adam: ' sets no field"),
        ("adam optimizer=adam", "arms: 'adam optimizer=adam' has no colon behind its name; give a preprocessing, or"),
        ("adam: adam", "arms: 'adam: adam': 'adam' is no field=value; give name: field=value"),
        ("adam: optimizer=adam optimizer=sgd", "sets optimizer twice; give it once"),
        (": optimizer=adam", "arms: '' is not allowed as a name"),
        ("x: batch_size=many", "arms: x: batch_size: 'many' is not allowed; give a whole number from 1"),
        ("x: batch_size=2.5", "arms: x: batch_size: '2.5' is not allowed; give a whole number"),
        ("x: train_examples=0", "arms: x: train_examples: 0 is not allowed; give a whole number"),
        ("x: learning_rate=fast", "arms: x: learning_rate: 'fast' is not allowed; give a number"),
        ("x: learning_rate=0.1,,0.2", "arms: x: learning_rate: '' is not allowed; give a number"),
        ("x: learning_rate=0.1,0.1", "has a value twice"),
        ("x: label_noise=1.5", "arms: x: label_noise: 1.5 is not allowed; give a number from 0 to 1"),
        ("x: label_noise=nan", "arms: x: label_noise: nan is not allowed; give a finite number"),
        ("x: steps=100", "arms: 'x' may not change 'steps', which all arms share; give one of preprocess"),
        ("x: dataset=mnist", "arms: 'x' may not change 'dataset', which all arms share"),
        ("x: name=y", "arms: x: 'name' is not known"),
        ("x: self=y", "arms: x: 'self' is not known"),
        ("x: preprocess=nomal", "arms: x: preprocess: 'nomal' is not known; did you mean 'normal'?"),
        ("x: model=mlp:", "arms: x: model: 'mlp:' is not allowed; give whole numbers"),
    ],
)
def test_other_text_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        ji.Study(arms=("normal", text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_word_stays_a_preprocessing() -> None:
    assert ji.Study(arms=("normal", "inverted + pixel_mean")).arms == ("normal", "inverted+pixel_mean")


def test_products_are_those_of_arms() -> None:
    factors: dict[str, Any] = {"model": ("mlp", "mlp_bn"), "batch_size": (10, 20)}
    assert cross(("normal", "raw"), **factors) == ji.arms(preprocess=("normal", "raw"), **factors)
    assert cross(("raw",), **factors) == ji.arms(preprocess="raw", **factors)
    adam = ji.Arm("adam", optimizer="adam", learning_rate=0.01)
    made = cross(("normal", adam), model=("mlp", "mlp_bn"))
    assert [arm.name for arm in made] == ["normal mlp", "normal mlp_bn", "adam mlp", "adam mlp_bn"]
    assert made[3].changes == {"model": "mlp_bn", "optimizer": "adam", "learning_rate": 0.01}


def test_a_product_sets_no_field_twice() -> None:
    with pytest.raises(InputError, match=r"model: the arm 'bn' sets it already; give it there, or to all arms"):
        cross(("normal", ji.Arm("bn", model="mlp_bn")), model=("mlp", "cnn"))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        *(({field: 1}, f"arms: 'x' may not change {field!r}, which all arms share; give one of preprocess, mod")
          for field in ("dataset", "steps", "trials", "seed", "eval_every", "illumination", "precision", "arms")),
        ({"modle": "mlp"}, "arms: x: 'modle' is not known; did you mean 'model'?"),
        ({"preprocess": ("normal", "raw")}, "arms: x: preprocess: ('normal', 'raw') is not allowed; give a name or"),
        ({"model": "mpl"}, "arms: x: model: 'mpl' is not known; did you mean 'mlp'?"),
        ({"optimizer": ("sgd", "adam")}, "arms: x: optimizer: ('sgd', 'adam') is not allowed; give a name or a func"),
        ({"learning_rate": math.nan}, "arms: x: learning_rate: nan is not allowed; give a finite number"),
        ({"learning_rate": 0}, "arms: x: learning_rate: 0.0 is not allowed; give a positive number"),
        ({"learning_rate": ()}, "arms: x: learning_rate: none given"),
        ({"loss": "crossentropy"}, "arms: x: loss: 'crossentropy' is not known; did you mean 'cross_entropy'?"),
        ({"loss": 3}, "arms: x: loss: 3 is not allowed; give a name or a function (logits [B, C], labels [B]) -> [B]"),
        ({"augment": "filp"}, "arms: x: augment: 'filp' is not known; did you mean 'flip'?"),
        ({"batch_size": 0}, "arms: x: batch_size: 0 is not allowed; give a whole number from 1"),
        ({"batch_size": True}, "arms: x: batch_size: True is not allowed"),
        ({"train_examples": math.nan}, "arms: x: train_examples: nan is not allowed; give a whole number"),
        ({"train_examples": 0}, "arms: x: train_examples: 0 is not allowed"),
        ({"label_noise": -0.1}, "arms: x: label_noise: -0.1 is not allowed; give a number from 0 to 1"),
        ({"label_noise": 1.01}, "arms: x: label_noise: 1.01 is not allowed; give a number from 0 to 1"),
        ({"label_noise": math.nan}, "arms: x: label_noise: nan is not allowed; give a finite number"),
    ],
)  # fmt: skip
def test_other_fields_are_refused_in_one_line(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        ji.Arm("x", **fields)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "a\nb", 3, None])
def test_a_name_is_a_line_of_text(name: Any) -> None:
    with pytest.raises(InputError, match="is not allowed as a name; give a line of text"):
        ji.Arm(name)


def test_clashing_names_and_rates_that_do_not_fit_the_axis_are_refused() -> None:
    for other in ("normal", ji.Arm("normal", preprocess="raw")):
        with pytest.raises(InputError, match="arms: normal, normal has a name twice; give each once"):
            ji.Study(arms=(ji.Arm("normal", model="mlp"), other))
    three = ji.Arm("x", learning_rate=(0.1, 0.2, 0.3))
    with pytest.raises(InputError, match="arms: x: learning_rate: 3 values are not allowed; give one, or as many as"):
        ji.Study(arms=(three,), learning_rate=(0.1, 0.2))
    with pytest.raises(InputError, match="arms: no factor given; give fields of"):
        ji.arms()


def test_an_arm_shows_what_it_changes() -> None:
    arm = ji.Arm("wide", model="mlp:1000", learning_rate=0.1)
    assert repr(arm) == "Arm('wide', model='mlp:1000', learning_rate=0.1)"
    assert eval(repr(arm), {"Arm": ji.Arm}) == arm
