"""regions.py - takes a named piece out of a source file, so that a page need not copy it.

A region is named by what stands in the file anyway:

    run_threads        a function, with the comment above it, and POOL_TASK(...) below it
    struct work        a struct or an enum
    counter            a variable, a constant
    "The task"         a section, from its line `/* ---- The task ---- */` (Python: `# ---- The
                       task ----`) to the next such line

in files that are formatted as this project's are: what is named begins in the first column.
"""
import re


class RegionError(Exception):
    pass


SECTION = {"c": r"/\* ---- (.+?) -+ \*/$", "python": r"# ---- (.+?) -+$"}
COMMENT = {"c": r"(/\*| \*|//)", "python": r"#"}


def language(path):
    return {".c": "c", ".h": "c", ".py": "python", ".json": "json"}.get(path.suffix, "none")


def extract(path, names):
    """The text of the regions, in the order of `names`, a blank line between two; no names: the
    whole file. And the number of the first line of the first one."""
    lines = path.read_text().splitlines()
    if not names:
        return "\n".join(lines), 1
    kind = language(path)
    if kind not in SECTION:
        raise RegionError(f"{path.name} has no regions")
    found = [_find(lines, kind, name, path) for name in names]
    return "\n\n".join("\n".join(lines[begin:end]) for begin, end in found), found[0][0] + 1


def _find(lines, kind, name, path):
    if name.startswith('"'):
        begin, end = _section(lines, kind, name.strip('"'))
    else:
        begin, end = (_c if kind == "c" else _python)(lines, name)
    if begin is None:
        raise RegionError(f"{path.name} has no {name}")
    while begin < end and not lines[begin]:
        begin += 1
    while end > begin and not lines[end - 1]:
        end -= 1
    return begin, end


def _section(lines, kind, title):
    titles = [(match.group(1), i) for i, line in enumerate(lines)
              if (match := re.match(SECTION[kind], line))]
    for (found, begin), (_, end) in zip(titles, [*titles[1:], (None, len(lines))]):
        if found == title:
            return begin + 1, end
    return None, None


def _with_comment(lines, begin, kind):
    while begin > 0 and re.match(COMMENT[kind], lines[begin - 1]) and \
            not re.match(SECTION[kind], lines[begin - 1]):
        begin -= 1
    return begin


def _c(lines, name):
    word = re.escape(name)
    for begin, line in enumerate(lines):
        if re.match(rf"(typedef )?{word} \{{", line):  # struct NAME {
            end = next(i for i in range(begin, len(lines)) if lines[i].startswith("}"))
        elif re.match(rf"#define {word}\b", line):
            end = next(i for i in range(begin, len(lines)) if not lines[i].endswith("\\"))
        elif re.match(rf"[a-z_][^=;(]*\b{word}(\[.*\])?( = .*|;.*)$", line):  # a variable
            end = next(i for i in range(begin, len(lines)) if ";" in lines[i])
        elif re.match(rf"[A-Za-z_][^=;]*\b{word}\)?\(", line):  # a function, or MACRO(function)
            end = next(i for i in range(begin, len(lines)) if re.match(r"\{|.*[;}]$", lines[i]))
            if lines[end] == "{":
                end = next(i for i in range(end, len(lines)) if lines[i].startswith("}"))
            if lines[end + 1:end + 2] == [f"POOL_TASK({name});"]:
                end += 1
        else:
            continue
        return _with_comment(lines, begin, "c"), end + 1
    return None, None


def _python(lines, name):
    for begin, line in enumerate(lines):
        if re.match(rf"((def|class) {re.escape(name)}\b|{re.escape(name)} = )", line):
            end = begin + 1
            while end < len(lines) and not re.match(r"[^\s)\]}]", lines[end]):
                end += 1
            return _with_comment(lines, begin, "python"), end
    return None, None


def blocks(text, kind):
    """The bodies of all ```{kind} blocks of a page, each as a list of stripped lines."""
    for body in re.findall(rf"^```\{{{kind}\}}\n(.*?)^```", text, re.S | re.M):
        yield [line.strip() for line in body.splitlines() if line.strip()]
