"""report.py - from samples to figures, tables, JSON and Markdown.

Everything here is a function of the samples. Medians come with a 95 % interval by the percentile
bootstrap (Efron, 1979), so nothing is assumed about how the samples are distributed; ratios are
taken within a round, of two samples that were measured one shortly after the other, and of these
ratios the median.
"""
import os
import random
import re
import statistics
import tempfile
from pathlib import Path

from cases import OURS

SCHEMA = 2
RESAMPLES = 2000
CERTAIN = 3  # rounds, below which nothing is said for certain
BUSY = 0.7  # load average before the run, from which on its times are doubtful
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
NOT_CERTAIN = f"not certain: the interval contains the target, or there were fewer than {CERTAIN} rounds"
RATIO_NOTE = "times the base's time; above 1 is slower than the base"


def interval(values):
    """Median, and the 95 % bootstrap interval of it."""
    generator, n = random.Random(len(values)), len(values)
    medians = sorted(statistics.median(generator.choices(values, k=n)) for _ in range(RESAMPLES))
    return {"median": statistics.median(values),
            "ci95": [medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]]}


def paired(numerator, denominator):
    """Of two contenders' samples, by round."""
    rounds = numerator.keys() & denominator.keys()
    if not rounds:
        return None
    return {**interval([numerator[r] / denominator[r] for r in sorted(rounds)]), "rounds": len(rounds)}


def figures(case, contender):
    """What is told of a contender that has been measured."""
    values = [contender.samples[r] for r in sorted(contender.samples)]
    time = interval(values)
    flops = contender.flops or case.flops
    result = {
        "label": contender.label, "peer": contender.peer, "name": contender.name,
        "threads": contender.threads or case.threads, "is_base": contender is case.base,
        "is_roof": contender.roof, "isa": contender.isa, "runs": len(values), "calls_per_run": contender.calls,
        "samples_s": values, "rounds": sorted(contender.samples),
        "median_s": time["median"], "ci95_s": time["ci95"], "min_s": min(values),
        "ratio": paired(contender.samples, case.base.samples) if case.base.samples else None,
        "percent_of_roof": None, "roof": None,
        "gflops": None if contender.roof and "fma" not in contender.name or not flops
        else flops / time["median"] * 1e-9,
        "gbs": None if contender.name in ("roof_fma", "roof_roots", "roof_randn")
        else case.bytes / time["median"] * 1e-9,
        "setup_s": contender.setup_s, "first_call_s": contender.first_s, "note": contender.note,
        "max_error": contender.max_error,
        "relative_error": contender.max_error / contender.largest
        if contender.max_error is not None and contender.largest else contender.max_error,
    }
    roof = case.roof(contender)
    if roof and roof.samples:
        result["roof"] = roof.label
        share = paired(roof.samples, contender.samples)
        result["percent_of_roof"] = share and {
            "median": 100 * share["median"], "ci95": [100 * share["ci95"][0], 100 * share["ci95"][1]],
            "rounds": share["rounds"]}
    return result


def case_report(case):
    return {"name": case.name, "threads": case.threads, "title": case.title, "kind": case.kind,
            "size": list(case.size), "flops": case.flops, "flops_formula": case.flops_formula,
            "bytes": case.bytes, "bytes_formula": case.bytes_formula, "base": case.base.label,
            "roof": case.roof(case.base).label, "roof_formula": case.roof_formula,
            "contenders": [figures(case, c) for c in case.contenders if c.samples],
            "left_out": [{"label": label, "why": why} for label, why in case.left_out]}


def share_of(report, row, what):
    """The row's ratio, its percentage of its roof, or that of another roof, by name."""
    if what in ("ratio", "roof"):
        return row["ratio" if what == "ratio" else "percent_of_roof"]
    roof = next((c for c in report["contenders"] if c["name"] == what), None)
    share = roof and paired(*(dict(zip(c["rounds"], c["samples_s"])) for c in (roof, row)))
    return share and {"median": 100 * share["median"], "ci95": [100 * value for value in share["ci95"]],
                      "rounds": share["rounds"]}


def targets(reports, wanted):
    """What was to be reached, each with what was measured; or that nothing was, and why."""
    found = []
    for text, name, threads, contender, isa, what, least in wanted:
        report = next((r for r in reports if (r["name"], r["threads"]) == (name, threads)), None)
        row = report and next((c for c in report["contenders"] if (c["name"], c["isa"], c["threads"]) ==
                               (contender, isa, threads)), None)
        value = row and share_of(report, row, what)
        target = {"target": text, "threads": threads, "at_least": least,
                  "unit": "x" if what == "ratio" else "%", "median": None, "ci95": None,
                  "reached": None, "certain": None, "why_not": None}
        if value:
            target.update(median=value["median"], ci95=value["ci95"], reached=value["median"] >= least,
                          certain=value["rounds"] >= CERTAIN and
                          not value["ci95"][0] <= least <= value["ci95"][1])
        else:
            target["why_not"] = f"not measured: {name} is not in this run" if not report else \
                "not measured, see the case"
        found.append(target)
    return found


# ---- Text ----------------------------------------------------------------------------------------

def digits(value, width=3):
    """Three significant digits, without an exponent."""
    return f"{value:#.{width}g}".rstrip(".") if value < 999.5 else f"{value:.0f}"


def unit(seconds):
    return next((scale, name) for scale, name in
                ((1e9, "ns"), (1e6, "us"), (1e3, "ms"), (1, "s")) if seconds * scale < 1000 or name == "s")


def time_text(seconds):
    scale, name = unit(seconds)
    return f"{digits(seconds * scale)} {name}"


def interval_text(row):
    scale, name = unit(row["median_s"])
    low, high = (digits(value * scale) for value in row["ci95_s"])
    return f"{digits(row['median_s'] * scale)} [{low} - {high}] {name}"


def ratio_text(value):
    if not value:
        return "-"
    low, high = map(digits, value["ci95"])
    return f"{digits(value['median'])}x [{low} - {high}]"


def roof_text(row):
    return "-" if row["percent_of_roof"] is None else f"{row['percent_of_roof']['median']:.0f}%"


def error_text(row):
    return "-" if row["relative_error"] is None else \
        "0" if row["relative_error"] == 0 else f"{row['relative_error']:.0e}"


def rate_text(value):
    return "-" if value is None else digits(value) if value >= 10 else f"{value:.2f}"


def rows_of(report, markdown=False):
    head = ["", "median [95 % interval]", "min", "times base [95 %]",
            "GF/s", "GB/s", "roof", "error"]
    rows = []
    for row in report["contenders"]:
        rows.append([row["label"], interval_text(row), time_text(row["min_s"]),
                     "base" if row["is_base"] else ratio_text(row["ratio"]),
                     rate_text(row["gflops"]), rate_text(row["gbs"]), roof_text(row), error_text(row)])
    # A column in which nobody has anything to say, and on a terminal the rate that is not the roof's
    keep = [i for i in range(len(head)) if i < 4 or any(row[i] != "-" for row in rows)]
    if not markdown and 4 in keep and 5 in keep:
        keep.remove(4 if re.search("copy|read", report["roof"]) else 5)
    return [[row[i] for i in keep] for row in [head, *rows]]


def print_case(report, out):
    threads = report["threads"]
    print(f"\n{report['name']}, {threads} thread{'s' * (threads > 1)}: {report['title']}", file=out)
    if report["contenders"]:
        rows = rows_of(report)
        width = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = [row[0].ljust(width[0])] + [c.rjust(w) for c, w in zip(row[1:], width[1:])]
            print("  ".join(cells).rstrip(), file=out)
        for line in formulas(report, rows[0]):
            print(f"  {line}", file=out)
    for row in report["left_out"]:
        print(f"  left out: {row['label']}: {row['why']}", file=out)


def formulas(report, columns):
    """What the columns of rates and of the roof stand for."""
    return [f"{column}: {formula}" for column, formula in (
        ("GF/s", report["flops_formula"]), ("GB/s", report["bytes_formula"]),
        ("roof", report["roof_formula"])) if column in columns]


def verdict(row):
    if row["why_not"]:
        return row["why_not"]
    return ("reached" if row["reached"] else "NOT reached") + ("" if row["certain"] else ", not certain")


def print_targets(found, out):
    if found:
        print("\nwhat was to be reached", file=out)
    texts = [f"{row['target']}, {row['threads']} thread{'s' * (row['threads'] > 1)}" for row in found]
    for text, row in zip(texts, found):
        print(f"  {text:<{max(map(len, texts))}} {row['at_least']:>4g}{row['unit']}  "
              f"{measured(row)}{verdict(row)}", file=out)
    if any(row["certain"] is False for row in found):
        print(f"  {NOT_CERTAIN}", file=out)


def measured(row, space=""):
    if row["why_not"]:
        return ""
    low, high = map(digits, row["ci95"])
    return f"{digits(row['median'])}{space}{row['unit']} [{low} - {high}]  "


# ---- Markdown ------------------------------------------------------------------------------------

def table(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "| --- |" + " --: |" * (len(rows[0]) - 1), *lines[1:]]


def environment_text(environment):
    processes = environment["processes"]
    ours = next((about for about in processes if about["peer"] == OURS), {})
    versions = sorted({f"{about['peer']} {about['version']}" for about in processes
                       if "version" in about and not about["peer"].endswith("as shipped")})
    tried = ", ".join(f"{name} {time_text(seconds)}" for name, seconds in
                      environment["openblas_cores_tried_s"].items())
    blas = " ".join(str(ours.get("blas", "OpenBLAS")).split()[:2])
    empty = {language: [about["empty_call_s"] for about in processes if ("python" in about) ==
                        (language == "Python")] for language in ("C", "Python")}
    calls = " and ".join(f"{time_text(statistics.median(values))} in {language}"
                         for language, values in empty.items() if values)
    return [
        f"{environment['date']}, {environment['cpu']}, "
        f"{'a virtual machine, ' if environment['virtual_machine'] else ''}"
        f"caches {', '.join(f'{k} {v}' for k, v in environment['caches'].items())}, "
        f"{environment['kernel']}; load average {environment['load_average_before']:.2f} before, "
        f"{environment['load_average_after']:.2f} after.",
        f"Kernels run as {ours.get('isa')}; {ours.get('compiler')}, "
        f"`{environment['compiler_flags']}`.",
        f"{', '.join(versions) or 'No peer is there'}. {blas} with the kernels of "
        f"{environment['blas_core_used']}, the fastest for a product of 200x200 ({tried}; the first is what "
        "it takes as shipped).",
        f"Pinned to cores {environment['cores']} ({environment['binding']}); {environment['rounds']} "
        f"rounds, {environment['seconds']:.0f} s in all; a call of nothing takes {calls}.",
        f"Governor of the clock: {environment['governor']}; huge pages: {environment['huge_pages']}.",
        f"Command: `{environment['command']}`.",
        *(["", "**The machine was busy: times are provisional, ratios and shares less so.**"]
          if environment["load_average_before"] > BUSY else [])]


def markdown(document):
    lines = [*environment_text(document["environment"]), ""]
    for report in document["cases"]:
        if report["contenders"]:
            threads = report["threads"]
            rows = rows_of(report, markdown=True)
            lines += [f"**{report['name']}, {threads} thread{'s' * (threads > 1)}: "
                      f"{report['title']}**", "", *table(rows), "",
                      *(f"- {line}" for line in formulas(report, rows[0])), ""]
    left = dict.fromkeys((row["label"], row["why"], report["name"]) for report in
                         document["cases"] for row in report["left_out"])
    if left:
        lines += ["**Left out**", "", *(f"- {case}: {label}: {why}" for label, why, case in left), ""]
    setup = [["", "case", "set-up", "first call", "what it chose, and other notes"]]
    for report in document["cases"]:
        for row in report["contenders"]:
            if report["threads"] == 1 and not row["is_roof"]:
                setup.append([row["label"], report["name"], time_text(row["setup_s"]),
                              time_text(row["first_call_s"]), row["note"] or "-"])
    if len(setup) > 1:
        lines += ["**Before the first steady call, 1 thread, once each**", "", *table(setup), ""]
    if document["wrong"]:
        lines += ["**Wrong results**", "", *(f"- {what}" for what in document["wrong"]), ""]
    if document["targets"]:
        rows = [["what was to be reached", "threads", "at least", "measured [95 %]", ""]]
        for row in document["targets"]:
            rows.append([row["target"], str(row["threads"]), f"{row['at_least']:g} {row['unit']}",
                         measured(row, " ").strip() or "-", verdict(row)])
        lines += [*table(rows), "", f"{NOT_CERTAIN.capitalize()}.", ""]
    return "\n".join(lines)


def write_whole(path, text):
    """The file as it was, or as it shall be, whatever happens in between."""
    path = Path(os.path.realpath(path))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_markdown(path, text):
    """Into the page's place for results if it has one; else the tables are the file."""
    path = Path(path)
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if BEGIN in old and END in old:
        head, tail = old.split(BEGIN)[0], old.split(END, 1)[1]
        text = f"{head}{BEGIN}\n\n{text}\n{END}{tail}"
    write_whole(path, text)
