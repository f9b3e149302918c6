"""doxygen_filter.py - marks the comments of a header for Doxygen.

The first one is about the file. Others that begin in the first column belong to what follows, and one
behind a member of a struct or enum belongs to that. Titles of sections belong to nobody. Signs that
Doxygen would take for commands are escaped, and words in `...` are code.
"""
import re
import sys


def mark(match):
    indent, code, comment = match.groups()
    if comment.startswith(" ----"):
        return indent + code
    if code.strip() and not (indent and code.rstrip()[-1] in ";,"):
        return match.group(0)
    begin = "/**<" if code.strip() else "/** @file\n" if match.start() == 0 else "/**"
    comment = re.sub(r"([@\\<>#%&$\"])", r"\\\1", comment)
    comment = comment.replace("--", r"\--")
    comment = re.sub(r"`([^`]*)`", r"<tt>\1</tt>", comment)
    return f"{indent}{code}{begin}{comment}*/"


with open(sys.argv[1]) as file:
    text = file.read()
print(re.sub(r"^([ \t]*)([^\n]*?)/\*(.*?)\*/", mark, text, flags=re.S | re.M), end="")
