"""Who decomposes and who matches: the interface, the rules engine and the scheduler of a batch.

Neither ms-swift nor sockets.
"""
