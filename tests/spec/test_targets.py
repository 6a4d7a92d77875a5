"""Who is told: what may stand in a file that is kept, and that no fault quotes what may not."""

import pytest
from tests.spec.test_project import SMALL

from tuneline.errors import SpecError
from tuneline.spec.notify import targets_in
from tuneline.spec.project import apply, parse
from tuneline.spec.targets import KINDS, Target, fault

SECRET = "zK7qWvPs3cr3t"


@pytest.mark.parametrize("to", [
    "${SLACK_URL}", "secret:slack", "secret:slack/builds", "slack://${TOKEN}/#builds",
    "mailtos://ann:${MAIL_PASSWORD}@example.org?to=team@example.org", "mailto://localhost",
    "mailto://smtp.example.org?to=team@example.org", "json://127.0.0.1:8123/hook", "json://localhost/hook",
    "jsons://[::1]/x", "syslog://", "json://hooks.example.org/${PATH_OF_IT}",
])  # fmt: skip
def test_a_url_without_its_secrets_may_be_kept(to):
    assert fault(to) == ""


@pytest.mark.parametrize("to", [
    f"slack://T1/B1/{SECRET}", f"https://hooks.slack.com/services/{SECRET}", f"json://example.org/{SECRET}",
    f"mailtos://ann:{SECRET}@example.org?to=${{TEAM}}", f"json://127.0.0.1/x?token={SECRET}",
    f"json://ann:{SECRET}@localhost/x", f"secret:{SECRET}/a/b", f"${{{SECRET}", f"{SECRET}", f"json://[{SECRET}",
    f"jsons://${{HOST}}/?pass={SECRET}", "",
])  # fmt: skip
def test_a_url_with_a_secret_is_refused_with_how_to_write_it_and_never_quoted(to):
    with pytest.raises(SpecError) as wrong:
        parse(SMALL + f"notify:\n  - to: '{to}'\n", "/x")
    (line,) = wrong.value.details
    assert line.startswith("tuneline.yaml:8: target 1 of `notify` ")
    assert ("write `" in line) == bool(to)
    assert SECRET not in str(wrong.value.to_json())


@pytest.mark.parametrize("written", [
    f"[{{slack://{SECRET}: x}}]", f"{{to: {{{SECRET}: 1}}}}", f"[[{SECRET}]]", f"[{{to: a, {SECRET}: 1}}]",
])  # fmt: skip
def test_another_shape_is_refused_and_never_quoted(written):
    with pytest.raises(SpecError) as wrong:
        parse(SMALL + f"notify: {written}\n", "/x")
    assert SECRET not in str(wrong.value.to_json())


def test_targets_are_a_text_a_list_or_say_of_which_kinds_they_are_told():
    text = SMALL + "notify:\n  - ${A}\n  - to: secret:b\n    on: [drift, verdict]\n"
    assert targets_in(text) == (Target("${A}", KINDS), Target("secret:b", ("drift", "verdict")))
    assert parse(text, "/x").project.notify == targets_in(text)
    assert targets_in(SMALL + "notify: ${A}\n") == (Target("${A}"),)
    assert targets_in(SMALL) == targets_in("") == ()


def test_a_text_that_cannot_be_read_is_not_quoted():
    with pytest.raises(SpecError, match="is no YAML") as wrong:
        targets_in(f"notify: [slack://{SECRET}\n")
    assert SECRET not in str(wrong.value.to_json())


def test_a_kind_that_is_none_and_a_target_that_is_told_of_nothing_are_refused():
    with pytest.raises(SpecError) as wrong:
        parse(SMALL + "notify:\n  - {to: 'secret:b', on: [drifts]}\n  - {to: 'secret:b', on: []}\n", "/x")
    assert wrong.value.details == [
        "tuneline.yaml:8: `notify.on` is `drifts`; it can be " + ", ".join(KINDS) + "; nearest: `drift`",
        "tuneline.yaml:9: target 2 of `notify` is told of nothing: `on` is empty",
    ]


def test_what_is_kept_is_the_file_so_p_does_not_change_it():
    with pytest.raises(SpecError) as wrong:
        apply(parse(SMALL, "/x"), {"notify": f"slack://{SECRET}"})
    assert wrong.value.details == ["-p notify: who is told is not changed for one run; write it in the file"]
