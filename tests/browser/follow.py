"""Runs the client in Python of src/docs/http.md.

follow.py FIRST-WORDS-OF-THE-BLOCK BASE CHANNELS MOST: prints a JSON line for each thing that the
client yields, and ends after MOST of them. Sleep takes no time: {"slept": seconds} is printed in its
place, and counts as well. An exception ends it: {"raised": text}.
"""

import builtins
import json
import pathlib
import re
import sys
import time

WORDS, BASE, CHANNELS, MOST = sys.argv[1:5]
PAGE = pathlib.Path(__file__).parents[2] / "src/docs/http.md"
left = int(MOST)


def tell(thing):
    global left
    print(json.dumps(thing), flush=True)
    left -= 1
    if left == 0:
        sys.exit()


def main():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [block] = [block for block in blocks if block.startswith(WORDS)]
    time.sleep = lambda seconds: tell({"slept": seconds})
    names = {"print": lambda *words: builtins.print(*words, file=sys.stderr)}
    exec(compile(block, "http.md", "exec"), names)
    try:
        for thing in names["follow"](BASE, CHANNELS):
            tell({"yielded": thing})
    except Exception as error:
        tell({"raised": str(error)})


main()
