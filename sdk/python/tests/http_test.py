"""Requests, against the host of tests."""

import json
import unittest

from lovage import http, task
from lovage.exceptions import Denied, HTTPError, InvalidCall, SoftTimeLimitExceeded
from lovage.testing import Host


@task(name="h.rate", capabilities=["http:api.bank.example"])
def rate(currency: str) -> float:
    answer = http.get("https://api.bank.example/rates", params={"of": currency}, timeout="5s")
    answer.raise_for_status()
    return answer.json()["rate"]


class Requests(unittest.TestCase):
    def test_a_request_is_told_and_its_answer_read(self):
        host = Host(answer=lambda _: http.Response(200, body=b'{"rate": 1.5}'))
        self.assertEqual(host.call("h.rate", "é"), 1.5)
        (asked,) = host.requested
        self.assertEqual((asked.method, asked.url), ("GET", "https://api.bank.example/rates?of=%C3%A9"))
        self.assertEqual((asked.headers, asked.body, asked.timeout), ({}, b"", 5.0))

    def test_an_error_status_fails_the_task_where_it_asks(self):
        host = Host(answer=lambda _: http.Response(503))
        failure = host.attempt("h.rate", "EUR").failure
        self.assertIn("HTTPError: the status is 503", failure[3])

    def test_bodies_say_what_they_are(self):
        with Host(answer=lambda it: http.Response(200, body=it.body)) as host:
            self.assertEqual(http.post("http://a", json={"a": [1]}).json(), {"a": [1]})
            self.assertEqual(http.put("http://a", data={"a": "b c"}).text, "a=b+c")
            self.assertEqual(http.patch("http://a", body="é", headers={"X-A": 1}).text, "é")
        kinds = [asked.headers.get("content-type") for asked in host.requested]
        self.assertEqual(kinds, ["application/json", "application/x-www-form-urlencoded", None])
        self.assertEqual(host.requested[2].headers, {"x-a": "1"})

    def test_texts_are_in_the_charset_that_they_name(self):
        named = [("Content-Type", "text/plain; charset=latin-1")]
        self.assertEqual(http.Response(200, named, b"\xe9").text, "é")
        self.assertEqual(http.Response(200, [("Content-Type", "a; charset=none")], b"a").text, "a")

    def test_what_is_no_request_is_refused_and_nobody_is_asked_after_the_soft_limit(self):
        with Host() as host:
            for url in ("ftp://a", "a", "http:///x"):
                with self.assertRaises(InvalidCall):
                    http.get(url)
            with self.assertRaises(InvalidCall):
                http.post("http://a", body="a", json=1)
            with self.assertRaises(Denied):
                http.get("http://a")
            host.soft_ms = 0
            with self.assertRaises(SoftTimeLimitExceeded):
                http.get("http://a")

    def test_an_answer_comes_with_its_error(self):
        with self.assertRaises(HTTPError) as caught:
            http.Response(404, body=json.dumps("no").encode()).raise_for_status()
        self.assertEqual(caught.exception.response.json(), "no")
