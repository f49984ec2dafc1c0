"""What is known of requests that wait: their pieces, their deadlines, whether others are to come."""
