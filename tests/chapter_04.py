"""chapter_04.py - what test_chapters.py needs to know of chapter 4, and tests of its pictures."""
import base64
import json
import os
import shutil
import socket
import struct
import zlib

from chapter_test import MODES, Chapter, ChapterTest, png_chunk, shape_of, write_png

CHAPTER = Chapter(
    counts=lambda n: {"--images": n, "--size": "12x9"},
    arrays={"images.npy": ("<f4", lambda o: (o["--images"], *shape_of(o["--size"]))),
            "edges.npy": ("<f4", lambda o: (o["--images"],
                                            *(side - 4 for side in shape_of(o["--size"]))))},
    inputs=("images.npy",),
    oracle=({"--images": 3, "--size": "6x5"}, {"--images": 2, "--size": "61x127"},
            {"--images": 2, "--size": 64}),
    notebook=("--python-images", "0"),
    memory=(("--images", "1000000000000"), ("--size", "1000000000x1000000000"),
            ("--size", "10000000")),
    sizes=("--images", "--size"), words=True, seconds=0.1)


# ---- Pictures, read without a library -----------------------------------------------------------

def read_grey_png(path):
    """Rows of an 8-bit grey PNG that is not interlaced."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path}: not a PNG")
    position, packed = 8, b""
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position:position + 8])
        body = data[position + 8:position + 8 + length]
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            if (bits, colour, interlace) != (8, 0, 0):
                raise ValueError(f"{path}: not 8-bit grey")
        elif kind == b"IDAT":
            packed += body
        position += length + 12
    raw, rows, above = zlib.decompress(packed), [], [0] * width
    for y in range(height):
        kind, *row = raw[y * (width + 1):(y + 1) * (width + 1)]
        for x in range(width):
            left, up = row[x - 1] if x else 0, above[x]
            corner = above[x - 1] if x else 0
            row[x] = (row[x] + (0, left, up, (left + up) // 2,
                                paeth(left, up, corner))[kind]) % 256
        rows.append(row)
        above = row
    return rows


def paeth(left, up, corner):
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


# 32 x 24 pixels, the left half dark, the right half bright, once grey and once in colour.
JPEG_GREY = base64.b64decode("""
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R
DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/wAALCAAYACABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAn/xAAUEAEA
AAAAAAAAAAAAAAAAAAAA/9oACAEBAAA/AJ9C/QgKL9CAov0P/9k=""")
JPEG_COLOUR = base64.b64decode("""
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R
DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU
FBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/wAARCAAYACADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAA
AAAAAAn/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAABQD/xAAUEQEAAAAAAAAAAAAA
AAAAAAAA/9oADAMBAAIRAxEAPwCfQCS7QBMqhKAMFLtAEyr/2Q==""")
JPEG_SHAPE = (24, 32)
# 8 x 8 pixels in four printing inks
JPEG_CMYK = base64.b64decode("""
/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAbEhQXFBEbFxYXHhwbIChCKyglJShROj0wQmBVZWRfVV1baniZgWpxkHNbXYW1
hpCeo6utq2eAvMm6pseZqKuk/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABQAAQAAAAAAAAAAAAAAAAAAAAb/xAAUEAEA
AAAAAAAAAAAAAAAAAAAA/9oADgRDAE0AWQBLAAA/ADIyMjL/2Q==""")


# ---- Pictures ------------------------------------------------------------------------------------

class Pictures(ChapterTest):
    def setUp(self):
        super().setUp()
        self.folder = self.path("in")
        os.mkdir(self.folder)

    @staticmethod
    def step(width):
        """A picture whose left half is dark and whose right half is bright."""
        return lambda y, x: 30 if x < width // 2 else 220

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)

    def good_picture(self):
        """One file, outside of the folder."""
        write_png(self.path("good.png"), 20, 31, self.step(31))
        return self.path("good.png")

    def good_pictures(self):
        """Pictures of several kinds and sizes: name -> shape."""
        shapes = {"grey8.png": (20, 31, False, 8), "grey16.png": (33, 18, False, 16),
                  "colour8.png": (5, 40, True, 8), "colour16.PNG": (64, 64, True, 16),
                  "smallest.png": (5, 5, False, 8)}
        for name, (height, width, colour, bits) in shapes.items():
            write_png(os.path.join(self.folder, name), height, width, self.step(width), colour,
                      bits)
        self.write("grey.jpg", JPEG_GREY)
        self.write("colour.JPEG", JPEG_COLOUR)
        return {**{name: shape[:2] for name, shape in shapes.items()},
                "grey.jpg": JPEG_SHAPE, "colour.JPEG": JPEG_SHAPE}

    def assert_edges(self, shapes, directory):
        """For each picture one PNG, 2 pixels smaller on each side, bright at the step alone."""
        written = os.listdir(directory)
        self.assertEqual(len(written), len(shapes), written)
        for name, (height, width) in shapes.items():
            found = [entry for entry in written if entry.startswith(os.path.splitext(name)[0])
                     and entry.lower().endswith(".png")]
            # "grey" begins grey8 and grey16 too: the size tells them apart
            rows = [read_grey_png(os.path.join(directory, entry)) for entry in found]
            rows = [r for r in rows if (len(r), len(r[0])) == (height - 4, width - 4)]
            self.assertEqual(len(rows), 1, f"{name}: no edges of {height - 4} x {width - 4}")
            for row in rows[0]:
                for x, value in enumerate(row):
                    distance = abs(x + 2 - (width / 2 - 0.5))
                    if distance > 10:  # away from the step, and from its 8 x 8 block in a JPEG
                        self.assertLess(value, 64, name)
                self.assertGreater(max(row), 64, name)

    def test_folder(self):
        shapes = self.good_pictures()
        self.write("notes.txt", b"not a picture, and not named as one")
        for mode in MODES:
            with self.subTest(mode=mode):
                report = self.report("--input", self.folder, "--output", self.path(mode),
                                     "--repeats=1", "--workers=3", f"--mode={mode}")
                self.assertIn(len(shapes), {run["tasks"] for run in report["runs"]})
                self.assert_edges(shapes, self.path(mode))

    def test_both_transfers_and_all_start_methods(self):
        self.good_pictures()
        for method in ("forkserver", "fork", "spawn"):
            report = self.report("--input", self.folder, "--repeats=1", "--workers=2",
                                 "--transfer=both", f"--start-method={method}")
            self.assert_modes(report, (2,))

    def test_single_files(self):
        shapes = self.good_pictures()
        names = ["grey8.png", "grey.jpg"]
        files = [os.path.join(self.folder, name) for name in names]
        for options in (["--input", files[0], "--input", files[1]], ["--input", *files]):
            shutil.rmtree(self.path("out"), ignore_errors=True)
            self.report(*options, "--output", self.path("out"), "--repeats=1", "--workers=2")
            self.assert_edges({name: shapes[name] for name in names}, self.path("out"))

    def test_options_behind_files(self):
        """POSIXLY_CORRECT, which other programs obey, changes nothing here."""
        shapes = self.good_pictures()
        names = ["grey8.png", "grey.jpg"]
        files = [os.path.join(self.folder, name) for name in names]
        for setting in ({}, {"POSIXLY_CORRECT": "1"}):
            shutil.rmtree(self.path("out"), ignore_errors=True)
            self.report("--input", files[0], "--repeats=1", files[1], "--output", self.path("out"),
                        "--workers=2", env={**self.environment, **setting})
            self.assert_edges({name: shapes[name] for name in names}, self.path("out"))

    def broken_pictures(self):
        """What is wrong in many ways: name -> bytes."""
        write_png(self.path("whole.png"), 40, 40, lambda y, x: (y * x) % 256)
        with open(self.path("whole.png"), "rb") as file:
            whole = file.read()
        return {"empty.png": b"", "text.png": b"not a picture\n", "text.jpg": b"no JPEG\n",
                "truncated.png": whole[:len(whole) // 2], "header.png": whole[:20],
                "inks.jpg": JPEG_CMYK,
                "truncated.jpg": JPEG_COLOUR[:len(JPEG_COLOUR) // 2],
                "flipped.png": whole[:60] + bytes([whole[60] ^ 0xff]) + whole[61:]}

    def test_one_broken_among_good_ones(self):
        shapes = self.good_pictures()
        for name, data in self.broken_pictures().items():
            with self.subTest(name=name):
                self.write(name, data)
                status, out, err = self.run_chapter(
                    "--input", self.folder, "--output", self.path("out", name), "--repeats=1",
                    "--workers=2")
                self.assertEqual(status, 1, err)
                self.assertEqual(err.count("\n"), 1, err)
                self.assertIn(os.path.join(self.folder, name), err)
                self.assert_edges(shapes, self.path("out", name))
                os.unlink(os.path.join(self.folder, name))

    def test_inks(self):
        """What the page says of CMYK: refused, and the reason told."""
        self.write("inks.jpg", JPEG_CMYK)
        self.good_pictures()
        self.fail_with(["--input", self.folder, "--repeats=1", "--quiet"],
                       [os.path.join(self.folder, "inks.jpg"), "CMYK"], (1,))

    def test_what_is_no_file(self):
        """In a folder: named, and not waited for; the others are done."""
        shapes = self.good_pictures()
        os.mkfifo(os.path.join(self.folder, "pipe.png"))
        os.mkdir(os.path.join(self.folder, "folder.jpg"))
        os.symlink("nowhere", os.path.join(self.folder, "dangling.png"))
        os.symlink("/dev/zero", os.path.join(self.folder, "device.png"))
        with socket.socket(socket.AF_UNIX) as here:
            directory = os.getcwd()
            os.chdir(self.folder)  # a socket's path must be short
            here.bind("socket.png")
            os.chdir(directory)
            status, _, err = self.run_chapter("--input", self.folder, "--output", self.path("out"),
                                              "--repeats=1", "--quiet")
        self.assertEqual(status, 1, err)
        self.assertEqual(sorted(err.splitlines()), sorted(
            f"{self.stem}: {self.folder}/{name}" for name in (
                "pipe.png: a pipe, no regular file", "folder.jpg: a directory, no regular file",
                "dangling.png: what it leads to: No such file or directory",
                "device.png: a device, no regular file", "socket.png: a socket, no regular file")))
        self.assert_edges(shapes, self.path("out"))

    def test_pipe_by_name(self):
        self.good_pictures()
        os.mkfifo(self.path("pipe"))
        process = self.start("--input", self.path("pipe"), "--output", self.path("out"),
                             "--repeats=1", "--quiet")
        with open(self.path("pipe"), "wb") as pipe, \
                open(os.path.join(self.folder, "grey8.png"), "rb") as picture:
            pipe.write(picture.read())
        status, _, err = self.finish(process)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(os.listdir(self.path("out")), ["pipe_edges.png"])

    def test_more_than_memory(self):
        """2000 pictures of a gigabyte each: refused when their sizes are known, before any is read;
        there is nothing in them that could be."""
        header = struct.pack(">IIBBBBB", 1 << 14, 1 << 14, 8, 0, 0, 0, 0)
        self.write("0.png", b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
                   + png_chunk(b"IDAT", b""))
        for i in range(1, 2000):
            os.link(os.path.join(self.folder, "0.png"), os.path.join(self.folder, f"{i}.png"))
        out = self.fail_with(["--input", self.folder, "--output", self.path("out")],
                             ["--input", "needs", "TB"], (2,))
        self.assertEqual((out, os.path.exists(self.path("out"))), ("", False))

    def test_long_path(self):
        """Of a path that is too long for a line its ends are shown, and the reason."""
        deep = os.path.join(self.folder, *(["a-folder-in-a-folder"] * 15))
        os.makedirs(deep)
        shutil.copy(self.good_picture(), deep)
        for name, data, reason in (("text.png", b"not a picture\n", "neither a PNG nor a JPEG"),
                                   ("inks.jpg", JPEG_CMYK, "save it as RGB or grey")):
            with self.subTest(name=name):
                with open(os.path.join(deep, name), "wb") as file:
                    file.write(data)
                status, _, err = self.run_chapter("--input", deep, "--repeats=1", "--quiet")
                self.assertEqual((status, err.count("\n")), (1, 1), err)
                self.assertRegex(err, rf"^{self.stem}: {self.directory[:20]}.*\.\.\..*/{name}: ")
                self.assertIn(reason, err)
                os.unlink(os.path.join(deep, name))

    def test_too_small(self):
        shapes = self.good_pictures()
        for height, width in ((1, 1), (4, 40), (40, 4)):
            with self.subTest(height=height, width=width):
                write_png(os.path.join(self.folder, "tiny.png"), height, width, lambda y, x: 9)
                status, _, err = self.run_chapter(
                    "--input", self.folder, "--output", self.path(f"{height}x{width}"),
                    "--repeats=1", "--workers=2")
                self.assertEqual(status, 1, err)
                self.assertEqual(err.count("\n"), 1, err)
                self.assertIn("tiny.png", err)
                self.assert_edges(shapes, self.path(f"{height}x{width}"))

    def test_nothing_but_broken(self):
        for name, data in self.broken_pictures().items():
            with self.subTest(name=name):
                self.write(name, data)
                status, _, err = self.run_chapter("--input", os.path.join(self.folder, name),
                                                  "--repeats=1")
                self.assertIn(status, (1, 2), err)
                self.assertIn(name, err)
                self.assertLessEqual(err.count("\n"), 2, err)

    def test_even_picture(self):
        """All pixels alike: nothing to normalise by, and no edge."""
        write_png(os.path.join(self.folder, "even.png"), 12, 12, lambda y, x: 77)
        self.report("--input", self.folder, "--output", self.path("out"), "--repeats=1")
        rows = read_grey_png(self.path("out", os.listdir(self.path("out"))[0]))
        self.assertEqual({value for row in rows for value in row}, {0})

    def test_empty_folder_and_missing_file(self):
        self.fail_with(["--input", self.folder], [self.folder])
        self.fail_with(["--input", self.path("none.png")], [self.path("none.png")])

    def test_output_that_cannot_be_written(self):
        self.good_pictures()
        with open(self.path("file"), "w"):
            pass
        for place in (self.path("file"), self.path("file", "below")):
            self.fail_with(["--input", self.folder, "--output", place, "--repeats=1", "--quiet"],
                           [self.path("file")])

    def test_one_output_that_cannot_be_written(self):
        """A directory in its place, a name that gets too long: the others are written, and --json."""
        shapes = self.good_pictures()
        long_name = "n" * 250 + ".png"
        shutil.copy(self.good_picture(), os.path.join(self.folder, long_name))
        shutil.copy(self.good_picture(), os.path.join(self.folder, "blocked.png"))
        os.makedirs(self.path("out", "blocked_edges.png"))
        status, _, err = self.run_chapter("--input", self.folder, "--output", self.path("out"),
                                          "--repeats=1", "--quiet", "--json", self.path("json"))
        self.assertEqual(status, 1, err)
        lines = err.splitlines()
        self.assertEqual(len(lines), 2, err)
        self.assertIn("blocked_edges.png", lines[0])
        self.assertIn("nnn_edges.png: File name too long", lines[1])
        os.rmdir(self.path("out", "blocked_edges.png"))
        self.assert_edges(shapes, self.path("out"))
        with open(self.path("json"), encoding="utf-8") as file:
            self.assert_report(json.load(file))

    def test_full_disk(self):
        """Every output is lost for one reason, which is told once."""
        shapes = self.good_pictures()
        os.mkdir(self.path("out"))
        for name in shapes:
            os.symlink("/dev/full", self.path("out", os.path.splitext(name)[0] + "_edges.png"))
        self.fail_with(["--input", self.folder, "--output", self.path("out"), "--repeats=1",
                        "--quiet"], ["--output: ", "No space left"], (1,))
