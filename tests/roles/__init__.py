"""Who may do what in the database, once its schema has roles of its own."""
