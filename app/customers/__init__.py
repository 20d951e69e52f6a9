"""What is held on a customer: all of it in one document, or none of it any more."""
