"""What the job engine costs beside queues that others trust: one run, one Postgres, every system in turn."""
