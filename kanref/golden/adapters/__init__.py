"""Adapters of libraries to the protocol of `kanref.golden.protocol`; each needs its library installed when it is called."""
