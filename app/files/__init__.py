"""Files that people bring and take: order books, contracts, sessions, intervals, results."""
