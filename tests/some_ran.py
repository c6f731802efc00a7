"""Did at least one test run? pytest passes where every test was skipped.

python tests/some_ran.py REPORT.xml     what pytest --junit-xml=REPORT.xml wrote
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def main() -> int:
    """Read the report named on the command line; return 0 if a test ran, else 1."""
    report = Path(sys.argv[1])
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    ran = [case for case in cases if case.find("skipped") is None]
    if not ran:
        print(f"error: none of {len(cases)} tests ran, all were skipped: {report} says why", file=sys.stderr)
    return 0 if ran else 1


if __name__ == "__main__":
    sys.exit(main())
