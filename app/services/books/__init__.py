"""The books: the chart of accounts and the trial balance."""
