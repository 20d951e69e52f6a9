"""What lets customers in at providers: encrypted before it is stored, checked, and never shown again."""
