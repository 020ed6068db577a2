"""`lightpfp-ray config`, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from lightpfp_ray.cli import main

DEFAULT = Path(__file__).parents[1] / "configs" / "default.json"


def test_check_shows_the_epochs_of_the_stages(tmp_path, capsys):
    file = tmp_path / "control.json"
    file.write_text('{"common_config": {"total_epoch": 500}}')
    main(["config", "check", str(file)])
    assert capsys.readouterr().out == (
        f"{file}: ok, 500 epochs and at most 60 of polish: 125 / 250 / 125 / 60 "
        "(stage_1 / stage_2 / calibration / polish)\n"
    )


def test_check_lists_the_mistakes_of_all_files_and_fails(tmp_path, capsys):
    for name, text in [("a", '{"mtp_config": {"rc": 0}}'), ("b", "{}"), ("c", '{\n"x": 1}')]:
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["config", "check", *(str(tmp_path / name) for name in "abc")])
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{tmp_path / 'b'}: ok, 320 epochs")
    first, second = printed.err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'a'}:1: mtp_config.rc: found 0")
    assert second.startswith(f"error: {tmp_path / 'c'}:2: x: unknown key")


def test_show_prints_the_defaults_that_are_shipped(capsys):
    main(["config", "show"])
    assert capsys.readouterr().out == DEFAULT.read_text()


def test_show_prints_a_file_with_its_overrides_and_remarks_aside(capsys):
    main(["config", "show", str(DEFAULT), "--set", "common_config.total_epoch=8"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["multistage_config"]["epoch_list"] == [2, 4]
    assert printed.err.startswith("note: total_epoch 8 wins over epoch_list [80, 160]")


def test_the_schema_describes_every_option_and_holds_the_defaults(capsys):
    main(["config", "schema"])
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    default = json.loads(DEFAULT.read_text())
    jsonschema.validate(default, schema)
    for section, reference in schema["properties"].items():
        options = schema["$defs"][reference["$ref"].rpartition("/")[2]]["properties"]
        assert {key: option["default"] for key, option in options.items()} == default[section]
        assert all(option["description"] for option in options.values())


def test_a_check_loads_no_heavy_package():
    heavy = ("ase", "mlflow", "numpy", "pyarrow", "ray", "torch")
    code = (
        "import sys; from lightpfp_ray.cli import main; "
        f"main(['config', 'check', {str(DEFAULT)!r}]); "
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
