"""Sentences about records, and the names of fields as words."""

from __future__ import annotations

from actionwatch.instaclustr.kinds import KINDS
from actionwatch.text.phrases import deed, label, sentence
from tests.cases import in_one_test


def test_every_documented_kind_has_words() -> None:
    """No documented kind appears as its code where a person reads what was done."""
    assert [kind for kind in KINDS if kind in deed(kind, "x")] == []


@in_one_test(
    ("kind", "name", "words"),
    [
        ("DELETE_CLUSTER", "prod", "deleted cluster prod"),
        ("DELETE_CLUSTER", "", "deleted a cluster"),
        ("CHANGE_CLUSTER_FIREWALL_RULES", "prod", "changed the firewall rules of cluster prod"),
        ("LINK_ACCOUNT", "shop", "linked account shop"),
        ("ACCOUNT_REVOKE_API_KEY", "shop", "revoked an API key of shop"),
        ("PURGE_NODE", "prod", "did PURGE_NODE on prod"),
    ],
)
def test_deeds_are_english(kind: str, name: str, words: str) -> None:
    """What was done is an English phrase, with the name in its place; an unknown kind is named."""
    assert deed(kind, name) == words


def test_a_sentence_has_the_kind_once() -> None:
    """The kind follows the sentence, unless the sentence contains it."""
    assert (
        sentence("eve", "DELETE_CLUSTER", "prod", "shop") == "eve deleted cluster prod in account shop (DELETE_CLUSTER)"
    )
    assert sentence(None, "PURGE_NODE", None, "shop") == "Someone did PURGE_NODE on shop"


@in_one_test(
    ("field", "words"),
    [
        ("userName", "User"),
        ("cluster.name", "Cluster"),
        ("clusterId", "Cluster id"),
        ("raw.sourceIp", "Source ip"),
        ("in place of", "In place of"),
        ("עברית", "עברית"),
    ],
)
def test_labels_are_words(field: str, words: str) -> None:
    """The name of a field is shown in words."""
    assert label(field) == words
