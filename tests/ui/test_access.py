import pytest

from integration.errors import IntegrationError
from ui.access import LOOPBACK_NAMES, Access, login_of

LOGIN = "me:long enough"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_no_login(host):
    access = Access(host=host)
    assert access.is_local
    assert access.names == LOOPBACK_NAMES | {host}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "talk.example"])
def test_an_address_that_others_reach_needs_a_login_and_has_any_name(host):
    with pytest.raises(IntegrationError, match=f"--auth NAME with --host {host}, because"):
        Access(host=host)
    assert Access(host=host, login=LOGIN).names is None


def test_a_proxy_gives_the_page_another_name():
    assert "talk.example" in Access(public_name="Talk.example").names


def test_a_password_is_made_up_where_none_is_given():
    name, password = login_of("me").split(":")
    assert name == "me"
    assert len(password) >= 16
    assert login_of("me") != login_of("me")
    assert login_of(LOGIN) == LOGIN


@pytest.mark.parametrize("login", ["", ":long enough", "me:", "me:short"])
def test_a_login_that_is_none_is_refused_without_showing_it(login):
    with pytest.raises(IntegrationError, match="Expected --auth") as refused:
        Access(login=login)
    assert "short" not in str(refused.value)
    assert LOGIN not in repr(Access(login=LOGIN))


def test_https_needs_a_certificate_and_its_key(certificate, tmp_path):
    cert, key = certificate
    assert Access(certificate=cert, key=key).scheme == "https"
    assert Access().scheme == "http"
    with pytest.raises(IntegrationError, match="--tls-cert with --tls-key"):
        Access(key=key)
    for wrong in ((cert, None), (key, cert), (tmp_path / "none.pem", key)):
        with pytest.raises(IntegrationError, match="certificate and its unlocked key"):
            Access(certificate=wrong[0], key=wrong[1])


def test_there_is_room_for_one_at_least():
    with pytest.raises(IntegrationError, match="got 0"):
        Access(talks=0)
