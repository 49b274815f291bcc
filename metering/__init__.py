"""The ground: energy, intervals, signed readings; Modbus at its edge."""
