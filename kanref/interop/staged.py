"""Files that appear together or not at all."""

import os
import shutil
import tempfile
from contextlib import contextmanager


@contextmanager
def staged(paths):
    """A folder beside `paths` (all in one folder), in which files of their names are to be written; they take their places at
    the end. After an error or Ctrl-C, whenever it comes, all is as it was before: nothing new, and what was there is whole.

    Raises FileNotFoundError if there is no such folder, IsADirectoryError if one of the paths is a folder.
    """
    folder = os.path.dirname(os.path.abspath(paths[0]))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {paths[0]}: the folder {folder} does not exist; create it first")
    if there := [path for path in paths if os.path.isdir(path)]:
        raise IsADirectoryError(f"cannot write {there[0]}: it is a folder; choose another name")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".kanref-") as new:
        yield new
        moves = [(os.path.join(new, os.path.basename(path)), os.fspath(path)) for path in paths]
        try:
            for source, path in moves:
                if os.path.lexists(path):
                    shutil.copy2(path, f"{source}.before", follow_symlinks=False)
                os.replace(source, path)
        except BaseException:
            for source, path in moves:
                if os.path.lexists(source):  # it has not taken its place
                    continue
                if os.path.lexists(f"{source}.before"):
                    os.replace(f"{source}.before", path)
                else:
                    os.unlink(path)
            raise
