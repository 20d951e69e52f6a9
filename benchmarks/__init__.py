"""`make bench`: what Holdfast costs on top of the database it stands on, measured in one run against one Postgres."""
