"""The JSON Schema of control files agrees with the check."""

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpfp_ray.config import ControlFile
from lightpfp_ray.errors import UserError

from .test_config import control

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.floats()
    | st.sampled_from(["", "None", "step", "mse", "l1", "v1.0", "ORGANIC", "float32"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
TREES = st.fixed_dictionaries(
    {},
    optional={
        name: st.fixed_dictionaries({}, optional=dict.fromkeys(tree, VALUES))
        for name, tree in ControlFile().resolved().items()
    },
)
SOUND = {
    "common_config": {
        "total_epoch": st.integers(1, 1000) | st.none() | st.just(80.0),
        "max_energy": st.floats(allow_nan=False, allow_infinity=False),
        "reload_model": st.none() | st.text(),
    },
    "mtp_config": {
        "rc": st.floats(1, 10),
        "levmax": st.integers(2, 30),
        "pretrained_model": st.sampled_from([None, "", "ORGANIC"]),
        "nn_dim_list": st.lists(st.integers(1, 128), max_size=3),
    },
    "multistage_config": {
        "lr_list": st.lists(st.floats(0.001, 1), min_size=2, max_size=2),
        "epoch_list": st.lists(st.integers(1, 300), min_size=2, max_size=2),
        "use_calib_stage": st.booleans(),
    },
    "lightpfp_ray": {"seed": st.integers(0, 2**63 - 1), "test_fraction": st.floats(0, 0.99)},
}
SOUND_TREES = st.fixed_dictionaries(
    {}, optional={name: st.fixed_dictionaries({}, optional=keys) for name, keys in SOUND.items()}
)
SCHEMA = jsonschema.Draft202012Validator(ControlFile.model_json_schema())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SOUND_TREES | TREES)
def test_the_schema_accepts_what_the_check_accepts(tree):
    try:
        found = control(tree)
    except UserError:
        return
    SCHEMA.validate(tree)
    SCHEMA.validate(found.resolved())
    assert control(found.resolved()).stages == found.stages
