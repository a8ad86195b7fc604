"""Questions to other libraries, one file for each: function b4 gives the finding of row B4.

Only `kanref.ledger.worker` loads these files, by their paths and under the interpreter that has the library. They import
NumPy and that library.
"""
