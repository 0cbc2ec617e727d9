"""A real browser and the real server; the models are stand-ins, so that each state comes at once.

For the agent's voice what is sent to the browser's synthesiser is tested, not what is heard.
"""

import json
import threading

import pytest

pytestmark = pytest.mark.browser

BOTH = "Start with camera and microphone"
TYPING = "Start with typing only"


def begin(page, how=TYPING):
    page.get_by_role("button", name=how).click()
    page.locator("#room").wait_for()


def write(page, text):
    page.get_by_placeholder("Type here").fill(text)
    page.keyboard.press("Enter")


def answered(page, number=0):
    turn = page.locator(".turn").nth(number)
    turn.locator(".reply .words").wait_for()
    turn.locator(".caret").wait_for(state="detached")
    return turn


def is_running(page, kind):
    return page.evaluate(
        "kind => (document.querySelector('#camera')?.srcObject?.getTracks() ?? [])"
        ".some(track => track.readyState === 'live' && track.kind === kind)",
        kind,
    )


def test_nothing_starts_before_consent(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address)
    page.get_by_text("Before we talk").wait_for()
    for needed in ("can be wrong", "AI", "Nothing leaves this machine", "face", "voice"):
        assert needed in page.locator("#consent").inner_text()
    assert not page.locator("#room").is_visible()
    assert not is_running(page, "video")
    assert house.talks[0].media_end_s == 0.0
    keep(page, "consent")


def test_typing_alone_needs_no_device(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address, allow=())
    begin(page)
    write(page, "my dog ran away")
    turn = answered(page)
    assert "my dog ran away" in turn.inner_text()
    assert "I see." in turn.inner_text()
    assert not is_running(page, "video")
    keep(page, "typing")


@pytest.mark.parametrize(
    ("allowed", "goes_by"), [(("microphone",), "your voice and words"), ((), "your words alone")]
)
def test_a_device_that_is_denied_leaves_the_rest(
    quiet_browser, house, visit, keep, allowed, goes_by
):
    page = visit(quiet_browser, house.address, allow=allowed)
    begin(page, BOTH)
    page.get_by_text("does not allow the camera").wait_for()
    page.get_by_text(f"Attune goes by {goes_by}.").wait_for()
    keep(page, "camera-denied" if allowed else "both-denied")
    write(page, "hello")
    answered(page)


def test_camera_and_microphone_reach_the_server_and_can_be_switched_off(
    quiet_browser, house, visit, keep
):
    page = visit(quiet_browser, house.address)
    begin(page, BOTH)
    house.talks[0].wait(lambda session: session.moment is not None)
    (live,) = house.models.recognizer.opened
    house.talks[0].wait(lambda session: len(live.frames) > 2 and bool(live.sounds))
    assert live.frames[-1][1].shape == (480, 640, 3)
    for channel in ("camera", "microphone"):
        page.locator(f'[data-switch="{channel}"]').click()
    house.talks[0].wait(lambda session: not session.camera and not session.microphone)
    page.get_by_text("The camera is off.").wait_for()
    assert not is_running(page, "video")
    keep(page, "switched-off")


def test_a_feeling_can_be_corrected_and_the_answer_follows(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address)
    begin(page)
    write(page, "well, great")
    turn = answered(page)
    turn.get_by_text("That is not how I feel").click()
    turn.get_by_role("button", name="Angry").click()
    turn.get_by_text("as you say").first.wait_for()
    house.talks[0].wait(lambda session: len(house.models.responder.asked) == 2)
    assert house.models.responder.asked[1][1].label == "angry"
    answered(page)
    keep(page, "correction")


def test_an_answer_can_be_stopped(quiet_browser, house, visit, keep):
    house.models.responder.gate = threading.Event()
    page = visit(quiet_browser, house.address)
    begin(page)
    write(page, "tell me a long story")
    page.locator(".caret").wait_for()
    keep(page, "answering")
    page.get_by_role("button", name="Stop the answer").click()
    session = house.talks[0].wait(lambda session: session.turns[0].status == "stopped")
    assert session.turns[0].reply == "I "
    page.locator(".caret").wait_for(state="detached")


def test_everything_is_forgotten_at_once(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address)
    begin(page)
    write(page, "my secret")
    answered(page)
    page.get_by_role("button", name="Forget everything").click()
    page.locator(".turn").first.wait_for(state="detached")
    assert "my secret" not in page.content()
    assert house.talks[0].session.turns == ()
    keep(page, "forgotten")


def test_a_reload_comes_back_to_the_talk(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address)
    begin(page, BOTH)
    write(page, "remember me")
    answered(page)
    page.reload()
    turn = answered(page)
    assert "remember me" in turn.inner_text()
    assert len(house.talks) == 1
    live = house.models.recognizer.opened[0]
    sounds = len(live.sounds)
    house.talks[0].wait(lambda session: len(live.sounds) > sounds)
    write(page, "and again")
    answered(page, 1)
    keep(page, "reloaded")


def test_no_word_of_the_talk_is_kept_in_the_browser(quiet_browser, house, visit):
    page = visit(quiet_browser, house.address)
    begin(page)
    write(page, "unforgettable")
    answered(page)
    kept = page.evaluate(
        "async () => JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie,"
        " await indexedDB.databases(), await caches.keys()])"
    )
    assert "unforgettable" not in kept
    assert "I see" not in kept
    stored, local, cookie, databases, caches = json.loads(kept)
    assert len(stored["attune.token"]) == 32
    assert (cookie, databases, caches) == ("", [], [])
    del local  # Gradio's own settings, such as the theme


def test_a_page_that_was_away_too_long_begins_anew(quiet_browser, house, visit):
    page = visit(quiet_browser, house.address)
    begin(page)
    write(page, "forget me")
    answered(page)
    house.rooms.close()  # as the sweep does after the grace
    page.reload()
    page.get_by_text("Before we talk").wait_for()
    assert "forget me" not in page.content()


def test_two_browsers_do_not_hear_each_other(quiet_browser, house, visit, keep):
    one, other = (visit(quiet_browser, house.address) for _ in range(2))
    for page, text in ((one, "I am one"), (other, "I am the other")):
        begin(page, BOTH)
        write(page, text)
        answered(page)
    assert "I am the other" not in one.content()
    assert "I am one" not in other.content()
    assert len(house.talks) == 2
    first, second = house.models.recognizer.opened
    house.talks[1].wait(lambda session: bool(first.sounds and second.sounds))
    other.locator('[data-switch="microphone"]').click()
    house.talks[1].wait(lambda session: not session.microphone)
    heard = len(second.sounds)
    before = len(first.sounds)
    house.talks[0].wait(lambda session: len(first.sounds) > before + 5)
    assert len(second.sounds) <= heard + 1  # what was under way
    keep(other, "two-browsers")


def test_a_copy_of_the_tab_takes_the_talk_over(quiet_browser, house, visit):
    page = visit(quiet_browser, house.address)
    begin(page, BOTH)
    token = page.evaluate("sessionStorage.getItem('attune.token')")
    copy = visit(quiet_browser, house.address)
    copy.evaluate("token => sessionStorage.setItem('attune.token', token)", token)
    copy.reload()
    copy.locator("#room").wait_for()
    page.locator("#lost").get_by_text("another").wait_for()
    assert not is_running(page, "video")


def test_a_full_house_says_so(quiet_browser, serve, visit, keep):
    from ui.access import Access

    house = serve(Access(talks=1))
    visit(quiet_browser, house.address).get_by_text("Before we talk").wait_for()
    page = visit(quiet_browser, house.address)
    page.get_by_role("alert").get_by_text("Too many people").wait_for()
    for name in (BOTH, TYPING):
        assert page.get_by_role("button", name=name).is_disabled()
    keep(page, "full-house")


def test_a_password_and_https_are_asked_for_once(quiet_browser, serve, certificate, visit):
    from ui.access import Access

    cert, key = certificate
    house = serve(Access(login="me:long enough", certificate=cert, key=key))
    page = visit(
        quiet_browser,
        house.address,
        http_credentials={"username": "me", "password": "long enough"},
        ignore_https_errors=True,
    )
    begin(page, BOTH)
    write(page, "a secret")
    answered(page)
    page.locator("details.save summary").click()
    with page.expect_download() as download:
        page.locator('[data-save="text"]').click()
    assert "a secret" in download.value.path().read_text()
    assert any(url.startswith("wss://") for url in page.requests)


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_talk_can_be_saved_on_request(quiet_browser, house, visit, form):
    page = visit(quiet_browser, house.address)
    begin(page)
    write(page, "keep this")
    answered(page)
    page.locator("details.save summary").click()
    with page.expect_download() as download:
        page.locator(f'[data-save="{form}"]').click()
    saved = download.value.path().read_text()
    assert download.value.suggested_filename == f"attune-talk.{'txt' if form == 'text' else form}"
    assert "keep this" in saved
    assert "I see." in saved
    if form == "json":
        assert json.loads(saved)["turns"][0]["reply"] == "I see."


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(quiet_browser, house, visit, keep, scheme):
    page = visit(
        quiet_browser,
        house.address,
        size=(360, 740),
        scheme=scheme,
    )
    keep(page, f"phone-consent-{scheme}")
    begin(page, BOTH)
    page.wait_for_function("scrollY === 0")  # though the button to begin with lies further down
    write(page, "my dog ran away and I do not know where to look for him any more")
    answered(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    keep(page, f"phone-{scheme}")


def test_dark_is_dark(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address, scheme="dark")
    begin(page, BOTH)
    write(page, "good evening")
    answered(page)
    background, ink = page.evaluate(
        "() => [getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('.turn .words')).color]"
    )
    assert luminance(background) < 0.1 < luminance(ink)
    assert (luminance(ink) + 0.05) / (luminance(background) + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    keep(page, "dark")


def luminance(colour):
    """Relative luminance of a CSS "rgb(r, g, b)", WCAG 2.2."""
    values = [float(v) / 255 for v in colour.split("(")[1].rstrip(")").split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
