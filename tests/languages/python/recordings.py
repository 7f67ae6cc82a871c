"""The calls of the recorded conversations, and what of their result documents is compared."""

import datetime
import decimal
import json
import re
import time
import uuid
from pathlib import Path

from bed.processes import PATIENCE_S
from celery import chain, chord, group
from celery.result import GroupResult

EXCUSED = json.loads((Path(__file__).resolve().parent / "excused.json").read_text())
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

#: What guests are told of a request; the rest is excused in `excused.json`.
TOLD = (
    "lang task id shadow eta expires group group_index retries timelimit root_id parent_id argsrepr "
    "kwargsrepr ignore_result replaced_task_nesting stamped_headers stamps tenant correlation_id "
    "delivery_info args kwargs is_eager called_directly time_limit soft_time_limit headers"
).split()


def calls(demo):
    """The calls of each recording, as its `did` says."""
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    far = datetime.datetime(2031, 1, 1, tzinfo=datetime.timezone.utc)
    d = demo
    later = {"headers": {"tenant": "acme"}, "link": d.mul.s(2), "link_error": d.errback_old.s()}
    later |= {"expires": far, "time_limit": 50, "soft_time_limit": 40}
    many = [d.mul.s(10), d.on_done.si("static").set(queue="callbacks", priority=3)]
    elsewhere = d.app.signature("elsewhere.on_error", args=("extra",)).set(queue="elsewhere")
    typed = ((datetime.date(2026, 1, 2),), {"u": uuid.UUID(int=5), "d": decimal.Decimal("0.10")})
    return {
        "run-started-doc": lambda: d.started.delay(20),
        "run-progress-doc": lambda: d.progress_hang.delay(20),
        "run-ok-add": lambda: d.add.delay(2, 3),
        "run-ok-echo-typed": lambda: d.echo.apply_async(*typed),
        "run-ok-nan": lambda: d.echo.apply_async((float("nan"), float("inf"), 2**70, "é")),
        "run-ok-rich": lambda: d.rich.delay(),
        "run-fail": lambda: d.fail.delay("boom"),
        "run-fail-custom": lambda: d.fail_custom.delay(),
        "run-fail-nested": lambda: d.fail_nested.delay(),
        "run-fail-cause": lambda: d.fail_cause.delay(),
        "run-fail-typeerror": lambda: d.app.send_task("demo.add", args=[1]),
        "run-fail-late": lambda: d.fail_late.delay(),
        "run-fail-late-noack": lambda: d.fail_late_noack.delay(),
        "run-retry-once": lambda: d.retry_once.delay(7),
        "run-retry-exhaust": lambda: d.retry_exhaust.delay(),
        "run-retry-exhaust-exc": lambda: d.retry_exhaust_exc.delay(),
        "run-retry-later": lambda: d.retry_later.apply_async((7,), {"opt": "v"}, **later),
        "run-autoretry": lambda: d.autoretry.delay(1),
        "run-reject": lambda: d.reject.delay(),
        "run-reject-late": lambda: d.reject_late.delay(),
        "run-soft": lambda: d.soft.delay(5),
        "run-soft-caught": lambda: d.soft_caught.delay(5),
        "run-hard": lambda: d.hard.delay(10),
        "run-hard-late": lambda: d.hard_late.delay(10),
        "run-progress": lambda: d.progress.delay(),
        "run-noresult": lambda: d.noresult.delay(1),
        "run-noresult-fail": lambda: d.noresult_fail.delay(),
        "run-noresult-fail-stored": lambda: d.noresult_fail_stored.delay(),
        "run-call-ignore-result": lambda: d.add.apply_async((1, 1), ignore_result=True),
        "run-call-ignore-result-false-override": lambda: d.noresult.apply_async(
            (1,), ignore_result=False
        ),
        "run-send-task-null-ignore": lambda: d.app.send_task(
            "demo.noresult", args=[1], ignore_result=None
        ),
        "run-unserialisable": lambda: d.unserialisable.delay(),
        "run-sysexit": lambda: d.sysexit.delay(),
        "run-group": lambda: group(d.add.s(i, i) for i in range(2)).apply_async(),
        "run-link": lambda: d.add.apply_async((1, 2), link=d.mul.s(10)),
        "run-link-many": lambda: d.add.apply_async((1, 2), link=many),
        "run-chain": lambda: chain(d.add.s(1, 2), d.mul.s(3), d.add.s(10)).apply_async(),
        "run-chain-fail": lambda: chain(d.fail.s("c"), d.mul.s(3), d.add.s(10)).apply_async(),
        "run-errback-new": lambda: d.fail.apply_async(("x",), link_error=d.errback_new.s()),
        "run-errback-old": lambda: d.fail.apply_async(("x",), link_error=d.errback_old.s()),
        "run-eta-past": lambda: d.add.apply_async((1, 2), eta=past),
        "run-expired": lambda: d.add.apply_async((1, 2), expires=past),
        "run-spawn": lambda: d.spawn.delay(),
        "run-custom-event": lambda: d.custom_event.delay(),
        "run-eta": lambda: d.add.apply_async((1, 2), countdown=2),
        "run-limited": lambda: [d.limited.delay(i) for i in range(2)],
        "run-errback-unregistered": lambda: d.fail.apply_async(("x",), link_error=elsewhere),
        "run-ignore": lambda: d.ignore.delay(),
        "run-reject-requeue": lambda: d.reject_requeue.delay(),
        "run-swap-chain": lambda: chain(d.swap_chain.s(5), d.add.s(1000)).apply_async(),
        "run-whoami": lambda: d.whoami.apply_async(
            headers={"tenant": "acme"}, link=d.mul.s(2), expires=3600
        ),
        "run-whoami-stamps": lambda: stamped(d.whoami.s(), tenant="acme").apply_async(),
        **canvas(demo),
        **revoking(demo),
    }


def canvas(d):
    """Those that send more than one task, or have one take another's place."""
    adds = [d.add.s(i, i) for i in range(3)]
    many = group(d.mul.s(2), d.mul.s(3))
    inner = chord([d.add.s(1, 1), d.add.s(2, 2)], d.xsum.s())
    body = d.xsum.s().on_error(d.errback_old.s())
    return {
        "run-starmap": lambda: d.add.starmap([(1, 2), (3, 4)]).apply_async(),
        "run-chunks": lambda: d.add.chunks([(i, i) for i in range(3)], 2).apply_async(),
        "run-group-save": lambda: saved(group(adds[:2]).apply_async()),
        "run-link-group": lambda: d.add.apply_async((1, 2), link=many),
        "run-chain-group-end": lambda: chain(d.add.s(1, 2), many).apply_async(),
        "run-chain-chord": lambda: chain(d.add.s(1, 2), many, d.xsum.s(), d.add.s(100)).apply_async(),
        "run-chord": lambda: chord(adds)(d.xsum.s()),
        "run-chord-chains": lambda: chord([chain(d.add.s(1, 1), d.mul.s(2)), d.add.s(5, 5)])(d.xsum.s()),
        "run-chord-fail": lambda: chord([d.add.s(1, 1), d.fail.s("h")])(body),
        "run-chord-group-result": lambda: chord([chain(d.add.s(1, 1), many), d.add.s(5, 5)])(d.ident.s()),
        "run-chord-nested": lambda: chord([inner, d.add.s(3, 3)])(d.xsum.s()),
        "run-swap": lambda: d.swap.apply_async((5,), link=d.mul.s(2)),
        "run-swap-group": lambda: d.swap_group.delay(5),
    }


def revoking(d):
    """Those in which somebody revokes, or sends an id twice."""
    return {
        "run-revoke-active-noterminate": lambda: revoked(d, started(d, d.sleep.delay(4))),
        "run-revoke-before-arrival": lambda: revoked_before(d, d.add.s(1, 1)),
        "run-revoke-ignore-result": lambda: revoked_before(d, d.add.s(1, 1), ignore_result=True),
        "run-revoke-chord-member": lambda: revoked_member(d),
        "run-revoke-eta": lambda: revoked(d, d.add.apply_async((1, 1), countdown=3)),
        "run-revoke-stamped": lambda: revoked_stamp(d),
        "run-revoke-terminate": lambda: revoked(d, started(d, d.sleep.delay(30)), terminate=True),
        "run-revoke-terminate-late": lambda: revoked(
            d, started(d, d.sleep_late.delay(30)), terminate=True, signal="SIGKILL"
        ),
        "run-revoked-after-success": lambda: again(d, d.add.s(1, 1), revoked(d, done(d.add.delay(1, 1)))),
        "run-success-then-redelivered": lambda: again(d, d.fail.s("later"), done(d.add.delay(1, 1))),
    }


def stamped(signature, **stamps):
    """The signature with stamps."""
    signature.stamp(**stamps)
    return signature


def saved(result):
    """A group's result, which its producer has written down."""
    result.save()
    return result


def done(result):
    """A result that is there."""
    result.get(timeout=PATIENCE_S, interval=0.02)
    return result


def started(d, result):
    """A call that runs now."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        active = d.app.control.inspect(limit=1, timeout=PATIENCE_S).active() or {}
        if any(one["id"] == result.id for running in active.values() for one in running):
            return result
    raise TimeoutError(f"{result.id} never ran")


def revoked(d, result, **how):
    """A call that the worker was told to revoke."""
    d.app.control.revoke(result.id, reply=True, limit=1, timeout=PATIENCE_S, **how)
    return result


def revoked_before(d, signature, **options):
    """A call that was revoked before it was sent."""
    call = d.app.AsyncResult(str(uuid.uuid4()))
    revoked(d, call)
    return signature.apply_async(task_id=call.id, **options)


def revoked_member(d):
    """A chord one of whose members was revoked before it was sent."""
    call = d.app.AsyncResult(str(uuid.uuid4()))
    revoked(d, call)
    return chord([d.add.s(1, 1).set(task_id=call.id), d.add.s(2, 2)])(d.xsum.s()).parent


def revoked_stamp(d):
    """A call with a stamp that was revoked."""
    d.app.control.revoke_by_stamped_headers({"tenant": "evil"}, reply=True, limit=1, timeout=PATIENCE_S)
    return stamped(d.add.s(1, 1), tenant="evil").apply_async()


def again(d, signature, result):
    """Another call of the same id, which has nothing to say any more."""
    signature.apply_async(task_id=result.id)
    done(d.noargs.delay())
    return result


#: Where the recording was stopped before its last state.
STATES = {"run-retry-later": "RETRY", "run-progress-doc": "PROGRESS", "run-started-doc": "STARTED"}


def plain(text):
    """Ids, and what differs by place and time, as one word each."""
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", ID.sub("ID", text))
    text = re.sub(r'"pid": \d+, "hostname": "[^"]+"', '"pid": 1, "hostname": "HOST"', text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "MOMENT", text)
    return re.sub(r"\b(who|retry-later|swapg?|rc)-1\b", "ID", text)


def comparable(document, name):
    """A result document, without what differs from run to run."""
    document = json.loads(plain(document))
    kept = {key: document[key] for key in ("status", "result", "children")}
    kept["has date_done"] = document["date_done"] is not None
    kept["has parent_id"] = "parent_id" in document
    kept["has group_id"] = "group_id" in document
    if document["traceback"] is not None:
        lines = [line for line in document["traceback"].splitlines() if line]
        kept["traceback ends"] = lines[-1]
        kept["traceback shows"] = "facts_app.py" in document["traceback"]
    if name in ("run-whoami", "run-whoami-stamps") and isinstance(kept["result"], dict) and "lang" in kept["result"]:
        kept["result"] = {key: kept["result"].get(key) for key in TOLD}
    if kept["result"] and name == "run-unserialisable":
        # Celery shows its own frames there; the module has none to show.
        kept.pop("traceback ends", None), kept.pop("traceback shows", None)
    kept = {field: value for field, value in kept.items() if field not in EXCUSED["fields"].get(name, {})}
    return json.dumps(kept, sort_keys=True)


def parent(document):
    """Who sent the task whose document this is."""
    return json.loads(document).get("parent_id")


def all_of(result):
    """A call's results: of a chain all links, of a group all members."""
    if result is None:
        return []
    if isinstance(result, list):
        return [one for part in result for one in all_of(part)]
    members = all_of(result.results) if isinstance(result, GroupResult) else [result]
    return members + all_of(result.parent)
