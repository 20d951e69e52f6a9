"""What is to be booked when booking opens: at our own slots, and at providers outside."""
