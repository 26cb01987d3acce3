"""What the service manager wants to hear (sd_notify(3)): ready, reloading, stopping, alive."""

import os
import socket
import time
from collections.abc import Mapping

import attrs


@attrs.frozen
class ServiceManager:
    """Speaks to `$NOTIFY_SOCKET`; where there is none, says nothing."""

    address: str | None
    watchdog: float | None
    """seconds between two signs of life, or None when none are wanted"""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ServiceManager":
        """The manager that started this process; a watchdog meant for another process is ignored."""
        address = environment.get("NOTIFY_SOCKET") or None
        watchdog = None
        microseconds = environment.get("WATCHDOG_USEC", "")
        pid = environment.get("WATCHDOG_PID", "")
        if address and microseconds.isdigit() and int(microseconds) > 0 and pid in ("", str(os.getpid())):
            # Half of what is demanded, as sd_watchdog_enabled(3) advises.
            watchdog = int(microseconds) / 2_000_000
        return cls(address, watchdog)

    def ready(self, status: str) -> None:
        """The process serves."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The process is on its way out."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def _send(self, *lines: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            try:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
            except OSError:
                # The manager is gone or busy; it must never hold up the service that it manages.
                return
