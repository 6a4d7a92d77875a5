"""Writes issues.csv: a dozen issues written for this example, each thirty times with other names and numbers.

    python write_issues.py

No issue of anybody's: enough to run the pipeline on without a network. For titles worth reading, give it
issues of your own, as a file or as `github-issues://OWNER/REPO`.
"""

import csv
from itertools import count, islice, product
from pathlib import Path

PARTS = (
    "the importer",
    "the scheduler",
    "the login page",
    "the export dialog",
    "the mail worker",
    "the search box",
)
SYSTEMS = ("Windows 11", "Debian 12", "macOS 15", "Fedora 41", "Ubuntu 24.04")
VERSIONS = ("2.3.1", "2.4.0", "3.0.2", "3.1.0", "4.0.0-rc1")
FILES = ("CSV", "Parquet", "JSON", "Excel", "XML")

ISSUES = (
    (
        "Crash in {part} on {system} after upgrading to {version}",
        "Since I upgraded to {version} yesterday, {part} crashes right after it starts. It happens every"
        " time on {system}; my colleague with the version before has no trouble. The log ends with a"
        " segmentation fault and nothing else. Going back to the earlier version helps. Is there anything"
        " I can send you?",
    ),
    (
        "Memory grows without bound while {part} reads large {file} files",
        "We let {part} read {file} files of about 4 GB each night. Its memory grows from 200 MB to more"
        " than 30 GB and is never given back until the process is killed by {system}. With small files all"
        " is well. I would expect that a file is read in pieces. Version {version}, no plugins.",
    ),
    (
        "Support {file} as an output format of {part}",
        "At the moment {part} can only write plain text. Our partners send and expect {file}, so I"
        " convert every result by hand, which takes an hour a week. It would be great if one could choose"
        " {file} in the settings. I looked at the code of {version} and would gladly help with a pull"
        " request.",
    ),
    (
        "Typo in the documentation of {part}",
        "In the manual for {version}, the page about {part} says `recieve` twice and the link to the"
        " section on {file} leads nowhere. Nothing dramatic, but it confused two people here who read it"
        " for the first time.",
    ),
    (
        "Wrong time zone in dates written by {part}",
        "Dates that {part} writes into {file} are two hours off. The computer is in Berlin and set to"
        " UTC+2, and the dates come out as if it were in London. On {system} with {version}. Setting the"
        " variable TZ changes nothing. I believe the conversion is done twice somewhere.",
    ),
    (
        "{part} hangs when the network is slow",
        "When the connection is slow or drops for a moment, {part} shows the spinning wheel for ever."
        " There is no message and no way to cancel, one has to end the program. I can provoke it on"
        " {system} by limiting the bandwidth to 10 kB/s. A timeout of half a minute and a button to try"
        " again would be enough. Seen in {version}.",
    ),
    (
        "Add a dark theme for {part}",
        "I work at night, and {part} is the only window on my {system} that is white. Please add a dark"
        " theme, or follow what the system says. In {version} the colours seem to be written into the code"
        " in many places, so this may be more work than it looks.",
    ),
    (
        "Cannot build {version} on {system}: header not found",
        "Following the instructions I tried to build {version} from source on {system}. The compiler"
        " stops with `fatal error: config.h: No such file or directory` while it compiles {part}. All"
        " packages from the list are installed. The build of the release before works on the same computer"
        " without any change.",
    ),
    (
        "Permission denied when {part} saves {file}",
        "Whenever I save as {file}, {part} says `permission denied`, although the folder is mine and I"
        " can write to it with every other program. It looks as if it tried to put a temporary file beside"
        " the program itself. This is {version} on {system}, installed by the administrator for all users.",
    ),
    (
        "Umlauts are broken after importing {file}",
        "After importing a {file} file with German names, all umlauts are shown as two strange"
        " characters. The file is UTF-8, I checked. In {part} I can choose an encoding, but it seems to be"
        " ignored since {version}. It worked before on the same {system}. A small example is attached.",
    ),
    (
        "Tests of {part} fail at random on {system}",
        "About one run in twenty, a test of {part} fails with a timeout on our {system} runners. It"
        " passes when it is run alone. I suspect that two tests use the same port or the same {file} file."
        " Could the port be chosen by the system? Log of a failed run of {version} below.",
    ),
    (
        "Remember the last folder in {part}",
        "Each time I open a {file} file in {part} I have to walk from my home folder to the same place"
        " again, five levels down. Please remember the last folder that was used, for each kind of file."
        " On {system}, version {version}; the version of two years ago did that.",
    ),
)  # fmt: skip


def rows(each: int = 30):
    """(number, title, body) of `each` variants of every issue, in a fixed order."""
    numbers = count(1)
    for title, body in ISSUES:
        choices = list(product(PARTS, SYSTEMS, VERSIONS, FILES))
        step = len(choices) // each + 7  # walks through all four lists at once
        picked = (choices[(index * step) % len(choices)] for index in count())
        seen = set()
        made = ((title.format(**names), body.format(**names)) for names in map(_names, picked))
        for one in islice((pair for pair in made if not (pair in seen or seen.add(pair))), each):
            yield next(numbers), one[0][0].upper() + one[0][1:], one[1]


def _names(choice):
    return dict(zip(("part", "system", "version", "file"), choice, strict=True))


def main() -> None:
    """Write the file beside this one."""
    with (Path(__file__).parent / "issues.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("issue_url", "issue_title", "body"))
        for number, title, body in rows():
            writer.writerow((f"https://github.com/octo-org/octo-repo/issues/{number}", title, body))


if __name__ == "__main__":
    main()
