#!/usr/bin/env python3
"""Makes the samples of names and text that dtrain embeds (for developers; building and running dtrain needs no Python).

    scripts/make-sequence-samples.py NAMES_DIR TEXT_FILE

From the files CLASS.txt in NAMES_DIR it takes up to 400 different names of each of ten languages, spread evenly over the
file, and from TEXT_FILE the first 100,000 bytes up to the end of a line. The same input gives the same bytes.
"""
import pathlib
import sys

TARGET = pathlib.Path(__file__).resolve().parent.parent / "Sources/CSamples/data"
LANGUAGES = ["Chinese", "Czech", "English", "French", "German", "Greek", "Italian", "Japanese", "Russian", "Spanish"]
NAMES_EACH, TEXT_BYTES = 400, 100_000


def names(directory: pathlib.Path) -> str:
    text = ""
    for language in LANGUAGES:
        lines = (directory / f"{language}.txt").read_text(encoding="utf-8").splitlines()
        distinct = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
        count = min(NAMES_EACH, len(distinct))
        chosen = [distinct[index * len(distinct) // count] for index in range(count)]
        text += f"[{language}]\n" + "".join(name + "\n" for name in chosen)
    return text


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    (TARGET / "names.txt").write_text(names(pathlib.Path(sys.argv[1])), encoding="utf-8")
    text = pathlib.Path(sys.argv[2]).read_bytes()[:TEXT_BYTES]
    (TARGET / "text.txt").write_bytes(text[: text.rindex(b"\n") + 1])


main()
