#!/usr/bin/env python3
"""test_summary.py - what ./run test says at its end, on a project of five tests that do as they are told.

Usage: python3 tests/test_summary.py
"""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SUMMARY = Path(__file__).resolve().parent / "summary.py"
MESON_BUILD = """project('five')
sh = find_program('sh')
foreach name, script : {
    'good': 'echo nothing was skipped 1',
    'bad': 'echo no luck; exit 3',
    'partly': 'echo "test_it (a.B.test_it) ... skipped \\'gnuplot is not installed\\'"',
    'left_out': 'echo "SKIPPED: no Python has jsonschema"; exit 77',
    'short': 'echo "skipped: [$FORKJOIN_SHORT]"; echo "t ... skipped \\'not here: chapter 1\\'" >&2'}
  test(name, sh, args: ['-c', script], suite: 'unit')
endforeach
add_test_setup('quick', env: ['FORKJOIN_SHORT=1'], is_default: true)
add_test_setup('all', env: ['FORKJOIN_SHORT='])
"""


class Summary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="forkjoin-")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.source = Path(cls.directory.name, "source")
        cls.build = Path(cls.directory.name, "build")
        cls.source.mkdir()
        (cls.source / "meson.build").write_text(MESON_BUILD)
        subprocess.run(["meson", "setup", cls.build, cls.source], check=True,
                       stdout=subprocess.DEVNULL)

    def run_tests(self, *options):
        """Status, all that was printed, and the part after Meson's own."""
        environment = {**os.environ, "FORKJOIN_SHORT": "1"}  # --all means all even so
        done = subprocess.run([sys.executable, SUMMARY, self.build, *options], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout, done.stdout.partition("\nSkipped on")[2]

    def test_all_of_them(self):
        status, out, end = self.run_tests()
        self.assertEqual(status, 1, out)
        self.assertEqual(end.splitlines()[-1], "3 passed, 1 failed, 1 skipped", out)
        self.assertIn("partly: gnuplot is not installed\n      to do: install gnuplot-nox", end)
        self.assertIn("left_out: no Python has jsonschema\n      to do: install python3-jsonschema", end)
        self.assertIn("bad (fail, 0 s)\n      again, alone: ./run test bad\n", end)
        self.assertIn(f"{self.build.resolve()}/meson-logs/testlog.txt", end)
        self.assertIn("no luck", out)
        for word in "nothing was", "not here":
            self.assertNotIn(word, end)

    def test_quick_unless_all(self):
        _, out, end = self.run_tests("short")
        self.assertIn("short: [1]", end)
        self.assertIn("./run test --all", end)
        self.assertTrue(out.endswith("\n1 passed, 0 failed, 0 skipped\n"), out)
        status, _, end = self.run_tests("--all", "short", "bad")
        self.assertIn("short: []", end)
        self.assertIn("./run test --all bad\n", end)
        self.assertTrue(end.endswith("\n1 passed, 1 failed, 0 skipped\n"), end)
        self.assertEqual(status, 1)

    def test_what_is_no_run(self):
        for options in ("--list",), ("--no-such-option",):
            _, out, _ = self.run_tests(*options)
            self.assertNotIn(" passed, ", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
