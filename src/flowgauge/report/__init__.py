"""What is in a flow table, for people: aggregates (summary), charts (charts), and one page of both.

``Summary`` is made of whole columns at once and holds counts, sums and bins, never flows but the largest: what is made
of it is as large for a million flows as for a thousand.
"""
