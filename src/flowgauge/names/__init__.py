"""Names of flows: what the first bytes of a flow say of whom it goes to.

Importing this package loads neither NumPy nor pyarrow.
"""
