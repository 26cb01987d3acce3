"""The console asks the policy evaluator for reasons."""

import attrs

from actors import Request
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock


@attrs.frozen(kw_only=True)
class ListHit:
    """A list that holds the name, and by which entry: the name itself or a wildcard above it."""

    list_name: str
    kind: str
    entry: str
    tags: tuple[str, ...]
    source: str = ""
    """the id of the source that feeds it"""
    match: str = ""
    """`exact`; `wildcard` by what is strictly below a name; `subtree` by an entry for a name and all below it"""
    weight: int = 1
    """how many doubtlists it counts as in `numsources`"""
    action: str = ""
    """the action that the source has of its own, or empty"""


@attrs.frozen(kw_only=True)
class RuleOutcome:
    """One doubtlist rule: whether it fired, with the figures that it compared."""

    rule: str
    fired: bool
    detail: str
    action: str
    found: int = 0
    """what it compared with `limit`: a weight, or a number of tags"""
    limit: int = 0


@attrs.frozen(kw_only=True)
class PassedFact:
    """Records that a feed says at `owner`, of these types, and that are passed through unless `refused` says why not.

    `refused` is `allowlisted`, `ruled`, `conflict` or `surplus`.
    """

    owner: str
    source: str
    types: tuple[int, ...]
    refused: str = ""


@attrs.frozen(kw_only=True)
class Explanation:
    """Why a name gets the action it gets."""

    name: str
    action: Action
    stage: str
    """`allowlist`, `denylist`, `doubtlist` or `none`"""
    hits: tuple[ListHit, ...]
    rules: tuple[RuleOutcome, ...]
    winner: str
    """the rule or list kind that decided, or empty"""
    emitted: str
    """the record in the zone that gives this answer (`owner CNAME target`), or empty"""
    action_source: str = ""
    """the source whose own action is taken, or empty"""
    why: str = ""
    """the decision in a sentence"""
    passed: tuple[PassedFact, ...] = ()
    """what feeds say of the name besides rules, by the name itself or the nearest wildcard"""


@attrs.frozen(kw_only=True)
class Explain(Request[Explanation]):
    """Why is `name` (text) answered as it is?"""

    name: str


@attrs.frozen(kw_only=True)
class PolicyStatus:
    """How the evaluator stands."""

    names: int
    lists: int
    records: int
    decided_at: int | None


@attrs.frozen(kw_only=True)
class GetPolicy(Request[PolicyStatus]):
    """How does the policy evaluator stand?"""


@attrs.frozen(kw_only=True)
class GetRecords(Request[RecordBlock]):
    """Everything that the zone is to hold by what is decided now, whether or not it is published yet."""
