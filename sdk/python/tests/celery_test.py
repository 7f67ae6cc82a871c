"""The stand-in for Celery, in a plain interpreter."""

import datetime
import json
import logging
import unittest

from celery import Celery, Task, chain, chord, current_task, group, shared_task, signals, signature
from celery.app.task import backoff_of
from celery.exceptions import Ignore, MaxRetriesExceededError, NotSupported, Reject, Retry
from celery.schedules import crontab
from celery.utils.log import get_task_logger
from kombu import Exchange, Queue
from lovage import _logs, _manifest, _prepare
from lovage.exceptions import Unavailable
from lovage.testing import Host

app = Celery("t", broker="redis://nowhere")
app.conf.task_routes = {"t.routed": {"queue": "special"}, "t.glob.*": "globbed"}
logger = get_task_logger(__name__)
SEEN = []


class Flaky(Exception):
    pass


class Final(Flaky):
    pass


class Telling(Task):
    """A base class with handlers."""

    abstract = True
    max_retries = 2

    def before_start(self, task_id, args, kwargs):
        SEEN.append(("before", task_id))

    def on_success(self, retval, task_id, args, kwargs):
        SEEN.append(("success", retval))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        SEEN.append(("failure", repr(exc), "celery_test.py" in str(einfo)))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        SEEN.append(("retry", repr(exc)))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        SEEN.append(("after", status))


@app.task(name="t.add")
def add(x, y):
    return x + y


@app.task(base=Telling, bind=True, name="t.told")
def told(self, how):
    if how == "retry":
        raise self.retry(countdown=1, exc=Flaky("x"))
    if how == "fail":
        raise Flaky("bad")
    return how


@app.task(
    bind=True, name="t.auto", autoretry_for=(Flaky,), dont_autoretry_for=(Final,), retry_backoff=3,
    retry_backoff_max=20, retry_jitter=False, retry_kwargs={"max_retries": 4}, rate_limit="10/m",
    time_limit=60, soft_time_limit=45.5, queue=Queue("slow", Exchange("slow")), acks_late=True,
    idempotency_key="o:{n}", ignore_result=True,
)
def auto(self, n):
    """Docs."""
    raise Final("no") if n == 0 else Flaky("again")


@app.task(bind=True, name="t.retry")
def retry(self, **options):
    raise self.retry(**options)


@shared_task(bind=True, name="t.end")
def end(self, how):
    if how == "ignored by hand":
        self.update_state(state="FAILURE", meta={"exc_type": "ValueError", "exc_message": "by hand"})
    raise {"reject": Reject("bad", requeue=False), "requeue": Reject("again", requeue=True)}.get(how, Ignore())


@app.task(bind=True, name="t.calls")
def calls(self, what):
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
    return {
        "options": lambda: add.apply_async(
            (1, 2), queue="q", priority=3, countdown=2, headers={"a": 1}, time_limit=9, soft_time_limit=8
        ).id,
        "eta": lambda: add.s(1, 2).apply_async(eta=eta, expires=90).id,
        "routed": lambda: app.send_task("t.routed", kwargs={"k": 1}).id,
        "group": lambda: group(add.s(1, i) for i in range(2)).apply_async().id,
        "one": lambda: chain(add.s(1, 2)).delay().id,
        "chain": lambda: (add.s(1, 2) | add.s(3)).delay().id,
        "chord": lambda: chord([add.s(1, 1)])(add.s(1)).id,
        "link": lambda: add.apply_async((1, 2), link=add.s(1)).id,
        "get": lambda: add.delay(1, 2).get(),
        "typing": lambda: add.delay(1),
        "replace": lambda: self.replace(add.s(1, 2)),
        "nested": lambda: [add(1, 2), self.request.id, current_task.name],
    }[what]()


@app.task(name="t.glob.one", max_retries=None)
def globbed():
    logger.debug("fine", extra={"order": 7})


def entry(name):
    return next(one for one in json.loads(_manifest.manifest("m"))["tasks"] if one["name"] == name)


class Running(unittest.TestCase):
    def test_called_directly_it_is_the_function(self):
        self.assertEqual((add(2, 3), add.run(2, 3), add.__wrapped__(2, 3), add.__name__), (5, 5, 5, "add"))
        self.assertTrue(told.request.called_directly)
        with self.assertRaises(Flaky):
            told("retry")

    def test_the_request_is_that_of_the_attempt(self):
        headers = {"tenant": "acme", "timelimit": [50, 40], "group_index": 3, "stamps": {"s": 1}}
        host = Host(task_id="id-1", retries=2, headers=headers, redelivered=True, parent_id="p")
        seen = []

        @app.task(bind=True, name="t.request")
        def look(self, x, y=None):
            seen.append(self.request)

        host.call("t.request", 1, y=2)
        (request,) = seen
        self.assertEqual((request.id, request.retries, request.parent_id), ("id-1", 2, "p"))
        self.assertEqual((request.args, request.kwargs, request.tenant), ([1], {"y": 2}, "acme"))
        self.assertEqual((request.headers, request.timelimit), ({"tenant": "acme"}, [50, 40]))
        self.assertEqual((request.time_limit, request.soft_time_limit), (50, 40))
        self.assertEqual(request.delivery_info["redelivered"], True)
        self.assertEqual((request.get("nothing", 1), request.group_index, request.stamps), (1, 3, {"s": 1}))

    def test_handlers_and_signals_are_called_in_their_order(self):
        SEEN.clear()
        signals.task_prerun.connect(lambda sender, **_: SEEN.append(("prerun", sender.name)))
        host = Host()
        for how in ("ok", "retry", "fail"):
            host.attempt("t.told", how)
        signals.task_prerun.receivers.clear()
        self.assertEqual(SEEN[:4], [("prerun", "t.told"), ("before", "task-1"), ("success", "ok"), ("after", "SUCCESS")])
        self.assertEqual(SEEN[6:8], [("retry", "Flaky('x')"), ("after", "RETRY")])
        self.assertEqual(SEEN[10:], [("failure", "Flaky('bad')", True), ("after", "FAILURE")])

    def test_how_attempts_end(self):
        host = Host()
        ends = {how: host.attempt("t.end", how) for how in ("reject", "requeue", "ignore", "ignored by hand")}
        self.assertEqual([one.kind for one in ends.values()], ["rejected", "requeued", "ignored", "rejected"])
        self.assertEqual(ends["reject"].failure[:3], ("Reject", "celery.exceptions", '["bad", false]'))
        self.assertEqual(ends["ignored by hand"].failure[:3], ("ValueError", "builtins", '["by hand"]'))

    def test_eager_runs_and_retries_here(self):
        self.assertEqual(add.apply((1, 2)).get(), 3)
        self.assertEqual(auto.apply((1,)).state, "FAILURE")
        self.assertEqual(add.s(1).apply((2,)).get(), 3)


class Retrying(unittest.TestCase):
    def test_the_countdown_is_the_tasks_own_or_the_callers(self):
        host = Host()
        self.assertEqual(host.attempt("t.retry").after, 180)
        self.assertEqual(host.attempt("t.retry", countdown=0.2).after, 0.2)
        eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=30)
        self.assertAlmostEqual(host.attempt("t.retry", eta=eta).after, 30, delta=2)

    def test_when_all_are_used_up(self):
        outcome = Host(retries=3).attempt("t.retry")
        self.assertEqual(outcome.failure.exception_type, "MaxRetriesExceededError")
        self.assertEqual(
            json.loads(outcome.failure.arguments), ["Can't retry t.retry[task-1] args:() kwargs:{}"]
        )
        self.assertEqual(Host(retries=3).attempt("t.retry", max_retries=5).kind, "retry")
        self.assertEqual(Host(retries=1).attempt("t.retry", max_retries=1).kind, "failed")

    def test_autoretry_waits_as_celery_does(self):
        waits = [Host(retries=n).attempt("t.auto", 1) for n in range(5)]
        self.assertEqual([wait.after for wait in waits], [3, 6, 12, 20, None])
        self.assertEqual(waits[4].kind, "failed")
        self.assertEqual(waits[4].failure.exception_type, "Flaky")
        self.assertEqual(Host().attempt("t.auto", 0).kind, "failed")
        drawn = {backoff_of(1, 2, 600, True) for _ in range(300)}
        self.assertEqual(drawn, {0, 1, 2, 3, 4})

    def test_the_next_attempt_may_differ(self):
        for options in ({"args": [1]}, {"kwargs": {"a": 1}}, {"queue": "other", "priority": 3}):
            outcome = Host().attempt("t.retry", **options)
            self.assertEqual((outcome.kind, outcome.options), ("retry", options))
        self.assertEqual(Host().attempt("t.retry").options, None)

    def test_the_exceptions_read_as_celerys(self):
        self.assertEqual(str(Retry(exc=Flaky("x"), when=3)), "Retry in 3s: Flaky('x')")
        self.assertEqual(str(Retry("why")), "why")
        error = MaxRetriesExceededError("a", task_args=(1,), task_kwargs={})
        self.assertEqual((error.args, error.task_args), (("a",), (1,)))


class Calling(unittest.TestCase):
    def sent(self, what):
        host = Host()
        host.call("t.calls", what)
        return host.sent

    def test_options_reach_the_outbox(self):
        (call,) = self.sent("options")
        self.assertEqual((call.task, call.args), ("t.add", [1, 2]))
        self.assertEqual((call.options["queue"], call.options["priority"]), ("q", 3))
        self.assertEqual(call.options["countdown_ms"], 2000)
        self.assertEqual(json.loads(call.options["headers"]), {"a": 1, "timelimit": [9, 8]})
        (call,) = self.sent("eta")
        self.assertAlmostEqual(call.options["countdown_ms"], 60_000, delta=2_000)
        self.assertEqual(call.options["expires_ms"], 90_000)
        (call,) = self.sent("routed")
        self.assertEqual((call.options["queue"], call.kwargs), ("special", {"k": 1}))

    def test_a_group_is_its_members(self):
        (call,) = self.sent("group")
        self.assertEqual([task["args"] for task in call.kwargs["tasks"]], [[1, 0], [1, 1]])
        self.assertEqual(len(self.sent("one")), 1)

    def test_canvas_is_sent_as_celerys_dicts(self):
        for what, task in (("chain", "celery.chain"), ("chord", "celery.chord"), ("link", "t.add")):
            (call,) = self.sent(what)
            self.assertEqual(call.task, task)
        self.assertEqual(call.options["link"][0]["task"], "t.add")

    def test_a_task_may_leave_its_place_to_another(self):
        outcome = Host().attempt("t.calls", "replace")
        self.assertEqual((outcome.kind, outcome.options["task"]), ("replaced", "t.add"))

    def test_a_result_cannot_be_waited_for(self):
        self.assertEqual(Host().attempt("t.calls", "get").failure.exception_type, "NotSupported")
        self.assertEqual(Host().attempt("t.calls", "typing").failure.exception_type, "TypeError")
        with self.assertRaises(Unavailable):
            add.delay(1, 2)

    def test_a_task_called_inside_a_task_is_a_function(self):
        self.assertEqual(Host().call("t.calls", "nested"), [3, "task-1", "t.calls"])

    def test_signatures_are_celerys_dicts(self):
        made = add.s(1, y=2).set(queue="q")
        expected = {"task": "t.add", "args": (1,), "kwargs": {"y": 2}, "options": {"queue": "q"}}
        self.assertEqual(dict(made), {**expected, "subtask_type": None, "immutable": False})
        self.assertEqual(signature(json.loads(json.dumps(made)))["task"], "t.add")
        self.assertEqual(repr(add.s(1) | add.s(2)), "t.add(1) | t.add(2)")
        both = chord([add.s(1, 1)], add.s())
        self.assertEqual((both["task"], both.body["task"], len(both.tasks)), ("celery.chord", "t.add", 1))
        self.assertEqual(add.si(1)["immutable"], True)


class Declaring(unittest.TestCase):
    def test_options_reach_the_manifest(self):
        found = entry("t.auto")
        self.assertEqual(found["params"], ["n"])
        self.assertEqual(found["limits"], {"time_ms": 60_000, "soft_time_ms": 45_500})
        self.assertEqual((found["queue"], found["rate_limit"], found["acks_late"]), ("slow", "10/m", True))
        self.assertEqual(found["retry"]["max"], 4)
        self.assertEqual((found["retry"]["backoff"], found["retry"]["on_failure"]), ("celery", False))
        self.assertEqual(found["celery"]["autoretry_for"], ["celery_test.Flaky"])
        self.assertEqual((found["doc"], found["ignore_result"]), ("Docs.", True))
        self.assertEqual(entry("t.glob.one")["queue"], "globbed")
        self.assertEqual(entry("t.glob.one")["retry"]["max"], None)
        self.assertEqual(entry("t.told")["retry"]["max"], 2)

    def test_settings_shape_tasks(self):
        other = Celery("other")
        other.conf.update(task_time_limit=7, task_acks_late=True, task_annotations={"o.a": {"rate_limit": "1/s"}})

        @other.task(name="o.a")
        def a():
            return None

        _prepare.finish()
        found = entry("o.a")
        self.assertEqual((found["limits"], found["acks_late"], found["rate_limit"]), ({"time_ms": 7000}, True, "1/s"))
        self.assertEqual(crontab(minute=0, hour="*/3"), crontab(hour="*/3", minute="0"))
        self.assertEqual(crontab(minute=5).expression, "5 * * * *")
        self.assertEqual(Queue("a"), Queue("a"))

    def test_what_cannot_work_is_refused_where_it_is_declared(self):
        with self.assertRaises(NotSupported):
            app.task(name="t.p", pydantic=True)(lambda: None)
        with self.assertRaises(NotSupported):
            app.control.inspect()

    def test_log_lines_reach_the_host(self):
        handler = _logs.HostHandler()
        logging.getLogger().addHandler(handler)
        try:
            host = Host()
            host.call("t.glob.one")
        finally:
            logging.getLogger().removeHandler(handler)
        self.assertEqual(host.logged, [("debug", "fine", {"order": 7, "logger": "celery_test"})])


if __name__ == "__main__":
    unittest.main()
