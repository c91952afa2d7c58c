"""Delivery: flow records to another system, at least once."""
