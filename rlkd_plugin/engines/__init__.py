"""Decomposition and matching: the interface, the rules engine and the scheduler of a batch.

No ms-swift and no sockets.
"""
