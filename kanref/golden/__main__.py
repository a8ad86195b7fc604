"""python -m kanref.golden [GROUP ...]: compute the golden vectors again and write their files."""

import sys
from importlib import import_module

NEEDED = "mpmath", "tensorly"  # beside kanref's own requirements


def main(groups):
    try:
        write(groups)
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.exit(f"the second routes need {error.name}, which is not installed: pip install 'kanref[test]'")


def write(groups):
    for name in NEEDED:  # before a file is written, not on the way
        import_module(name)
    from kanref.golden import generate

    if unknown := [group for group in groups if group not in generate.GENERATORS]:
        sys.exit(f"groups are {', '.join(generate.GENERATORS)}, but got {', '.join(unknown)}")
    for group, count, size in generate.write(groups):
        sys.stdout.write(f"{group:18}{count:5} cases {size:9} bytes\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
