import threading

import numpy as np
import pytest

from emotion.errors import InputError
from integration.errors import IntegrationError
from integration.events import Frame, Sound
from integration.queues import Bounds, Inbox, Typed

RGB = np.zeros((4, 4, 3), np.uint8)


def sound(time_s, duration_s=1.0):
    return Sound(time_s, np.zeros(round(duration_s * 16000), np.float32), 16000)


def test_media_comes_out_in_order_of_time():
    inbox = Inbox(Bounds())
    inbox.put_frame(Frame(0.5, RGB))
    inbox.put_sound(sound(0.0))
    inbox.put_frame(Frame(1.5, RGB))
    inbox.put_sound(sound(1.0))
    batch = inbox.take()
    assert [type(m).__name__ for m in batch.media] == ["Sound", "Frame", "Sound", "Frame"]
    assert not inbox


def test_the_oldest_frames_go_first_and_are_counted():
    inbox = Inbox(Bounds(frames=3))
    for number in range(10):
        inbox.put_frame(Frame(number, RGB))
    batch = inbox.take()
    assert [frame.time_s for frame in batch.media] == [7, 8, 9]
    assert batch.dropped_frames == 7


def test_no_sound_is_lost_within_the_bound_and_what_is_beyond_is_counted():
    inbox = Inbox(Bounds(frames=1, audio_s=5.0))
    for number in range(5):
        inbox.put_sound(sound(number))
        inbox.put_frame(Frame(number, RGB))
    inbox.put_sound(sound(5.0, 0.5))
    batch = inbox.take()
    assert [m.time_s for m in batch.media if isinstance(m, Sound)] == [1, 2, 3, 4, 5]
    assert batch.dropped_audio_s == pytest.approx(1.0)
    assert batch.dropped_frames == 4


def test_counts_begin_anew_with_each_batch():
    inbox = Inbox(Bounds(frames=1))
    inbox.put_frame(Frame(0, RGB))
    inbox.put_frame(Frame(1, RGB))
    assert inbox.take().dropped_frames == 1
    inbox.put_frame(Frame(2, RGB))
    assert inbox.take().dropped_frames == 0


def test_a_restart_throws_everything_away_and_counts_the_epoch():
    inbox = Inbox(Bounds())
    inbox.put_sound(sound(0))
    inbox.put_typed(Typed(0))
    inbox.restart()
    inbox.put_typed(Typed(1))
    batch = inbox.take()
    assert (batch.epoch, batch.media, batch.typed) == (1, (), (Typed(1),))


def test_closing_wakes_whoever_waits():
    inbox = Inbox(Bounds())
    taken = []
    waiting = threading.Thread(target=lambda: taken.append(inbox.take()))
    waiting.start()
    inbox.close()
    waiting.join(10)
    assert taken == [None]


@pytest.mark.parametrize("bad", [{"frames": 0}, {"audio_s": -1.0}, {"turns": 0}])
def test_bounds_are_positive(bad):
    with pytest.raises(IntegrationError, match="positive"):
        Bounds(**bad)


def test_media_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"\(4, 4\)"):
        Frame(0, RGB[..., 0])
    with pytest.raises(InputError, match=r"\(2, 8\)"):
        Sound(0, np.zeros((2, 8), np.float32), 16000)
    with pytest.raises(InputError, match="-1 Hz"):
        Sound(0, np.zeros(8, np.float32), -1)


def test_pictures_and_sound_stay_out_of_reprs():
    assert "array" not in repr(Frame(0, RGB)) + repr(sound(0))


def test_a_restart_alone_wakes_whoever_takes():
    inbox = Inbox(Bounds())
    inbox.restart()
    batch = inbox.take()
    assert (batch.epoch, batch.media, batch.typed) == (1, (), ())
