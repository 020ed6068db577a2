"""Mistakes in a control file: all at once, each in one line with its place and what to do."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpfp_ray.config import load_control, parse_control
from lightpfp_ray.errors import UserError

from .test_config import LIGHTPFP


def mistakes_or_none(text, *overrides):
    """The lines of the error that a text raises, if it does."""
    try:
        parse_control(text, "c.json", overrides)
    except UserError as error:
        return str(error).splitlines()
    return []


def mistakes(text, *overrides):
    """The lines of the error that a text must raise."""
    lines = mistakes_or_none(text, *overrides)
    assert lines
    return lines


def mistake(tree, *overrides):
    """The only mistake of a tree that is written on one line."""
    (line,) = mistakes(json.dumps(tree), *overrides)
    return line


def test_a_mistake_in_an_override_is_named_by_it():
    assert mistakes(
        '{"mtp_config": {"rc": 0}}', "mtp_config.rc=-1", "seed=3", "mtp_config.levmax", "a..b=1"
    ) == [
        "--set mtp_config.levmax: expected SECTION.KEY=VALUE, as mtp_config.rc=6.0: write it like "
        "that",
        "--set a..b=1: expected SECTION.KEY=VALUE, as mtp_config.rc=6.0: write it like that",
        "--set mtp_config.rc=-1: mtp_config.rc: found -1, expected a finite number above 0: "
        "correct it, or leave it out for 6.0",
        "--set seed=3: seed: unknown key, expected one of common_config, mtp_config, "
        "multistage_config, lightpfp_ray: did you mean lightpfp_ray.seed?",
    ]


def test_all_mistakes_are_listed_at_once_each_with_its_line():
    text = """{
  "common_config": {"batch_size": "128",
    "max_forces": NaN},  // "a comment": with, tokens [
  "mtp_config": {
    "levmax": 1,
    "n_q": true, "cutof\\"": 5
  },
  "multistage_config": {
    "lr_list": [
      0.1,
      -0.01, 1],
    "calibration_epoch": 1.5
  },
  "lightpfp_ray": 5
}"""
    found = [line.split(": ")[:2] for line in mistakes(text)]
    assert found == [
        ["c.json:2", "common_config.batch_size"],
        ["c.json:3", "common_config.max_forces"],
        ["c.json:5", "mtp_config.levmax"],
        ["c.json:6", "mtp_config.n_q"],
        ["c.json:6", 'mtp_config.cutof\\"'],
        ["c.json:9", "multistage_config.lr_list"],
        ["c.json:11", "multistage_config.lr_list[1]"],
        ["c.json:12", "multistage_config.calibration_epoch"],
        ["c.json:14", "lightpfp_ray"],
    ]


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("common_config", "batch_size", True, "found true, expected a whole number of at least 1"),
        ("common_config", "batch_size", "128", "write it without quotes"),
        ("common_config", "batch_size", 1.5, "or leave it out for 128"),
        ("common_config", "total_epoch", 0, "expected a whole number of at least 1 or null"),
        ("common_config", "lr_scheduling", "linear", 'did you mean "linear_warmup"?'),
        ("common_config", "lr_scheduling", None, 'did you mean "None"?'),
        ("common_config", "max_energy", float("-inf"), "found -Infinity, expected a finite number"),
        ("common_config", "max_force", 30.0, "did you mean max_forces?"),
        ("common_config", "rc", 5, "did you mean mtp_config.rc?"),
        ("common_config", "optimizer", "sgd", "unknown key, expected one of total_epoch, "),
        ("common_config", "reload_model", 7, "found 7, expected a string or null"),
        ("mtp_config", "model_version", "v2.0", 'expected "v1.0": did you mean "v1.0"?'),
        ("mtp_config", "pretrained_model", "organic", 'did you mean "ORGANIC"?'),
        ("mtp_config", "pretrained_model", 7, '"ORGANIC_SMALL_NN" or a path or null: '),
        ("mtp_config", "rc", 0, "expected a finite number above 0"),
        ("mtp_config", "rc", 10**400, "expected a finite number above 0"),
        ("mtp_config", "n_q", 0, "expected a whole number of at least 1"),
        ("mtp_config", "levmax", 1, "expected at least moment_init_cost 2"),
        ("mtp_config", "levmax", 99, "expected at most 12 times moment_init_cost 2"),
        ("mtp_config", "moment_mu_cost", 0, "expected a whole number of at least 1"),
        ("mtp_config", "nn_dim_list", 64, "expected a list, each a whole number of at least 1"),
        ("mtp_config", "nn_dim_list", [0], "mtp_config.nn_dim_list[0]: found 0"),
        ("multistage_config", "lr_list", [0.1, 0], "lr_list[1]: found 0, expected a finite"),
        ("multistage_config", "lr_list", "0.1, 0.01", "expected a list of one or more, each a "),
        ("multistage_config", "epoch_list", [80, -1], "epoch_list[1]: found -1, expected a whole"),
        ("multistage_config", "epoch_list", [0, 0], "expected epochs in some stage"),
        ("multistage_config", "epoch_list", [80, 0], "the last stage has 0 epochs"),
        ("multistage_config", "epoch_list", [80], "lr_list has 2, epoch_list has 1, energy_loss"),
        ("multistage_config", "loss_func_list", ["mse", "mae"], 'did you mean "mse"?'),
        ("multistage_config", "forces_loss_coeff_list", [1, -1], "expected a finite number of at "),
        ("multistage_config", "use_calib_stage", 1, "found 1, expected true or false"),
        ("multistage_config", "calibration_lr", -0.1, "expected a finite number above 0"),
        ("lightpfp_ray", "test_fraction", 1, "expected a finite number of at least 0 and below 1"),
        ("lightpfp_ray", "precision", "double", 'expected "float64" or "float32"'),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(section, key, value, expected):
    line = mistake({section: {key: value}})
    assert line.startswith(f"c.json:1: {section}.{key}")
    assert expected in line


def test_a_stage_without_weights_is_refused():
    names = ["energy_loss_coeff_list", "forces_loss_coeff_list", "stress_loss_coeff_list"]
    assert "stage 2 has coefficients 0, 0, 0" in mistake(
        {"multistage_config": {name: [1.0, 0] for name in names}}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "c.json:1: column 1: expecting value, found the end of the line: correct the JSON"),
        ('{\n  "a": 1,\n}', "c.json:3: column 1: comma after the last entry, found }"),
        ('{"a" 1}', "c.json:1: column 6: expecting ':' delimiter, found 1}"),
        ('{\n "a": .5}', "c.json:2: column 7: expecting value, found .5}"),
        ("[]", "c.json:1: found [], expected an object of sections"),
        ("[" * 10**5, "c.json:1: is no readable JSON"),
    ],
)
def test_invalid_json_is_refused_with_line_and_column(text, expected):
    (line,) = mistakes(text)
    assert line.startswith(expected)


def test_a_key_that_is_given_twice_is_a_mistake():
    assert mistakes('{"mtp_config": {"rc": 5,\n "rc": 6}}') == [
        "c.json:2: mtp_config.rc: found twice, first in c.json:1, expected once: remove one"
    ]


def test_comments_end_with_the_line_and_are_no_part_of_strings():
    text = '{ // { "rc"\n"common_config": {"reload_model": "http://host//a" /**/}}'
    (line,) = mistakes(text)
    assert line.startswith("c.json:2: column 52")
    found = parse_control(text.replace("/**/", ""), "c.json")
    assert found.common_config.reload_model == "http://host//a"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe{")
    for name in ("absent", "binary", "."):
        with pytest.raises(UserError, match="expected a") as error:
            load_control(tmp_path / name)
        assert "\n" not in str(error.value)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, len(LIGHTPFP)), st.integers(0, len(LIGHTPFP)), st.text('{}[],:"/\\ \n0aé'))
def test_a_damaged_text_is_refused_in_words(start, end, patch):
    text = LIGHTPFP[:start] + patch + LIGHTPFP[end:]
    assert all(line.startswith("c.json:") for line in mistakes_or_none(text))
