"""Titles for GitHub issues: fetch issues, go on training from the release that is live, propose the result,
and put a web app in front of it.

Written with Kubeflow's own SDK and nothing else; the steps are tuneline's, as components in `components/`.

    python pipeline.py                                            # on the server that `tuneline up` started
    tuneline run examples/issue-titles/pipeline.py:issue_titles   # the same without an SDK call
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

from kfp import components, dsl, kubernetes

HERE = Path(__file__).parent
PROMPT, COMPLETION = "{body}\n\nTitle:", " {title}"


def step(name: str):
    """tuneline's step of that name: from the folder beside this file, or from where COMPONENTS_URL says."""
    if url := os.environ.get("COMPONENTS_URL"):
        return components.load_component_from_url(f"{url}/{name}.yaml")
    return components.load_component_from_file(str(HERE / "components" / f"{name}.yaml"))


# A component of our own, as text: any image with Python will do.
cut = components.load_component_from_text(
    r"""
name: cut
description: Makes rows of url, title and body, each body cut after so many words.
inputs:
- {name: issues, type: Dataset}
- {name: words, type: Integer, default: '90'}
outputs:
- {name: rows, type: Dataset}
implementation:
  container:
    image: python:3.11
    command:
    - python3
    - -u
    - -c
    - |
      import csv, json, pathlib, sys
      source, words, target = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
      csv.field_size_limit(1 << 30)

      def read(path):
          with path.open(encoding="utf-8", newline="") as file:
              if path.suffix == ".csv":
                  yield from csv.DictReader(file)
              else:
                  yield from (json.loads(line) for line in file if line.strip())

      (target / "files").mkdir(parents=True)
      kept = dropped = 0
      with (target / "files" / "issues.csv").open("w", encoding="utf-8", newline="") as file:
          writer = csv.writer(file)
          writer.writerow(["url", "title", "body"])
          for path in sorted((source / "files").iterdir()):
              for row in read(path):
                  title = " ".join((row.get("issue_title") or row.get("title") or "").split())
                  body = " ".join((row.get("body") or "").split()[:words])
                  if title and body:
                      url = row.get("issue_url") or row.get("html_url") or row.get("url") or ""
                      writer.writerow([url, title, body])
                      kept += 1
                  else:
                      dropped += 1
      print(f"{kept} issues; {dropped} without a title or a text")
    - {inputPath: issues}
    - {inputValue: words}
    - {outputPath: rows}
"""
)


@dsl.component(base_image="python:3.11")
def decide(wanted: str, below: float, metrics: dsl.Input[dsl.Metrics]) -> str:
    """Whether a web app is worth having: it was asked for, and the model's loss at the end is low enough."""
    first, last = metrics.metadata["first_loss"], metrics.metadata["final_loss"]
    print(f"loss: {first:.3f} in the first quarter of the steps, {last:.3f} in the last; limit {below}")
    return "true" if wanted.lower() == "true" and last < below else "false"


@dsl.component(base_image="python:3.11", embedded_artifact_path=str(HERE / "app"))
def bundle(
    rows: dsl.Input[dsl.Dataset], source: dsl.Output[dsl.Artifact], code: dsl.EmbeddedInput[dsl.Artifact]
):
    """The web app's folder, with some issues for its button."""
    import pathlib
    import shutil

    shutil.copytree(code.path, source.path, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    issues = (pathlib.Path(rows.path) / "files" / "issues.csv").read_text(encoding="utf-8").splitlines()
    target = pathlib.Path(source.path) / "issues.csv"
    target.write_text("\n".join(issues[:200]) + "\n", encoding="utf-8")


class Trained(NamedTuple):
    """What `train` puts out."""

    adapter: dsl.Model
    launch_app: str


@dsl.pipeline(name="train")
def train(
    base: dsl.Input[dsl.Model],
    rows: dsl.Input[dsl.Dataset],
    init: dsl.Input[dsl.Model],
    learning_rate: float,
    num_train_epochs: float,
    batch_size: int,
    max_length: int,
    launch_app: str,
    app_below: float,
) -> Trained:
    """Train on, on a preemptible machine with a GPU where there is one, and say whether to launch the app."""
    tune = step("tune")(
        base=base,
        train=rows,
        init=init,
        learning_rate=learning_rate,
        num_train_epochs=num_train_epochs,
        per_device_train_batch_size=batch_size,
        max_length=max_length,
        save_steps=10,
    )
    tune.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
    tune.set_retry(5, backoff_duration="2s", backoff_factor=2.0, backoff_max_duration="60s")
    kubernetes.add_node_selector(tune, "cloud.google.com/gke-preemptible", "true")
    kubernetes.add_toleration(tune, key="preemptible", operator="Equal", value="true", effect="NoSchedule")
    decided = decide(wanted=launch_app, below=app_below, metrics=tune.outputs["metrics"])
    return Trained(adapter=tune.outputs["adapter"], launch_app=decided.output)


@dsl.pipeline(name="release")
def release(
    model: str,
    rules: list,
    runtime: str,
    max_length: int,
    max_new_tokens: int,
    base: dsl.Input[dsl.Model],
    adapter: dsl.Input[dsl.Model],
    test: dsl.Input[dsl.Dataset],
    train: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    live: dsl.Input[dsl.Model],
    live_release: str,
    live_digest: str,
    live_base: str,
):
    """Measure, judge, prove and propose what was trained."""
    measured = {"task": "generate", "max_new_tokens": max_new_tokens, "max_length": max_length}
    scored = step("score")(base=base, adapter=adapter, test=test, **measured)
    evaluated = step("evaluate")(
        metrics=["exact_match", "rouge_l", "chrf"],
        max_new_tokens=max_new_tokens,
        live_digest=live_digest,
        live_base=live_base,
        base=base,
        adapter=adapter,
        test=test,
        scores=scored.outputs["scores"],
        scored=scored.outputs["report"],
        live=live,
    )
    judged = step("gate")(
        rules=rules,
        live_release=live_release,
        live_digest=live_digest,
        predictions=evaluated.outputs["predictions"],
        report=evaluated.outputs["report"],
    )
    verified = step("verify")(
        runtime=runtime, base=base, adapter=adapter, test=test, report=report, **measured
    )
    packaged = step("package")(
        model=model,
        base=base,
        adapter=adapter,
        served=verified.outputs["served"],
        train=train,
        data_report=report,
        report=scored.outputs["report"],
    )
    proposed = step("propose")(
        model=model,
        deploy={"endpoint": model, "runtime": runtime, "keep_s": 1800},
        live_digest=live_digest,
        passed=judged.outputs["passed"],
        package=packaged.outputs["package"],
        base=base,
        verdict=judged.outputs["verdict"],
        proof=verified.outputs["proof"],
        report=evaluated.outputs["report"],
    )
    proposed.set_caching_options(False)


@dsl.pipeline(name="issue-titles", description="Titles for GitHub issues, and a page that writes them.")
def issue_titles(
    source: str = str(HERE / "data" / "issues.csv"),
    model: str = "issue-titles",
    base_model: str = "gemma-3-270m",
    init_adapter: str = "live",
    words: int = 90,
    held_out: float = 0.25,
    limit: int = 0,
    max_length: int = 256,
    max_new_tokens: int = 32,
    learning_rate: float = 5e-4,
    num_train_epochs: float = 1.0,
    batch_size: int = 16,
    rules: list = ["rouge_l >= 0.20"],  # noqa: B006 - the SDK reads defaults here
    runtime: str = "llamacpp",
    launch_app: str = "true",
    app_below: float = 3.0,
    app: str = "issue-titles-app",
):
    """From issues to a live model and a page."""
    checkpoint = step("live")(model=model, endpoint=model, init_adapter=init_adapter)
    checkpoint.set_caching_options(False).set_display_name("checkpoint")
    fetched = step("fetch")(source=source, base_model=base_model).set_caching_options(False)
    base = step("base")(base_model=base_model, base_digest=fetched.outputs["base_digest"])
    rows = cut(issues=fetched.outputs["data"], words=words)
    prepared = step("prepare")(
        data=rows.outputs["rows"],
        base=base.outputs["base"],
        prompt=PROMPT,
        completion=COMPLETION,
        test=held_out,
        limit=limit,
        max_length=max_length,
        task="generate",
    )
    trained = train(
        base=base.outputs["base"],
        rows=prepared.outputs["train"],
        init=checkpoint.outputs["init"],
        learning_rate=learning_rate,
        num_train_epochs=num_train_epochs,
        batch_size=batch_size,
        max_length=max_length,
        launch_app=launch_app,
        app_below=app_below,
    )
    released = release(
        model=model,
        rules=rules,
        runtime=runtime,
        max_length=max_length,
        max_new_tokens=max_new_tokens,
        base=base.outputs["base"],
        adapter=trained.outputs["adapter"],
        test=prepared.outputs["test"],
        train=prepared.outputs["train"],
        report=prepared.outputs["report"],
        live=checkpoint.outputs["package"],
        live_release=checkpoint.outputs["release"],
        live_digest=checkpoint.outputs["digest"],
        live_base=checkpoint.outputs["base"],
    )
    with dsl.If(trained.outputs["launch_app"] == "true", name="launch-app"):
        bundled = bundle(rows=rows.outputs["rows"])
        web = step("app")(name=app, source=bundled.outputs["source"], uses=model)
        web.set_caching_options(False).after(released)


def main() -> None:
    """Run it on the server at --host, and wait for its end."""
    from kfp import Client

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="http://localhost:8080")
    parser.add_argument("--source", help="a file of issues, or github-issues://OWNER/REPO")
    options = parser.parse_args()
    arguments = {"source": options.source} if options.source else {}
    client = Client(host=options.host)
    run = client.create_run_from_pipeline_func(
        issue_titles, arguments=arguments, experiment_name="issue-titles"
    )
    client.wait_for_run_completion(run.run_id, timeout=3600)
    print(client.get_run(run.run_id).state)


if __name__ == "__main__":
    main()
