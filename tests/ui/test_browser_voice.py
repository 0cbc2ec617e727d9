"""A real browser speaks to the real server; what is heard is real, the models are stand-ins.

The fake microphone plays a synthetic voice that the test made. For the agent's own voice what is
sent to the browser's synthesiser is tested, not what is heard: no sound comes out of this browser.
"""

import pytest

pytestmark = pytest.mark.browser

BOTH = "Start with camera and microphone"
ANSWER = ("That is sad. ", "Tell me more about him, if you like.")


@pytest.fixture
def begin(house, visit, launch, silence):
    """Open the page and start; the microphone plays sound, and the words are as given."""

    def begin(*sound, words):
        house.models.transcriber.texts[:] = words
        house.models.responder.pieces = ANSWER
        page = visit(launch(*sound, silence(30)), house.address, synthesiser=True)
        page.get_by_role("button", name=BOTH).click()
        return page, house.talks[0]

    return begin


def spoken(page):
    return page.evaluate("noted.spoken")


def wait_for_voice(page, count=1):
    page.wait_for_function("count => noted.spoken.length >= count", arg=count)


def test_an_utterance_is_written_down_answered_and_spoken(begin, say, silence, keep):
    page, talk = begin(silence(2), say("my frog ran away"), words=["my frog ran away"])
    page.locator(".turn").get_by_text("my frog ran away").first.wait_for()
    assert "You said" in page.locator(".turn").inner_text()
    wait_for_voice(page)
    assert spoken(page)[0]["text"] == "That is sad."
    assert spoken(page)[0]["voice"] == "Here"  # never the one that sends words away
    talk.wait(lambda session: session.agent_speaking)
    keep(page, "speaking")
    page.evaluate("noted.finish()")
    wait_for_voice(page, 2)
    page.evaluate("noted.finish()")
    talk.wait(lambda session: not session.agent_speaking)
    assert [s["text"] for s in spoken(page)] == [
        "That is sad.",
        "Tell me more about him, if you like.",
    ]
    assert all(0.5 <= s["rate"] <= 2 and 0 <= s["pitch"] <= 2 for s in spoken(page))


def test_a_transcript_can_be_corrected(begin, say, silence, house, keep):
    page, talk = begin(silence(2), say("my frog ran away"), words=["my frog ran away"])
    turn = page.locator(".turn").first
    talk.wait(lambda session: bool(session.turns) and session.turns[0].status == "answered")
    turn.locator(".edit summary").click()
    keep(page, "edit")
    turn.locator("textarea").fill("my dog ran away")
    page.keyboard.press("Enter")
    talk.wait(lambda session: session.turns[0].text == "my dog ran away")
    turn.get_by_text("corrected by you").wait_for()
    talk.wait(lambda session: session.turns[0].status == "answered")
    said = [messages[-1].content for messages, _ in house.models.responder.asked]
    assert said == ["my frog ran away", "my dog ran away"]


@pytest.mark.slow
def test_who_speaks_on_interrupts_the_agent(begin, say, silence, keep):
    more = "wait a moment I want to say something else"
    page, talk = begin(
        silence(2), say("my dog ran away"), silence(8), say(more), words=["my dog", more]
    )
    wait_for_voice(page)
    talk.wait(lambda session: session.agent_speaking)
    talk.wait(lambda session: session.hushed_turn == 0)
    page.wait_for_function("noted.cancelled > 0")
    keep(page, "interrupted")
    assert page.evaluate("noted.paused") > 0  # it was ducked before
    page.locator(".turn").nth(1).get_by_text(more).first.wait_for()


@pytest.mark.slow
def test_a_short_mhm_lets_the_agent_go_on(begin, say, silence):
    page, talk = begin(
        silence(2), say("my dog ran away"), silence(8), say("mm", 200), words=["my dog", "mhm"]
    )
    wait_for_voice(page)
    talk.wait(lambda session: session.ducked)
    talk.wait(lambda session: not session.ducked)
    session = talk.session
    assert (len(session.turns), session.hushed_turn) == (1, None)
    page.wait_for_function("!speechSynthesis.paused")
    page.evaluate("noted.finish()")
    wait_for_voice(page, 2)


@pytest.mark.slow
def test_an_agent_that_hears_itself_never_answers(begin, say, silence, keep):
    echo = say("that is sad tell me more about him if you like")
    heard = "that is bad tell me more about hymn if you like"  # as a recogniser may write it
    page, talk = begin(
        *(silence(2), say("my dog ran away"), silence(6), echo), words=["my dog ran away", heard]
    )
    wait_for_voice(page)
    talk.wait(lambda session: session.agent_speaking)
    page.locator("#notice").get_by_text("own voice").wait_for()
    keep(page, "own-voice")
    assert len(talk.session.turns) == 1
    assert talk.session.turns[0].status == "answered"


def test_without_a_voice_of_this_machine_the_switch_says_why(quiet_browser, house, visit, keep):
    page = visit(quiet_browser, house.address)
    page.get_by_role("button", name="Start with typing only").click()
    switch = page.locator("#aloud")
    switch.wait_for()
    assert switch.is_disabled()
    assert page.locator("#aloud-why").is_visible()
    keep(page, "no-voice")
