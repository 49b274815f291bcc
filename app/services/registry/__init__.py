"""Who and what is behind metering points: entered, shown beforehand, taken back."""
