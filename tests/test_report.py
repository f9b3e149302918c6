#!/usr/bin/env python3
"""test_report.py - the report page: what it holds, and how it behaves in Chromium, headless.

Usage: python3 tests/test_report.py BUILD_ROOT SOURCE_ROOT [SCREENSHOTS]

The page of all chapters is made by ./run report; its data are compared with the tables, and for
every row the source of its function must be there. Into a second page goes a timeline with
thousands of events and with names that would do harm if they were taken for HTML. With a directory
SCREENSHOTS it leaves pictures of the pages there.

Where there is no Chromium, or no Selenium to drive it, what needs them is skipped (status 77).
"""
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chapter_test import few

DEBIANS_PYTHON = "/usr/bin/python3"  # the one that python3-selenium belongs to
try:
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None
    if os.path.exists(DEBIANS_PYTHON) and not os.path.samefile(sys.executable, DEBIANS_PYTHON):
        os.execv(DEBIANS_PYTHON, [DEBIANS_PYTHON, *sys.argv])

BUILD, SOURCE = (Path(argument).resolve() for argument in sys.argv[1:3])
SCREENSHOTS = Path(sys.argv[3]).resolve() if len(sys.argv) > 3 else None
sys.path.insert(0, str(SOURCE / "docs" / "site"))
import regions  # noqa: E402

BLOCK = re.compile(r'(<script type="application/json" id="data">)(.*?)(?=</script>)', re.S)
POOL_MAP = BUILD / "chapters" / "01_pool_map" / "pool_map"
SMALL = ["--seconds", "0.01", "--repeats", "1"]
OLD = '<!DOCTYPE html>\n<meta name="generator" content="forkjoin">old'
HARMFUL = '</script><img src=x onerror="document.title=1"> & "quotes"'
SIZES = {"phone": (360, 740), "laptop": (1280, 800), "projector": (1920, 1080)}

failures = checks = 0


def check(good, what):
    global failures, checks
    checks += 1
    if not good:
        failures += 1
        print(f"FAILED: {what}")


def run(*command, **others):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=300, check=False, **others)


def read_data(page):
    return json.loads(BLOCK.search(page.read_text(encoding="utf-8"))[2])


def write_data(page, template, data):
    text = json.dumps(data).replace("<", r"\u003c")
    page.write_text(BLOCK.sub(lambda found: found[1] + text, template.read_text(encoding="utf-8")),
                    encoding="utf-8")


# ---- Without a browser ---------------------------------------------------------------------------

def check_region(file, source):
    try:
        text = regions.extract(file, [source["function"]])[0] + "\n"
    except regions.RegionError as error:
        text = str(error)
    check(source["text"] == text, f"{file.name}, {source['function']}: the page has another piece of it "
                                  f"than the site:\n{source['text']}\n{text}")


def check_sources(data):
    for chapter in data["chapters"]:
        for row in chapter["runs"]:
            name = f"{chapter['chapter']}, {row['workload']}, {row['mode']}"
            source = chapter["sources"][row["source"]]
            check(re.search(rf"\b{source['function']}\(", source.get("text", "")),
                  f"{name}: no source of {source}")
            if "file" in source:
                lines = (SOURCE / source["file"]).read_text().splitlines()
                check(source["function"] in lines[source["line"] - 1], f"{name}: another line")
                check(source["text"] in "\n".join(lines) + "\n", f"{name}: not the file's text")
                for one in [source, *source["names"]]:  # the site finds a function by the same rule
                    check_region(SOURCE / source["file"], one)


def check_tasks(data):
    """What a process runs is among the functions that its row's source names."""
    first = data["chapters"][0]
    for row in first["runs"]:
        if row["mode"] == "processes":
            named = [one["function"] for one in first["sources"][row["source"]]["names"]]
            check(named == ["heavy_task", "heavy_computation"], f"the pool's task: {named}")


def check_charts(data, scratch):
    for chapter in data["chapters"]:
        if shutil.which("gnuplot") and not all(one["quiet"] for one in chapter["workloads"]):
            check(chapter["charts"] and "charts_missing" not in chapter, f"{chapter['chapter']}: no charts")
        for chart in chapter["charts"]:
            check(all(chart[theme].lstrip().startswith("<svg") for theme in ("light", "dark")),
                  f"{chapter['chapter']}: {chart['title']} is no SVG")
    missing = run(POOL_MAP, *SMALL, "--quiet", "--report", scratch / "plain",
                  env={**os.environ, "GNUPLOT": "no-such-gnuplot"})
    chapter = read_data(scratch / "plain" / "index.html")["chapters"][0]
    check(missing.returncode == 0 and not chapter["charts"] and "gnuplot" in chapter["charts_missing"],
          f"without gnuplot: {missing}, {chapter.get('charts_missing')}")


def check_refusals(scratch):
    """Each is one line on standard error, and leaves what was there."""
    in_the_way = scratch / "file"
    in_the_way.write_text("mine")
    (scratch / "taken" / "index.html").mkdir(parents=True)
    (scratch / "site").mkdir()
    (scratch / "site" / "index.html").write_text("<!DOCTYPE html><title>my own</title>")
    locked = scratch / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    cases = [(in_the_way, 1, "directory"), (in_the_way / "below", 1, "directory"),
             (scratch / "taken", 1, "must be a file"), (scratch / "site", 1, "no page of --report"), ("", 2, "--report")]
    if os.geteuid() != 0:  # root may write everywhere
        cases += [(locked / "new", 1, "ermission"), (locked, 1, "ermission")]
    elif os.path.isdir("/proc/self/fdinfo"):
        cases += [("/proc/self/fdinfo", 1, "/proc/self/fdinfo")]
    for directory, status, word in cases:
        result = run(POOL_MAP, *SMALL, "--report", directory)
        check(result.returncode == status, f"{directory}: status {result.returncode}, not {status}")
        check(result.stderr.count("\n") == 1 and word in result.stderr,
              f"{directory}: not one line with '{word}': {result.stderr}")
    check(in_the_way.read_text() == "mine", "a file in the way was changed")
    check("my own" in (scratch / "site" / "index.html").read_text(), "a page of somebody else was replaced")
    locked.chmod(0o700)

    page = scratch / "both" / "index.html"
    for exists in False, True:
        for name in page, scratch / "both" / "." / "index.html", scratch / "link" / "index.html":
            if exists:
                page.parent.mkdir(exist_ok=True)
                (scratch / "link").is_symlink() or (scratch / "link").symlink_to(page.parent)
            both = run(POOL_MAP, "--report", page.parent, "--json", name)
            expected = exists or name == page
            check(both.returncode == (2 if expected else 1) and (not expected or "both name" in both.stderr),
                  f"--report and --json {name}: {both}")
    check(not page.exists(), "a page and a report of one name were written")

    wrong = run(POOL_MAP, "--mode", "sideways", "--report", scratch / "never")
    check(wrong.returncode == 2 and not (scratch / "never").exists(),
          "a wrong command line made the directory")


def check_programs(scratch):
    old = scratch / "old" / "index.html"
    old.parent.mkdir()
    old.write_text(OLD)
    result = run("sh", "-c", 'ulimit -f 8; exec "$0" "$@"', POOL_MAP, *SMALL, "--quiet", "--report",
                 old.parent)
    check(result.returncode == 1 and result.stderr.count("\n") == 1, f"no room: {result.stderr}")
    check(old.read_text() == OLD and len(list(old.parent.iterdir())) == 1,
          "a page that could not be written whole left something")

    result = run(POOL_MAP, *SMALL, "--quiet", "--report", "a/b c", cwd=scratch)
    page = scratch / "a" / "b c" / "index.html"
    check(result.returncode == 0 and page.is_file(), f"--report 'a/b c': {result.stderr}")
    check(stat.S_IMODE(page.stat().st_mode) & 0o400, "the page cannot be read")

    moved = scratch / "m[o]v*d \\ here"
    copy = moved / POOL_MAP.relative_to(BUILD)
    for directory in "chapters/01_pool_map", "common/lesson":
        shutil.copytree(SOURCE / directory, moved / directory)
    shutil.copy2(POOL_MAP, copy)
    result = run(copy, *SMALL, "--quiet", "--report", scratch / "moved page")
    chapter = read_data(scratch / "moved page" / "index.html")["chapters"][0]
    check(result.returncode == 0 and all("text" in source for source in chapter["sources"]),
          f"sources that were moved: {chapter['sources']}")
    header = bytearray(copy.read_bytes())
    header[0x28:0x30] = (len(header) + 10**9).to_bytes(8, "little")  # where ELF's sections are
    copy.write_bytes(header)
    result = run(copy, *SMALL, "--quiet", "--report", scratch / "odd page")
    check(result.returncode == 0, f"a program with wrong sections: {result}")
    chapter = read_data(scratch / "odd page" / "index.html")["chapters"][0]
    check(all("no table" in source["error"] for source in chapter["sources"]), "sources without a table")

    probe = run(BUILD / "tests" / "lesson_probe", "--wrong", "threads", "--report", scratch / "wrong")
    check(probe.returncode == 1, f"a wrong result: status {probe.returncode}")
    chapter = read_data(scratch / "wrong" / "index.html")["chapters"][0]
    check(chapter["failed"] and not all(row["matches_sequential"] for row in chapter["runs"]),
          "the page does not say that a result was wrong")
    check(all("tests/lesson_probe.c" not in str(source) and "was found neither" in source["error"]
              for source in chapter["sources"]), "a source that is not there is not reported")


def check_python(scratch):
    """Rows of Python stand after C's, whose order the workloads count."""
    page = scratch / "python" / "index.html"
    result = run(POOL_MAP, "--tasks", "6", "--iterations", "2000", "--workers", "2", "--quiet", "--python",
                 "--report", page.parent)
    check(result.returncode == 0, f"--python --report: {result}")
    chapter = read_data(page)["chapters"][0]
    rows = [row for row in chapter["runs"] if row["language"] == "python"]
    check([row["mode"] for row in rows[:3]] == ["sequential", "gil", "processes"], f"Python's rows: {rows}")
    check(sum(one["runs"] for one in chapter["workloads"]) == len(chapter["runs"]) - len(rows), "rows of C")
    if shutil.which("gnuplot"):
        check(any("beside C" in chart["title"] for chart in chapter["charts"]), "no chart of Python")
    return page


def add_odd_python(page, new):
    """What a row may lack, a Python that failed, names that would do harm."""
    data = read_data(page)
    chapter = data["chapters"][0]
    odd = dict(next(row for row in chapter["runs"] if row["language"] == "python"))
    odd.update(workload=HARMFUL, name="other", c_speedup=None, cores_busy=None, matches_c=False, sample=True)
    chapter["runs"].append(odd)
    chapter["python"].append({"error": HARMFUL})
    chapter["ladder"] = [{"rung": "C", "step": None, "task_s": 0, "factor": None, "product": None}]
    new.parent.mkdir()
    write_data(new, page, data)
    return data


def check_contrast():
    """As WCAG 2 has it: 4.5 for texts, 3 for what is drawn."""
    def luminance(colour):
        parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    style = (SOURCE / "common/lesson/write/page/page.css").read_text()
    for theme, block in zip(("light", "dark"), re.findall(r"^:root.*?\{(.*?)\}", style, re.S | re.M)):
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for least, backs, names in ((4.5, ("back", "box"), "text soft link bad comment key"),
                                    (3, ("back", "box"), "edge task chunk copy-in copy-out wait held")):
            for name in names.split():
                for back in backs:
                    low, high = sorted(map(luminance, (colours[name], colours[back])))
                    ratio = (high + 0.05) / (low + 0.05)
                    check(ratio >= least, f"{theme}: {name} on {back} has a contrast of {ratio:.2f}")


# ---- With a browser ------------------------------------------------------------------------------

def make_timeline(rows, tasks, wall):
    """So many tasks a row, one after the other, in chunks of 100 with a little between them."""
    length, events = wall / tasks, []
    for row in range(rows):
        for chunk in range(0, tasks, 100):
            events.append([row, 1, chunk // 100, chunk * length, min(tasks, chunk + 100) * length])
            for task in range(chunk, min(tasks, chunk + 100)):
                events.append([row, 0, row * tasks + task, task * length, (task + 0.9) * length])
    return {"wall_s": wall, "rows": [f"worker {row}, pid {4711 + row} {HARMFUL}" for row in range(rows)],
            "events": events, "left_out": 3}


def make_other_timeline():
    """All the kinds that the other lacks."""
    return {"wall_s": 0.001, "rows": ["parent", "thread 0"], "left_out": 0, "events": [
        [0, 2, 0, 0, 2e-4], [0, 3, 0, 8e-4, 1e-3], [1, 4, 0, 0, 3e-4], [1, 5, 0, 3e-4, 9e-4],
        [1, 0, 17, 4e-4, 8e-4]]}


def make_test_page(page, template):
    data = read_data(template)
    chapter = data["chapters"][0]
    chapter["title"] = chapter["workloads"][0]["title"] = HARMFUL
    for row in chapter["runs"]:
        row.pop("timeline", None)
    by_mode = {row["mode"]: row for row in reversed(chapter["runs"][:chapter["workloads"][0]["runs"]])}
    by_mode["processes"]["timeline"] = make_timeline(2, 5000, 0.002)
    by_mode["gil"]["timeline"] = make_other_timeline()
    colours = {"light": "#f4f6f8", "dark": "#1b2129"}
    chapter["charts"] = [{"title": "A chart", "workload": chapter["workloads"][0]["name"], **{
        theme: f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 30"><rect width="60" '
               f'height="30" fill="{colour}"/><circle cx="30" cy="15" r="9" fill="#888"/></svg>'
        for theme, colour in colours.items()}}]
    chapter.pop("charts_missing", None)
    data["chapters"].append({"chapter": "99_lost", "error": "99_lost failed"})
    write_data(page, template, data)
    return data


class Browser:
    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                         "--allow-file-access-from-files=false", "--hide-scrollbars",
                         *(["--no-sandbox"] if os.geteuid() == 0 else [])]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(60)

    def size(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def scheme(self, theme):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": theme}]})

    def open(self, page, anchor=""):
        self.driver.get("about:blank")  # or only the anchor would change
        self.driver.get(page.as_uri() + anchor)

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def find(self, selector):
        """Those that can be seen."""
        return [one for one in self.driver.find_elements(By.CSS_SELECTOR, selector) if one.is_displayed()]

    def settle(self):
        """Until what was asked to be drawn is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));")

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()
        self.settle()

    def shot(self, name):
        if SCREENSHOTS:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    def check_silence(self):
        """No error, no warning, nothing fetched but the file itself."""
        log = self.driver.get_log("browser")
        check(not log, f"the console: {log}")
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = {message["params"]["request"]["url"] for message in messages
                 if message["method"] == "Network.requestWillBeSent"}
        check(asked, "no request was logged, not even that of the page")
        foreign = {url[:80] for url in asked if not re.match(r"file:|data:|about:|chrome", url)}
        check(not foreign, f"fetched: {foreign}")


def check_figures(browser, page, data):
    """Each row of the first workload's table has the figures of the data."""
    for chapter in data["chapters"]:
        browser.open(page, f"#{chapter['chapter']}")
        check([one.text for one in browser.find("h2")] == [chapter["title"]], "one h2, the title")
        check(browser.driver.title.startswith(chapter["title"]), f"title {browser.driver.title}")
        levels = [int(one.tag_name[1]) for one in browser.find("h1, h2, h3, h4")]
        check(levels[0] == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:])),
              f"headings out of order: {levels}")
        runs = iter(chapter["runs"])
        for index, workload in enumerate(chapter["workloads"]):
            rows = [next(runs) for _ in range(workload["runs"])]
            shown = browser.script("""
                for (const details of document.querySelectorAll('section:not([hidden]) details'))
                  if (!details.open && details.textContent.includes('for comparison')) {
                    details.open = true; details.dispatchEvent(new Event('toggle'));
                  }
                const article = document.getElementById(arguments[0]);
                return [[...article.querySelector('tbody').rows].map(row => [...row.cells].map(
                  cell => cell.textContent)), article.textContent];""",
                                   f"{chapter['chapter']}/{index}")
            check(len(shown[0]) == len(rows), f"{workload['name']}: {len(shown[0])} rows")
            for cells, row in zip(shown[0], rows):
                speedup = f"{row['speedup']:.{3 if row['speedup'] < 0.095 else 2}f}×"
                expected = [str(row["workers"]), f"{row['cores_busy']:.2f}", speedup,
                            "yes" if row["matches_sequential"] else "NO"]
                check([cells[i] for i in (1, 4, 5, 8)] == expected, f"{cells} instead of {expected}")
                check(chapter["sources"][row["source"]]["text"] in shown[1],
                      f"{workload['name']}, {row['mode']}: no source")
        check(not browser.script("""return [...document.querySelectorAll('table')].filter(table =>
            !table.caption || [...table.querySelectorAll('th')].some(th => !th.scope)).length"""),
              "a table without caption or scope")


def check_python_table(browser, page, data):
    chapter = data["chapters"][0]
    rows = [row for row in chapter["runs"] if row["language"] == "python"]
    browser.open(page)
    tables = browser.script("""return [...document.querySelectorAll('[aria-label="The same in Python"] table')].map(
        table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent)))""")
    check(len(tables) == 1 and len(tables[0]) == len(rows), f"The same in Python: {tables}")
    for cells, row in zip(tables[0], rows):
        check(cells[1:4] == [row["python"].replace("Python ", ""), row["mode"], str(row["workers"])], f"{cells} of {row}")
        check(cells[11] == ("yes" if row["matches_sequential"] and row["matches_c"] is not False else "NO"),
              f"{cells} of {row}")
        c = next((one for one in chapter["runs"] if one["language"] == "c" and one["workload"] == row["workload"]
                  and (one["mode"], one["workers"]) == (row["mode"], row["workers"])), None)
        check(not c or abs(float(cells[10].rstrip("×")) - c["speedup"]) < 0.01 * c["speedup"], f"{cells}: C's speedup")
        check((cells[6] == "–") == (row["c_speedup"] is None), f"{cells}: how much faster C is")
    text = browser.find("main")[0].text
    for report in chapter["python"]:
        check(report.get("command") in text if "command" in report else f"Not run: {report['error']}" in text,
              f"{report} is not told")
    check(not browser.script("return document.querySelectorAll('img[src=x]').length"), "HTML from data")
    for anchor in "#%E0%A4%A", "#%":  # an address that is no text
        browser.open(page, anchor)
        check(len(browser.find("section")) == 1, f"{anchor} shows nothing")
    for key in range(12):  # to each thing that can be reached, and none without a name
        browser.keys(Keys.TAB)
        named = browser.script("""const one = document.activeElement;
            return one.textContent.trim() || one.getAttribute('aria-label')""")
        check(named, f"{key}: a focus without a name")
    check(not browser.script("""return [...document.querySelectorAll('*')].flatMap(one => [...one.attributes])
        .filter(attribute => attribute.name.startsWith('on')).length"""), "a handler in an attribute")


def check_widths(browser, page, names):
    for width, height in few(list(SIZES.values()), 2):
        browser.size(width, height)
        for name in few(names, 3):
            browser.open(page, f"#{name}")
            browser.settle()
            wide = browser.script("return document.documentElement.scrollWidth")
            check(wide <= width, f"{name} is {wide} wide at {width}")


def check_tabs(browser, page, data):
    browser.size(*SIZES["laptop"])
    browser.open(page)
    check(browser.script("return document.documentElement.lang") == "en", "no lang")
    check(browser.find("h2")[0].text == "All chapters", "it does not begin with the overview")
    check(len(browser.find("nav a")) == len(data["chapters"]) + 1, "not a link for each chapter")
    named = {one.text for one in browser.find("tbody a")}
    check(named == {one["chapter"] for one in data["chapters"] if "runs" in one}, f"overview: {named}")
    for link in browser.find("nav a")[1:3]:
        link.click()
        browser.settle()
        name = link.get_attribute("href").split("#")[1]
        check([one.get_attribute("id") for one in browser.find("section")] == [name],
              f"{name}: not shown alone")
        check(link.get_attribute("aria-current") == "page", f"{name}: its link is not the current one")
    browser.driver.back()
    browser.settle()
    check(browser.find("section")[0].get_attribute("id") == data["chapters"][0]["chapter"], "back")
    browser.script("location.hash = '#content'")
    browser.settle()
    check(len(browser.find("section")) == 1, "the skip link hides the chapter")
    browser.open(page, "#99_lost")
    check("99_lost failed" in browser.find("section")[0].text, "a lost chapter is not told")


def check_theme(browser, page):
    """The system's choice, the button, and the charts of each."""
    def back():
        return browser.script("return getComputedStyle(document.body).backgroundColor")
    seen = {}
    for theme in "light", "dark":
        browser.scheme(theme)
        browser.open(page, "#01_pool_map")
        seen[theme] = back()
        charts = browser.find(".charts img")
        check(len(charts) == 1 and charts[0].get_attribute("class") == theme, f"charts in {theme}")
        check(browser.script("return arguments[0].naturalWidth", charts[0]) > 0, "an empty chart")
    check(seen["light"] != seen["dark"], f"light is dark: {seen}")
    browser.find("#theme")[0].click()
    check(back() == seen["light"], "the button does not change the theme")
    browser.scheme("light")


def view_of(browser):
    """What the first timeline shows."""
    browser.settle()
    return browser.script("return document.querySelector('.timeline > canvas').toDataURL()")


def tip(browser):
    return browser.script("return document.querySelector('.tip').textContent")


def check_timeline(browser, page):
    browser.open(page, "#01_pool_map")
    browser.settle()
    canvas = browser.find(".timeline > canvas")[0]
    browser.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", canvas)
    whole = view_of(browser)
    width, height = canvas.size["width"], canvas.size["height"]
    for share in 0.1, 0.4, 0.9:  # somewhere in the last lane
        ActionChains(browser.driver).move_to_element_with_offset(
            canvas, int(width * (share - 0.5)), height // 2 - 26).perform()
        browser.settle()
        said = tip(browser)
        index = re.match(r"task (\d+)\n", said)
        check(index and abs(int(index[1]) - 5000 - share * 5000) < 25, f"hover at {share}: {said}")
        check("worker 1" in said and "begins at" in said and HARMFUL in said, f"hover: {said}")
        box = browser.script("""const box = document.querySelector('.tip').getBoundingClientRect();
            return [box.left, box.top, innerWidth - box.right, innerHeight - box.bottom]""")
        check(min(box) >= 0, f"the tip leaves the window: {box}")

    browser.script("arguments[0].focus()", canvas)
    browser.keys(Keys.HOME)
    for key in "+", Keys.SHIFT + Keys.ARROW_RIGHT, "-":
        before = view_of(browser)
        browser.keys(key)
        check(view_of(browser) != before, f"the key {key!r} changes nothing")
    browser.keys(Keys.NULL, Keys.HOME, Keys.ESCAPE)
    said = []
    for key in Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_UP:
        browser.keys(key)
        said.append(tip(browser))
    check(len(set(said)) >= 3 and all(said), f"the arrow keys: {said}")
    check(browser.script("return getComputedStyle(arguments[0]).outlineStyle", canvas) == "solid",
          "the focus cannot be seen")
    browser.keys(Keys.HOME, Keys.ESCAPE)

    for button in browser.find(".tools button")[:1]:
        button.click()
        check(view_of(browser) != whole, "the button + changes nothing")
    browser.find(".tools button")[-1].click()
    check(view_of(browser) == whole, "the button All does not show all again")
    browser.script("""arguments[0].dispatchEvent(new WheelEvent('wheel',
        {deltaY: -100, clientX: 400, clientY: 300, bubbles: true, cancelable: true}))""", canvas)
    zoomed = view_of(browser)
    check(zoomed != whole, "the wheel changes nothing")
    ActionChains(browser.driver).drag_and_drop_by_offset(canvas, 80, 0).perform()
    check(view_of(browser) != zoomed, "dragging changes nothing")
    check(browser.driver.title.startswith("</script>"), "a name of the data was taken for HTML")
    check(not browser.script("return document.querySelectorAll('img[src=x]').length"), "HTML from data")

    browser.keys(Keys.HOME)
    start = time.monotonic()
    browser.script("for (let i = 0; i < 20; i++) arguments[0].dispatchEvent(new KeyboardEvent("
                   "'keydown', {key: i < 10 ? '+' : '-'}))", canvas)
    browser.settle()
    print(f"20 zooms of 10000 events and a drawing: {time.monotonic() - start:.2f} s")


def take_pictures(browser, page):
    for theme in "light", "dark":
        browser.scheme(theme)
        for size, (width, height) in SIZES.items():
            browser.size(width, height)
            for anchor in "overview", "01_pool_map", "01_pool_map/0", "03_transfer_cost/1":
                browser.open(page, f"#{anchor}")
                browser.settle()
                browser.shot(f"{anchor.replace('/', '-')}-{size}-{theme}")
            browser.open(page, "#01_pool_map")
            for name in "timeline", "mode":
                browser.script("document.querySelector(`.${arguments[0]}`).scrollIntoView("
                               "{behavior: 'instant'})", name)
                if name == "timeline":
                    browser.script("document.querySelector('.timeline > canvas').focus()")
                    browser.keys("+", "+", "+", Keys.ARROW_RIGHT)
                browser.settle()
                browser.shot(f"{name}-{size}-{theme}")


def check_in_browser(page, python_page, scratch):
    test_page = scratch / "test" / "index.html"
    test_page.parent.mkdir()
    data = read_data(page)
    test_data = make_test_page(test_page, page)
    browser = Browser()
    try:
        browser.size(*SIZES["laptop"])
        check_figures(browser, page, data)
        odd = scratch / "odd" / "index.html"
        odd_data = add_odd_python(python_page, odd)
        check_python_table(browser, python_page, read_data(python_page))
        check_python_table(browser, odd, odd_data)
        check_widths(browser, odd, ["01_pool_map"])
        check_widths(browser, test_page, ["overview", *[one["chapter"] for one in data["chapters"]]])
        check_tabs(browser, test_page, test_data)
        check_theme(browser, test_page)
        check_timeline(browser, test_page)
        browser.check_silence()
        if SCREENSHOTS:
            take_pictures(browser, test_page)
    finally:
        browser.driver.quit()


def main():
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if not webdriver:
        missing.append("selenium, Debian's python3-selenium")
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        check_contrast()
        check_refusals(scratch)
        check_programs(scratch)
        python_page = check_python(scratch)
        result = run(SOURCE / "run", "report", scratch / "all", *SMALL,
                     env={**os.environ, "FORKJOIN_BUILD": str(BUILD)})
        page = scratch / "all" / "index.html"
        check(result.returncode == 0 and result.stdout == f"{page}\n", f"./run report: {result}")
        data = read_data(page)
        check(len(data["chapters"]) == len(list(SOURCE.glob("chapters/[0-9]*/"))), "not all chapters")
        check(len(list(page.parent.iterdir())) == 1, "more than the page was left")
        check_sources(data)
        check_tasks(data)
        check_charts(data, scratch)
        if not missing:
            check_in_browser(page, python_page, scratch)
    print(f"{checks - failures} passed, {failures} failed")
    if failures:
        return 1
    if missing:
        print(f"SKIPPED: the page in a browser; not found: {', '.join(missing)}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
