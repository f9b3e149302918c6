#!/usr/bin/env python3
"""embed.py - the report page as two arrays in C, so that a program carries it.

Usage: embed.py OUTPUT.c PAGE.html PAGE.css SCRIPT.js...

The style and the scripts go into the page, which is cut in two where the data belong.
"""
import sys


def array(name, text):
    # Numbers, since the standard wants no string literal of more than 4095 characters.
    data = text.encode()
    lines = (", ".join(map(str, data[i:i + 24])) for i in range(0, len(data), 24))
    return (f"const unsigned char {name}[] = {{\n" + ",\n".join(lines) + "};\n"
            f"const size_t {name}_size = sizeof {name};\n")


def main(output, *parts):
    texts = []
    for part in parts:
        with open(part, encoding="utf-8") as file:
            texts.append(file.read())
    html, css, *scripts = texts
    page = html.replace("/* STYLE */", css).replace("/* SCRIPT */", "\n".join(scripts))
    head, tail = page.split("/* DATA */")
    with open(output, "w", encoding="utf-8") as file:
        file.write('#include "common/lesson/write/write.h"\n\n' + array("page_head", head)
                   + array("page_tail", tail))


if __name__ == "__main__":
    main(*sys.argv[1:])
