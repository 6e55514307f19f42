"""Every metric that is declared is also measured: a service that has worked exports them all."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from casebook.events.request import RequestClosed
from casebook.kit import metrics
from casebook.kit.rebuilding.rebuild import rebuild
from tests.support.pump import event, feed, inbox_size, register
from tests.support.service import Bench, append, case, publish, settled, until
from tests.support.toy import ANNOUNCED_AFTER, Tally, intake, router, submitted


def samples(metric: Any) -> dict[tuple[str, ...], float]:
    """Return the values of a metric of intake, by the labels after the service's."""
    return {
        tuple(list(sample.labels.values())[1:]): sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.labels["service"] == "intake"
    }


async def test_a_service_that_has_worked_exports_every_metric(bench: Bench) -> None:
    for metric in metrics.METRICS:
        metric.clear()
    projection = Tally()
    async with bench.serving(intake(projection), router) as served:
        runtime = served.runtime
        await register(runtime, mode="live")
        await append(runtime, f"request/{case()}", submitted())
        sent = event("S", submitted(), 1)
        await feed(runtime, sent, event("S", RequestClosed(basis="x"), 2))
        await feed(runtime, event("T", RequestClosed(basis="x"), 1), replace(sent, id="x", data={}))
        await until(lambda: _promoted(bench), [runtime])
        projection.failing.add(key := case())
        await append(runtime, f"request/{key}", submitted())
        await settled(runtime)
        bench.clock.pass_(ANNOUNCED_AFTER)
        await until(lambda: _fired(bench), [runtime])
        await settled(runtime)
        await rebuild(runtime, projection)
        ann = bench.person("ann", "requester")
        await served.read("/lag", ann)
        assert (await served.read(f"/requests/{key}", ann)).status_code == 404
        exported = (await served.client.get("/metrics")).text
    missing = [metric._name for metric in metrics.METRICS if not samples(metric)]
    assert missing == []
    assert all(metric._name in exported for metric in metrics.METRICS)
    assert samples(metrics.AUTHZ_DENIED) == {("lag.read",): 1.0, ("request.get",): 1.0}
    assert samples(metrics.REBUILD_PROGRESS) == {("tally",): 1.0}
    told: defaultdict[str, float] = defaultdict(float)
    for (_, result), value in samples(metrics.EVENTS_APPLIED).items():
        told[result] += value
    assert told["parked"] == 1
    assert told["skipped"] >= 2, "the source, and what was skipped"
    assert told["applied"] >= 3
    ingress = samples(metrics.INGRESS_RESULTS)
    assert ingress[("promoted",)] == 2
    published = await bench.value("SELECT count(*) FROM events")
    assert samples(metrics.RELAY_PUBLISHED)[("ok",)] == published


async def test_what_the_reader_drops_is_counted_as_a_duplicate(bench: Bench) -> None:
    metrics.EVENTS_APPLIED.clear()
    async with bench.idle(intake()) as runtime:
        await append(runtime, f"request/{case()}", submitted())
        await publish(runtime)
        consumer = await runtime.log.consumer(None)
        batch = await consumer.poll(100, 0)
        for _ in range(2):
            await runtime.reader._apply(consumer, batch)
        type_ = submitted().type
        assert samples(metrics.EVENTS_APPLIED) == {
            (type_, "applied"): 1.0,
            (type_, "duplicate"): 1.0,
        }


async def _promoted(bench: Bench) -> bool:
    return await inbox_size(bench) == 0


async def _fired(bench: Bench) -> bool:
    return await bench.value("SELECT count(*) FROM timers WHERE status = 'fired'") > 0
