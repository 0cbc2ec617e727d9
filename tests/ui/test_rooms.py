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
    pipeline = rooms.enter(token)
    clock.time_s += 10 * GRACE_S
    rooms.sweep()
    assert not pipeline.closed
    rooms.leave(token)
    clock.time_s += GRACE_S
    rooms.sweep()
    assert rooms.enter(token) is pipeline
    rooms.leave(token)
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
    rooms.leave("gone")
