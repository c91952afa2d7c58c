"""Getting traffic to where it can be captured."""
