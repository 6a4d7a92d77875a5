"""The codelab's loop as a project: its rows to the character, its numbers.

From servers that speak Kaggle's and the hub's protocols.
"""

import re
from pathlib import Path

import pytest
import yaml
from tests.steps.download_server import serving
from tests.steps.hub_server import HubServer
from tests.steps.kaggle_server import KaggleServer
from tests.tiny import tiny_base

from tuneline.plan.compile import line_of
from tuneline.spec.project import load
from tuneline.steps.preview import preview

EXAMPLE = Path(__file__).parents[2] / "examples" / "rotten-tomatoes-gke"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
COLUMNS = {
    "rotten_tomatoes_movie_reviews.csv": (
        "id,reviewId,creationDate,criticName,isTopCritic,originalScore,reviewState,publicatioName,reviewText,"
        "scoreSentiment,reviewUrl",
        "{id},{n},2020-01-01,Ann,False,3/5,fresh,News,{text},{sentiment},http://x",
        ("POSITIVE", "NEGATIVE"),
    ),
    "rotten_tomatoes_critic_reviews.csv": (
        "rotten_tomatoes_link,critic_name,top_critic,publisher_name,review_type,review_score,review_date,"
        "review_content",
        "{id},Ann,False,News,{sentiment},3/5,2020-01-01,{text}",
        ("Fresh", "Rotten"),
    ),
}


def written(review):
    """A row as the codelab's data-preparation.py writes it."""
    question, context, answer = (
        f"Review analysis for movie '{review['id']}'",
        review["text"],
        review["sentiment"],
    )
    return f"Question: {question}\nContext: {context}\nAnswer: {answer}"


def test_it_is_checked_without_a_network_and_its_numbers_are_the_codelabs():
    project = load(EXAMPLE).project
    assert [step.name for step in line_of(project)].count("merge") == 1
    assert (project.data.limit, project.train.max_length, project.schedule.cron) == (1000, 512, "@daily")
    saved = (project.train.save_steps, project.train.save_total_limit, project.train.logging_steps)
    assert saved == (1000, 5, 50)
    assert (project.train.lora_dropout, project.train.max_grad_norm) == (0.1, 0.3)
    assert project.train.gradient_checkpointing


@pytest.mark.slow
@pytest.mark.parametrize("name", COLUMNS)
def test_its_rows_are_those_of_the_codelab(name, tmp_path, monkeypatch):
    """Real libraries, a tiny base for the tokenizer: three seconds."""
    from kagglesdk import kaggle_env  # noqa: PLC0415 - half a second

    text = (EXAMPLE / "tuneline.yaml").read_text(encoding="utf-8")
    head, line, (yes, no) = COLUMNS[name]
    if yes == "Fresh":
        other = yaml.safe_load(re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1])["data"]
        body = {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}
        body["deploy"] = {"on" if key is True else key: value for key, value in body["deploy"].items()}
        body["data"] |= other
        text = yaml.safe_dump(body)
    (tmp_path / "tuneline.yaml").write_text(text.replace("0.0005", "0.05"), encoding="utf-8")
    reviews = [
        {"id": f"m{n % 7}", "n": n, "text": f"a fine film {n}", "sentiment": ("POSITIVE", "NEGATIVE")[n % 2]}
        for n in range(200)
    ]
    rows = [line.format(**{**one, "sentiment": (yes, no)[one["n"] % 2]}) for one in reviews]
    rows.append(line.format(id="m1", n=999, text="", sentiment=yes))  # which the codelab drops, too
    with serving() as server:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("TUNELINE_HOME", str(tmp_path / "home"))
        base = tiny_base(tmp_path / "base")
        files = {path.name: path.read_bytes() for path in base.iterdir() if path.suffix != ".gguf"}
        HubServer(server).commit("google/gemma-3-1b-it", files)
        loaded = load(tmp_path)
        handle = "/".join(loaded.project.data.source.split("/")[2:4])
        KaggleServer(server).publish(handle, {name: "\n".join([head, *rows]).encode()})
        found = preview(loaded, 200)
    assert found.report["dropped"] == {"null": 1}
    shown = {row.text.removesuffix("</s>").removeprefix("<s>") for row in found.rows}
    assert shown <= {written(review) for review in reviews}
    assert len(shown) > 150
