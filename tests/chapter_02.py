"""chapter_02.py - what test_chapters.py needs to know of chapter 2."""
from chapter_test import Chapter

CHAPTER = Chapter(
    counts=lambda n: {"--tasks": n, "--iterations": 300},
    arrays={"results.npy": ("<i8", lambda o: (o["--tasks"],))},
    oracle=({"--tasks": 17, "--iterations": 1000, "--multiplier": -3, "--offset": 0},
            {"--tasks": 5, "--iterations": 77, "--multiplier": 0, "--offset": -12345678901}),
    memory=(("--tasks", "1000000000000000"),),
    sizes=("--tasks", "--iterations"))
