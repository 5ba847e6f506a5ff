"""How fast and how large models are, side by side: variants × backends × scenarios, a process each, in turns."""
