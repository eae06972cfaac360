"""Which rules continue from a saved state. The others are rebuilt from the records. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.context import StreamBounds, contexts_of
from actionwatch.rules.correlations.live.order import without_links_to_others
from actionwatch.rules.correlations.live.saved import SavedState
from actionwatch.rules.model import Correlation


def fitting(
    saved: SavedState, rules: Sequence[Correlation], bounds: StreamBounds, ended: Collection[str] = ()
) -> SavedState:
    """Return what was saved of those rules that are as they were then; `rules` are in feeding order.

    A rule that counts the alerts of another one needs more of it than is saved, so that the two are rebuilt together. The rules
    whose ids are in `ended` did not run all the time since: they are rebuilt too.

    Raises: DoesNotFit, if no rule is left, or a rule was saved twice.
    """
    if len(saved.rule_ids()) < len(saved.rules):
        raise DoesNotFit("it has a rule twice")
    if saved.alerts_from != bounds.alerts_from:
        raise DoesNotFit("it belongs to another beginning of the sources")
    identities = {context.identity for context in contexts_of(rules, bounds)}
    unchanged = {each.identity.rule_id for each in saved.rules if each.identity in identities}
    chosen = without_links_to_others(unchanged.difference(ended), rules)
    if not chosen:
        raise DoesNotFit("it belongs to other rules, or to another beginning of the sources")
    return replace(saved, rules=[each for each in saved.rules if each.identity.rule_id in chosen])
