"""cases.py - what is measured: the cases, their contenders, formulas, roofs, and the targets."""
from dataclasses import dataclass, field, replace
from typing import Optional

OURS = "forkjoin"
TOLERANCE = {"image": 1e-5, "cnn": 1e-5, "conv2": 1e-5, "squares": 1e-3, "product": 1e-5, "randn": 1e-7}


@dataclass
class Contender:
    label: str
    peer: str  # which process: see machine.py
    name: str  # what it calls it
    threads: Optional[int] = None  # if not the case's
    size: Optional[tuple] = None  # if not the case's
    flops: Optional[float] = None  # if not the case's
    roof: bool = False
    isa: str = ""  # "v3": in a process of its own with that instruction set, against its own roof
    slow: bool = False  # left out by --quick
    limit: Optional[str] = None  # the roof that is its limit, by name, if not the case's
    tolerance: Optional[float] = None  # if not its kind's
    # what is measured, later
    setup_s: float = 0
    first_s: float = 0
    per: int = 1
    calls: int = 1
    note: str = ""
    max_error: Optional[float] = None
    largest: Optional[float] = None
    every: int = 1  # takes part in every so many-th round
    samples: dict = field(default_factory=dict)  # seconds for one call, by round
    failure: str = ""


@dataclass
class Case:
    name: str
    kind: str  # of inputs, see inputs.h
    size: tuple
    threads: int
    title: str
    flops: Optional[float]
    flops_formula: str
    bytes: float
    bytes_formula: str
    roof_formula: str  # the work of which the roof takes the time
    contenders: list  # the first is the base of all ratios
    left_out: list = field(default_factory=list)  # (label, why)

    @property
    def key(self):
        return f"{self.name}, {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def base(self):
        return self.contenders[0]

    def roof(self, contender):
        """What limits it: the roof that it names, or the first, with its instruction set."""
        roofs = [c for c in self.contenders if c.roof and c.isa == contender.isa]
        return next((c for c in roofs if c.name == contender.limit), roofs[0] if roofs else None)


def roof_fma(flops):
    return Contender("roof: multiply and add", "roof", "roof_fma", size=(int(flops), 0), roof=True)


FMA_FORMULA = "the operations above as multiply and add, in independent chains"


def image(name, height, width, threads, large):
    pixels, edges = height * width, (height - 4) * (width - 4)
    roofs = [
        Contender("roof: read, then copy", "roof", "roof_read_copy", size=(pixels, 0), roof=True),
        Contender("roof: copy the image", "roof", "roof_copy", size=(pixels, 0), roof=True,
                  limit="roof_copy")] if large else [
        Contender("roof: square roots", "roof", "roof_roots", size=(edges, 0), roof=True)]
    contenders = [
        Contender("forkjoin", OURS, "image_edges"),
        Contender("forkjoin, filters alone", OURS, "image_edges_given", flops=15 * edges,
                  limit="roof_copy"),
        Contender("forkjoin, naive", OURS, "image_edges_naive", threads=1, slow=large),
        Contender("OpenCV, four calls", "opencv", "stages"),
        Contender("OpenCV, 5x5 filters", "opencv", "sep5x5"),
        Contender("PyTorch, 5x5 conv2d", "torch", "conv5x5", slow=large),
        Contender("NumPy, slices", "numpy", "slices", slow=large),
        Contender("SciPy, ndimage", "scipy", "ndimage", slow=large),
        *roofs]
    if threads > 1:
        contenders.insert(1, Contender("forkjoin, 1 thread", OURS, "image_edges", threads=1))
    return Case(name, "image", (height, width), threads,
                f"normalise, blur, Sobel, magnitude of {height}x{width} float32",
                15 * edges + 4 * pixels, "15 a pixel of the result and 4 a pixel of the image, for "
                "mean and deviation (the filters alone: 15)", 12 * pixels,
                "12 a pixel: read 4, write 4, and 4 that are read before they are overwritten",
                "reading the image (mean and deviation), then copying it with ordinary stores; without the first "
                "pass the copy alone, 12 bytes a pixel" if large else
                "a square root a pixel of the result, in the first-level cache", contenders)


CNN_FLOPS = 1575936


def cnn(name, images, threads):
    contenders = [
        Contender("forkjoin", OURS, "cnn_packed"),
        Contender("forkjoin, packs weights", OURS, "cnn_direct"),
        Contender("forkjoin, im2col, BLAS", "openblas", "cnn_im2col"),
        Contender("oneDNN", "onednn", "net"),
        Contender("oneDNN, 2 convs alone", "onednn", "convolutions"),
        Contender("oneDNN, nchw", "onednn", "net_nchw"),
        Contender("PyTorch, jit optimised", "torch", "jit"),
        Contender("PyTorch, channels_last", "torch", "channels_last"),
        Contender("PyTorch, eager", "torch", "eager"),
        Contender("NumPy, einsum optimize", "numpy", "einsum_optimize", slow=images > 1),
        Contender("NumPy, einsum", "numpy", "einsum", slow=images > 1),
        Contender("forkjoin, naive", OURS, "cnn_naive", threads=1, slow=images > 1),
        roof_fma(CNN_FLOPS * images)]
    if threads > 1:
        contenders.insert(1, Contender("forkjoin, 1 thread", OURS, "cnn_packed", threads=1))
    return Case(name, "cnn", (images, 0), threads,
                f"the network of chapter 6, {images} image{'s' * (images > 1)} a call, float32",
                CNN_FLOPS * images, "1,575,936 an image: conv1 225,792, conv2 1,327,104, fc 23,040",
                images * 4 * (784 + 10), "4 (784 + 10) an image: what goes in and out",
                FMA_FORMULA, contenders)


def conv2(name, _, threads):
    flops = 2 * 32 * 12 * 12 * 16 * 9
    contenders = [
        Contender("forkjoin, relu, pool", OURS, "conv2"),
        Contender("oneDNN, relu", "onednn", "conv2"),
        Contender("oneDNN, relu, Winograd", "onednn", "conv2_winograd"),
        Contender("oneDNN, relu, nchw", "onednn", "conv2_nchw"),
        Contender("PyTorch, conv2d, relu", "torch", "conv2"),
        roof_fma(flops),
        Contender("forkjoin, AVX2", f"{OURS} v3", "conv2", isa="v3"),
        replace(roof_fma(flops), label="roof of AVX2: the same", peer="roof v3", isa="v3")]
    return Case(name, "conv2", (0, 0), threads, "its second convolution, 14x14x16 to 12x12x32, float32",
                flops, "2 * 32 * 12 * 12 * 16 * 9", 4 * (14 * 14 * 16 + 6 * 6 * 32 + 32 * 16 * 9),
                "4 (14*14*16 + 6*6*32 + 32*16*9)", FMA_FORMULA, contenders)


def squares(name, n, threads):
    contenders = [
        Contender("forkjoin", OURS, "sum_of_squares", tolerance=1e-9),
        Contender("forkjoin, in float", OURS, "sum_of_squares_float"),
        Contender("forkjoin, naive", OURS, "sum_of_squares_naive", threads=1),
        Contender("OpenBLAS, sdot", "openblas", "sdot"),
        Contender("OpenBLAS, snrm2", "openblas", "snrm2"),
        Contender("OpenBLAS as shipped", "openblas as shipped", "sdot"),
        Contender("NumPy, dot", "numpy", "dot"),
        Contender("NumPy, einsum", "numpy", "einsum_squares"),
        Contender("NumPy, sum(x * x)", "numpy", "sum_squares"),
        Contender("PyTorch, dot", "torch", "dot"),
        Contender("roof: read", "roof", "roof_read", size=(n, 0), roof=True)]
    if threads > 1:
        contenders.insert(1, Contender("forkjoin, 1 thread", OURS, "sum_of_squares", threads=1))
    return Case(name, "squares", (n, 0), threads, f"sum of the squares of {n:,} float32",
                2 * n, "2 n", 4 * n, "4 n", "reading the 4 n bytes", contenders)


def product(name, order, threads):
    contenders = [
        Contender("OpenBLAS, sgemm", "openblas", "sgemm"),
        Contender("OpenBLAS as shipped", "openblas as shipped", "sgemm"),
        Contender("NumPy, matmul", "numpy", "matmul"),
        Contender("NumPy as shipped", "numpy as shipped", "matmul"),
        Contender("PyTorch, mm", "torch", "mm"),
        roof_fma(2 * order ** 3)]
    if order <= 500:  # it takes ten seconds at 2000
        contenders.insert(-1, Contender("three loops", OURS, "product_naive", threads=1))
    return Case(name, "product", (order, 0), threads, f"matrix product, {order}x{order}, float32",
                2 * order ** 3, "2 n^3", 12 * order ** 2, "4 * 3 n^2: each matrix once", FMA_FORMULA,
                contenders)


def randn(name, n, threads):
    contenders = [
        Contender("forkjoin", OURS, "random_normal", tolerance=0),
        Contender("forkjoin, to float32", OURS, "random_normal_float"),
        Contender("NumPy, RandomState", "numpy", "randn", tolerance=0),
        Contender("NumPy, astype(float32)", "numpy", "randn_float32"),
        Contender("roof: words, logarithms", "roof", "roof_randn", size=(n, 0), roof=True)]
    return Case(name, "randn", (n, 0), threads, f"randn({n:,}) of seed 42, float64", None, "", 8 * n,
                "8 n", "8 n / pi random words, then n / 2 logarithms, square roots and divisions, which any "
                "program needs for these numbers; one after the other", contenders)


# name: maker, size, a small size for tests of the bench, over threads too, left out by --quick
CASES = {
    "image_128": (lambda *a: image(*a, False), (128, 128), (16, 24), False, False),
    "image_4k": (lambda *a: image(*a, True), (2160, 3840), (40, 50), True, False),
    "cnn_1": (cnn, (1,), (1,), False, False),
    "cnn_100": (cnn, (100,), (3,), True, False),
    "cnn_1000": (cnn, (1000,), (5,), True, True),
    "conv2": (conv2, (0,), (0,), False, False),
    "squares": (squares, (10000000,), (1000,), True, False),
    "product_200": (product, (200,), (8,), True, False),
    "product_2000": (product, (2000,), (16,), True, True),
    "randn": (randn, (1000000,), (100,), False, False),
}


def chosen(only, threads, quick, tiny):
    """The cases for these options; a name that ends before _ stands for all that go on after it."""
    for name, (make, size, small, parallel, slow) in CASES.items():
        if only and not {name, name.split("_")[0]} & set(only):
            continue
        if slow and quick and not (only and name in only):
            continue
        for count in threads:
            if count == 1 or parallel:
                yield make(name, *(small if tiny else size), count)


def targets_for(isa, only, threads):
    """The targets that hold for the instruction set, for these options: one for each number of threads."""
    for target in {"x86-64-v4": TARGETS, "x86-64-v3": TARGETS_V3}.get(isa, []):
        name = target[1]
        if only and not {name, name.split("_")[0]} & set(only):
            continue
        for count in threads if target[2] is None else {target[2]} & set(threads):
            yield (*target[:2], count, *target[3:])


def names():
    return list(dict.fromkeys(part for name in CASES for part in (name.split("_")[0], name)))


# What was to be reached, on AVX-512: (text, case, threads (None: all), contender's name, its instruction set,
# what of it, at least)
TARGETS = [
    ("image, 128x128: faster than OpenCV", "image_128", 1, "stages", "", "ratio", 6),
    ("image, 128x128: filters alone, of the square roots", "image_128", 1, "image_edges_given", "",
     "roof", 60),
    ("image, 2160x3840: faster than OpenCV", "image_4k", None, "stages", "", "ratio", 6),
    ("image, 2160x3840: of copying it", "image_4k", None, "image_edges", "", "roof_copy", 75),
    ("image, 2160x3840: of reading and copying it", "image_4k", None, "image_edges", "", "roof", 75),
    ("image, 2160x3840: filters alone, of copying it", "image_4k", None, "image_edges_given", "",
     "roof", 75),
    ("conv2: of the FMA peak", "conv2", 1, "conv2", "", "roof", 85),
    *[(f"network, {n} image{'s' * (n > 1)}: {text}", f"cnn_{n}", 1, name, "", what, least)
      for n in (1, 100, 1000) for text, name, what, least in (
          ("of the FMA peak", "cnn_packed", "roof", 80),
          ("faster than oneDNN's two convolutions", "convolutions", "ratio", 1.3),
          ("faster than eager PyTorch", "eager", "ratio", 8))],
    ("sum of squares: of reading", "squares", None, "sum_of_squares", "", "roof", 90),
    ("conv2 with FORKJOIN_ISA=v3: of the FMA peak of AVX2", "conv2", 1, "conv2", "v3", "roof", 70),
    ("randn: against NumPy", "randn", 1, "randn", "", "ratio", 1),
]

# The same where the processor or FORKJOIN_ISA=v3 allows AVX2 only.
TARGETS_V3 = TARGETS[-2:]
