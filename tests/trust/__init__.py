"""How flowgauge agrees with other tools on captures that neither of them made."""
