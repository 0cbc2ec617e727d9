import pytest

from ui.rooms import GRACE_S, FullHouseError, GoneError, Rooms


class FakePipeline:
    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def rooms(clock):
    return Rooms(FakePipeline, clock=clock, most=2)


def test_a_room_is_known_by_a_token_nobody_can_guess(rooms):
    token, other = rooms.open(), rooms.open()
    assert len(token) >= 32
    assert token != other
    assert rooms.find(token) is not rooms.find(other)


@pytest.mark.parametrize("token", ["", "guess", "../../etc"])
def test_an_unknown_token_is_refused(rooms, token):
    rooms.open()
    with pytest.raises(GoneError, match="reload"):
        rooms.enter(token)


def test_a_room_waits_for_its_page_and_is_freed_after_the_grace(rooms, clock):
    token = rooms.open()
    visit = rooms.enter(token)
    pipeline = visit.pipeline
    clock.time_s += 10 * GRACE_S
    rooms.sweep()
    assert not pipeline.closed
    rooms.leave(visit)
    clock.time_s += GRACE_S
    rooms.sweep()
    again = rooms.enter(token)
    assert again.pipeline is pipeline
    rooms.leave(again)
    clock.time_s += GRACE_S + 1
    rooms.sweep()
    assert pipeline.closed
    with pytest.raises(GoneError):
        rooms.find(token)


def test_a_page_that_never_came_is_freed_too(rooms, clock):
    pipeline = rooms.find(rooms.open())
    clock.time_s += GRACE_S + 1
    rooms.sweep()
    assert pipeline.closed
    assert len(rooms) == 0


def test_a_full_house_says_so_until_somebody_goes(rooms, clock):
    rooms.open()
    rooms.open()
    with pytest.raises(FullHouseError, match="Too many"):
        rooms.open()
    clock.time_s += GRACE_S + 1
    assert rooms.open()


def test_closing_frees_every_room(rooms):
    pipelines = [rooms.find(rooms.open()) for _ in range(2)]
    rooms.close()
    assert all(pipeline.closed for pipeline in pipelines)
    assert len(rooms) == 0


def test_leaving_a_freed_room_is_no_fault(rooms):
    visit = rooms.enter(rooms.open())
    rooms.close()
    assert not rooms.is_newest(visit)
    rooms.leave(visit)


def test_a_reloaded_page_gets_its_own_room_back_and_another_one_where_it_is_gone(rooms, clock):
    token = rooms.open()
    rooms.leave(rooms.enter(token))
    clock.time_s += GRACE_S - 1
    assert rooms.resume(token) == token
    clock.time_s += GRACE_S - 1  # the grace began anew
    assert rooms.resume(token) == token
    clock.time_s += GRACE_S + 1
    other = rooms.resume(token)
    assert other != token
    assert len(rooms) == 1
    assert rooms.resume("") not in (token, other)
    with pytest.raises(FullHouseError):
        rooms.resume("guess")


def test_the_newest_page_of_a_room_is_the_one_it_listens_to(rooms, clock):
    token = rooms.open()
    first = rooms.enter(token)
    second = rooms.enter(token)
    assert not rooms.is_newest(first)
    assert rooms.is_newest(second)
    rooms.leave(first)  # the copy that was pushed out; the page is still there
    clock.time_s += 2 * GRACE_S
    rooms.sweep()
    assert not second.pipeline.closed
