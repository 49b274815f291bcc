"""The demo district Lindenhof: its people, its simulated meters, its story, its run."""
