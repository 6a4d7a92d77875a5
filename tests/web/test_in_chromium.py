"""A run's pages in a real Chromium: KFP's SDK's link is followed, and a person sees what is there."""

import shutil

import pytest
from playwright.sync_api import Page, sync_playwright
from tests.web.nested import Story, told

pytestmark = pytest.mark.slow
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium here: install it with your package manager to see the pages tested")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def page(browser, url):
    """A page that notes what it asks for elsewhere, and what it complains about."""
    made = browser.new_page()
    made.asked, made.faults = [], []
    made.on("request", lambda request: made.asked.append(request.url))
    made.on("pageerror", lambda error: made.faults.append(str(error)))
    made.on("console", lambda said: made.faults.append(said.text) if said.type == "error" else None)
    yield made
    assert not made.faults
    assert all(asked.startswith((url, "data:", "about:")) for asked in made.asked)
    made.close()


def test_the_sdks_link_leads_to_graph_parameters_artifacts_and_logs(
    page: Page, url, platform, runner, tmp_path
):
    story = told(
        platform, runner, tmp_path / "runs", {"title": "<b>bold</b>", "api_token": "s3cr3t-value", "n": 3}
    )
    page.goto(f"{url}/#/runs/details/{story.id}")
    page.wait_for_url(f"{url}/runs/{story.id}")
    boxes = page.locator("svg .box text:first-of-type")
    assert boxes.all_text_contents() == ["train", "inner", "for-loop-1", "report"]
    parameters = page.get_by_role("region", name="Parameters").inner_text()
    assert "<b>bold</b>" in parameters
    assert "***" in parameters
    frame = page.frame_locator("iframe").first
    frame.get_by_text("Hi").wait_for()
    assert frame.locator("body").evaluate("document.title") == "x"  # its script ran, in a world of its own
    assert frame.locator("body").evaluate("window.origin") == "null"
    with page.expect_download() as got:
        page.get_by_role("region", name="Artifacts", exact=True).get_by_role("link").first.click()
    assert got.value.path().read_text() == "weights"
    page.locator("svg a", has_text="for-loop-1").click()
    page.get_by_role("link", name="for-loop-1/2", exact=True).click()
    page.locator("svg a", has_text="print").click()
    assert "It broke." in page.get_by_role("region", name="for-loop-1/2/print").inner_text()
    page.get_by_role("region", name="for-loop-1/2/print").get_by_role("link", name="log").click()
    assert page.locator("pre.log").inner_text() == "item 2\n"


def test_what_moves_is_shown_without_a_hand(page: Page, url, platform, runner, tmp_path):
    story = Story(platform, runner, tmp_path / "runs")
    page.goto(f"{url}/runs/{story.id}")
    assert page.locator("svg .box.pending").count() == 4
    story.begin("train")
    page.locator("svg .box.running").wait_for()
