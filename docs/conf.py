"""conf.py - how Sphinx makes the site: ./run docs. What is the book's own is in site/book.py."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "site"))

project = "forkjoin"
author = copyright = "the forkjoin authors"
extensions = ["myst_parser", "book", "breathe"]
exclude_patterns = ["examples", "site"]
nitpicky = True

myst_heading_anchors = 3  # [text](page.md#a-heading), as in a repository browser
highlight_language = "none"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "forkjoin"
html_static_path = ["site/static"]
html_css_files = ["book.css"]
html_copy_source = html_show_sphinx = html_show_copyright = False

# The reference: Doxygen reads the headers. Their comments are ordinary ones, so a filter marks those
# that stand in front of a declaration, and those behind a member of a struct.
NAMES = re.findall(r"(?m)^```{autodoxygenfile} (\S+)$", (ROOT / "docs/reference.md").read_text())
HEADERS = [str(path.relative_to(ROOT)) for name in NAMES for path in ROOT.glob(f"common/**/{name}")]
breathe_projects_source = {"common": (str(ROOT), HEADERS)}
breathe_default_project = "common"
breathe_show_include = False
breathe_domain_by_extension = {"h": "c"}
breathe_doxygen_config_options = {
    "INPUT_FILTER": f"python3 {ROOT}/docs/site/doxygen_filter.py",
    "MARKDOWN_SUPPORT": "NO",
    "AUTOLINK_SUPPORT": "NO",
    "OPTIMIZE_OUTPUT_FOR_C": "YES",
    "EXTRACT_ALL": "YES",
    "MACRO_EXPANSION": "YES",
    "EXPAND_ONLY_PREDEF": "YES",
    "PREDEFINED": '"__attribute__(x)=" "_Alignas(x)=" "_Atomic(x)=x"',
    "QUIET": "YES",
    "WARN_IF_UNDOCUMENTED": "NO",
    "INCLUDE_GRAPH": "NO",
}
nitpick_ignore_regex = [("c:identifier", ".*")]  # size_t and other libraries' types
