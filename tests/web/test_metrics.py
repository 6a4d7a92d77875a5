"""What artifacts show: made by the rules of their types, whatever a user put into them."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.web.metrics import SIDE, Board, Curve, Frame, Matrix, Table, Text, blocks, markdown


def shown(type="system.Artifact", metadata=None, name="m", data=None):
    artifact = {"name": name, "type": type, "uri": "/x", "metadata": metadata or {}}
    return blocks(artifact, lambda: data)


def test_scalars_are_a_table_of_what_is_a_number():
    (table,) = shown("system.Metrics", {"accuracy": 0.84321987, "rows": 400, "note": "x", "on": True})
    assert table.rows == (("accuracy", "0.84322"), ("rows", "400"))
    assert shown("system.Metrics", {"note": "x"}) == []


def test_a_confusion_matrix_has_its_labels_and_shades():
    matrix = {
        "annotationSpecs": [{"displayName": "cat"}, {"displayName": "dog"}],
        "rows": [{"row": [9, 1]}, {"row": [0, 3]}],
    }
    (found,) = shown("system.ClassificationMetrics", {"confusionMatrix": matrix})
    assert found == Matrix("matrix", "m", ("cat", "dog"), ((("9", 9), ("1", 1)), (("0", 0), ("3", 3))))


def test_a_roc_curve_has_its_area_also_with_an_infinite_threshold():
    points = [
        {"confidenceThreshold": math.inf, "recall": 0.0, "falsePositiveRate": 0.0},
        {"confidenceThreshold": 0.5, "recall": 1.0, "falsePositiveRate": 0.0},
        {"confidenceThreshold": 0.0, "recall": 1.0, "falsePositiveRate": 1.0},
    ]
    (found,) = shown("system.ClassificationMetrics", {"confidenceMetrics": points})
    assert isinstance(found, Curve)
    assert found.area == "1.0000"
    assert found.points == f"0.0,{SIDE:.1f} 0.0,0.0 {SIDE:.1f},0.0"


def test_slices_are_shown_each_with_its_name():
    metrics = {"confidenceMetrics": [{"recall": r, "falsePositiveRate": r} for r in (0.0, 1.0)]}
    slices = {"evaluationSlices": [{"slice": "a", "sliceClassificationMetrics": metrics}, {"slice": "b"}]}
    assert [(b.title, b.area) for b in shown("system.SlicedClassificationMetrics", slices)] == [
        ("m: a", "0.5000")
    ]


def test_markdown_is_rendered_and_what_is_html_in_it_is_text():
    (found,) = shown(
        "system.Markdown", data=b"# Hi\n\n<script>x</script> [a](javascript:x) [b](https://b.example)"
    )
    assert isinstance(found, Text)
    assert "<h1>Hi</h1>" in found.html
    assert "<script" not in found.html
    assert 'href="javascript' not in found.html
    assert '<a href="https://b.example">' in found.html
    assert "<table>" in markdown("|a|\n|-|\n|1|\n")


def test_html_is_for_a_frame():
    assert shown("system.HTML") == [Frame("frame", "m", None)]


def test_what_the_first_version_of_kfp_wrote_is_read():
    body = {"outputs": [
        {"type": "tensorboard", "source": "/logs"},
        {"type": "table", "storage": "inline", "format": "csv", "header": ["a", "b"],
         "source": "1,2\n3,\"4,5\"\n"},
        {"type": "markdown", "storage": "inline", "source": "**x**"},
        {"type": "web-app", "storage": "inline", "source": "<b>x</b>"},
        {"type": "roc", "storage": "inline", "format": "csv", "source": "0,0,inf\n1,1,0\n"},
        {"type": "confusion_matrix", "storage": "inline", "format": "csv", "labels": ["n", "p"],
         "source": "n,n,5\nn,p,1\np,n,0\np,p,4\n"},
        {"type": "table", "storage": "gcs", "source": "gs://b/x.csv"},
        "no output",
    ]}  # fmt: skip
    found = shown(name="mlpipeline-ui-metadata", data=json.dumps(body).encode())
    assert found[0] == Board("board", "TensorBoard", "/logs")
    assert found[1] == Table("table", "table", ("a", "b"), (("1", "2"), ("3", "4,5")))
    assert "<strong>x</strong>" in found[2].html
    assert found[3].html == "<b>x</b>"
    assert found[4].area == "0.5000"
    assert [[cell[0] for cell in row] for row in found[5].rows] == [["5", "1"], ["0", "4"]]
    assert found[6].rows == (("gs://b/x.csv",),)


JSON = st.recursive(
    st.sampled_from((None, True, 0, -3, 1e308, math.inf, math.nan, 0.5, "", "x", "1,2,3", "roc", "table",
                     "inline")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(("confusionMatrix", "rows", "row", "annotationSpecs", "confidenceMetrics", "recall",
                         "falsePositiveRate", "evaluationSlices", "slice", "sliceClassificationMetrics",
                         "outputs", "type", "source", "storage", "labels", "header")), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.sampled_from(("confusionMatrix", "confidenceMetrics", "evaluationSlices", "x")), JSON),
    st.sampled_from(("system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics")),
)
def test_no_metadata_breaks_the_page(metadata, type):
    shown(type, metadata)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_no_ui_metadata_breaks_the_page(body):
    shown(name="mlpipeline-ui-metadata", data=json.dumps(body).encode())


@pytest.mark.parametrize(
    "metadata", [["a", "list"], {"n": 10**400, "m": 1}, {"confusionMatrix": {"rows": [[10**400]]}}]
)
@pytest.mark.parametrize("type", ["system.Metrics", "system.ClassificationMetrics"])
def test_numbers_and_shapes_that_no_float_or_table_holds_are_left_out(type, metadata):
    assert "400" not in str(shown(type, metadata))


def test_a_long_inline_source_is_no_table_and_deep_json_is_none():
    long = {"storage": "inline", "source": "x" * 200_000}
    page = {"outputs": [{**long, "type": "web-app"}, {**long, "type": "table"}]}
    framed, table = shown(name="mlpipeline-ui-metadata", data=json.dumps(page).encode())
    assert (framed.kind, table.rows) == ("frame", ())
    assert shown(name="mlpipeline-ui-metadata", data=b"[" * 100_000) == []


@pytest.mark.parametrize("data", [None, b"", b"\xff", b"{"])
def test_files_that_are_gone_or_broken_show_nothing(data):
    assert shown(name="mlpipeline-ui-metadata", data=data) == []
    assert len(shown("system.Markdown", data=data)) == 1
