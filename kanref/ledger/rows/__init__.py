"""The rows of the ledger: every module here has `ROWS`, a tuple of `kanref.ledger.row.Row`."""
