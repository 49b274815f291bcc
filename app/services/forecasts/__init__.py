"""What is expected, at what price, how good that was, and its page."""
