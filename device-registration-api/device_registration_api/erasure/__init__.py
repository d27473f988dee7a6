"""The right to be forgotten: a person leaves all three databases, and no published figure moves."""
