"""conf.py - how Sphinx makes the site: ./run docs. What is the book's own is in site/book.py."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "site"))

project = "forkjoin"
author = copyright = "the forkjoin authors"
extensions = ["myst_parser", "book"]
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
