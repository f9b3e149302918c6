"""chapter_06.py - what test_chapters.py needs to know of chapter 6, and tests of its versions."""
import os

from chapter_test import Chapter, ChapterTest, OtherBlas, adds_in_another_order, read_npy

CONVOLUTIONS = ("naive", "einsum", "im2col", "direct")
WEIGHTS = 65088  # bytes

CHAPTER = Chapter(
    counts=lambda n: {"--images": n},
    arrays={"images.npy": ("<f4", lambda o: (o["--images"], 1, 28, 28)),
            "conv1_w.npy": ("<f4", lambda o: (16, 1, 3, 3)),
            "conv2_w.npy": ("<f4", lambda o: (32, 16, 3, 3)),
            "fc_w.npy": ("<f4", lambda o: (1152, 10)),
            "logits.npy": ("<f4", lambda o: (o["--images"], 10))},
    inputs=("conv1_w.npy", "conv2_w.npy", "fc_w.npy", "images.npy"),
    oracle=({"--images": 2}, {"--images": 150}),
    memory=(("--images", "1000000000"),),
    sizes=("--images",), seconds=1)


class Convolutions(ChapterTest):
    def test_each_can_be_shown(self):
        """All give the same logits, within 1e-5, and the same inputs to the last bit."""
        expected = None
        for name in CONVOLUTIONS:
            self.succeed("--images=29", f"--conv={name}", "--workers=1,3", "--repeats=1",
                         "--save", self.path(name))
            logits = read_npy(self.path(name, "logits.npy"))[3]
            expected = expected or logits
            for mine, naive in zip(logits, expected):
                self.assertLessEqual(abs(mine - naive), 1e-5 + 1e-5 * abs(naive), name)
            for file in CHAPTER.inputs:
                self.assertEqual(read_npy(self.path(name, file))[2],
                                 read_npy(self.path("naive", file))[2], file)

    def test_unknown_convolution(self):
        for value in ("fft", "", "NAIVE", "direct,naive", "0"):
            out = self.fail_with([f"--conv={value}", "--images=3"], ["conv"], statuses=(2,))
            self.assertEqual(out, "")

    def test_every_version_is_compared(self):
        report = self.report("--images=30", "--repeats=2", "--workers=1,2")
        workloads = {run["workload"] for run in report["runs"]}
        ways = {"model_each_time", "model_once", "batched"}
        self.assertEqual(workloads, ways | {"blas_threads"}
                         | {f"{name}, {way}" for name in CONVOLUTIONS for way in ways})
        for run in report["runs"]:
            slow = run["workload"].startswith(("naive,", "einsum,"))
            if run["workload"] != "blas_threads":
                self.assertEqual(run["tasks"], 20 if slow else 30, run)
        out = self.succeed("--images=3", "--repeats=1", "--workers=2")
        for name in CONVOLUTIONS:
            self.assertRegex(out, rf"(?m)^{name} .* (yes|no) +\d+\.\d\dx (yes|no)$")

    def test_the_weights_travel_with_every_task_or_not(self):
        report = self.report("--images=17", "--repeats=1", "--workers=2", "--mode=processes",
                             "--transfer=both")
        copied = {(run["workload"], run["transfer"]): run["bytes_copied"]
                  for run in report["runs"] if run["mode"] == "processes"}
        for name in ("", *(f"{name}, " for name in CONVOLUTIONS)):
            self.assertGreaterEqual(copied[f"{name}model_each_time", "copy"], 17 * WEIGHTS)
            self.assertEqual(copied[f"{name}model_once", "copy"], 17 * (784 + 10) * 4)
            self.assertEqual(copied[f"{name}model_each_time", "shared"], 0)
            self.assertEqual(copied[f"{name}model_once", "shared"], 0)

    def test_modes_that_were_not_asked_for(self):
        for mode in ("sequential", "threads", "gil", "processes"):
            out = self.succeed("--images=3", "--repeats=1", "--workers=2", f"--mode={mode}")
            self.assertIn("each, once", out)
            self.assertEqual("BLAS threads in each" in out, mode == "processes")


class Blas(OtherBlas, ChapterTest):
    blas_options = (("--images=30",), ("--images=30", "--conv=im2col"))

    def test_that_blas_does_add_in_another_order(self):
        if "ASAN_OPTIONS" in os.environ:
            self.not_here("Python itself has no sanitizer, so it cannot load a library that has one")
        self.assertTrue(adds_in_another_order(os.path.join(self.build, "tests", "libfake_order.so")))
