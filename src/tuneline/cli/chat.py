"""`tuneline chat`: one question to an endpoint, its answer as it comes."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tuneline.cli.connect import server
from tuneline.cli.output import json_option, print_json
from tuneline.errors import ConflictError, NetworkError
from tuneline.serve.event_stream import lines

if TYPE_CHECKING:
    import httpx

SILENT_S = 300.0
"""How long an endpoint may be silent before it counts as gone."""
HINT = "`tuneline status` shows the endpoint and what serves it."


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
    help="0: always the likeliest answer.",
)
@json_option
def chat(endpoint: str, text: str, max_tokens: int, temperature: float, as_json: bool) -> None:
    """Ask ENDPOINT: TEXT is put into the template that its release was trained with."""
    with server() as client:
        found = client.endpoint(endpoint)
    if not found["url"] or not found["live"]:
        said = f": {found['message']}" if found["message"] else "."
        raise ConflictError(
            f"Endpoint `{endpoint}` serves nothing now; it is {found['phase']}{said}",
            hint=f"{HINT} `tuneline run` of its project brings a release to it.",
        )
    body = {
        "model": str(found["live"]).partition("@")[0],
        "messages": [{"role": "user", "content": text}],
        "max_tokens": max_tokens,
        "temperature": temperature,
    }
    url = f"{found['url']}/v1/chat/completions"
    if as_json:
        print_json(answer(url, body))
        return
    for piece in pieces(url, body):
        click.echo(piece, nl=False)
    click.echo()


def answer(url: str, body: dict[str, Any]) -> Any:
    """The whole answer to an OpenAI chat request. Raises NetworkError with what the endpoint said."""
    return json.loads("".join(_lines(url, body)))


def pieces(url: str, body: dict[str, Any]) -> Iterator[str]:
    """The answer's text to an OpenAI chat request, as it is made. Raises NetworkError, also in its middle."""
    for line in _lines(url, {**body, "stream": True}):
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            raise NetworkError(f"{url} broke off: {chunk['error'].get('message')}", hint=HINT)
        for choice in chunk.get("choices", []):
            yield choice.get("delta", {}).get("content") or ""


def _lines(url: str, body: dict[str, Any]) -> Iterator[str]:
    import httpx  # noqa: PLC0415 - 80 ms that no --help needs

    timeout = httpx.Timeout(SILENT_S, connect=5.0)
    try:
        # trust_env=False: a proxy variable must not send a loopback call elsewhere
        with (
            httpx.Client(timeout=timeout, trust_env=False) as http,
            http.stream("POST", url, json=body) as response,
        ):
            if response.is_error:
                response.read()
                raise NetworkError(f"{url} answered {response.status_code}: {_error(response)}", hint=HINT)
            yield from lines(response.iter_bytes())
    except httpx.HTTPError as error:
        raise NetworkError(f"{url} broke off: {error or type(error).__name__}.", hint=HINT) from error


def _error(response: "httpx.Response") -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
