"""peer.py - NumPy, SciPy, OpenCV and PyTorch as contenders, each in a process of its own.

Usage: python3 peer.py PEER THREADS       (bench.py starts it, pinned, with its environment)

Answers the questions that serve.h lists, in the same words. Each contender is a function that gets
the case's arrays and returns what to call and what the result is; all that can be made before is
made before: weights in the peer's layout, arrays for results where the peer takes them. The loop
around the calls is Python's, which these peers are driven from in real life too; what an empty
call costs in it is told by `about`.
"""
import json
import sys
import time

import numpy as np

CLOCK = time.perf_counter
GAUSS, DIFFERENCE, SMOOTH = (1 / 4, 1 / 2, 1 / 4), (-1, 0, 1), (1, 2, 1)
CONTENDERS = {}


def contender(peer, name):
    def register(function):
        CONTENDERS[peer, name] = function
        return function
    return register


class Case:
    """Sizes, threads and the arrays of the case's directory."""

    def __init__(self, size, directory, threads):
        self.size, self.directory, self.threads = size, directory, threads
        self.reference, self.note, self.small = "reference", "", None

    def array(self, name, *shape, dtype=np.float32):
        return np.fromfile(f"{self.directory}/{name}", dtype).reshape(shape or -1)

    def image(self):
        return self.array("x", *self.size) if self.small is None else self.small

    def weights(self):
        parts = np.split(self.array("weights"), [144, 144 + 4608])
        return parts[0].reshape(16, 1, 3, 3), parts[1].reshape(32, 16, 3, 3), parts[2].reshape(1152, 10)


# ---- image ---------------------------------------------------------------------------------------

@contender("numpy", "slices")
def numpy_slices(case):
    """The notebook's correlation, as sums of shifted slices."""
    image = case.image()

    def correlate(x, across, down):
        height, width = x.shape[0] - 2, x.shape[1] - 2
        out = np.zeros((height, width), np.float32)
        for i, a in enumerate(down):
            for j, b in enumerate(across):
                if a * b:
                    out += np.float32(a * b) * x[i:i + height, j:j + width]
        return out

    def call():
        x = (image - image.mean()) / (image.std() + np.float32(1e-8))
        blurred = correlate(x, GAUSS, GAUSS)
        gx, gy = correlate(blurred, DIFFERENCE, SMOOTH), correlate(blurred, SMOOTH, DIFFERENCE)
        return np.sqrt(gx * gx + gy * gy)
    return call


@contender("scipy", "ndimage")
def scipy_ndimage(case):
    from scipy import ndimage
    image = case.image()
    half, blurred, gx, gy, edges = (np.empty_like(image) for _ in range(5))

    def call():
        x = (image - image.mean()) / (image.std() + np.float32(1e-8))
        ndimage.correlate1d(x, GAUSS, 0, output=half)
        ndimage.correlate1d(half, GAUSS, 1, output=blurred)
        ndimage.sobel(blurred, 1, output=gx)
        ndimage.sobel(blurred, 0, output=gy)
        return np.hypot(gx, gy, out=edges)[2:-2, 2:-2]
    return call


@contender("opencv", "stages")
def opencv_stages(case):
    import cv2
    image = case.image()
    blurred, gx, gy, edges = (np.empty_like(image) for _ in range(4))

    def call():
        _, std = cv2.meanStdDev(image)
        scale = 1 / (float(std[0, 0]) + 1e-8)
        cv2.GaussianBlur(image, (3, 3), 0, dst=blurred)
        cv2.Sobel(blurred, cv2.CV_32F, 1, 0, dst=gx, ksize=3, scale=scale)
        cv2.Sobel(blurred, cv2.CV_32F, 0, 1, dst=gy, ksize=3, scale=scale)
        return cv2.magnitude(gx, gy, edges)[2:-2, 2:-2]
    return call


@contender("opencv", "sep5x5")
def opencv_separable(case):
    """Blur and Sobel in one 5x5 filter each: less work, if one has done the algebra."""
    import cv2
    image = case.image()
    smooth = np.array([1, 4, 6, 4, 1], np.float32) / 16
    difference = np.array([-1, -2, 0, 2, 1], np.float32)
    gx, gy, edges = (np.empty_like(image) for _ in range(3))

    def call():
        _, std = cv2.meanStdDev(image)
        scaled = difference / np.float32(float(std[0, 0]) + 1e-8)
        cv2.sepFilter2D(image, cv2.CV_32F, scaled, smooth, dst=gx)
        cv2.sepFilter2D(image, cv2.CV_32F, smooth, scaled, dst=gy)
        return cv2.magnitude(gx, gy, edges)[2:-2, 2:-2]
    return call


@contender("torch", "conv5x5")
def torch_image(case):
    import torch
    image = torch.from_numpy(case.image())[None, None]
    smooth, difference = np.array([1, 4, 6, 4, 1]) / 16, np.array([-1, -2, 0, 2, 1])
    kernels = np.stack([np.outer(smooth, difference), np.outer(difference, smooth)])
    kernels = torch.from_numpy(kernels.astype(np.float32))[:, None]

    def call():
        gradient = torch.nn.functional.conv2d(image, kernels)[0]
        return torch.hypot(gradient[0], gradient[1]) / (image.std(unbiased=False) + 1e-8)
    return call


# ---- cnn and conv2 -------------------------------------------------------------------------------

def numpy_network(case, optimize):
    images, (conv1, conv2, fc) = case.array("x", -1, 1, 28, 28), case.weights()
    view = np.lib.stride_tricks.sliding_window_view

    def convolve(x, weights):
        return np.einsum("nchwij,ocij->nohw", view(x, (3, 3), (2, 3)), weights, optimize=optimize)

    def pool(x):
        n, channels, height, width = x.shape
        return x.reshape(n, channels, height // 2, 2, width // 2, 2).max((3, 5))

    def call():
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
        x = pool(np.maximum(convolve(padded, conv1), 0))
        x = pool(np.maximum(convolve(x, conv2), 0))
        return x.reshape(len(x), -1) @ fc
    return call


@contender("numpy", "einsum")
def numpy_einsum(case):
    return numpy_network(case, False)


@contender("numpy", "einsum_optimize")
def numpy_einsum_optimize(case):
    return numpy_network(case, True)


def torch_network(case):
    import torch

    class Network(torch.nn.Module):
        """The notebook's network, with the first convolution padded."""

        def __init__(self, conv1, conv2, fc):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 16, 3, padding=1, bias=False)
            self.conv2 = torch.nn.Conv2d(16, 32, 3, bias=False)
            self.fc = torch.nn.Linear(1152, 10, bias=False)
            with torch.no_grad():
                self.conv1.weight.copy_(torch.from_numpy(conv1))
                self.conv2.weight.copy_(torch.from_numpy(conv2))
                self.fc.weight.copy_(torch.from_numpy(fc.T.copy()))

        def forward(self, x):
            x = torch.nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
            x = torch.nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
            return self.fc(torch.flatten(x, 1))

    return Network(*case.weights()).eval(), torch.from_numpy(case.array("x", -1, 1, 28, 28))


@contender("torch", "eager")
def torch_eager(case):
    network, images = torch_network(case)
    return lambda: network(images)


@contender("torch", "channels_last")
def torch_channels_last(case):
    import torch
    network, images = torch_network(case)
    network = network.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    return lambda: network(images)


@contender("torch", "jit")
def torch_jit(case):
    """Traced, frozen and optimised for inference; two calls more until it is in its final form."""
    import torch
    network, images = torch_network(case)
    network = torch.jit.optimize_for_inference(torch.jit.trace(network, images))
    network(images)
    network(images)
    return lambda: network(images)


@contender("torch", "conv2")
def torch_conv2(case):
    import torch
    conv2 = torch.from_numpy(case.weights()[1])
    x = torch.from_numpy(case.array("x", 1, 16, 14, 14))
    return lambda: torch.relu(torch.nn.functional.conv2d(x, conv2))


# ---- squares, product, randn ---------------------------------------------------------------------

@contender("numpy", "dot")
def numpy_dot(case):
    x = case.array("x")
    return lambda: np.dot(x, x)


@contender("numpy", "einsum_squares")
def numpy_einsum_squares(case):
    x = case.array("x")
    return lambda: np.einsum("i,i->", x, x)


@contender("numpy", "sum_squares")
def numpy_sum_squares(case):
    x = case.array("x")
    return lambda: np.sum(x * x)


@contender("torch", "dot")
def torch_dot(case):
    import torch
    x = torch.from_numpy(case.array("x"))
    return lambda: torch.dot(x, x)


@contender("numpy", "matmul")
def numpy_matmul(case):
    x, y = (case.array(name, case.size[0], case.size[0]) for name in "xy")
    out = np.empty_like(x)
    return lambda: np.matmul(x, y, out=out)


@contender("torch", "mm")
def torch_mm(case):
    import torch
    x, y = (torch.from_numpy(case.array(name, case.size[0], case.size[0])) for name in "xy")
    out = torch.empty_like(x)
    return lambda: torch.mm(x, y, out=out)


@contender("numpy", "randn")
def numpy_randn(case):
    state = np.random.RandomState()

    def call():
        state.seed(42)
        return state.randn(case.size[0])
    return call


@contender("numpy", "randn_float32")
def numpy_randn_float32(case):
    call = numpy_randn(case)
    return lambda: call().astype(np.float32)


# ---- Questions and answers -----------------------------------------------------------------------

def empty_call():
    """Seconds for a call of nothing in the loop that measures."""
    calls = 100000
    return min(timed(lambda: None, calls) for _ in range(5)) / calls


def timed(call, calls):
    start = CLOCK()
    for _ in range(calls):
        call()
    return CLOCK() - start


def set_threads(peer, threads):
    """What the environment does not tell the peer; its import is not part of any set-up."""
    if peer == "scipy":
        import scipy.ndimage  # noqa: F401
    elif peer == "opencv":
        import cv2
        cv2.setNumThreads(threads)
    elif peer == "torch":
        import torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)
        torch.inference_mode(True).__enter__()


def about(peer):
    answer = {"python": sys.version.split()[0], "empty_call_s": empty_call()}
    if peer == "numpy":
        answer["version"] = np.__version__
    elif peer == "scipy":
        import scipy
        answer["version"] = scipy.__version__
    elif peer == "opencv":
        import cv2
        answer["version"] = cv2.__version__
    elif peer == "torch":
        import torch
        answer["version"] = torch.__version__
        for line in torch.__config__.show().splitlines():
            if "CPU capability" in line or "MKL-DNN" in line:
                answer.setdefault("built_with", []).append(line.strip(" -"))
        answer["threads"] = torch.get_num_threads()
    return answer


def cost_of_calling(function, case):
    """The same calls on so few pixels that little more is left than the calls themselves."""
    small = Case(case.size, case.directory, case.threads)
    small.small = np.random.RandomState(0).randn(8, 8).astype(np.float32)
    call = function(small)
    return min(timed(call, 20) for _ in range(10)) / 20


class Server:
    def __init__(self, peer, threads):
        self.peer, self.threads, self.slots = peer, threads, {}

    def begin(self, slot, name, size, directory):
        case, function = Case(size, directory, self.threads), CONTENDERS[self.peer, name]
        start = CLOCK()
        call = function(case)
        ready = CLOCK()
        result = call()
        called = CLOCK()
        self.slots[slot] = call
        if size[1]:  # an image
            case.note = f"8x8 pixels take {1e6 * cost_of_calling(function, case):.3g} us"
        result = np.asarray(result, np.float64).ravel()
        reference = case.array(case.reference, dtype=np.float64)[:result.size]
        off = np.abs(result[:reference.size] - reference).max()
        answer = {"setup_s": ready - start, "first_s": called - ready, "per": 1, "note": case.note,
                  "max_error": float(off), "largest": float(np.abs(reference).max())}
        if not np.isfinite(off):
            answer = {"failure": "a result is not a number"}
        return answer

    def answer(self, words):
        if words[0] == "about":
            return about(self.peer)
        if words[0] == "begin":
            return self.begin(words[1], words[2], (int(words[3]), int(words[4])), words[5])
        if words[0] == "sample":
            calls, call = int(words[2]), self.slots[words[1]]
            timed(call, calls // 8 + 1)
            return {"seconds": timed(call, calls)}
        if words[0] == "end":
            self.slots.pop(words[1], None)
            return {}
        return {"failure": "the request was not understood"}


def main():
    server = Server(sys.argv[1], int(sys.argv[2]))
    set_threads(server.peer, server.threads)
    for line in sys.stdin:
        try:
            answer = server.answer(line.rstrip("\n").split(" ", 5))
        except Exception as exception:  # a peer may fail in any way; the bench goes on without it
            answer = {"failure": f"{type(exception).__name__}: {exception}".splitlines()[0][:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
