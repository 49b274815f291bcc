"""The power goes after n statements: what a service of ours remembers afterwards is tested."""

from __future__ import annotations

from tests.ledger_client.crash_story import Fuse


class PowerCutError(BaseException):
    """The machine is gone: nobody catches this and goes on."""


class Breaker(Fuse):
    """Cuts the power after n steps; afterwards every statement fails."""

    def __init__(self, steps_left: int | None) -> None:
        super().__init__()
        self.steps_left = steps_left

    def step(self) -> None:
        super().step()
        if self.steps_left is not None and self.steps > self.steps_left:
            raise PowerCutError

    def power_off(self) -> None:
        """Close what is open, as the end of a process does: what is not committed is gone."""
        for connection in self.connections:
            connection.close()
