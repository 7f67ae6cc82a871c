"""The builder, up to where componentize-py begins."""

import contextlib
import io
import json
import os
import tempfile
import unittest
from pathlib import Path

from lovage_build import check, cli, embed, look, requirements
from lovage_build.build import wit_folder
from lovage_build.problem import Problem
from lovage_build.project import find


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)
        self.root = Path(os.path.realpath(folder.name))

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def package(self):
        """The project of Celery's second tutorial."""
        self.write("proj/__init__.py", "")
        self.write(
            "proj/celery.py",
            "from celery import Celery\napp = Celery('proj', include=['proj.tasks'])\n",
        )
        self.write("proj/late.py", "def half(x):\n    import fractions, pdb\n    return fractions.Fraction(x, 2)\n")
        return self.write(
            "proj/tasks.py",
            "from .celery import app\n\n@app.task\ndef add(x, y):\n    from . import late, never\n    return x + y\n",
        )


class Finding(Folder):
    def test_a_file_a_package_and_a_dotted_name_mean_modules(self):
        tasks = self.package()
        self.assertEqual(find([tasks]).modules, ["proj.tasks"])
        self.assertEqual(find(["proj"]).modules, ["proj.celery", "proj.tasks"])
        self.assertEqual(find(["proj.tasks"]).modules, ["proj.tasks"])
        self.assertEqual(find(["proj"]).root, self.root)
        self.write("celery.py", "")
        for wrong in ("nothing.py", "celery.py", "my-tasks.py"):
            with self.assertRaises(Problem):
                self.write("my-tasks.py", "")
                find([wrong])

    def test_declarations_are_seen_without_a_build(self):
        self.package()
        seen = look.look(find(["proj"]), None, "proj")
        (task,) = json.loads(seen["manifest"])["tasks"]
        self.assertEqual((task["name"], task["params"]), ("proj.tasks.add", ["x", "y"]))
        shown = [str(Path(name).relative_to(self.root)) for name in seen["files"]]
        # What a function imports when it runs has to be there then, too.
        self.assertEqual(shown, ["proj/__init__.py", "proj/celery.py", "proj/late.py", "proj/tasks.py"])

    def test_a_module_that_cannot_be_imported_says_where_and_what_to_do(self):
        for text, cause in (
            ("import nowhere_at_all\n", "nowhere_at_all"),
            ("x = 1\n1 / 0\n", "ZeroDivisionError"),
            ("x = 1\n", "declares no task"),
            ("from celery import Celery\napp = Celery()\n@app.task\ndef a(): pass\na.delay()\n", "no task runs"),
            ("import os\nos._exit(3)\n", "status 3"),
        ):
            with self.assertRaises(Problem) as caught:
                look.look(find([self.write("tasks.py", text)]), None, "t")
            self.assertIn(cause, caught.exception.cause)
            self.assertTrue(caught.exception.advice)
            if "Error" in caught.exception.cause:
                self.assertIn('File "tasks.py", line ', caught.exception.detail)
                self.assertNotIn("importlib", caught.exception.detail)


class Checking(Folder):
    def findings(self, text):
        found = check.check(find([self.write("tasks.py", text)]))
        return {(finding.line, finding.is_error): finding.cause for finding in found}

    def test_what_cannot_work_is_found_at_its_line(self):
        found = self.findings(
            "import numpy as np\n"
            "import os, threading\n"
            "from subprocess import run as start\n"
            "from missing import thing\n"
            "try:\n    import lxml\nexcept ImportError:\n    lxml = None\n"
            "@app.task(bind=True)\n"
            "def a(self):\n"
            "    import psycopg2\n"
            "    start(['ls'])\n"
            "    os.system('ls')\n"
            "    threading.Thread(target=a)\n"
            "    open('x')\n"
            "@shared_task\n"
            "async def b(): pass\n"
        )
        errors = {line for line, is_error in found if is_error}
        self.assertEqual(errors, {1, 17})
        self.assertEqual({line for line, is_error in found if not is_error}, {3, 4, 11, 12, 13, 14, 15})
        self.assertEqual(found[12, False], "calls subprocess.run()")

    def test_what_works_is_not_found(self):
        self.assertEqual(self.findings("import json, random\nfrom celery import shared_task\nimport lovage\n"), {})

    def test_the_command_says_how_many(self):
        self.write("tasks.py", "import ssl\n")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.assertEqual(cli.main(["check", "tasks.py"]), 1)
            self.assertEqual(cli.main(["check", "none.py"]), 1)
        self.assertIn("tasks.py:1: error: imports ssl", out.getvalue())
        self.assertIn("error: there is no file none.py\n help: ", err.getvalue())


class Pieces(unittest.TestCase):
    def test_a_section_has_its_lengths(self):
        self.assertEqual(embed.section("ab", b"x" * 200), b"\0\xcb\x01\x02ab" + b"x" * 200)

    def test_requirements_leave_out_what_is_replaced(self):
        text = "celery[redis]==5.7.0  # the worker\n\nJinja2>=3\n# note\nDjango_Celery_Beat\nfoo @ https://x/#y\n"
        self.assertEqual(requirements.wanted(text), ["Jinja2>=3", "foo @ https://x/#y"])

    def test_the_contract_is_found(self):
        self.assertTrue((wit_folder() / "handler.wit").exists())


if __name__ == "__main__":
    unittest.main()
