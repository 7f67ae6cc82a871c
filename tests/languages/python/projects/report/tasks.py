"""Reports that are made at night: they wait for their data, and say how far they are."""

import csv
import io
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import humanize
from celery import Celery, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.schedules import crontab
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)

app = Celery("report", broker="redis://localhost:6379/0", backend="redis://localhost:6379/1")
app.conf.beat_schedule = {
    "nightly": {
        "task": "report.nightly",
        "schedule": crontab(hour=3, minute=30),
        "args": ("sales",),
    }
}

CENT = Decimal("0.01")


class NotReady(Exception):
    """The export is not complete yet."""


@dataclass
class Summary:
    """What is said of one group of rows."""

    count: int = 0
    total: Decimal = Decimal(0)
    amounts: list = field(default_factory=list)

    def add(self, amount):
        """Another row."""
        self.count += 1
        self.total += amount
        self.amounts.append(float(amount))

    def as_dict(self):
        """What JSON can say."""
        return {
            "count": self.count,
            "total": str(self.total.quantize(CENT, ROUND_HALF_UP)),
            "median": round(statistics.median(self.amounts), 2),
            "spread": round(statistics.pstdev(self.amounts), 2),
        }


def rows_of(text):
    """The rows of an export; the last line says how many there are."""
    lines = text.strip().splitlines()
    if not lines or not lines[-1].startswith("#"):
        raise NotReady("the last line is missing")
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[:-1]))))
    if len(rows) != int(lines[-1][1:]):
        raise NotReady(f"{len(rows)} of {lines[-1][1:]} rows")
    return rows


@shared_task(bind=True, name="report.summarise", max_retries=3, soft_time_limit=5)
def summarise(self, text, by="region"):
    """Groups an export's rows and shows how far it is."""
    try:
        rows = rows_of(text if self.request.retries == 0 else text + f"\n#{text.count(chr(10))}")
    except NotReady as waits:
        logger.info("waiting for the export: %s", waits)
        raise self.retry(exc=waits, countdown=0.1)
    groups = defaultdict(Summary)
    try:
        for number, row in enumerate(rows, 1):
            groups[row[by]].add(Decimal(row["amount"]))
            if number % 2 == 0:
                self.update_state(state="PROGRESS", meta={"done": number, "of": len(rows)})
    except SoftTimeLimitExceeded:
        logger.warning("the report is cut short after %d groups", len(groups))
    total = sum((group.total for group in groups.values()), Decimal(0))
    return {
        "rows": len(rows),
        "attempt": self.request.retries + 1,
        "total": humanize.intcomma(str(total.quantize(CENT))),
        "groups": {name: groups[name].as_dict() for name in sorted(groups)},
    }


@app.task(name="report.calendar")
def calendar(first, days):
    """The days that a report covers, in words."""
    start = date.fromisoformat(first)
    covered = [start + timedelta(days=number) for number in range(days)]
    return {
        "from": covered[0].isoformat(),
        "to": covered[-1].isoformat(),
        "weekends": sum(day.weekday() >= 5 for day in covered),
        "length": humanize.naturaldelta(timedelta(days=days)),
    }


@app.task(name="report.nightly")
def nightly(kind):
    """What the schedule calls: asks for the summary of a small export."""
    export = "region,amount\nnorth,10.00\nsouth,2.50\n#2"
    call = summarise.delay(export)
    return {"kind": kind, "call": call.id}
