"""Events on their way to receivers outside: signed, tried for three days, and never sent into one's own network."""
