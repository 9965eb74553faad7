from __future__ import annotations

from dataclasses import dataclass

from radrelay_assignment.dispatch import Dispatcher
from radrelay_assignment.settings import AssignmentSettings
from radrelay_shared.service import Context


@dataclass
class AssignmentContext(Context[AssignmentSettings]):
    """What assignment works with: besides the usual, its dispatcher."""

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.store, self.settings, self.clock)


async def dispatch(context: AssignmentContext) -> None:
    """The background task of this service."""
    await context.dispatcher.run()
