"""What goes out to neighbours as files and comes in from them: values, master data, shares."""
