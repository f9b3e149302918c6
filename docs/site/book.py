"""book.py - what this book needs besides Sphinx and MyST:

- a block {source} with the path of a file and the names of regions in it (regions.py) shows
  these regions, under a line that links to the whole file;
- a block {output} with a command shows what the command prints when the site is built, and on
  which machine. The output is kept in BUILD/docs/outputs until the program changes;
- a link from a page to a file of the repository leads to that file, highlighted, on the site.

On a repository browser's page such a block stands as it was written: it names the file and the
regions, or the command.
"""
import datetime
import hashlib
import html
import json
import logging
import os
import re
import subprocess
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import regions

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FORKJOIN_BUILD", ROOT / "build"))


# ---- {source} and {output} --------------------------------------------------------------------

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


def program_of(command):
    """The file that decides what the command prints."""
    words = command.split()
    if words[0] == "./run":
        chapter, = ROOT.glob(f"chapters/{int(words[1]):02}_*")
        return BUILD / "chapters" / chapter.name / chapter.name[3:]
    return BUILD / Path(words[0]).relative_to("build")


def printed_by(command):
    """{"text", "where"} of the command, run now or when its program last changed."""
    program = program_of(command)
    key = hashlib.sha256(program.read_bytes() + f"{command}\n{machine()}".encode()).hexdigest()
    kept = BUILD / "docs" / "outputs" / f"{key[:32]}.json"
    try:
        output = json.loads(kept.read_text())
        return {key: output[key] for key in ("text", "where")}
    except (OSError, ValueError, KeyError):
        pass  # not there, or of an older site
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    busy = f"; the machine was busy, load average {load:.1f}" if load > 1 + cores / 2 else ""
    words = [str(ROOT / word) if word.startswith("tests/") else word for word in command.split()]
    words[0] = str(ROOT / "run") if words[0] == "./run" else str(program)
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=120, check=False, cwd=BUILD,
                            env={**os.environ, "FORKJOIN_BUILD": str(BUILD)})
    if result.returncode != 0 or not result.stdout:
        raise OSError(f"status {result.returncode}: {result.stderr.strip()}")
    output = {"text": result.stdout.rstrip(),
              "where": f"on {machine()}, {datetime.date.today().isoformat()}{busy}"}
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(output))
    new.rename(kept)
    return output


class Output(SphinxDirective):
    has_content = True

    def run(self):
        command = " ".join(self.content).strip()
        try:
            output = printed_by(command)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise self.error(f"{command}: {error}") from error
        caption = nodes.caption("", "", nodes.literal(command, command),
                                nodes.Text(" " + output["where"]))
        return captioned(caption, output["text"], "none", "output")


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
    app.connect("env-purge-doc", forget_sources)
    app.connect("doctree-read", take_links, priority=100)  # before the collector of downloads
    app.connect("missing-reference", resolve)
    app.connect("html-collect-pages", source_pages)
    # One page after the other, since programs are run and timed meanwhile.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
