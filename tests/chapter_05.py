"""chapter_05.py - what test_chapters.py needs to know of chapter 5, and tests of its loaders."""
import json
import os
import subprocess
import time

from chapter_test import (WORKERS, Chapter, ChapterTest, arguments, few, helper_and_workers, kill,
                          python_with_numpy, read_npy, wait_until)


def counts(n):
    """One batch where the tests count chunks, several where there are many samples."""
    return {"--samples": n, "--size": 9, "--batch-size": n if n <= 13 else 7,
            "--train-epochs": 2, "--train-ms": 0.1}


CHAPTER = Chapter(
    counts=counts,
    arrays={"samples.npy": ("<f4", lambda o: (o["--samples"], o["--size"], o["--size"])),
            "order.npy": ("<i8", lambda o: (o.get("--epochs", 1), o["--samples"])),
            "batches.npy": ("<f4", lambda o: (o.get("--epochs", 1), o["--samples"], o["--size"],
                                              o["--size"]))},
    inputs=("samples.npy", "order.npy"),
    oracle=({"--samples": 37, "--size": 16, "--batch-size": 5, "--epochs": 3},
            {"--samples": 3, "--size": 64, "--batch-size": 1},
            {"--samples": 20, "--size": 1, "--batch-size": 20}),
    memory=(("--samples", "1000000000000"), ("--samples", "1000000000"), ("--size", "1000000000"),
            ("--size", "32768"), ("--epochs", "1000000")),
    sizes=("--samples", "--size", "--batch-size", "--epochs", "--train-epochs", "--prefetch"),
    seconds=0.1)

SMALL = {"--samples": 23, "--size": 8, "--batch-size": 5, "--epochs": 2, "--train-epochs": 3,
         "--train-ms": 0.1}


class Loading(ChapterTest):
    def saved(self, *options):
        """The arrays of a run: name -> (shape, bytes, values)."""
        directory = self.path(f"saved{len(os.listdir(self.directory))}")
        self.succeed(*arguments(SMALL), "--repeats=1", "--quiet", "--save", directory, *options)
        return {name: read_npy(os.path.join(directory, name))[1:] for name in CHAPTER.arrays}

    def test_each_epoch_is_a_permutation(self):
        shape, _, order = self.saved("--mode=sequential")["order.npy"]
        self.assertEqual(shape, (2, 23))
        first, second = order[:23].tolist(), order[23:].tolist()
        self.assertEqual((sorted(first), sorted(second)), (list(range(23)),) * 2)
        self.assertNotEqual(first, second)

    def test_drop_last(self):
        """The order stays whole; three of 23 samples are in no batch."""
        all_of_them, dropped = self.saved(), self.saved("--drop-last")
        self.assertEqual(dropped["order.npy"], all_of_them["order.npy"])
        self.assertEqual(dropped["batches.npy"][0], (2, 20, 8, 8))
        sample, kept, of_all = 4 * 64, dropped["batches.npy"][1], all_of_them["batches.npy"][1]
        for epoch in range(2):
            self.assertEqual(kept[epoch * 20 * sample:(epoch + 1) * 20 * sample],
                             of_all[epoch * 23 * sample:(epoch * 23 + 20) * sample])

    def test_more_epochs_begin_as_one(self):
        one = self.saved("--epochs=1")["batches.npy"][1]
        self.assertEqual(self.saved("--epochs=4")["batches.npy"][1][:len(one)], one)

    def test_augment(self):
        """It changes the batches, differently in each epoch, and equally in every mode."""
        plain, augmented = self.saved(), self.saved("--augment")
        self.assertEqual(plain["samples.npy"], augmented["samples.npy"])
        self.assertNotEqual(plain["batches.npy"][1], augmented["batches.npy"][1])
        for options in (("--mode=processes", "--workers=3", "--chunksize=1"),
                        ("--mode=threads,gil", "--workers=7"),
                        ("--mode=processes", "--start-method=spawn", "--batch-size=7")):
            again = self.saved("--augment", *options)
            self.assertEqual(again["batches.npy"][1], augmented["batches.npy"][1])
        values, order = augmented["batches.npy"][2], augmented["order.npy"][2].tolist()
        place = order[23:].index(order[0])
        self.assertNotEqual(values[:64], values[(23 + place) * 64:(24 + place) * 64])

    def test_sizes_of_batches_in_every_mode(self):
        for batch_size in few((11, 1, 23, 2, 22), 3):
            for more in ([], ["--drop-last", "--augment"]):
                for prefetch in few((3, 1)):
                    with self.subTest(batch_size=batch_size, more=more, prefetch=prefetch):
                        report = self.report(
                            *arguments({**SMALL, "--batch-size": batch_size}), *more,
                            "--repeats=1", f"--workers={','.join(map(str, WORKERS))}",
                            f"--prefetch={prefetch}")
                        self.assert_modes(report)
                        kept = 23 - (23 % batch_size if more else 0)
                        tasks = {run["workload"]: run["tasks"] for run in report["runs"]}
                        self.assertEqual(tasks, {"map": 2 * kept, "loader": 3 * kept})

    def test_what_is_hidden(self):
        """The loader's rows say what the device did, and the table what was hidden."""
        report = self.report(*arguments(SMALL), "--repeats=1", "--workers=2")
        for run in report["runs"]:
            self.assertEqual("device_s" in run, run["workload"] == "loader", run)
            if "device_s" in run:
                self.assertGreaterEqual(run["device_s"], 15 * 0.1e-3)
                self.assertAlmostEqual(run["device_s"] + run["device_idle_s"],
                                       run["wall_s"]["median"], delta=1e-6)
        out = self.succeed(*arguments(SMALL), "--repeats=1", "--workers=2")
        for word in ("hidden", "exposed", "device"):
            self.assertIn(word, out)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)

    def test_nothing_to_hide_behind(self):
        report = self.report(*arguments({**SMALL, "--train-ms": 0}), "--repeats=1", "--workers=2")
        self.assert_modes(report, (2,))

    def test_bad_values(self):
        for options, name in ((["--batch-size=24"], "batch-size"), (["--train-ms=-1"], "train-ms"),
                              (["--train-ms=x"], "train-ms"), (["--train-ms=nan"], "train-ms"),
                              (["--train-ms=1e9"], "train-ms"), (["--drop-last=1"], "drop-last"),
                              (["--size=32768", "--samples=1000000000"], "samples"),
                              (["--epochs=1048576", "--samples=1000000000"], "samples")):
            with self.subTest(options=options):
                out = self.fail_with([*arguments(SMALL), *options, "--save", self.path("out")],
                                     [name], statuses=(2, 64))
                self.assertEqual(out, "")
                self.assertEqual(os.listdir(self.directory), [])

    def test_a_worker_killed_while_training(self):
        """Its batch is loaded again; the run ends with the right sums."""
        process = self.start("--mode=processes", "--workers=2", "--train-ms=5", "--json=-",
                             "--repeats=2")
        self.assertTrue(wait_until(lambda: self.workers_of(), 60))
        for _ in range(3):
            time.sleep(0.3)
            for pid in self.workers_of()[:1]:
                kill(pid)
        status, out, err = self.finish(process)
        self.assertEqual(status, 0, err)
        self.assertTrue(all(run["matches_sequential"] for run in json.loads(out)["runs"]), out)
        self.assert_no_process_left()

    def workers_of(self):
        return helper_and_workers(self.mark)[1]


class Flags(ChapterTest):
    """What notebook.py makes of --augment and --drop-last, which are options without a value."""

    def setUp(self):
        super().setUp()
        self.python = python_with_numpy()
        if not self.python:
            self.skipTest("no Python with NumPy was found: the results are not compared with it")

    def test_flags(self):
        for flags in (("--augment",), ("--drop-last",), ("--augment", "--drop-last")):
            for options in ({"--samples": 7, "--size": 33, "--batch-size": 3, "--epochs": 2},
                            {"--samples": 3, "--size": 64, "--batch-size": 2, "--seed": 2**32 - 1}):
                with self.subTest(flags=flags, options=options):
                    self.compare_flags(options, flags)

    def compare_flags(self, options, flags):
        script = os.path.join(self.source, "chapters", self.stem, "notebook.py")
        name = f"{len(flags)}{flags[0]}{options['--samples']}"
        ours, theirs = self.path("c" + name), self.path("numpy" + name)
        self.succeed(*arguments(options), *flags, "--workers=3", "--repeats=1", "--save", ours)
        subprocess.run([self.python, script, *arguments(options), *flags, "--workers=2", "--save",
                        theirs], check=True, stdout=subprocess.DEVNULL, env=self.environment)
        for array in CHAPTER.arrays:
            _, shape, raw, values = read_npy(os.path.join(ours, array))
            _, their_shape, their_raw, their_values = read_npy(os.path.join(theirs, array))
            self.assertEqual(shape, their_shape)
            if array in CHAPTER.inputs:
                self.assertEqual(raw, their_raw)
            worst = max(abs(a - b) - 1e-5 * abs(b) for a, b in zip(values, their_values))
            self.assertLessEqual(worst, 1e-5, array)
