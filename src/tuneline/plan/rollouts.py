"""What the controller of rollouts needs of the record: values, and the Protocols `RolloutStore` and
`FeedbackSource`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tuneline.plan.rollout import Decision, RolloutState
from tuneline.plan.rollout_plan import RolloutPlan


@dataclass(frozen=True)
class Underway:
    """A rollout that has not ended, as the record has it."""

    id: str
    endpoint: str
    release: str
    """`model@version` that is tried."""
    stable: str
    """`model@version` that is live."""
    plan: RolloutPlan
    state: RolloutState
    cursor: Mapping[str, Any]
    """What was read so far: `control.tally` knows its form. Empty before the first look."""
    looks: int
    """How often it was saved; a save with another number is refused."""
    started_at: float


class RolloutStore(Protocol):
    """The record, as the controller sees it. Thread-safe."""

    def underway(self, endpoint: str) -> Underway | None:
        """The rollout there that has not ended."""
        ...

    def save(self, rollout: Underway, decision: Decision, cursor: Mapping[str, Any], at: float) -> bool:
        """Keep a look: state and cursor, and if there is news the decision, in record and ledger, with what
        it changes of the endpoint; all in one transaction.

        False, and nothing is kept, if the rollout has ended or was saved by somebody else meanwhile; then
        look again. Raises: ConflictError if it was to be promoted and another release is live.
        """
        ...


class Score(Protocol):
    """How good an answer was."""

    @property
    def n(self) -> int:
        """Increasing."""
        ...

    @property
    def request_id(self) -> str:
        """Of the answer."""
        ...

    @property
    def score(self) -> float:
        """0 to 1, 1 is best."""
        ...

    @property
    def at(self) -> float:
        """Unix seconds."""
        ...


class FeedbackSource(Protocol):
    """Where scores come from."""

    def since(self, endpoint: str, n: int, limit: int = 10_000) -> Sequence[Score]:
        """Scores numbered above `n`, in order."""
        ...
