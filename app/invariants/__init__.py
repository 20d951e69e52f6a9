"""Whether every promise still holds, recounted from the rows."""
