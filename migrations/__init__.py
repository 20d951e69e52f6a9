"""How the schema got where it is, and the tools that take it further."""
