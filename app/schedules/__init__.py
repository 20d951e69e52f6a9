"""When a resource can be booked: the rules that make its slots."""
