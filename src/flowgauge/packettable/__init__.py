"""The packet table: one row for each packet, in capture order, by the decoder that flow records are made by.

Importing this package loads neither NumPy nor pyarrow.
"""
