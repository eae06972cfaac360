"""The traces of the running service: from a poll to the delivery of an alert, at a real collector."""

from __future__ import annotations

from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.integration.service.otlp_end import OtlpEnd, attributes_of
from tests.waiting import wait_until


def test_an_alert_is_one_trace_at_the_collector(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """Polls, and what became of an action until its delivery, arrive; with no secret, and no text of the audit log."""
    post.write(webhook)
    config = post.folder / "actionwatch.yaml"
    with OtlpEnd() as collector:
        config.write_text(config.read_text() + f"telemetry: {{endpoint: '{collector.url}'}}\n")
        with post.service() as service:
            service.wait_until_up()
            post.upstream.delete_cluster("eve@example.com")
            (opened,) = soar.wait_for(user="eve@example.com", type="alert.opened")
            wait_until(lambda: collector.named("deliver"), "the spans")
            service.end()
        (sent,) = collector.named("deliver")
        (root,) = [each for each in collector.named("alert") if each.trace_id == sent.trace_id]
        assert attributes_of(root)["actionwatch.alert"] == opened.data["id"]
        assert attributes_of(sent)["actionwatch.message"] == opened.id
        of_trace = [each for each in collector.spans if each.trace_id == sent.trace_id]
        assert sorted(each.name for each in of_trace) == ["alert", "deliver", "match", "wait for poll"]
        assert {each.parent_span_id for each in of_trace if each is not root} >= {root.span_id}
        waited, matched = (collector.named(name)[0] for name in ("wait for poll", "match"))
        assert waited.end_time_unix_nano == matched.start_time_unix_nano
        assert matched.end_time_unix_nano <= sent.start_time_unix_nano
        assert collector.named("poll")
        written = b"".join(request.body for request in collector.requests)
    secrets = (kit.KEY, post.upstream.api_key, webhook.url, "eve@example.com", opened.data["title"])
    assert not [secret for secret in secrets if secret.encode() in written]
