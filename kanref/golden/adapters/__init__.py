"""Adapters of libraries to the protocol of `kanref.golden.protocol`; each needs its library installed when it is called.

`library` is its name in `kanref.ledger.peers.PEERS`: by it, `kanref conformance` also asks what no vector can express.
"""
