"""Fail if the demo in the folder named on the command line did not keep its promises."""

import json
import sys
from pathlib import Path

# The promise is 95%; an agent that truly keeps it falls below this in 100 episodes less than twice in a thousand.
LEAST_SUCCESS = 0.88
# The promise is 4 minutes on two idle cores of 2025; machines that are shared or older take several times that.
MOST_SECONDS = 1_500


def main() -> None:
    """Exit with what is wrong, or print what was measured."""
    result = json.loads((Path(sys.argv[1]) / "demo.json").read_text())
    absent = [path for path in result["paths"].values() if not Path(path).exists()]
    if absent:
        sys.exit(f"the demo left no {', '.join(absent)}")
    rate, seconds = result["success"]["rate"], result["total_seconds"]
    if rate < LEAST_SUCCESS or seconds > MOST_SECONDS:
        sys.exit(f"the demo reached {rate:.0%} of its goals in {seconds:.0f} s")
    print(f"demo: {rate:.0%} of its goals in {seconds:.0f} s, stage by stage {result['seconds']}")


if __name__ == "__main__":
    main()
