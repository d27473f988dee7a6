"""The right to be forgotten, as clients ask for it; the private service erases."""
