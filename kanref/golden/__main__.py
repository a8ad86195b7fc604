"""python -m kanref.golden [GROUP ...]: compute the golden vectors again and write their files."""

import sys

from kanref.golden.generate import GENERATORS, write

unknown = [group for group in sys.argv[1:] if group not in GENERATORS]
if unknown:
    sys.exit(f"groups are {', '.join(GENERATORS)}, but got {', '.join(unknown)}")
for group, count, size in write(sys.argv[1:]):
    sys.stdout.write(f"{group:18}{count:5} cases {size:9} bytes\n")
    sys.stdout.flush()
