"""The project file: values, defaults, and every fault at once with its line."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline.errors import NotFoundError, SpecError
from tuneline.plan.components import LINE
from tuneline.plan.rollout_plan import from_deploy
from tuneline.spec.project import apply, load, parse, schema
from tuneline.spec.scaffold import starter
from tuneline.spec.sections import KEYS

EXAMPLE = Path(__file__).parents[2] / "examples" / "movie-reviews"
SMALL = """name: demo
data:
  source: rows.csv
  prompt: "{text}"
  completion: " {label}"
base_model: gemma-3-270m
"""


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(text, Path("/project"))
    return caught.value.details


def changed(text: str) -> object:
    return parse(text, Path("/project")).project


def test_the_example_is_read_as_it_is_written():
    project = load(EXAMPLE).project
    assert project.name == "movie-reviews"
    assert project.data.map == {"label": {"0": "negative", "1": "positive"}}
    assert project.train.learning_rate == 5e-4
    assert project.train.per_device_train_batch_size == 16
    assert project.gate[0] == "accuracy >= 0.80"


def test_every_field_a_step_wants_has_a_value():
    project = load(EXAMPLE).project
    for component in LINE:
        for param in component.params:
            if param.field:
                assert project.value(param.field) is not None, param.field
    deploy = project.value("deploy")
    assert deploy.pop("rollout")["strategy"] == "switch"
    assert deploy.pop("kubernetes")["namespace"] == "default"
    assert deploy.pop("vllm")["dtype"] == "auto"
    assert deploy == {
        "endpoint": "movie-reviews", "runtime": "llamacpp", "on": "here", "entry": "", "port": 0,
        "keep_s": 1800.0, "max_concurrent": 0, "max_queue": 100, "queue_timeout_s": 10.0,
        "keep_bodies": 0.0, "workers": 1,
    }  # fmt: skip


def test_a_path_no_key_has_is_refused():
    with pytest.raises(KeyError, match="train.rank"):
        load(EXAMPLE).project.value("train.rank")


def test_all_faults_are_told_at_once_with_line_and_nearest_key():
    text = """name: Demo
data:
  sauce: rows.csv
  where: len(text) > 3
  prompt: "{text:>3}"
  completion: " {label}"
train:
  lr: 1e-4
  r: 0
  lora_alpha: many
  learning_rate: "5e-4"
evaluate: {task: clasify}
deploy: {keep: soon}
"""
    found = faults(text)
    assert "tuneline.yaml:3: unknown key `sauce` in `data`; nearest: `source`" in found
    assert "tuneline.yaml:8: unknown key `lr` in `train`; nearest: `learning_rate`" in found
    assert "tuneline.yaml:9: `train.r` is 0; it must be at least 1" in found
    assert "tuneline.yaml:10: `train.lora_alpha` must be a whole number, but is `many`" in found
    assert 'tuneline.yaml:11: `train.learning_rate` must be a number, but is the text "5e-4"' in found
    can_be = "it can be classify, regress, generate; nearest: `classify`"
    assert f"tuneline.yaml:12: `evaluate.task` is `clasify`; {can_be}" in found
    starts = [line.partition(": ")[0] for line in found]
    assert {f"tuneline.yaml:{line}" for line in (1, 3, 4, 5, 8, 9, 10, 11, 12, 13)} <= set(starts)
    assert any("`base_model` is missing" in line for line in found)
    assert any("a call (`len(text)`) at position 1" in line for line in found)
    assert found == sorted(found, key=lambda line: int(line.split(":")[1]))


@pytest.mark.parametrize("text", ["5e-4", "5E-4", "0.0005", "5.0e-04", ".0005"])
def test_a_number_may_be_written_as_people_write_it(text):
    project = changed(SMALL + f"train: {{learning_rate: {text}}}\n")
    assert project.train.learning_rate == 5e-4


@pytest.mark.parametrize("text, wanted", [("true", True), ("Yes", True), ("off", False)])
def test_a_flag_is_written_as_yaml_has_them(text, wanted):
    assert changed(SMALL + f"monitor: {{drift: {{retrain: {text}}}}}\n").monitor.drift.retrain is wanted


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("retrain: 1", "`monitor.drift.retrain` must be true or false, but is `1`"),
        ('retrain: "true"', 'must be true or false, but is the text "true"'),
        ("every: 5s", "`monitor.drift.every` is 5s; it must be at least 10 seconds"),
        ("detectors: [words]", "`monitor.drift.detectors` is `words`; it can be prompt_length, "),
        ("alpha: 0.001", "it must be at least 0.01"),
    ],
)
def test_how_drift_is_watched_is_checked(text, wrong):
    assert wrong in faults(SMALL + f"monitor: {{drift: {{{text}}}}}\n")[0]


def test_text_may_look_like_a_number_and_a_key_like_a_boolean():
    project = changed(SMALL.replace("source:", "map: {label: {0: no, yes: 1}}\n  source:"))
    assert project.data.map == {"label": {"0": "no", "yes": "1"}}


@pytest.mark.parametrize(
    "text, line", [("name: [", 1), ("name: a\n\tdata: b", 2), ("a: b: c", 1), ("- one\n- two", 1), ("", 1)]
)
def test_what_is_no_yaml_mapping_is_one_fault_with_a_line(text, line):
    found = faults(text)
    assert found[0].startswith(f"tuneline.yaml:{line}: ")


def test_a_key_written_twice_is_a_fault():
    assert any("`name` is there twice; first in line 1" in line for line in faults(SMALL + "name: other\n"))


def test_a_key_without_a_value_is_a_fault():
    assert faults(SMALL + "gate:\n") == ["tuneline.yaml:7: `gate` has no value"]


def test_a_key_of_another_section_is_pointed_to():
    assert "nearest: `train.seed`" in faults(SMALL + "seed: 3\n")[0]


def test_relative_paths_are_meant_from_the_project_folder():
    project = changed(SMALL.replace("gemma-3-270m", "./base"))
    assert project.data.source == "/project/rows.csv"
    assert project.base_model == "/project/base"
    assert changed(SMALL.replace("rows.csv", "https://a.b/c.csv")).data.source == "https://a.b/c.csv"


def test_slices_are_kept_columns():
    project = changed(SMALL + "evaluate: {slices: [source]}\n")
    assert project.data.keep == ("source",)


def test_target_modules_may_be_a_list():
    project = changed(SMALL + "train: {target_modules: [q_proj, v_proj]}\n")
    assert project.train.target_modules == "q_proj,v_proj"


@pytest.mark.parametrize(
    "text, seconds", [("30m", 1800), ("90", 90), ("1.5h", 5400), ("2d", 172_800), ("5 s", 5)]
)
def test_a_time_has_a_unit(text, seconds):
    assert changed(SMALL + f"deploy: {{keep: {text}}}\n").deploy.keep_s == seconds


def test_a_prompt_is_needed_and_one_without_fields_is_a_fault():
    assert any(
        "`data.completion` is missing" in line for line in faults(SMALL.replace("completion", "label"))
    )
    assert any("has no `{column}` in it" in line for line in faults(SMALL.replace("{text}", "text")))


def test_a_class_must_be_named_when_the_completion_does_not():
    found = faults(SMALL.replace(" {label}", "{label} {why}"))
    assert found == [
        "tuneline.yaml:3: `data.label` is missing: `evaluate.task: classify` needs the column with the class"
        ", and `data.completion` has 2 fields"
    ]


@pytest.mark.parametrize(
    "written, expected",
    [
        ('{cron: "0 6 * * *", timezone: Europe/Berlin}', ("0 6 * * *", "Europe/Berlin", 0.0)),
        ('"@daily"', ("@daily", "UTC", 0.0)),
        ("0 6 * * 1-5", ("0 6 * * 1-5", "UTC", 0.0)),
        ("{every: 6h}", ("", "UTC", 21_600.0)),
    ],
)
def test_a_schedule_is_a_cron_line_with_its_zone_or_a_time_between_runs(written, expected):
    schedule = changed(SMALL + f"schedule: {written}\n").schedule
    assert (schedule.cron, schedule.timezone, schedule.every_s) == expected


def test_a_project_without_a_schedule_has_none():
    assert (changed(SMALL).schedule.cron, changed(SMALL).schedule.every_s) == ("", 0.0)


@pytest.mark.parametrize(
    "written, expected",
    [
        ("daily", "`schedule.cron`: `daily` has 1 fields; a schedule has 5 or 6"),
        ('"0 25 * * *"', "`schedule.cron`: `25` is no hour: 25 is not between 0 and 23"),
        ('"0 0 30 2 *"', "`schedule.cron` names a day that no month of it has"),
        ("{}", "`schedule` needs `cron` or `every`"),
        ("{timezone: UTC}", "`schedule` needs `cron` or `every`"),
        ("", "`schedule.cron` has no value"),
        ("[daily]", "`schedule` must be a mapping of keys, but is a list"),
        ('{cron: "@daily", every: 6h}', "`schedule.cron` and `schedule.every` exclude each other"),
        ("{cron: '@daily', timezone: Mars/Base}", "`schedule.timezone`: `Mars/Base` is no time zone"),
        ("{every: 6h, timezone: UTC}", "`schedule.timezone` has no effect with `every`"),
        ("{every: 5s}", "`schedule.every` is 5s; it must be at least 60 seconds"),
        ("{crn: x}", "unknown key `crn` in `schedule`; nearest: `cron`"),
    ],
)
def test_a_wrong_schedule_is_told_with_its_line(written, expected):
    found = faults(SMALL + f"schedule: {written}\n")
    assert found[0].startswith(f"tuneline.yaml:7: {expected}")
    assert len(found) == (2 if "crn" in written else 1)


def test_overrides_are_typed_and_checked_as_the_file_is():
    loaded = apply(parse(SMALL, Path("/p")), {"train.r": "16", "train.learning_rate": "1e-3"})
    assert (loaded.project.train.r, loaded.project.train.learning_rate) == (16, 1e-3)
    again = apply(loaded, {"data.where": 'source == "a: b"', "gate": "[accuracy >= 0.9]"})
    assert again.project.data.where == 'source == "a: b"'
    assert (again.project.train.r, again.project.gate) == (16, ("accuracy >= 0.9",))
    with pytest.raises(SpecError) as caught:
        apply(loaded, {"train.rr": "1", "train.r": "x", "notify": "daily"})
    assert sorted(caught.value.details) == [
        "-p notify: who is told is not changed for one run; write it in the file",
        "-p train.r=x: `train.r` must be a whole number, but is `x`",
        "-p train.rr=1: `train.rr` is not a key; nearest: `train.r`",
    ]


def test_an_override_can_give_what_the_file_lacks():
    text = SMALL.replace("base_model: gemma-3-270m\n", "")
    loaded = parse(text, Path("/p"), overrides={"base_model": "gemma-3-270m"})
    assert loaded.project.base_model == "gemma-3-270m"


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(NotFoundError, match=r"no project file .*tuneline\.yaml") as caught:
        load(tmp_path)
    assert "tuneline init" in caught.value.hint


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path):
    (tmp_path / "tuneline.yaml").write_bytes(b"name: demo\n# caf\xe9\n")
    with pytest.raises(SpecError, match=r"tuneline\.yaml:2: not UTF-8"):
        load(tmp_path)


def test_the_starter_runs_as_it_is():
    project = parse(starter("my-model"), Path("/p")).project
    example = load(EXAMPLE).project
    assert project.name == project.deploy.endpoint == "my-model"
    assert project.data == example.data
    assert project.train == example.train
    assert project.gate == example.gate
    with pytest.raises(SpecError, match="cannot be a project's name"):
        starter("My Model")


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text):
    with contextlib.suppress(SpecError):
        parse(text, Path("/p"))


@given(
    st.dictionaries(st.sampled_from(sorted(KEYS)), st.sampled_from(["", "x", "1", "-1", "[]", "{}", "null"]))
)
def test_no_override_breaks_the_reader(overrides):
    with contextlib.suppress(SpecError):
        parse(SMALL, Path("/p"), overrides=overrides)


def test_the_schema_knows_every_key():
    body = schema()
    for path in KEYS:
        found = body
        for part in path.split("."):
            found = found["properties"][part]
        assert found["description"]
    assert body["required"] == ["name", "data"]
    assert body["else"] == {"required": ["base_model"]}
    assert body["additionalProperties"] is False


SETS = "evaluate:\n  slices: [a]\n  sets:\n    hard: {source: hard.csv, sha256: 'sha256:" + "A" * 64 + "'}\n"


def test_held_out_sets_are_whole_with_absolute_sources_and_safety_columns_are_kept():
    project = changed(SMALL + SETS + "  safety: {slices: {b: [x, 1]}}\n")
    assert project.evaluate.sets == {
        "hard": {"source": "/project/hard.csv", "where": "", "sha256": "a" * 64},
    }
    assert project.value("evaluate.sets.hard.source") == "/project/hard.csv"
    assert project.data.keep == project.evaluate.slices == ("a", "b")
    assert project.value("evaluate.safety") == {
        "slices": {"b": ["x", "1"]}, "metric": "accuracy", "margin": 0.05, "alpha": 0.05,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("sets: {hard: {sorce: x.csv}}", "unknown key `sorce` in `evaluate.sets.hard`; nearest: `source`"),
        ("sets: {hard: {where: a > 1}}", "`evaluate.sets.hard.source` is missing"),
        ("sets: {hard: {source: x, where: a >}}", "`evaluate.sets.hard.where`"),
        ("sets: {live: {source: x.csv}}", "the name `live` means something else"),
        ("sets: {live_x: {source: x.csv}}", "the name `live_x` means something else"),
        ("sets: {Hard-One: {source: x.csv}}", "the name `Hard-One` does not fit"),
        ("sets: {a: {source: x.csv, sha256: 12}}", "`evaluate.sets.a.sha256` must be 64 hexadecimal digits"),
        ("safety: {slices: {a: x}}", "`evaluate.safety.slices.a` must be a list"),
        ("safety: {slices: {a: []}}", "`evaluate.safety.slices.a` is an empty list"),
        ("safety: {slices: [a]}", "`evaluate.safety.slices` must be a mapping of lists"),
        ("safety: {margin: 0}", "`evaluate.safety.margin` is 0; it must be more than 0.0"),
    ],
)
def test_a_wrong_set_is_told_with_its_line(written, fault):
    told = faults(SMALL + "evaluate:\n  " + written)
    assert any(line.startswith("tuneline.yaml:8: ") and fault in line for line in told), told


def test_a_rollout_is_written_as_a_word_or_with_all_it_takes():
    assert changed(SMALL + "deploy: {rollout: canary}\n").deploy.rollout.strategy == "canary"
    text = "deploy: {rollout: {strategy: canary, stages: [5%, 25%, 100%], every: 10m, shadow: true, "
    found = changed(SMALL + text + "max_duration: 1d, margins: {errors: 0.01}}}\n").deploy.rollout
    assert (found.stages, found.every_s, found.shadow) == (("5%", "25%", "100%"), 600.0, True)
    plan = from_deploy({"rollout": changed(SMALL + text + "sticky: [x-user]}}\n").value("deploy.rollout")})
    assert [(each.weight, each.shadow) for each in plan.steps] == [(0.0, True), (5.0, False), (25.0, False)]


def test_a_rollout_that_is_not_written_is_a_switch():
    assert from_deploy({"rollout": changed(SMALL).value("deploy.rollout")}).steps == ()


@pytest.mark.parametrize(
    "rollout, said",
    [
        ("{stages: [5%]}", "has no effect without `deploy.rollout.strategy`"),
        ("{strategy: canary, stages: [25%, 5%]}", "percents that grow"),
        ("{strategy: canary, stages: [100%]}", "needs one under 100%"),
        ("{strategy: canary, stages: [half]}", "percents that grow"),
        ("{strategy: canary, margins: {speed: 0.1}}", "takes a metric and a number"),
        ("{strategy: canary, shadow: maybe}", "must be true or false"),
        ("{strategy: canary, metrics: [agreement]}", "measured on copies alone"),
        ("{strategy: shadow, metrics: [feedback]}", "nobody sees"),
        ("blue", "it can be switch, canary, shadow, ab"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused_with_its_line(rollout, said):
    (found,) = faults(SMALL + f"deploy: {{rollout: {rollout}}}\n")
    assert found.startswith("tuneline.yaml:7: ")
    assert said in found
