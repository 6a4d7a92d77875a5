"""Filters, sorting and page tokens: what is understood, and what is refused with its reason."""

import base64
import json
from dataclasses import replace
from urllib.parse import quote_plus

import pytest

from tuneline.errors import UserError
from tuneline.plan.listing import Fields, Interval, Predicate, parse

FIELDS = Fields(
    "runs",
    {"display_name": "text", "run_id": "id", "state": "enum", "created_at": "time", "finished_at": "time"},
)


def predicates(*items, fields=FIELDS):
    return parse(fields, filter=json.dumps({"predicates": list(items)})).predicates


def test_an_empty_request_is_the_first_page_by_creation():
    page = parse(FIELDS)
    assert (page.size, page.sort, page.descending, page.predicates, page.after) == (
        20,
        "created_at",
        False,
        (),
        None,
    )


@pytest.mark.parametrize("asked, size", [(0, 20), (1, 1), (200, 200), (201, 200), (10_000, 200)])
def test_a_page_has_20_rows_by_default_and_200_at_most(asked, size):
    assert parse(FIELDS, page_size=asked).size == size


@pytest.mark.parametrize(
    "text, sort, descending",
    [
        ("state", "state", False),
        ("DISPLAY_NAME DESC", "display_name", True),
        ("created_at  asc", "created_at", False),
    ],
)
def test_sorting_ignores_case_and_spaces(text, sort, descending):
    page = parse(FIELDS, sort_by=text)
    assert (page.sort, page.descending) == (sort, descending)


@pytest.mark.parametrize("text", ["nothing", "state up", "state desc please"])
def test_a_sorting_that_makes_no_sense_is_refused(text):
    with pytest.raises(UserError, match="sort"):
        parse(FIELDS, sort_by=text)


def test_an_operation_is_a_name_or_kfps_number_and_a_field_has_two_spellings():
    numbered = predicates({"operation": 1, "key": "display_name", "stringValue": "x"})
    named = predicates({"operation": "EQUALS", "key": "display_name", "string_value": "x"})
    assert numbered == named == (Predicate("display_name", "EQUALS", "x", "text"),)


@pytest.mark.parametrize(
    "number, name",
    [
        (2, "NOT_EQUALS"),
        (3, "GREATER_THAN"),
        (5, "GREATER_THAN_EQUALS"),
        (6, "LESS_THAN"),
        (7, "LESS_THAN_EQUALS"),
        (9, "IS_SUBSTRING"),
    ],
)
def test_kfps_numbers_of_operations(number, name):
    assert predicates({"operation": number, "key": "state", "stringValue": "x"})[0].operation == name


def test_a_filter_may_be_url_encoded_once_more():
    body = json.dumps({"predicates": [{"operation": 1, "key": "display_name", "stringValue": "a+b c"}]})
    assert parse(FIELDS, filter=quote_plus(body)).predicates == parse(FIELDS, filter=body).predicates
    assert parse(FIELDS, filter=body).predicates[0].value == "a+b c"


def test_values_are_brought_to_the_fields_kind():
    assert predicates({"operation": 1, "key": "run_id", "stringValue": "AB"})[0].value == "ab"
    assert predicates({"operation": 1, "key": "state", "stringValue": "succeeded"})[0].value == "SUCCEEDED"
    assert predicates({"operation": 1, "key": "display_name", "intValue": 5})[0].value == "5"
    assert predicates({"operation": 1, "key": "display_name", "longValue": "5"})[0].value == "5"
    listed = predicates({"operation": 8, "key": "state", "stringValues": {"values": ["failed", "SKIPPED"]}})
    assert listed[0].value == ("FAILED", "SKIPPED")


def test_a_time_names_its_second_or_its_millisecond():
    whole = predicates({"operation": 1, "key": "created_at", "timestampValue": "2026-01-01T00:00:00Z"})
    assert whole[0].value == Interval(1767225600.0, 1767225601.0)
    exact = predicates(
        {"operation": 1, "key": "created_at", "timestampValue": "2026-01-01T01:00:00.250+01:00"}
    )
    assert exact[0].value == Interval(1767225600.25, 1767225600.251)
    counted = predicates({"operation": 1, "key": "created_at", "longValue": "1767225600"})
    assert counted == whole


@pytest.mark.parametrize(
    "item, message",
    [
        ({"operation": 1, "key": "nothing", "stringValue": "x"}, "unrecognized field 'nothing'"),
        ({"operation": 4, "key": "state", "stringValue": "x"}, "invalid predicate operation: 4"),
        ({"operation": "LIKE", "key": "state", "stringValue": "x"}, "invalid predicate operation"),
        ({"key": "state", "stringValue": "x"}, "invalid predicate operation"),
        ({"operation": 1, "key": "", "stringValue": "x"}, "key cannot be empty"),
        ({"operation": 1, "key": "state"}, "must have one value"),
        ({"operation": 1, "key": "state", "stringValue": "x", "intValue": 1}, "must have one value"),
        ({"operation": 1, "key": "state", "stringValues": {"values": ["x"]}}, "scalar operator EQUALS"),
        ({"operation": 8, "key": "state", "stringValue": "x"}, "IN operator with scalar"),
        ({"operation": 9, "key": "state", "intValue": 1}, "non string value"),
        ({"operation": 9, "key": "created_at", "stringValue": "2026"}, "non string value"),
        ({"operation": 1, "key": "created_at", "stringValue": "yesterday"}, "is no time"),
        ({"operation": 1, "key": "display_name", "timestampValue": "2026-01-01T00:00:00Z"}, "with text"),
        ({"operation": 1, "key": "display_name", "intValue": 2**31}, "out of range"),
        ({"operation": 1, "key": "display_name", "longValue": "ten"}, "no whole number"),
        ({"operation": 1, "key": "state", "stringValue": 5}, "compared with text"),
        ({"operation": 1, "key": "state", "value": "x"}, "unknown field 'value'"),
        ({"operation": 8, "key": "state", "stringValues": ["x"]}, "values"),
        ("state", "must be an object"),
    ],
)
def test_a_predicate_that_makes_no_sense_is_refused_with_its_reason(item, message):
    with pytest.raises(UserError, match=message):
        predicates(item)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"predicate": []}', '{"predicates": {}}', pytest.param("[" * 100_000, id="deep")]
)
def test_a_filter_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="failed to parse valid filter"):
        parse(FIELDS, filter=text)


def test_tags_are_filtered_only_where_there_are_tags_and_only_for_equality():
    tagged = Fields("pipelines", FIELDS.kinds, tags=True)
    item = {"operation": 1, "key": "tags.Team", "stringValue": "Ops"}
    assert predicates(item, fields=tagged) == (Predicate("tags.Team", "EQUALS", "Ops", "tag"),)
    with pytest.raises(UserError, match="EQUALS only"):
        predicates({**item, "operation": 9}, fields=tagged)
    with pytest.raises(UserError, match="unrecognized"):
        predicates(item)


def test_a_token_brings_back_filter_and_sorting_and_the_last_row():
    filter = json.dumps({"predicates": [{"operation": 9, "key": "display_name", "stringValue": "é"}]})
    first = parse(FIELDS, sort_by="created_at desc", filter=filter, page_size=7)
    token = first.token(1767225600.123456, "r1")
    again = parse(FIELDS, page_token=token, page_size=3)
    assert (again.sort, again.descending, again.predicates) == ("created_at", True, first.predicates)
    assert (again.size, again.after) == (3, (1767225600.123456, "r1"))
    same = parse(FIELDS, page_token=token, sort_by="CREATED_AT desc", filter=filter, page_size=3)
    assert same == again


@pytest.mark.parametrize(
    "changed",
    [
        {"sort_by": "created_at"},
        {"filter": '{"predicates":[{"operation":1,"key":"state","stringValue":"FAILED"}]}'},
    ],
)
def test_a_token_with_another_sorting_or_filter_is_refused(changed):
    token = parse(FIELDS, sort_by="created_at desc").token(1.0, "r1")
    with pytest.raises(UserError, match="page token does not match"):
        parse(FIELDS, page_token=token, **changed)


def test_a_token_that_is_none_or_of_another_list_is_refused():
    other = parse(Fields("experiments", {"created_at": "time"})).token(1.0, "e1")
    wrong_value = parse(FIELDS, sort_by="state").token(1.0, "r1")
    for token in ("x", "e30=", "bnVsbA==", "é", other, wrong_value):
        with pytest.raises(UserError, match="Invalid page token"):
            parse(FIELDS, page_token=token)


def token_of(*body):
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


@pytest.mark.parametrize(
    "body",
    [
        ["runs", [], False, "", 1.0, "r1"],
        ["runs", "created_at", False, "", 10**400, "r1"],
        ["runs", "state", False, "", "half \ud800", "r1"],
        ["runs", "state", False, "", "x", "\x00"],
    ],
)
def test_a_token_that_was_made_up_is_refused(body):
    with pytest.raises(UserError):
        parse(FIELDS, page_token=token_of(*body))


@pytest.mark.parametrize(
    "predicate",
    [
        {"operation": 1, "key": "display_name", "stringValue": "half \ud800"},
        {"operation": 9, "key": "display_name", "stringValue": "a\x00"},
        {"operation": 9, "key": "display_name", "stringValue": 5},
        {"operation": 8, "key": "display_name", "stringValues": {"values": ["a", "\udfff"]}},
        {"operation": 1, "key": "tags.\ud800", "stringValue": "a"},
    ],
)
def test_a_value_that_no_record_can_hold_is_refused(predicate):
    with pytest.raises(UserError):
        parse(replace(FIELDS, tags=True), filter=json.dumps({"predicates": [predicate]}))


def test_a_filter_nested_too_deeply_is_refused_however_it_is_written():
    for text in ("[" * 100_000, "%5B" * 100_000):
        with pytest.raises(UserError, match="failed to parse"):
            parse(FIELDS, filter=text)


def test_a_negative_page_size_is_refused():
    with pytest.raises(UserError, match="greater than 0. Got -1"):
        parse(FIELDS, page_size=-1)
