"""Other ways in: what shows a meter's counters without being read over Modbus."""
