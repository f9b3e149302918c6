"""book.py - what this book needs besides Sphinx and MyST:

- a block {source} with the path of a file and the names of regions in it (regions.py) shows
  these regions, under a line that links to the whole file;
- a block {output} with a command shows what the command prints when the site is built, and on
  which machine. The output is kept in BUILD/docs/outputs until the program changes. A command is
  ./run CHAPTER, build/tests/EXAMPLE or python3 FILE; one in docs/errata may end with an error,
  which is shown;
- a block {chart} with a chapter's command shows the charts that its --plot draws, kept likewise;
- a link from a page to a file of the repository leads to that file, highlighted, on the site.

On a repository browser's page such a block stands as it was written: it names the file and the
regions, or the command.
"""
import base64
import datetime
import hashlib
import html
import json
import logging
import os
import re
import subprocess
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import regions

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FORKJOIN_BUILD", ROOT / "build"))


# ---- {source}, {output} and {chart} -----------------------------------------------------------

def captioned(caption, text, language, kind):
    block = nodes.literal_block(text, text, language=language)
    wrapper = nodes.container("", caption, block, literal_block=True,
                              classes=["literal-block-wrapper", kind])
    return [wrapper]


def source_link(docname, path, text, line=None):
    link = addnodes.pending_xref(reftype="source", refdomain="", reftarget=path, refdoc=docname,
                                 refexplicit=True, refwarn=True, line=line)
    link += nodes.literal(text, text)
    return link


class Source(SphinxDirective):
    has_content = True

    def run(self):
        path, *names = [line.strip() for line in self.content if line.strip()]
        file = ROOT / path
        try:
            text, line = regions.extract(file, names)
        except (OSError, regions.RegionError) as error:
            raise self.error(f"{path}: {error}") from error
        self.env.note_dependency(str(file))
        note_source(self.env, self.env.docname, path)
        caption = nodes.caption("", "", source_link(self.env.docname, path, path, line))
        return captioned(caption, text, regions.language(file), "source")


def machine():
    """The processor, and how many cores this process may use."""
    names = re.findall(r"^(?:model name|Model|Hardware)\s*: (.*)$",
                       Path("/proc/cpuinfo").read_text(), re.M)
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else os.uname().machine}, {cores} core{'s' * (cores != 1)}"


def python():
    """The first Python that has NumPy, as the notebooks need it, and what it is; or None."""
    ask = "import numpy, platform; print(platform.python_version(), numpy.__version__)"
    for candidate in ("python3", "/usr/bin/python3"):
        try:
            answer = subprocess.run([candidate, "-c", ask], capture_output=True, text=True,
                                    timeout=60, check=False)
        except (OSError, subprocess.SubprocessError):
            continue
        if answer.returncode == 0:
            return candidate, "Python {}, NumPy {}".format(*answer.stdout.split())
    return None, "no Python with NumPy"


PYTHON, PYTHON_NAME = python()
LESSON_PY = ROOT / "common" / "lesson" / "lesson.py"  # what every notebook.py imports


def program_of(command):
    """The file that decides what the command prints."""
    words = command.split()
    if words[0] == "./run":
        chapter, = ROOT.glob(f"chapters/{int(words[1]):02}_*")
        return BUILD / "chapters" / chapter.name / chapter.name[3:]
    if words[0] == "python3":
        return ROOT / words[1]
    return BUILD / Path(words[0]).relative_to("build")


def run_to_text(command):
    """What the command prints; of Python also its error, with which programs in docs/errata end."""
    words = [str(ROOT / word) if word.startswith("tests/") else word for word in command.split()]
    environment = {**os.environ, "FORKJOIN_BUILD": str(BUILD), "PYTHONDONTWRITEBYTECODE": "1"}
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True,
               "timeout": 120, "check": False, "env": environment}
    if words[0] == "python3":
        if not PYTHON:
            return "(not run: there is no Python with NumPy here)"
        result = subprocess.run([PYTHON, *words[1:]], stderr=subprocess.STDOUT, cwd=ROOT, **options)
        may_fail = words[1].startswith("docs/errata/")
    else:
        words[0] = str(ROOT / "run") if words[0] == "./run" else str(program_of(command))
        result = subprocess.run(words, stderr=subprocess.PIPE, cwd=BUILD, **options)
        may_fail = False
    if not result.stdout or result.returncode not in ((0, 1) if may_fail else (0,)):
        raise OSError(f"status {result.returncode}: {(result.stderr or result.stdout).strip()}")
    return result.stdout.rstrip().replace(f"{ROOT}/", "")


def run_to_charts(command):
    """The same, and the charts that the chapter draws, as texts of SVG."""
    with tempfile.TemporaryDirectory() as directory:
        text = run_to_text(f"{command} --plot {directory}/chart.svg")
        charts = [path.read_text() for path in sorted(Path(directory).glob("*.svg"))]
    if not charts:
        raise OSError("no chart was drawn")
    return {"text": text, "charts": charts}


def made_by(make, command):
    """{"made", "where"}: make(command), now or when the command's program last changed."""
    where = machine() + (f", {PYTHON_NAME}" if command.startswith("python3 ") else "")
    about = f"{make.__name__}\n{command}\n{where}"
    decides = program_of(command).read_bytes() + LESSON_PY.read_bytes() + about.encode()
    key = hashlib.sha256(decides).hexdigest()
    kept = BUILD / "docs" / "outputs" / f"{key[:32]}.json"
    try:
        output = json.loads(kept.read_text())
        return {key: output[key] for key in ("made", "where")}
    except (OSError, ValueError, KeyError):
        pass  # not there, or of an older site
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    busy = f"; the machine was busy, load average {load:.1f}" if load > 1 + cores / 2 else ""
    output = {"made": make(command),
              "where": f"on {where}, {datetime.date.today().isoformat()}{busy}"}
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(output))
    new.rename(kept)
    return output


class Made(SphinxDirective):
    """A block whose content is a command. An output and a chart of a page that have the same command
    are of the same run."""
    has_content = True

    def made(self, make):
        command = " ".join(self.content).strip()
        try:
            output = made_by(make, command)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise self.error(f"{command}: {error}") from error
        caption = nodes.caption("", "", nodes.literal(command, command),
                                nodes.Text(" " + output["where"]))
        return command, output["made"], caption


class Output(Made):
    def run(self):
        page = Path(self.env.doc2path(self.env.docname)).read_text()
        charted = list(self.content) in regions.blocks(page, "chart")
        command, output, caption = self.made(run_to_charts if charted else run_to_text)
        text = output["text"] if charted else output
        blocks = captioned(caption, text, "none", "output")
        if command.startswith("python3 docs/errata/"):
            blocks[0]["classes"].append("errata")
        return blocks


class Chart(Made):
    """Inside the page, as images: their scripts and names cannot meet those of another chart."""

    def run(self):
        command, output, caption = self.made(run_to_charts)
        images = "".join('<img alt="{}" src="data:image/svg+xml;base64,{}">'.format(
            html.escape(f"chart of the figures of {command}"),
            base64.b64encode(svg.encode()).decode()) for svg in output["charts"])
        paper = nodes.raw("", f'<div class="charts">{images}</div>', format="html")
        return [nodes.container("", caption, paper,
                                literal_block=True, classes=["literal-block-wrapper", "chart"])]


# ---- Links to files ---------------------------------------------------------------------------

def note_source(env, docname, path):
    if not hasattr(env, "book_sources"):
        env.book_sources = {}
    env.book_sources.setdefault(docname, set()).add(path)


def forget_sources(app, env, docname):
    getattr(env, "book_sources", {}).pop(docname, None)


def repository_path(target, docname):
    """Relative to the page, or to the root: the front page includes README.md."""
    for base in ((ROOT / "docs" / docname).parent, ROOT):
        file = Path(os.path.normpath(base / target))
        if file.exists() and ROOT in file.parents:
            return str(file.relative_to(ROOT))
    return None


def take_links(app, doctree):
    """MyST makes downloads of links to files; they become links to pages of source instead."""
    docname = app.env.docname
    for node in list(doctree.findall(addnodes.download_reference)):
        path = repository_path(node["reftarget"], docname)
        if path and not path.startswith("docs/images/"):
            link = source_link(docname, path, "")
            link.children = []
            link += node.children
            note_source(app.env, docname, path)
            node.replace_self(link)
    for node in doctree.findall(addnodes.pending_xref):
        if node["reftype"] == "myst":
            path = repository_path(node["reftarget"], docname)
            if path and (ROOT / path).is_file() and not path.endswith(".md"):
                note_source(app.env, docname, path)


def resolve(app, env, node, content):
    path = node["reftarget"]
    if node["reftype"] != "source":
        path = repository_path(path, node["refdoc"])
        if path == "README.md":
            return make_refnode(app.builder, node["refdoc"], "index", None, content)
        if not path or not (ROOT / path).is_file() or path.endswith(".md"):
            return None
    line = node.get("line")
    return make_refnode(app.builder, node["refdoc"], f"source/{path}",
                        f"L{line}" if line else None, content)


def source_pages(app):
    paths = set().union(*getattr(app.env, "book_sources", {}).values())
    for path in sorted(paths):
        file = ROOT / path
        code = app.builder.highlighter.highlight_block(file.read_text(), regions.language(file))
        head, body = code.split("<pre>", 1)
        lines = body.rsplit("</pre>", 1)[0].rstrip("\n").split("\n")
        numbered = "\n".join(f'<span class="line-number" id="L{n}">{n:4}</span>  {line}'
                             for n, line in enumerate(lines, 1))
        title = html.escape(path)
        yield f"source/{path}", {
            "title": title,
            "body": f'<h1 class="source-name"><code>{title}</code></h1><div class="source-page">'
                    f"{head}<pre>{numbered}\n</pre></div></div></div>",
        }, "page.html"


# ---- The reference ----------------------------------------------------------------------------

def not_twice(record):
    """C has a name for functions and another for structs; Sphinx wants one for both."""
    return not str(record.msg).startswith("Duplicate C declaration")


def setup(app):
    logging.getLogger("sphinx.sphinx.domains.c").addFilter(not_twice)
    app.add_directive("source", Source)
    app.add_directive("output", Output)
    app.add_directive("chart", Chart)
    app.connect("env-purge-doc", forget_sources)
    app.connect("doctree-read", take_links, priority=100)  # before the collector of downloads
    app.connect("missing-reference", resolve)
    app.connect("html-collect-pages", source_pages)
    # One page after the other, since programs are run and timed meanwhile.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
