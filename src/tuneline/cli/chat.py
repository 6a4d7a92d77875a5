"""`tuneline chat`: one question to an endpoint, its answer as it comes."""

import json
from typing import Any

import click
import httpx

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json
from tuneline.errors import NetworkError, NotFoundError

TIMEOUT = httpx.Timeout(300.0, connect=5.0)


@click.command()
@click.argument("endpoint")
@click.argument("text")
@click.option(
    "--max-tokens", default=64, show_default=True, type=click.IntRange(1), help="The longest answer."
)
@click.option(
    "--temperature",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 2),
    help="0: always the same answer.",
)
@json_option
def chat(endpoint: str, text: str, max_tokens: int, temperature: float, as_json: bool) -> None:
    """Ask ENDPOINT: TEXT is put into the template that its release was trained with."""
    with server() as client:
        found = client.endpoint(endpoint)
    if not found["url"] or not found["live"]:
        raise NotFoundError(
            f"Endpoint `{endpoint}` serves nothing: {found['phase']}. {found['message']}".rstrip(),
            hint="`tuneline status` shows it; `tuneline run` of its project brings a release to it.",
        )
    body = {
        "model": found["live"].partition("@")[0],
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "stream": not as_json,
    }
    try:
        _ask(f"{found['url']}/v1/chat/completions", body, as_json)
    except httpx.HTTPError as error:
        raise NetworkError(
            f"{found['url']} broke off: {error or type(error).__name__}.",
            hint="`tuneline status` shows whether it is well.",
        ) from error


def _ask(url: str, body: dict[str, Any], as_json: bool) -> None:
    with (
        httpx.Client(timeout=TIMEOUT, trust_env=False) as http,
        http.stream("POST", url, json=body) as answer,
    ):
        if answer.is_error:
            answer.read()
            raise NetworkError(f"{url} answered {answer.status_code}: {_error(answer.text)}")
        if as_json:
            answer.read()
            print_json(answer.json())
            return
        for line in answer.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                chunk = json.loads(line[len("data: ") :])
                if "error" in chunk:
                    raise NetworkError(f"{url} broke off: {chunk['error'].get('message')}")
                for choice in chunk.get("choices", []):
                    click.echo(choice.get("delta", {}).get("content") or "", nl=False)
        click.echo()


def _error(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
