"""The page without a mouse, and as Chromium tells it to a screen reader."""

import pytest

pytestmark = pytest.mark.browser


RING = """() => {
    const { outlineStyle, boxShadow } = getComputedStyle(document.activeElement);
    return [outlineStyle, boxShadow];
}"""


def tab_to(page, selector, most=40):
    """Go on from element to element, as the Tab key does, until one that fits has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            ring = page.evaluate(RING)
            assert ring != ["none", "none"], f"nothing shows that {selector} has the focus"
            return
    raise AssertionError(f"{selector} is not reached by {most} tabs")


@pytest.fixture
def talk(quiet_browser, house, visit, fakes, make_moment, make_estimate):
    """A page with a face in sight and one turn, all of it begun with the keyboard."""
    live = fakes["FakeLive"](moment=make_moment("happy", 0.63), face=make_estimate("sad"))
    house.models.recognizer.lives = [live]
    page = visit(quiet_browser, house.address)
    page.get_by_role("button", name="Start with camera and microphone").wait_for()
    tab_to(page, "#consent button")
    page.keyboard.press("Enter")
    page.locator("#overlay rect").wait_for()
    tab_to(page, "#words textarea")
    page.keyboard.type("my dog ran away")
    page.keyboard.press("Enter")
    page.locator(".turn .reply .words").wait_for()
    page.locator(".turn .caret").wait_for(state="detached")
    return page


def test_a_talk_needs_no_mouse(talk, house):
    tab_to(talk, ".correct > summary")
    talk.keyboard.press("Enter")
    tab_to(talk, '[data-emotion="angry"]')
    talk.keyboard.press("Enter")
    talk.get_by_text("as you say").first.wait_for()
    tab_to(talk, '[data-switch="camera"]')
    talk.keyboard.press("Space")
    house.talks[0].wait(lambda session: not session.camera)
    tab_to(talk, ".save > summary")
    talk.keyboard.press("Enter")
    tab_to(talk, '[data-save="text"]')
    talk.keyboard.press("Escape")
    assert talk.locator(".save").get_attribute("open") is None


def test_the_words_of_a_turn_are_shown_where_it_lies_on_the_time_line(talk):
    tip = talk.locator("[data-goto] .tip")
    assert tip.evaluate("tip => getComputedStyle(tip).opacity") == "0"
    tab_to(talk, "[data-goto]")
    assert tip.evaluate("tip => getComputedStyle(tip).opacity") == "1"
    talk.locator("#words textarea").click()
    talk.locator("[data-goto]").hover()
    assert tip.evaluate("tip => getComputedStyle(tip).opacity") == "1"
    assert tip.inner_text().startswith("my dog ran away")


def test_a_screen_reader_is_told_what_is_to_be_seen(talk):
    told = talk.locator("body").aria_snapshot().replace("\u202f", " ")
    for line in TOLD:
        assert line in told, f"{line} is missing in\n{told}"


TOLD = (
    'switch "Camera on" [checked]',
    'switch "Read aloud off" [disabled]',
    "Answers cannot be read aloud",
    "Attune goes by your face, voice and words.",
    'region "Right now"',
    "text: Listening Happy 63 % sure",
    "listitem: Surprise 6 %",
    'img "pleasant +0.36 · excited +0.43"',
    'button "Sad my dog ran away Sad, 70 % sure"',
    'log "The talk"',
    "listitem: 70 % Sad",
    "term: Face",
    "definition: Sad 70 %",
    "group: That is not how I feel",
    'status: "Attune: I see."',
    'textbox "Your words"',
)


CHARTS = ".bars, .columns, .plane, .lane, .apart, .seems"
UNREADABLE = """charts => [...document.querySelectorAll(charts)].flatMap((chart) => {
    const walk = document.createTreeWalker(chart, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walk.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(walk.currentNode);
        const { left, right, width } = range.getBoundingClientRect();
        const { fontSize } = getComputedStyle(walk.currentNode.parentElement);
        const scale = walk.currentNode.parentElement.getScreenCTM?.().a ?? 1;
        const small = parseFloat(fontSize) * scale < 10.5;
        const outside = left < 0 || right > innerWidth;
        if (width > 0 && (small || outside)) found.push([walk.currentNode.data, fontSize, right]);
    }
    return found;
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_can_be_read_on_a_phone(talk, scheme, keep):
    talk.emulate_media(color_scheme=scheme)
    talk.set_viewport_size({"width": 360, "height": 740})
    talk.locator("#unfold").click()
    for chart in CHARTS.split(", "):
        assert talk.locator(chart).first.is_visible(), chart
    assert talk.evaluate("document.documentElement.scrollWidth") <= 360
    assert talk.evaluate(UNREADABLE, CHARTS) == []
    keep(talk, f"phone-charts-{scheme}")
