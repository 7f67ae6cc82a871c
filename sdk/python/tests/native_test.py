"""Lovage's own API, in a plain interpreter."""

import asyncio
import datetime
import decimal
import enum
import json
import unittest
import uuid
from dataclasses import dataclass
from typing import Literal, Optional

from lovage import (
    Ignore,
    Reject,
    Replace,
    Requeue,
    Retry,
    SoftTimeLimitExceeded,
    Unavailable,
    ctx,
    step,
    task,
)
from lovage import _asyncio, _json, _manifest, _registry, _schema, _units
from lovage.testing import Host


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Item:
    sku: str
    count: int = 1


@task(name="n.charge", max_retries=5, idempotency_key="order:{order_id}", memory="64MiB", reuse=3)
def charge(order_id: int, cents: int = 0) -> str:
    """Charges.

    Once.
    """
    receipt = step("charge", lambda it: f"{it.key} {cents}", doubt="retry", input=order_id)
    ctx.send("shop.mail", order_id, to="me")
    return receipt


@task(name="n.any")
def any_value(value=None):
    return value


@task(name="n.again", retry_on=(OSError,), backoff="exponential", base="2s", cap="1m")
def again(kind: str):
    if kind == "retry":
        raise Retry("later", after="1.5s")
    if kind == "caused":
        try:
            raise KeyError("gone")
        except KeyError as error:
            raise Retry("later") from error
    raise {"os": OSError("down"), "value": ValueError("bad"), "reject": Reject("never")}[kind]


@task(name="n.end", retry_on=(Exception,))
def end(how: str):
    ctx.send_signature({"task": "n.any", "args": [how], "options": {"task_id": "any-1"}})
    if how == "changed":
        raise Retry("later", args=[decimal.Decimal(1)], priority=3)
    if how == "replace":
        raise Replace({"task": "n.any", "args": [2**70]})
    raise {"ignore": Ignore(), "requeue": Requeue("once more")}[how]


class NativeTasks(unittest.TestCase):
    def test_a_task_sees_to_its_end_itself_goes_back_or_hands_its_place_on(self):
        host = Host()
        ends = {how: host.attempt("n.end", how) for how in ("ignore", "requeue", "replace", "changed")}
        kinds = [outcome.kind for outcome in ends.values()]
        self.assertEqual(kinds, ["ignored", "requeued", "replaced", "retry"])
        self.assertEqual(ends["replace"].options, {"task": "n.any", "args": [2**70]})
        self.assertEqual(ends["changed"].options, {"args": [decimal.Decimal(1)], "priority": 3})
        self.assertEqual([(sent.id, sent.args) for sent in host.sent], [("any-1", ["ignore"]), ("any-1", ["replace"])])

    def test_called_directly_a_task_is_its_function(self):
        with Host() as host:
            self.assertEqual(charge(7, cents=5), "task-1:charge 5")
        self.assertEqual(host.sent[0][:3], ("shop.mail", [7], {"to": "me"}))

    def test_steps_happen_once_over_all_attempts(self):
        host = Host()
        first = host.call("n.charge", 7, 500)
        self.assertEqual(host.call("n.charge", 7, 900), first)
        self.assertEqual(host.attempt("n.charge", 8).failure.exception_type, "InvalidCall")

    def test_a_step_in_doubt_is_asked_about(self):
        def effect(it):
            return "found" if it.ambiguous else 1 / 0

        with Host() as host, self.assertRaises(ZeroDivisionError):
            step("a", effect, doubt="ask")
        host._begun.clear()
        with host:
            self.assertEqual(step("a", effect, doubt="ask"), "found")
        with self.assertRaises(ValueError):
            step("b", effect, doubt="maybe")

    def test_without_a_ledger_a_step_is_refused_clearly(self):
        outcome = Host(has_ledger=False).attempt("n.charge", 7)
        self.assertEqual((outcome.kind, outcome.failure.exception_type), ("rejected", "Unavailable"))
        self.assertEqual(outcome.failure.exception_module, "lovage.exceptions")

    def test_calls_leave_with_success_only(self):
        host = Host(has_ledger=False)
        host.attempt("n.charge", 7)
        self.assertEqual(host.sent, [])

    def test_outside_of_a_task_the_host_is_not_there(self):
        with self.assertRaises(Unavailable):
            charge(7)
        ctx.log("nobody listens")

    def test_how_attempts_end(self):
        host = Host()
        ends = {kind: host.attempt("n.again", kind) for kind in ("retry", "caused", "os", "value", "reject")}
        self.assertEqual([end.kind for end in ends.values()], ["retry"] * 3 + ["failed", "rejected"])
        self.assertEqual(ends["retry"].after, 1.5)
        self.assertEqual(ends["caused"].failure.exception_type, "KeyError")
        self.assertEqual((ends["os"].failure.exception_type, ends["os"].after), ("OSError", None))

    def test_wrong_arguments_are_type_errors_in_pythons_words(self):
        outcome = Host().attempt("n.charge")
        self.assertEqual((outcome.kind, outcome.failure.exception_type), ("rejected", "TypeError"))
        self.assertIn("order_id", outcome.failure.arguments)
        outcome = Host().attempt("n.charge", "7")
        self.assertEqual(json.loads(outcome.failure.arguments), ["order_id must be int, not str"])
        self.assertEqual(Host().attempt("n.nobody").failure.exception_type, "NotRegistered")

    def test_the_soft_limit_ends_host_calls(self):
        outcome = Host(soft_ms=0).attempt("n.charge", 7)
        self.assertEqual(outcome.failure.exception_type, "SoftTimeLimitExceeded")
        self.assertEqual(outcome.failure.exception_module, "billiard.exceptions")
        self.assertEqual(str(SoftTimeLimitExceeded()), "SoftTimeLimitExceeded()")

    def test_a_traceback_has_the_authors_frames_only(self):
        trace = Host().attempt("n.again", "value").failure.traceback
        self.assertIn("native_test.py", trace)
        self.assertEqual(trace.count('File "'), 1)
        self.assertTrue(trace.endswith("ValueError: bad\n"))

    def test_the_manifest_says_what_was_declared(self):
        tasks = {entry["name"]: entry for entry in json.loads(_manifest.manifest("m"))["tasks"]}
        entry = tasks["n.charge"]
        self.assertEqual(entry["params"], ["order_id", "cents"])
        self.assertEqual(entry["idempotency"], {"key": "order:{order_id}"})
        self.assertEqual(entry["limits"], {"memory_bytes": 64 << 20})
        self.assertEqual(entry["doc"], "Charges.\n\nOnce.")
        self.assertEqual(entry["retry"], {"max": 5, "on_failure": False})
        self.assertEqual(entry["reuse"], 3)
        self.assertEqual(entry["input_schema"]["required"], ["order_id"])
        self.assertEqual(entry["output_schema"], {"type": "string"})
        self.assertEqual((tasks["n.again"]["retry"]["base_s"], tasks["n.again"]["retry"]["cap_s"]), (2, 60))

    def test_a_wrong_declaration_is_refused_where_it_is(self):
        def function(a):
            return a

        for options in (
            {"idempotency_key": "{b}"},
            {"idempotency_key": "{a"},
            {"time_limit": "5 parsecs"},
            {"nonsense": 1},
            {"backoff": "sometimes"},
        ):
            with self.assertRaisesRegex((TypeError, ValueError), "task n.wrong: "):
                task(name="n.wrong", **options)(function)
        with self.assertRaises(_registry.TaskNameError):
            task(name="n.charge")(function)
        with self.assertRaises(_registry.TaskNameError):
            task(name="a\nb")(function)


class EventLoop(unittest.TestCase):
    def test_coroutines_run_where_there_are_no_sockets(self):
        async def one(number):
            await asyncio.sleep(0.001 * number)  # because it is the loop under test
            return number

        async def all_of_them():
            return await asyncio.wait_for(asyncio.gather(one(2), one(1)), 5)

        with asyncio.Runner(loop_factory=_asyncio.Loop) as runner:
            self.assertEqual(runner.run(all_of_them()), [2, 1])
        with asyncio.Runner(loop_factory=_asyncio.Loop) as runner, self.assertRaises(RuntimeError):
            runner.run(asyncio.Event().wait())


class Schemas(unittest.TestCase):
    def test_annotations_become_schemas(self):
        for hint, expected in (
            (int, {"type": "integer"}),
            (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),
            (list[float], {"type": "array", "items": {"type": "number"}}),
            (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
            (Literal["a", 1], {"enum": ["a", 1]}),
            (Colour, {"enum": ["red"]}),
            (object, {}),
        ):
            self.assertEqual(_schema.schema(hint), expected)
        item = _schema.schema(Item)
        self.assertEqual((item["required"], item["properties"]["count"]), (["sku"], {"type": "integer"}))

    def test_values_become_what_annotations_promise(self):
        for value, hint, expected in (
            (1, float, 1.0),
            ("red", Colour, Colour.RED),
            ({"sku": "a"}, Item, Item("a")),
            ([{"sku": "a"}], list[Item], [Item("a")]),
            ([1, "a"], tuple[int, str], (1, "a")),
            (None, Optional[int], None),
            ("x", object, "x"),
        ):
            self.assertEqual(_schema.convert(value, hint, "v"), expected)
        for value, hint in ((True, int), ("1", int), ([1], tuple[int, int]), ("blue", Colour), ({}, Item)):
            with self.assertRaises(TypeError):
                _schema.convert(value, hint, "v")


class Json(unittest.TestCase):
    def test_every_value_survives(self):
        moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.timezone.utc)
        for value in (
            None, 2**200, 10**5000, -0.0, 1e22, "é\ud800", {"a": [1]}, moment, moment.date(), moment.time(),
            decimal.Decimal("1.50"), uuid.UUID(int=5), b"abc", b"\xff",
        ):
            self.assertEqual(_json.loads(_json.dumps(value)), value)
        self.assertEqual(_json.dumps([float("nan"), (1, 2), Colour.RED, Item("a")]),
                         '[NaN, [1, 2], "red", {"sku": "a", "count": 1}]')

    def test_what_is_no_value_is_refused(self):
        for text in ('{"__type__": "alien", "__value__": 1}', "[", '{"__type__": "date", "__value__": "x"}'):
            with self.assertRaises(_json.DecodeError):
                _json.loads(text)
        with self.assertRaises(_json.EncodeError):
            _json.dumps({1, 2})

    def test_units(self):
        self.assertEqual([_units.seconds("500ms", ""), _units.seconds("2m", "")], [0.5, 120])
        self.assertEqual(_units.size("64KiB", ""), 65536)


if __name__ == "__main__":
    unittest.main()
