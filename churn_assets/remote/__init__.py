"""Steps that are made on another machine: where they may run, what was asked of them, and what proves that it was done.

Knows engines (Ray, Vertex AI) by one protocol and no orchestrator. What an asset is, and how it is made, is not here.
"""
