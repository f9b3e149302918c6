"""chapter_01.py - what test_chapters.py needs to know of chapter 1."""
from chapter_test import Chapter

CHAPTER = Chapter(
    counts=lambda n: {"--tasks": n, "--iterations": 300},
    arrays={"results.npy": ("<i8", lambda o: (o["--tasks"],))},
    oracle=({"--tasks": 100, "--iterations": 1}, {"--tasks": 3, "--iterations": 100001}),
    memory=(("--tasks", "1000000000000000"),),
    sizes=("--tasks", "--iterations"), seconds=0.2)
