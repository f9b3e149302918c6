"""chapter_03.py - what test_chapters.py needs to know of chapter 3."""
from chapter_test import Chapter, ChapterTest, OtherBlas

CHAPTER = Chapter(
    counts=lambda n: {"--light-tasks": n, "--matrices": n, "--order": 9},
    arrays={"very_light.npy": ("<i8", lambda o: (o["--light-tasks"],)),
            "matrices.npy": ("<f4", lambda o: (o["--matrices"], o["--order"], o["--order"])),
            "light.npy": ("<f8", lambda o: (o["--matrices"],)),
            "heavy.npy": ("<f8", lambda o: (o["--matrices"],))},
    inputs=("matrices.npy",),
    oracle=({"--light-tasks": 1001, "--matrices": 3, "--order": 1},
            {"--light-tasks": 1, "--matrices": 2, "--order": 131}),
    memory=(("--light-tasks", "1000000000000000"), ("--matrices", "10000000000000"),
            ("--order", "100000000")),
    sizes=("--light-tasks", "--matrices", "--order"), seconds=0.1)


class Blas(OtherBlas, ChapterTest):
    blas_options = (("--light-tasks=9", "--matrices=7", "--order=65"),)
