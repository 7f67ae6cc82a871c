"""Python modules under a real worker, called by real Celery, against what Celery's worker wrote."""

import datetime
import decimal
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
VECTORS = REPOSITORY / "tests/vectors"
sys.path.insert(0, str(REPOSITORY / "tests"))

import redis  # noqa: E402
from bed import places  # noqa: E402
from bed.processes import COMPILING_S, PATIENCE_S, Process, RedisServer  # noqa: E402
from celery import Celery  # noqa: E402
from recordings import EXCUSED, STATES, all_of, calls, comparable, parent  # noqa: E402


def build(source, output):
    """Makes a module with the builder, as a user would."""
    builder = os.environ.get("LOVAGE_PYTHON_BUILDER", places.target() / "python/builder/bin/python")
    command = [builder, "-m", "lovage_build", source, "-q", "-o", output]
    environment = places.environment() | {
        "PYTHONPATH": str(REPOSITORY / "sdk/python"),
        "LOVAGE_BUILD_CACHE": str(places.target() / "python/cache"),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class UnderAWorker(unittest.TestCase):
    """One worker on one Redis, with the demo's module and the conformance tasks."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory(prefix="lovage-python-")
        folder = Path(cls._folder.name)
        modules = folder / "modules"
        modules.mkdir()
        # The recordings were made under this name; not a letter in it is changed.
        shutil.copyfile(VECTORS / "demo_tasks.py", folder / "facts_app.py")
        examples = REPOSITORY / "guest-examples/python"
        sources = [
            folder / "facts_app.py",
            examples / "conformance/conformance.py",
            examples / "shop/tasks.py",
        ]
        with ThreadPoolExecutor() as builders:
            done = builders.map(build, sources, [modules / f"{n}.wasm" for n in range(len(sources))])
            list(done)
        cls.server = RedisServer()
        cls.broker, cls.backend = cls.server.url(0), cls.server.url(1)
        command = [places.lovage(), "worker", "-b", cls.broker, "--result-backend", cls.backend]
        command += ["-Q", "celery,mails", "--modules", modules, "-c", "64", "-l", "trace"]
        granted = {"LOVAGE_HTTP__ALLOW": "127.0.0.1:*", "LOVAGE_HTTP__NETWORKS": "127.0.0.1"}
        cls.worker = Process(command, more=granted)
        cls.worker.wait_for_line("ready:", COMPILING_S)
        os.environ |= {"BROKER": cls.broker, "BACKEND": cls.backend}
        sys.path.insert(0, str(folder))
        import facts_app

        cls.demo = facts_app
        cls.app = Celery("caller", broker=cls.broker, backend=cls.backend)
        cls.documents = redis.Redis.from_url(cls.backend)

    @classmethod
    def tearDownClass(cls):
        cls.worker.terminate()
        cls.server.__exit__()
        cls._folder.cleanup()

    def call(self, name, *args, **kwargs):
        """A call of a conformance task."""
        return self.app.send_task(f"conformance.{name}", args, kwargs)

    def value(self, name, *args, **kwargs):
        """What a caller gets of it."""
        return self.call(name, *args, **kwargs).get(timeout=PATIENCE_S, interval=0.02)

    def raised(self, name, *args, **kwargs):
        """What a caller gets raised, and the traceback."""
        result = self.call(name, *args, **kwargs)
        with self.assertRaises(Exception) as caught:
            result.get(timeout=PATIENCE_S, interval=0.02)
        return caught.exception, result.traceback

    # The recordings.

    def test_every_recording_is_replayed_or_excused(self):
        replayed = set(calls(self.demo))
        self.assertFalse(replayed & set(EXCUSED["vectors"]))
        known = {path.stem for path in VECTORS.glob("run-*.json")}
        self.assertEqual(known - replayed - set(EXCUSED["vectors"]), set())

    def test_results_are_those_that_celerys_worker_wrote(self):
        before = set(self.documents.scan_iter("celery-task-meta-*"))
        expected, ids = {}, {}
        for name, call in calls(self.demo).items():
            recorded = json.loads((VECTORS / f"{name}.json").read_text())["final_keys"]
            documents = [
                entry["value"] for key, entry in recorded.items() if key.startswith("celery-task-meta-")
            ]
            expected[name] = sorted(comparable(document, name) for document in documents)
            ids[name] = call()
        # All leave at once, so that the waits of their retries pass side by side.
        roots = {name: {result.id for result in all_of(call)} for name, call in ids.items()}
        for name in expected:
            with self.subTest(name):
                actual = self.settled(name, roots[name], len(expected[name]))
                self.assertEqual(actual, expected[name])
        self.assertGreater(len(set(self.documents.scan_iter("celery-task-meta-*")) - before), 30)

    def settled(self, name, roots, count):
        """The documents of a call and of what came of it, once there are as many as expected."""
        wanted = STATES.get(name)
        deadline = time.monotonic() + PATIENCE_S
        if count == 0:
            # Nothing is to be written: a call behind it on the same queue has been settled.
            self.value("add", 1, 1)
        while True:
            seen, waiting = {}, set(roots)
            while waiting:
                task_id = waiting.pop()
                text = self.documents.get(f"celery-task-meta-{task_id}")
                if text is None or task_id in seen:
                    continue
                document = json.loads(text)
                seen[task_id] = text.decode()
                for (child, _), members in document.get("children") or []:
                    waiting |= {child} if members is None else {m[0][0] for m in members}
            if len(seen) < count:
                # An errback is nobody's child, and says whose it is.
                seen |= {key: text for key, text in self.all().items() if parent(text) in roots}
            states = [json.loads(text)["status"] for text in seen.values()]
            ready = all(s in ("SUCCESS", "FAILURE", "REVOKED") or s == wanted for s in states)
            if len(seen) >= count and ready or time.monotonic() > deadline:
                return sorted(comparable(text, name) for text in seen.values())
            time.sleep(0.05)  # because documents of calls that nobody waits for announce no event

    def all(self):
        """Every result document there is."""
        keys = list(self.documents.scan_iter("celery-task-meta-*"))
        found = zip(keys, self.documents.mget(keys) if keys else [])
        return {key.decode()[17:]: text.decode() for key, text in found if text}

    # The conformance tasks.

    def test_every_json_value_comes_back(self):
        values = [None, True, 0, -1, 2**64, -(2**200), 10**5000, 1.5, 1e22, 5e-324, "", "é😀\ud800"]
        values += [[], {}, {"a": [1, {"b": None}]}, {"__type__": "other", "__value__": 1, "x": 2}]
        values += [datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), b"\xff"]
        values += [uuid.UUID(int=7), decimal.Decimal("1.10"), datetime.date(2026, 1, 2)]
        sys.set_int_max_str_digits(0)
        for value in values:
            self.assertEqual(self.value("echo", value), value)
        self.assertTrue(self.value("echo", float("nan")) != self.value("echo", float("nan")))

    def test_arguments_come_by_position_and_by_name(self):
        self.assertEqual([self.value("add", 2, 3), self.value("add", 2, y=3)], [5, 5])
        error, _ = self.raised("add", 2)
        self.assertEqual(type(error).__name__, "ArgumentsInvalid")
        self.assertIn('"y" is a required property', str(error))

    def test_a_failure_shows_the_authors_line_and_none_of_ours(self):
        error, trace = self.raised("fail", "gone")
        self.assertEqual(type(error).__name__, "OutOfStock")
        self.assertEqual(error.args, ("gone", 42, {"sku": "A-1"}))
        source = (REPOSITORY / "guest-examples/python/conformance/conformance.py").read_text()
        line = next(n for n, text in enumerate(source.splitlines(), 1) if "raise OutOfStock" in text)
        self.assertIn(f'File "conformance.py", line {line}, in fail', trace)
        self.assertIn("raise OutOfStock(message", trace)
        self.assertEqual(trace.count('File "'), 1)

    def test_a_schema_error_says_where(self):
        self.assertEqual(self.value("typed", {"sku": "a", "count": 3}), 3)
        error, _ = self.raised("typed", {"sku": 7})
        self.assertEqual(type(error).__name__, "ArgumentsInvalid")
        self.assertIn('arguments/item/sku: value is not of type "string"', str(error))

    def test_retries_and_rejections(self):
        self.assertEqual(self.value("retry", 0.05), 2)
        self.assertIsInstance(self.raised("exhaust")[0], ConnectionError)
        self.assertEqual(type(self.raised("reject", "no")[0]).__name__, "Reject")

    def test_steps_happen_once_or_are_refused_clearly(self):
        result = self.call("steps", 7)
        try:
            receipt, retries = result.get(timeout=PATIENCE_S, interval=0.02)
        except Exception as error:
            self.assertEqual(type(error).__name__, "Unavailable")
            self.assertIn("ledger", str(error))
        else:
            self.assertTrue(receipt.endswith("/0"), receipt)
            self.assertEqual(retries, 1)

    def test_outbox_calls_leave_with_success_only(self):
        call = self.value("outbox", True)
        self.assertEqual(self.app.AsyncResult(call).get(timeout=PATIENCE_S, interval=0.02), 42)
        before = self.documents.dbsize()
        self.assertIsInstance(self.raised("outbox", False)[0], ValueError)
        self.assertEqual(self.documents.dbsize(), before + 1)

    def test_progress_is_seen_while_it_runs(self):
        result = self.call("progress", 700)
        deadline = time.monotonic() + PATIENCE_S
        while result.state != "PROGRESS" and time.monotonic() < deadline:
            time.sleep(0.01)  # because a custom state is looked at, not waited for
        self.assertEqual(result.info, {"done": 3, "of": 10})
        self.assertEqual(result.get(timeout=PATIENCE_S, interval=0.02), "finished")

    def test_log_lines_have_their_levels(self):
        self.value("log")
        for level in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR"):
            line = self.worker.wait_for_line(f"a line of {level.lower()}")
            self.assertIn(level, line)
        self.worker.wait_for_line("a line on standard output")

    def test_limits_and_waiting(self):
        self.assertEqual(self.value("soft"), "SoftTimeLimitExceeded after tidying up")
        self.assertEqual(self.value("sleep", 0.05), 0.05)

    def test_the_key_comes_from_the_template(self):
        self.assertEqual(self.value("once", 7), "order:7")

    def test_a_celery_project_is_a_module(self):
        result = self.app.send_task("shop.charge", (8, 250)).get(timeout=PATIENCE_S, interval=0.02)
        self.assertEqual((result["order"], result["amount"]), (8, decimal.Decimal("2.5")))
        self.worker.wait_for_line("mail for 8: Receipt")
        report = self.app.send_task("shop.report", (3,)).get(timeout=PATIENCE_S, interval=0.02)
        self.assertEqual(report["total"], 3)

    def test_each_attempt_draws_other_numbers(self):
        drawn = set()
        for order in (11, 12, 13):
            self.app.send_task("shop.charge", (order, 1)).get(timeout=PATIENCE_S, interval=0.02)
            line = self.worker.wait_for_line(f"mail for {order}: Receipt")
            drawn.add(re.search(r"Receipt (\d+)", line)[1])
        self.assertEqual(len(drawn), 3)


if __name__ == "__main__":
    unittest.main()
