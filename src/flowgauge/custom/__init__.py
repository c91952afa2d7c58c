"""Features that users write: a function per packet, compiled into the same loop as the package's own groups.

`declare` is what users call, `check` explains what cannot be compiled, `compile` makes a feature group of a set of
features, `load` finds them in files and packages.
"""
