"""The endpoint's page in a real Chromium: it talks, streams, shows errors, loads nothing from elsewhere."""

import shutil

import pytest
from playwright.sync_api import Page, sync_playwright

pytestmark = pytest.mark.slow
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

WATCH = """(press) => {
  window.seen = new Set();
  new MutationObserver(() => {
    const text = document.querySelector("#talk .model .text")?.textContent;
    if (text) { seen.add(text.length); if (press) document.getElementById(press).click(); }
  }).observe(document.getElementById("talk"), { childList: true, subtree: true, characterData: true });
}"""
FINISHED = "document.querySelector('#talk .model')?.hasAttribute('aria-busy') === false"


@pytest.fixture(scope="module")
def page():
    if not CHROMIUM:
        pytest.skip("no Chromium here: install it with your package manager to see the page tested")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET)
        yield browser.new_page()
        browser.close()


def test_a_person_asks_and_reads_the_streamed_answer(page: Page, runtime: str) -> None:
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.goto(runtime)
    page.get_by_role("heading", name="tiny", exact=True).wait_for()
    assert "tiny@1.0.0" in page.get_by_role("status").inner_text()
    page.get_by_label("Your message").fill("a good film")
    page.get_by_label("Max tokens").fill("300")
    page.evaluate(WATCH, "")
    page.get_by_role("button", name="Send").click()
    page.wait_for_function(FINISHED)
    reply = page.locator("#talk .model")
    assert page.evaluate("seen.size") > 10  # it grew piece by piece
    assert "tiny@1.0.0" in reply.locator(".who").inner_text()
    assert "tokens in" in reply.locator(".who").inner_text()
    assert not faults
    assert all(url.startswith((runtime, "data:")) for url in asked)


def test_stop_ends_an_answer_and_keyboard_alone_suffices(page: Page, runtime: str) -> None:
    page.goto(runtime)
    page.get_by_role("heading", name="tiny", exact=True).wait_for()
    page.get_by_label("Max tokens").fill("450")
    box = page.get_by_label("Your message")
    box.fill("a good film")
    # a tiny model is faster than any hand: pressed when the first piece is there, over a slow line
    page.evaluate(WATCH, "stop")
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": 20_000, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", slow)
    box.press("Control+Enter")
    page.wait_for_function(FINISHED)
    line.send("Network.emulateNetworkConditions", {**slow, "downloadThroughput": -1})
    line.detach()
    assert "stopped" in page.locator("#talk .model .who").inner_text()
    assert page.get_by_role("button", name="Send").is_enabled()


def test_an_error_is_shown_as_what_it_says(page: Page, runtime: str) -> None:
    page.goto(runtime)
    page.get_by_role("heading", name="tiny", exact=True).wait_for()
    page.get_by_label("Max tokens").fill("100000")
    page.get_by_label("Your message").fill("a good film")
    page.get_by_role("button", name="Send").click()
    page.locator("#talk .failed").wait_for()
    assert "maximum context length is 512" in page.locator("#talk .failed .text").inner_text()
