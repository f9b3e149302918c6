#!/usr/bin/env python3
"""test_plot.py - --plot, and the series of --json and --csv, of chapters as programs.

Usage: python3 tests/test_plot.py BUILD_ROOT

With small sizes. Where there is no gnuplot, only what must work without it is tested.
"""
import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

BUILD = Path(sys.argv[1]).resolve()
LIMIT = 120
POOL_MAP = BUILD / "chapters/01_pool_map/pool_map"
TRANSFER = BUILD / "chapters/03_transfer_cost/transfer_cost"
FILTERS = BUILD / "chapters/04_image_filters/image_filters"
FINAL = BUILD / "chapters/09_final_benchmark/final_benchmark"
ADVICE = BUILD / "chapters/08_when_to_parallelise/when_to_parallelise"
SMALL = {POOL_MAP: ("--tasks=10", "--iterations=1000", "--workers=1,2,3"),
         TRANSFER: ("--light-tasks=20", "--matrices=3", "--order=16", "--workers=2"),
         FILTERS: ("--images=3", "--size=20x30", "--workers=2"),
         FINAL: ("--images=3", "--size=16", "--order=20", "--cnn-images=2", "--python-images=0",
                 "--workers=2"),
         ADVICE: ()}
GNUPLOT = shutil.which("gnuplot")
needs_gnuplot = unittest.skipUnless(GNUPLOT, "gnuplot is not installed")


def words(program, *options):
    return [program, *SMALL[program], "--repeats=2", *options]


class Scratch(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def run_program(self, program, *options, **environment):
        return subprocess.run(words(program, *options), check=False, capture_output=True,
                              timeout=LIMIT, cwd=self.scratch, stdin=subprocess.DEVNULL,
                              env={**os.environ, **environment})

    def succeed(self, program, *options, **environment):
        done = self.run_program(program, *options, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, b"")
        return done.stdout

    def fail_with(self, status, *options, program=POOL_MAP, **environment):
        """One line on standard error, nothing on standard output, no file: that line."""
        done = self.run_program(program, *options, **environment)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        return done.stderr.decode(errors="replace"), done.stdout

    def fake_gnuplot(self, text):
        path = self.scratch / "fake"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def files(self):
        return sorted(path.name for path in self.scratch.iterdir() if path.name != "fake")


# ---- What is drawn ------------------------------------------------------------------------------

def svg_texts(path):
    return ["".join(node.itertext()).strip()
            for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@needs_gnuplot
class Drawn(Scratch):
    def test_svg_has_all_panels(self):
        expected = {
            POOL_MAP: {"heavy_computation: speed-up against workers",
                       "heavy_computation: where the time went"},
            TRANSFER: {f"{name}: {what}" for name in ("very_light", "light", "heavy")
                       for what in ("speed-up with 2 workers", "where the time went")} |
                      {"break_even: break-even, 2 workers (above the line it pays)"},
            FILTERS: {f"{name}: {what}" for name in ("naive", "fused")
                      for what in ("speed-up with 2 workers", "where the time went")} |
                     {"the first picture", "its edges"},
        }
        for program, titles in expected.items():
            with self.subTest(program=program.name):
                self.assertEqual(self.succeed(program, "--quiet", "--plot", "page.svg"), b"")
                texts = svg_texts(self.scratch / "page.svg")
                self.assertLessEqual(titles, set(texts))
                drawn = [text for text in texts if ": where the time went" in text or
                         ": speed-up" in text or ": break-even" in text or "edges" == text[4:] or
                         "the first picture" == text]
                self.assertEqual(len(drawn), len(titles), drawn)
                self.assertTrue(any("seed 42, 2 repeats" in text for text in texts), texts)
                os.remove(self.scratch / "page.svg")
                self.assertEqual(self.files(), [])

    def test_gnuplots_settings_are_ours(self):
        """What a user has set for the own plots."""
        nowhere = "/nonexistent"
        self.succeed(POOL_MAP, "--quiet", "--plot=page.svg", GNUTERM="qt", GNUPLOT_LIB=nowhere,
                     GNUPLOT_DEFAULT_GDFONT=nowhere, GNUPLOT_FONTPATH=nowhere, GNUPLOT_PS_DIR=nowhere,
                     GNUPLOT_LUA_DIR=nowhere, GNUHELP=nowhere, FIT_LOG=nowhere, LC_ALL="POSIX")
        self.assertTrue(svg_texts(self.scratch / "page.svg"))

    def test_speedup_has_the_ideal_line_and_a_serial_part(self):
        self.succeed(POOL_MAP, "--quiet", "--plot=page.svg")
        texts = svg_texts(self.scratch / "page.svg")
        self.assertIn("ideal", texts)
        if len(os.sched_getaffinity(0)) > 1:  # else there is nothing to fit
            self.assertTrue(any(re.fullmatch(r"threads \(serial \d+ %\)", text)
                                for text in texts), texts)

    def test_ladder(self):
        self.succeed(FINAL, "--quiet", "--plot=page.svg")
        texts = svg_texts(self.scratch / "page.svg")
        self.assertTrue(any(text.startswith("naive C: ") for text in texts), texts)

    def test_png_opens(self):
        self.succeed(POOL_MAP, "--quiet", "--plot=page.PNG")
        data = (self.scratch / "page.PNG").read_bytes()
        self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
        at, kinds, packed = 8, [], b""
        while at < len(data):
            length, kind = struct.unpack(">I4s", data[at:at + 8])
            self.assertEqual(struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0],
                             zlib.crc32(data[at + 4:at + 8 + length]))
            kinds.append(kind)
            packed += data[at + 8:at + 8 + length] if kind == b"IDAT" else b""
            at += 12 + length
        self.assertEqual((kinds[0], kinds[-1]), (b"IHDR", b"IEND"))
        width, height = struct.unpack(">II", data[16:24])
        self.assertGreaterEqual(len(zlib.decompress(packed)), width * height // 8)

    def test_pdf(self):
        done = self.run_program(POOL_MAP, "--quiet", "--plot=page.pdf")
        if b"has no terminal 'pdfcairo'" in done.stderr:
            self.skipTest("this gnuplot writes no PDF")
        self.assertEqual(done.returncode, 0, done.stderr)
        data = (self.scratch / "page.pdf").read_bytes()
        self.assertTrue(data.startswith(b"%PDF") and b"%%EOF" in data[-32:])

    def test_the_tables_come_as_well(self):
        out = self.succeed(POOL_MAP, "--plot=page.svg")
        self.assertIn(b"Who runs where", out)
        self.assertEqual(self.files(), ["page.svg"])

    def test_an_older_file_is_replaced(self):
        (self.scratch / "page.svg").write_text("old")
        self.succeed(POOL_MAP, "--quiet", "--plot=page.svg")
        self.assertIn("</svg>", (self.scratch / "page.svg").read_text())

    def test_nothing_measured_is_no_chart(self):
        line, _ = self.fail_with(1, "--quiet", "--plot=page.svg", "--independent=no",
                                 program=ADVICE)
        self.assertIn("nothing was measured", line)
        self.assertEqual(self.files(), [])


@needs_gnuplot
class Terminal(Scratch):
    def test_in_a_pipe_it_is_plain_text_of_80_columns(self):
        for program in (POOL_MAP, FILTERS):
            out = self.succeed(program, "--quiet", "--plot=-", LC_ALL="C")
            self.assertTrue(all(32 <= byte < 127 or byte == 10 for byte in out))
            lines = out.decode().splitlines()
            self.assertLessEqual(max(map(len, lines)), 80)
            self.assertTrue(any("where the time went" in line for line in lines))
            self.assertFalse(any(line.endswith(" ") for line in lines))

    def test_wide_on_a_terminal_with_colours(self):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**os.environ, "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        process = subprocess.Popen(words(POOL_MAP, "--quiet", "--plot=-"), stdout=slave,
                                   stdin=subprocess.DEVNULL, cwd=self.scratch, env=environment)
        os.close(slave)
        out = b""
        try:
            while block := os.read(master, 65536):
                out += block
        except OSError:  # the end, as a terminal has it
            pass
        os.close(master)
        self.assertEqual(process.wait(LIMIT), 0)
        self.assertIn(b"\033[", out)
        plain = re.sub(rb"\033\[[0-9;]*m", b"", out).decode().splitlines()
        self.assertGreater(max(map(len, plain)), 100)
        self.assertLessEqual(max(map(len, plain)), 120)

    def test_output_that_is_closed_early(self):
        process = subprocess.Popen(words(POOL_MAP, "--quiet", "--plot=-"), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=self.scratch)
        process.stdout.close()
        process.stderr.read()
        process.stderr.close()
        self.assertNotEqual(process.wait(LIMIT), 0)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(words(POOL_MAP, "--quiet", "--plot=-"), check=False, stdout=full,
                                  stderr=subprocess.PIPE, timeout=LIMIT, cwd=self.scratch)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


# ---- What cannot be drawn -----------------------------------------------------------------------

class Refused(Scratch):
    def refused(self, status, *options, **environment):
        """As soon as the command line is read: nothing is written."""
        line, out = self.fail_with(status, *options, "--json=a.json", **environment)
        self.assertEqual(out, b"")
        self.assertEqual(self.files(), [])
        return line

    def test_unknown_types(self):
        for name in ("page", "page.gif", ".svg", "page.svg.gz", "", "--", "page.svg/"):
            with self.subTest(name=name):
                line = self.refused(2, f"--plot={name}")
                self.assertIn(f"--plot: '{name}' is not allowed", line)
                self.assertIn(".svg, .png or .pdf", line)

    def test_the_same_file_twice(self):
        for option in ("--csv", "--json"):
            line, _ = self.fail_with(2, f"{option}=-", "--plot=-")
            self.assertIn(f"{option} and --plot: both name '-'", line)

    def test_places_that_cannot_be_written(self):
        (self.scratch / "directory.svg").mkdir()
        for name in ("/nonexistent/page.svg", "directory.svg"):
            line, out = self.fail_with(1, f"--plot={name}")
            self.assertIn(name, line)
            self.assertEqual(out, b"")

    def test_no_gnuplot(self):
        for name in ("page.svg", "-"):
            line = self.refused(1, f"--plot={name}", PATH="/nonexistent", GNUPLOT="")
            self.assertIn("install gnuplot-nox", line)
            line = self.refused(1, f"--plot={name}", GNUPLOT="/nonexistent/gnuplot")
            self.assertIn("GNUPLOT names '/nonexistent/gnuplot'", line)

    def test_a_gnuplot_that_does_not_work(self):
        for text, words_of_it in (("#!/bin/sh\necho broken >&2\nexit 3\n", "status 3: broken"),
                                  ("#!/bin/sh\nkill -9 $$\n", "killed by signal 9"),
                                  ("#!/bin/sh\necho ' dumb unknown '\n", "cannot write svg"),
                                  ("#!/bin/sh\n", "cannot write svg"),
                                  ("#!/nonexistent/shell\n", "status 127")):
            with self.subTest(text=text):
                line = self.refused(1, "--plot=page.svg", GNUPLOT=self.fake_gnuplot(text))
                self.assertIn(words_of_it, line)

    def test_a_gnuplot_that_hangs(self):
        fake = self.fake_gnuplot("#!/bin/sh\nsleep 1000 &\necho $! $$ >pids\nwait\n")
        begin = time.monotonic()
        line, _ = self.fail_with(1, "--plot=page.svg", GNUPLOT=fake, FORKJOIN_GNUPLOT_SECONDS="0.5")
        self.assertIn("took longer than 500 ms", line)
        self.assertLess(time.monotonic() - begin, 100)
        for pid in (self.scratch / "pids").read_text().split():
            with self.assertRaises(ProcessLookupError, msg=f"process {pid} goes on"):
                self.wait_for_end(int(pid))
        self.assertEqual(self.files(), ["pids"])

    def wait_for_end(self, pid):
        for _ in range(200):
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                raise ProcessLookupError from None
            if state in "ZX":
                raise ProcessLookupError
            time.sleep(0.05)

    def test_a_gnuplot_that_fails_at_the_end(self):
        """The first time it answers; then it fails, and nothing replaces what was there."""
        for end, said in (("echo '<svg half'; echo line 7: broken >&2; exit 1", "line 7: broken"),
                          ("exit 0", "gnuplot drew nothing"),
                          ("kill -11 $$", "killed by signal 11")):
            fake = self.fake_gnuplot("#!/bin/sh\nread -r line\ncase $line in\n"
                                     f"*print*) echo ' svg png ' ;;\n*) {end} ;;\nesac\n")
            (self.scratch / "page.svg").write_text("old")
            line, _ = self.fail_with(1, "--quiet", "--plot=page.svg", GNUPLOT=fake)
            self.assertIn(said, line)
            self.assertEqual((self.scratch / "page.svg").read_text(), "old")
            self.assertEqual(self.files(), ["page.svg"])

    def test_a_full_disk(self):
        if GNUPLOT:
            (self.scratch / "full.svg").symlink_to("/dev/full")
            line, _ = self.fail_with(1, "--quiet", "--plot=full.svg")
            self.assertIn("No space left", line)

    def test_a_png_without_cairo(self):
        fake = self.fake_gnuplot("#!/bin/sh\nread -r line\ncase $line in\n"
                                 "*print*) echo ' svg png ' ;;\n*) echo $line ;;\nesac\n")
        self.succeed(POOL_MAP, "--quiet", "--plot=page.png", GNUPLOT=fake)
        self.assertTrue((self.scratch / "page.png").read_text().startswith("set terminal png "))


# ---- Series -------------------------------------------------------------------------------------

class Series(Scratch):
    def series(self, program, *options):
        report = json.loads(self.succeed(program, "--json=-", *options))
        for series in report.get("series", []):
            self.assertEqual(series["columns"][0], series["x"])
            for row in series["rows"]:
                self.assertEqual(len(row), len(series["columns"]))
        return report

    def test_numbers_of_workers(self):
        report = self.series(POOL_MAP)
        workload = [series for series in report["series"] if series["kind"] == "workers"]
        self.assertEqual({(one["name"], one["mode"]) for one in workload},
                         {("heavy_computation", mode)
                          for mode in ("threads", "gil", "processes, copy")})
        for series in workload:
            mode = series["mode"].split(",")[0]
            runs = [run for run in report["runs"]
                    if run["mode"] == mode and run["workload"] == series["name"]]
            rows = [dict(zip(series["columns"], row)) for row in series["rows"]]
            self.assertEqual([row["workers"] for row in rows], [1, 2, 3])
            for row, run in zip(rows, runs):
                self.assertEqual(row["wall_s"], run["wall_s"]["median"])
                self.assertEqual(row["speedup"], run["speedup"])
                self.assertEqual(row["efficiency"], run["efficiency"])
                self.assertEqual(row["ideal_speedup"], run["workers"])

    def test_one_number_of_workers_makes_none(self):
        self.assertNotIn("series", self.series(POOL_MAP, "--workers=2"))

    def test_break_even(self):
        report = self.series(TRANSFER, "--transfer=both")
        series, = report["series"]
        self.assertEqual((series["name"], series["kind"], series["x"], series["workers"]),
                         ("break_even", "break_even", "order", 2))
        self.assertEqual([row[0] for row in series["rows"]], [4 * 2**i for i in range(7)])
        for row in series["rows"]:
            for mode, transfer, speedup in (("threads", None, row[2]), ("processes", "copy", row[3]),
                                            ("processes", "shared", row[4])):
                run, = (run for run in report["runs"] if run["mode"] == mode and
                        run["workload"] == f"break_even, order {row[0]}" and
                        run["transfer"] == transfer)
                self.assertEqual(run["speedup"], speedup)

    def test_ways_that_were_not_measured_are_null(self):
        series, = self.series(TRANSFER, "--mode=threads")["series"]
        for row in series["rows"]:
            self.assertIsNotNone(row[2])
            self.assertEqual(row[3:], [None, None])

    def test_csv_has_the_size(self):
        rows = list(csv.DictReader(io.StringIO(self.succeed(TRANSFER, "--csv=-").decode())))
        sweep = [row for row in rows if row["size_name"]]
        self.assertEqual({row["size_name"] for row in sweep}, {"order"})
        self.assertEqual({int(row["size"]) for row in sweep}, {4 * 2**i for i in range(7)})
        for row in rows:
            self.assertEqual(row["workload"].startswith("break_even, order"), bool(row["size"]))
            self.assertEqual(None in row, False)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
