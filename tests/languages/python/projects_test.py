"""Whole Celery projects as they are found in the wild, built by `lovage build` and called by Celery."""

import hashlib
import hmac
import json
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import redis  # noqa: E402
from bed import places  # noqa: E402
from bed.processes import COMPILING_S, PATIENCE_S, Process, RedisServer  # noqa: E402
from celery import Celery  # noqa: E402
from conformance import command, environment  # noqa: E402

PROJECTS = ("first_steps", "next_steps", "mail", "webhook", "report")
EXPORT = "region,amount\nnorth,1000.50\nnorth,999.50\nsouth,3.25"


class Projects(unittest.TestCase):
    """All of them in one worker."""

    @classmethod
    def setUpClass(cls):
        modules = places.target() / "languages/python-projects"
        for name in PROJECTS:
            command("build", HERE / "projects" / name, "-q", "-o", modules / f"{name}.wasm")
        cls.server = RedisServer()
        cls.broker, cls.backend = cls.server.url(0), cls.server.url(1)
        words = [places.lovage(), "worker", "-b", cls.broker, "--result-backend", cls.backend]
        words += ["--modules", modules, "-Q", "celery,low-priority", "-c", "32", "-l", "debug"]
        native = {"LOVAGE_WORKER__CACHE": f"{environment()['LOVAGE_BUILD_CACHE']}/native"}
        cls.worker = Process(words, more=native)
        cls.worker.wait_for_line("ready:", COMPILING_S)
        cls.app = Celery("caller", broker=cls.broker, backend=cls.backend)
        cls.queues = redis.Redis.from_url(cls.broker)

    @classmethod
    def tearDownClass(cls):
        cls.worker.terminate()
        cls.server.__exit__()

    def value(self, task, *args, **options):
        """What a call of real Celery's gets."""
        return self.app.send_task(task, args, **options).get(timeout=PATIENCE_S, interval=0.02)

    def test_first_steps(self):
        self.assertEqual(self.value("tasks.add", 4, 4, queue="low-priority"), 8)

    def test_next_steps(self):
        self.assertEqual(self.value("proj.tasks.add", 2, 2), 4)
        self.assertEqual(self.value("proj.tasks.mul", 4, 4), 16)
        self.assertEqual(self.value("proj.tasks.xsum", list(range(100))), 4950)

    def test_mail_is_composed_and_handed_over(self):
        sent = self.value("tasks.send", "welcome", "ada@example.org", {"name": "Ada", "relay_busy": 1})
        self.assertEqual(sent["subject"], "Welcome, Ada")
        self.assertEqual(sent["attempt"], 2)
        _, envelope = self.queues.blpop("relay", timeout=PATIENCE_S)
        body = json.loads(__import__("base64").b64decode(json.loads(envelope)["body"]))
        self.assertIn("Subject: Welcome, Ada", body[0][0])
        order = {"id": 7, "name": "Ada", "email": "ada@example.org"}
        order["items"] = [{"name": "Tea", "count": 2, "price": 350}]
        self.assertEqual(self.value("mail.receipt", order), {"order": 7, "cents": 700, "lines": 1})
        readers = ["a@example.org", "A@example.org ", "no address", "b@example.org"]
        self.assertEqual(self.value("mail.newsletter", readers, "May"), 2)

    def test_mail_that_cannot_be_sent_says_why(self):
        with self.assertRaises(Exception) as caught:
            self.value("tasks.send", "none", "ada@example.org")
        self.assertEqual(type(caught.exception).__name__, "Reject")
        with self.assertRaises(Exception) as caught:
            self.value("tasks.send_strictly", "ada@example.org")
        self.assertEqual(type(caught.exception).__name__, "RelayBusy")

    def test_webhooks_are_verified_and_their_delivery_tried_again(self):
        body = json.dumps({"id": "e1", "type": "order.paid"})
        signed = hmac.new(b"s3cret", f"1000.{body}".encode(), hashlib.sha256).hexdigest()
        taken = self.value("webhook.receive", "acme", f"t=1000,v1={signed}", body, 1001)
        self.assertEqual(taken, {"id": "e1", "type": "order.paid", "targets": 2})
        with self.assertRaises(Exception) as caught:
            self.value("webhook.receive", "acme", "t=1000,v1=00", body, 1001)
        self.assertEqual(type(caught.exception).__name__, "BadSignature")
        # There is no network: each delivery fails, is tried three times, and says so.
        self.worker.wait_for_line("failed for good")
        events = [{"id": "b", "at": "2026-01-03T00:00:00+00:00"}, {"id": "a", "at": "2026-01-02T00:00:00+00:00"}]
        self.assertEqual(self.value("webhook.replay", events, "2026-01-01"), ["a", "b"])

    def test_reports_wait_for_their_data(self):
        report = self.value("report.summarise", EXPORT)
        self.assertEqual((report["rows"], report["attempt"], report["total"]), (3, 2, "2,003.25"))
        self.assertEqual(report["groups"]["north"]["median"], 1000.0)
        days = self.value("report.calendar", "2026-01-01", 31)
        self.assertEqual((days["to"], days["weekends"], days["length"]), ("2026-01-31", 9, "a month"))
        self.assertEqual(self.value("report.nightly", "sales")["kind"], "sales")

    def test_check_says_what_cannot_work(self):
        with tempfile.TemporaryDirectory(prefix="lovage-check-") as folder:
            source = Path(folder) / "tasks.py"
            source.write_text("import numpy\nfrom celery import shared_task\n")
            done = command("check", source, must=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("tasks.py:1: error: imports numpy", done.stdout)
        self.assertIn("urllib.request", command("check", HERE / "projects/webhook").stdout)


if __name__ == "__main__":
    unittest.main()
