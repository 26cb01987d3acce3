import os
import pwd
import socket

from tapir.services.control.peer import peer_uid, user_name


def test_the_kernel_says_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        assert peer_uid(ours) == os.getuid()


def test_a_user_has_a_name_or_is_a_number() -> None:
    assert user_name(0) == pwd.getpwuid(0).pw_name
    assert user_name(4_000_000_000 - 2**31) == f"uid {4_000_000_000 - 2**31}"
