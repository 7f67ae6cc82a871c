"""Every language's conformance module under a real worker, called by real Celery.

`conformance.py table` writes the table of sdk/README.md anew; the suite fails when it is not true.
"""

import datetime
import decimal
import json
import subprocess
import sys
import threading
import time
import unittest
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import redis  # noqa: E402
from bed import places  # noqa: E402
from bed.processes import COMPILING_S, PATIENCE_S, Process, RedisServer  # noqa: E402
from celery import Celery  # noqa: E402

LANGUAGES = json.loads((HERE / "languages.json").read_text())
README = places.REPOSITORY / "sdk/README.md"
# What arguments that do not fit become: with a schema before anything is started, else in the guest.
REFUSED = ("ArgumentsInvalid", "TypeError")
BEGIN, END = "<!-- the suite writes this table -->\n", "<!-- to here -->\n"


def feature(name):
    """Marks a test as that of a row in the table."""

    def mark(test):
        test.feature = name
        return test

    return mark


def modules() -> Path:
    """Where the modules are built."""
    folder = places.target() / "languages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment():
    """That of a user in this repository: its SDKs, the tools that setup installed, its own cache."""
    found = places.environment()
    tools = places.target() / "tools/bin"
    return found | {
        "PATH": f"{tools}:{found.get('PATH', '')}",
        "LOVAGE_KIT": str(places.REPOSITORY),
        "LOVAGE_BUILD_CACHE": str(places.target() / "languages/cache"),
        "CARGO_TARGET_DIR": str(places.target()),
        "LOVAGE_JS_TOOLS": str(places.target() / "js"),
        "GOCACHE": str(places.target() / "languages/go"),
        "LOVAGE_RUBY_WASM": str(places.target() / "tools/ruby/ruby+stdlib.wasm"),
    }


def build(name) -> Path:
    """Makes the module of a language as a user would."""
    output = modules() / name / f"{name}.wasm"
    output.parent.mkdir(exist_ok=True)
    folder = places.REPOSITORY / LANGUAGES[name]["folder"]
    command("build", folder, "-q", "-o", output)
    return output


#: What a worker says that lets the modules send requests to this machine.
GRANTED = {"LOVAGE_HTTP__ALLOW": "127.0.0.1:*", "LOVAGE_HTTP__NETWORKS": "127.0.0.1"}


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self):
        """201, and everything that it heard."""
        body = self.rfile.read(int(self.headers["content-length"]))
        names = ("x-mine", "idempotency-key", "content-type")
        heard = {"path": self.path, "body": json.loads(body)} | {n: self.headers[n] for n in names}
        answer = json.dumps(heard).encode()
        self.send_response(503 if self.path == "/busy" else 201)
        self.send_header("X-Theirs", "a header")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Says nothing."""


def command(*words, must=True):
    """Runs one of the binary's commands to its end; it has to succeed, unless it need not."""
    words = [str(places.lovage()), *map(str, words)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    if must and done.returncode != 0:
        raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")
    return done


class Language(unittest.TestCase):
    """One language's module in a worker of its own; `language` is its name."""

    language = None

    @classmethod
    def setUpClass(cls):
        module = build(cls.language)
        cls.entry = LANGUAGES[cls.language]
        number = sorted(LANGUAGES).index(cls.language)
        url = SERVER.server.url(number)
        words = [places.lovage(), "worker", "-b", url, "--result-backend", url, "-c", "32"]
        words += ["--modules", module.parent, "--executors", "1", "-l", "trace"]
        native = {"LOVAGE_WORKER__CACHE": f"{environment()['LOVAGE_BUILD_CACHE']}/native"}
        cls.worker = Process(words, more=native | GRANTED)
        cls.worker.wait_for_line("ready:", COMPILING_S)
        cls.app = Celery("caller", broker=url, backend=url)
        cls.documents = redis.Redis.from_url(url)

    @classmethod
    def tearDownClass(cls):
        cls.app.close()
        cls.documents.close()
        code = cls.worker.terminate()
        if code != 0:
            raise RuntimeError(f"the worker ended with {code}:\n{cls.worker.told()}")

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
        return caught.exception, result.traceback or ""

    def line_of(self, text):
        """The line of the module's source that has this text, counted from 1."""
        source = places.REPOSITORY / self.entry["folder"] / self.entry["source"]
        lines = enumerate(source.read_text().splitlines(), 1)
        return next(number for number, line in lines if text in line)


class Sdk:
    """What a module with an SDK does."""

    @feature("arguments by position and by name; what does not fit is `ArgumentsInvalid`, or a `TypeError`")
    def test_arguments(self):
        self.assertEqual([self.value("add", 2, 3), self.value("add", 2, y=3)], [5, 5])
        self.assertIn(self.refused("add", 2), REFUSED)
        self.assertIn(self.refused("add", 2, 3, 4), REFUSED)
        self.assertIn(self.refused("add", 2, y=3, z=4), REFUSED)

    def refused(self, name, *args, **kwargs):
        """The name of the class of what a caller gets raised."""
        return type(self.raised(name, *args, **kwargs)[0]).__name__

    @feature("every JSON value as it came: integers of any size, unicode, kombu's typed values")
    def test_values(self):
        values = [None, True, 0, -1, 2**64, -(2**200), 10**5000, 1.5, 1e22, 5e-324, "", "é😀"]
        values += [[], {}, {"a": [1, {"b": None}]}, {"__type__": "other", "__value__": 1, "x": 2}]
        values += [datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), b"\xff"]
        values += [uuid.UUID(int=7), decimal.Decimal("1.10"), datetime.date(2026, 1, 2)]
        for value in values:
            self.assertEqual(self.value("echo", value), value)

    @feature("`NaN`, and lone surrogates in texts")
    def test_odd_values(self):
        self.assertTrue(self.value("echo", float("nan")) != self.value("echo", float("nan")))
        self.assertEqual(self.value("echo", float("-inf")), float("-inf"))
        self.assertEqual(self.value("echo", "a\ud800b"), "a\ud800b")

    @feature("failures with type, arguments, and the author's file and line")
    def test_failures(self):
        error, trace = self.raised("fail", "gone")
        self.assertEqual(type(error).__name__, "OutOfStock")
        self.assertEqual(error.args, ("gone", 42, {"sku": "A-1"}))
        self.assertRegex(trace.splitlines()[-1], r"^(\w+\.)?OutOfStock\b.*gone")
        line = next(n for n in self.lines_of_failure() if f"line {n}" in trace or f":{n}" in trace)
        self.assertIn(Path(self.entry["source"]).name, trace, f"and line {line}")

    def lines_of_failure(self):
        """Where the source says that it fails: the statement may take several lines."""
        source = (places.REPOSITORY / self.entry["folder"] / self.entry["source"]).read_text()
        ways = ("raise OutOfStock", "new OutOfStock(", 'OutOfStock"')
        first = self.line_of(next(way for way in ways if way in source))
        return range(first - 4, first + 5)

    @feature("retries: on request with a time, and of what fails")
    def test_retries(self):
        self.assertEqual(self.value("retry", 0.05), 2)
        self.assertIsInstance(self.raised("exhaust")[0], ConnectionError)

    @feature("rejections, which are not run again")
    def test_rejections(self):
        error, _ = self.raised("reject", "no")
        self.assertEqual((type(error).__name__, error.args[0]), ("Reject", "no"))

    @feature("steps that happen once over all attempts")
    def test_steps(self):
        receipt, retries = self.value("steps", 7)
        self.assertTrue(receipt.endswith("/0") and len(receipt) > 2, receipt)
        self.assertEqual(retries, 1)

    @feature("calls to other tasks, which leave with success only")
    def test_outbox(self):
        call = self.value("outbox", True)
        self.assertEqual(self.app.AsyncResult(call).get(timeout=PATIENCE_S, interval=0.02), 42)
        before = self.count()
        self.assertIsInstance(self.raised("outbox", False)[0], ValueError)
        self.value("add", 1, 1)
        self.assertEqual(self.count(), before + 2)

    def count(self):
        """How many results there are."""
        return len(list(self.documents.scan_iter("celery-task-meta-*")))

    @feature("custom states, seen while the task runs")
    def test_progress(self):
        result = self.call("progress", 700)
        deadline = time.monotonic() + PATIENCE_S
        while result.state != "PROGRESS" and time.monotonic() < deadline:
            time.sleep(0.01)  # because a custom state is looked at, not waited for
        self.assertEqual(result.info, {"done": 3, "of": 10})
        self.assertEqual(result.get(timeout=PATIENCE_S, interval=0.02), "finished")

    @feature("log lines of five levels with fields; what is printed is logged")
    def test_logs(self):
        self.value("log")
        for level in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR"):
            line = self.worker.wait_for_line(f"a line of {level.lower()}")
            self.assertIn(level, line)
            self.assertIn("number", line)
        self.worker.wait_for_line("a line on standard output")

    @feature("the soft time limit, with time to tidy up")
    def test_soft_limit(self):
        self.assertEqual(self.value("soft"), "SoftTimeLimitExceeded after tidying up")

    @feature("waiting that lets other tasks run")
    def test_waiting(self):
        begun = time.monotonic()
        calls = [self.call("sleep", 0.4) for _ in range(10)]
        self.assertEqual([call.get(timeout=PATIENCE_S, interval=0.02) for call in calls], [0.4] * 10)
        self.assertLess(time.monotonic() - begun, 3.5)

    @feature("the idempotency key by a template: the second call is not run")
    def test_key(self):
        self.assertEqual([self.value("once", 7), self.value("once", 7)], ["order:7"] * 2)
        self.worker.wait_for_line("was done before")

    @feature("typed parameters, whose mismatch is told where it is")
    def test_schema(self):
        self.assertEqual(self.value("typed", {"sku": "a", "count": 3}), 3)
        self.assertEqual(self.value("typed", {"sku": "a"}, note="b"), 1)
        error, _ = self.raised("typed", {"sku": 7})
        self.assertIn(type(error).__name__, REFUSED)
        self.assertRegex(str(error), r"\b(item|sku)\b")

    @feature("an end of its own: ignored, back to its queue, changed, or another call in its place")
    def test_ends(self):
        child = str(uuid.uuid4())
        ignored = self.call("ignore", child)
        self.assertEqual(self.app.AsyncResult(child).get(timeout=PATIENCE_S, interval=0.02), 42)
        self.assertEqual(self.value("requeue"), "redelivered")
        self.assertEqual(self.value("replace", 7), 107)
        self.assertEqual(self.value("changed", "first"), ["second", 1])
        self.assertIsNone(self.documents.get(f"celery-task-meta-{ignored.id}"))

    @feature("any canvas of Celery's, and all that Celery's `Task.request` has")
    def test_canvas(self):
        body = self.value("canvas", 5)[0][0]
        found = self.app.AsyncResult(body).get(timeout=PATIENCE_S, interval=0.02)
        self.assertEqual(found, [6, 7])
        call = self.call("request", "é")
        request = call.get(timeout=PATIENCE_S, interval=0.02)
        expected = {"id": call.id, "task": "conformance.request", "args": ["é"], "retries": 0}
        self.assertEqual(expected, {name: request[name] for name in expected})
        self.assertEqual(request["delivery_info"]["routing_key"], "celery")
        self.assertRegex(request["origin"], "^gen[0-9]+@")

    @feature("requests to hosts that it was granted, with a key that is the same in every attempt")
    def test_http(self):
        with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            status, theirs, heard = self.value("http", f"{url}/a?b=%20")
            self.assertEqual((status, theirs), (201, "a header"))
            key = heard.pop("idempotency-key")
            self.assertRegex(key, r"^lv1-[a-z2-7]{26}$")
            mine = {"path": "/a?b=%20", "x-mine": "conformance", "content-type": "application/json"}
            self.assertEqual(heard, mine | {"body": {"number": 7}})
            self.assertNotEqual(self.value("http", url)[2]["idempotency-key"], key)
            self.assertEqual(type(self.raised("http", f"{url}/busy")[0]).__name__, "HTTPError")
            server.shutdown()
        self.assertIsInstance(self.raised("http", url)[0], ConnectionError)
        self.assertEqual(type(self.raised("http", "http://other.example")[0]).__name__, "Denied")

    @feature("a fresh instance for every attempt, unless a task asks to share them (`reuse`)")
    def test_instances(self):
        self.assertEqual([self.value("count") for _ in range(3)], [1, 1, 1])
        calls = []
        for _ in range(3):
            calls.append(self.call("shared"))
            calls[-1].get(timeout=PATIENCE_S, interval=0.02)
        self.assertEqual([call.result for call in calls], [[n, call.id] for n, call in enumerate(calls, 1)])

    @feature("a manifest with parameters, documentation and limits")
    def test_manifest(self):
        done = command("check", modules() / self.language / f"{self.language}.wasm")
        self.assertIn("conformance.add(x, y)", done.stdout)
        self.assertIn("conformance.once(order_id)", done.stdout)


class Program:
    """What a program without an SDK does."""

    @feature("the result is what is printed")
    def test_result(self):
        self.assertEqual([self.value("add", 2, 3), self.value("add", 2, y=3)], [5, 5])
        self.assertEqual(self.value("echo", {"a": [1, "é😀", None]}), {"a": [1, "é😀", None]})

    @feature("exit status 75 is a retry, when it says")
    def test_retry(self):
        self.assertEqual(self.value("retry", 0.05), 2)

    @feature("another exit status is a failure, told by standard error")
    def test_failure(self):
        error, trace = self.raised("fail", "gone")
        self.assertIn("gone", f"{error} {trace}")

    @feature("standard error is the log")
    def test_log(self):
        self.value("log")
        self.worker.wait_for_line("a line on standard error")

    @feature("the idempotency key by a template in manifest.json")
    def test_key(self):
        self.assertEqual([self.value("once", 7), self.value("once", 7)], ["order:7"] * 2)


def rows(base):
    """The features of a form, in the order in which they are checked."""
    return [test.feature for test in vars(base).values() if hasattr(test, "feature")]


def table() -> str:
    """The tables of sdk/README.md."""
    text, notes = "", []
    for form, base in (("sdk", Sdk), ("command", Program)):
        names = [name for name, entry in LANGUAGES.items() if entry["form"] == form]
        if not names:
            continue
        shown = [LANGUAGES[name].get("title", name) for name in names]
        text += f"| {'with an SDK' if form == 'sdk' else 'as a program'} | {' | '.join(shown)} |\n"
        text += f"|---|{':-:|' * len(names)}\n"
        for row in rows(base):
            cells = []
            for name in names:
                reason = LANGUAGES[name]["lacks"].get(row)
                if reason and (name, reason) not in notes:
                    notes.append((name, reason))
                mark = f"no ({notes.index((name, reason)) + 1})" if reason else "✓"
                cells.append(mark)
            text += f"| {row} | {' | '.join(cells)} |\n"
        text += "\n"
    for number, (name, reason) in enumerate(notes, 1):
        text += f"{number}. {LANGUAGES[name].get('title', name)}: {reason}\n"
    return text if not notes else text + "\n"


class Table(unittest.TestCase):
    """What the README says of the SDKs."""

    def test_the_readme_has_the_table_that_is_checked(self):
        written = README.read_text().partition(BEGIN)[2].partition(END)[0]
        self.assertEqual(written.strip(), table().strip(), "run `conformance.py table`")

    def test_what_is_lacking_is_a_row(self):
        for name, entry in LANGUAGES.items():
            base = Sdk if entry["form"] == "sdk" else Program
            self.assertEqual(set(entry["lacks"]) - set(rows(base)), set(), name)


def suites(names):
    """A class of tests for each language: those of its form, less what it lacks."""
    found = []
    for name in names:
        entry = LANGUAGES[name]
        base = Sdk if entry["form"] == "sdk" else Program
        kept = {
            key: test for key, test in vars(base).items()
            if not key.startswith("__") and getattr(test, "feature", None) not in entry["lacks"]
        }  # fmt: skip
        found.append(type(name, (Language,), kept | {"language": name}))
    return found


class _Server:
    """The one Redis, for as long as the suite runs."""

    server = None


SERVER = _Server()


def main(arguments) -> int:
    """Runs the suite for the languages that are named, or for all."""
    if arguments == ["table"]:
        before, _, rest = README.read_text().partition(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{table()}{END}{rest.partition(END)[2]}")
        return 0
    names = arguments or list(LANGUAGES)
    if unknown := set(names) - set(LANGUAGES):
        sys.exit(f"no such language: {', '.join(sorted(unknown))}")
    sys.set_int_max_str_digits(0)
    loader = unittest.defaultTestLoader
    tests = unittest.TestSuite(map(loader.loadTestsFromTestCase, [Table, *suites(names)]))
    with RedisServer() as SERVER.server:
        done = unittest.TextTestRunner(verbosity=1).run(tests)
    return 0 if done.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
