"""chapter_07.py - what test_chapters.py needs to know of chapter 7, and tests of what it copies, of
its total and of its errors."""
import math
import os

from chapter_test import WORKERS, Chapter, ChapterTest, read_npy, shape_of

CHAPTER = Chapter(
    counts=lambda n: {"--shape": f"{n}x5x3"},
    arrays={"array.npy": ("<f4", lambda o: shape_of(o["--shape"])),
            "total.npy": ("<f8", lambda o: (1,))},
    inputs=("array.npy",),
    oracle=({"--shape": "1x1x1"}, {"--shape": "7x1x1"}, {"--shape": "3x61x127"},
            {"--shape": "100x16x16"}),
    memory=(("--shape", "1000000x10000x10000"), ("--shape", "1000000x1000000x1000000"),
            ("--shape", "1073741824x1073741824x1073741824"), ("--shape", "1073741824"),
            ("--shape", "1x1073741824x1073741824")),
    sizes=("--shape",), seconds=0.1)


class Copies(ChapterTest):
    """Bytes copied: what was sent, counted here from what each way is said to send."""

    def runs(self, report, workload, **wanted):
        found = [run for run in report["runs"] if run["workload"] == workload
                 and all(run[key] == value for key, value in wanted.items())]
        self.assertTrue(found, f"{workload} {wanted}")
        return found

    def check(self, shape, transfer="shared"):
        rows, height, width = shape
        array, sums = 4 * rows * height * width, 8 * rows
        row_length, roof, offset, first_and_end = 8, 1, 8, 16
        report = self.report("--shape", "x".join(map(str, shape)), "--repeats=1",
                             f"--workers={','.join(map(str, WORKERS))}", f"--transfer={transfer}")
        by_rows = array + row_length + roof + sums
        for workers in WORKERS:
            with self.subTest(shape=shape, workers=workers, transfer=transfer):
                ranges = min(rows, workers)
                whole, = self.runs(report, "whole_array_to_each", mode="processes", workers=workers)
                self.assertEqual(whole["bytes_copied"], ranges * (array + first_and_end)
                                 + row_length + (ranges + 1) * offset + sums)
                self.assertEqual((whole["tasks"], whole["transfer"]), (ranges, "copy"))
                part, = self.runs(report, "each_row_copied", mode="processes", workers=workers)
                self.assertEqual((part["bytes_copied"], part["tasks"]), (by_rows, rows))
                for run in self.runs(report, "sum_of_squares", mode="processes", workers=workers):
                    self.assertEqual(run["bytes_copied"],
                                     by_rows if run["transfer"] == "copy" else row_length + roof)

    def test_every_way(self):
        for shape in ((1, 1, 1), (2, 3, 5), (3, 1, 1), (10, 7, 9), (1000, 3, 2)):
            self.check(shape)

    def test_transfers(self):
        """The three ways are compared whatever the command line says of the table of modes."""
        for transfer in "copy", "both":
            self.check((13, 4, 6), transfer)

    def test_roof(self):
        """Reading alone was measured beside each run of the table of modes, and only there."""
        report = self.report("--shape=64x100x100", "--repeats=3", "--workers=1,2")
        for run in report["runs"]:
            self.assertEqual("roof_s" in run, run["workload"] == "sum_of_squares", run)


class Totals(ChapterTest):
    def exact(self, *names):
        values = read_npy(self.path(*names))[3]
        return math.fsum(float(value) * float(value) for value in values)

    def test_relative_error(self):
        """Below 1e-9, as the chapter promises; far below, in fact. The squares are exact here."""
        for shape in ("1x1x1", "7x3x1", "13x5x3", "1x1x1009", "50x100x100"):
            for seed in (42, 7):
                with self.subTest(shape=shape, seed=seed):
                    self.succeed("--shape", shape, f"--seed={seed}", "--repeats=1",
                                 "--save", self.path("saved"))
                    exact = self.exact("saved", "array.npy")
                    total, = read_npy(self.path("saved", "total.npy"))[3]
                    self.assertLess(abs(total / exact - 1), 1e-13)

    def test_same_bits_for_all_workers(self):
        totals = set()
        for workers in WORKERS:
            self.succeed("--shape=31x7x9", f"--workers={workers}", "--mode=processes",
                         "--repeats=1", "--save", self.path(str(workers)))
            totals.add(read_npy(self.path(str(workers), "total.npy"))[2])
        self.assertEqual(len(totals), 1)

    def test_table_of_accumulators(self):
        """The text names the error of each; that of the only float is by far the largest."""
        out = self.succeed("--shape=100x100x100", "--repeats=1", "--mode=sequential",
                           "--save", self.path("saved"))
        rows = {line[:11].strip(): line[11:].split() for line in out.splitlines()
                if line.startswith(("exactly", "one ", "128 floats", "64 doubles"))}
        self.assertEqual(sorted(rows), ["128 floats", "64 doubles", "exactly", "one double",
                                        "one float"])
        exact = self.exact("saved", "array.npy")
        self.assertAlmostEqual(float(rows["exactly"][0]), exact, delta=1e-6)
        errors = {name: abs(float(row[1])) for name, row in rows.items()}
        self.assertEqual(errors["exactly"], 0)
        self.assertLess(errors["64 doubles"], 1e-12)
        self.assertLess(errors["one double"], 1e-10)
        self.assertLess(errors["128 floats"], 1e-5)
        self.assertGreater(errors["one float"], 1e-6)
        for name, row in rows.items():
            self.assertAlmostEqual(float(row[0]) / exact - 1, float(row[1]),
                                   delta=0.06 * errors[name] + 1e-11, msg=name)  # two digits


class Errors(ChapterTest):
    def test_unregistered_task(self):
        for method in "forkserver", "fork", "spawn":
            out = self.succeed(*self.small(), f"--start-method={method}", "--mode=processes")
            self.assertRegex(out, r"(?m)^the task function was not registered with POOL_TASK")

    def test_no_processes_no_unregistered_task(self):
        out = self.succeed(*self.small(), "--mode=threads")
        self.assertNotIn("registered", out)
        self.assertNotIn("whole to each", out)

    def test_bad_shapes(self):
        for value in ("4x5", "1x2x3x4", "9x", "x9", "2x0x2", "2x2x-2", "axbxc", "2x3x4x",
                      "1073741825x1x1", "99999999999999999999x1x1"):
            with self.subTest(value=value):
                status, out, err = self.run_chapter(f"--shape={value}", "--save", self.path("out"))
                self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
                self.assertIn("shape", err)
                self.assertEqual(os.listdir(self.directory), [])
